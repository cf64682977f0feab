import { expect } from 'chai'
import { LeaseWorld } from '../support/lease-world.js'

/** `SEEDS=100000 FROM=1`: more of them, other ones. Every failure names its seed. */
const seeds = Number(process.env.SEEDS ?? 2000)
const from = Number(process.env.FROM ?? 1)

describe('the lease and its epochs', function () {
  this.timeout(Math.max(60_000, seeds * 60))

  it(`never let two holders both have effects, whatever is lost, late, doubled, paused or cut off (${seeds} seeds from ${from})`, () => {
    const found: string[] = []
    let [terms, effects] = [0, 0]
    const started = performance.now()
    for (let seed = from; seed < from + seeds && found.length === 0; seed += 1) {
      const world = new LeaseWorld({ seed, checked: { store: true, agents: true } }).run()
      terms += world.terms
      effects += world.effects
      found.push(...world.violations.map((each) => `seed ${seed}, ${each}`))
    }
    expect(found).to.deep.equal([])
    expect(terms / seeds, 'holders a seed').to.be.greaterThan(2)
    if (process.env.SEEDS !== undefined) console.log(`      ${seeds} seeds, ${terms} holders, ${effects} effects, no violation, ${Math.round((performance.now() - started) / 1000)} s`)
  })

  for (const [who, checked] of [['nobody checks', { store: false, agents: false }], ['only the agents check', { store: false, agents: true }], ['only the store checks', { store: true, agents: false }]] as const) {
    it(`do so by the epoch: where ${who} it, a violation is found`, () => {
      let seed = 1
      while (seed < 1000 && new LeaseWorld({ seed, checked }).run().violations.length === 0) seed += 1
      expect(seed, 'seeds without a violation').to.be.lessThan(1000)
    })
  }

  it('give the same world for the same seed', () => {
    const told = [7, 7].map((seed) => { const { effects, terms, now } = new LeaseWorld({ seed, checked: { store: true, agents: true } }).run(); return { effects, terms, now } })
    expect(told[0]).to.deep.equal(told[1])
  })
})
