import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { agentMethods } from '../../../../lib/wire/agent.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { pushVolume } from '../../../../manager/run/exports.js'
import { hostTurn } from '../../../../manager/run/host-turn.js'
import { allHosts } from '../../../../manager/store/hosts.js'
import { raiseGeneration } from '../../../../manager/store/volumes.js'
import { must } from '../../../../lib/assert.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('a look at a storage server', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  let cluster: Cluster
  let id = ''
  let sent = 0
  let refusing = false
  beforeEach(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 2 })
    id = (await rig.call('volumeShow', { volume: 'v2' })).id
    await rig.settle()
    sent = 0
    refusing = false
    const { agents } = rig.cluster
    cluster = {
      ...rig.cluster,
      agents: {
        ...agents,
        call(host, method, params) {
          if (method.name !== agentMethods.ensureExtents.name) return agents.call(host, method, params)
          if (refusing) return Promise.reject(new Fault('agent failed', 'it does not'))
          sent += 1
          return agents.call(host, method, params)
        },
      },
    }
    while (await hostTurn(cluster, 'st1', true) === 2000); // until it is right
    sent = 0
    await rig.db.tx((tx) => raiseGeneration(tx, id, 0)) // and nobody tells the server
  })
  afterEach(() => rig.stop())

  it('without a reason compares nothing that was found right a moment ago', async () => {
    await hostTurn(cluster, 'st1', false)
    expect(sent).to.equal(0)
  })

  it('for a reason puts right what differs', async () => {
    await hostTurn(cluster, 'st1', true)
    expect(sent).to.equal(1)
  })

  it('puts right what differs when the last comparison is long ago, for as many legs and hosts as there are', async () => {
    cluster.compared.set('st1', cluster.clock.monoMs() - 1000)
    await hostTurn(cluster, 'st1', false)
    expect(sent).to.equal(1)
  })

  it('puts right what differs after an order that the server refused', async () => {
    refusing = true
    await pushVolume(cluster, must((await allHosts(rig.db)).find((host) => host.name === 'st1'), 'st1 is there'), id).catch(() => undefined)
    refusing = false
    await hostTurn(cluster, 'st1', false)
    expect(sent).to.equal(1)
  })

  it('looks again soon when it put something right, and compares again then', async () => {
    expect(await hostTurn(cluster, 'st1', true)).to.equal(2000)
    await rig.db.tx((tx) => raiseGeneration(tx, id, 0))
    await hostTurn(cluster, 'st1', false)
    expect(sent).to.equal(2)
  })
})
