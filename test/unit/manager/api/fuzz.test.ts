import { expect } from 'chai'
import { fuzz } from '../../../fuzz/run.js'
import { startManager } from '../../../support/manager.js'

const SEED = 7
const REQUESTS = 2000

describe('hostile requests', () => {
  // npm test throws 20,000, npm run fuzz as many as are wanted.
  it(`${REQUESTS} of them (seed ${SEED}) neither stop nor bloat the manager, each gets its answer, and without a right nothing is changed`, async function () {
    this.timeout(240_000) // seconds, where the machine is not busy
    const rig = await startManager({ deadlineMs: 2_000 })
    try {
      const { broken, answers } = await fuzz(rig, { seed: SEED, requests: REQUESTS })
      expect(broken).to.deep.equal([])
      for (const status of ['200', '400', '403', '404']) expect(answers[status], status).to.be.greaterThan(10)
    } finally {
      await rig.stop()
    }
  })
})
