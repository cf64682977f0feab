import { expect } from 'chai'
import { must } from '../../../../lib/assert.js'
import { AFTER_LOSS_MS } from '../../../../manager/plan/repair.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { repairTurn } from '../../../../manager/run/repair.js'
import { noteSeen } from '../../../../manager/run/up.js'
import { volumeTurn } from '../../../../manager/run/volume-turn.js'
import { extentsOf } from '../../../../manager/store/volumes.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('a leg that refused a write', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  let cluster: Cluster
  let [id, server] = ['', '']
  let laterMs = 0
  let kicked: string[] = []
  const states = async (): Promise<readonly string[]> => (await extentsOf(rig.db, id)).map((extent) => extent.leg)
  beforeEach(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 1 })
    id = (await rig.call('volumeShow', { volume: 'v1' })).id;
    [laterMs, kicked] = [0, []]
    const { clock, work } = rig.cluster
    cluster = { ...rig.cluster, clock: { ...clock, nowMs: () => clock.nowMs() + laterMs }, work: { ...work, kick: (kind, about) => { kicked.push(`${kind} ${about}`) } } }
    const second = must((await extentsOf(rig.db, id))[1], 'a second leg')
    server = second.host
    const seen = must(cluster.seen.get('hd1'), 'hd1 was looked at')
    noteSeen(cluster, 'hd1', seen.bootId, seen.volumes.map((volume) => ({
      ...volume, segments: volume.segments.map((segment) => ({ ...segment, legs: segment.legs.map((leg) => ({ ...leg, health: leg.extent === second.id ? 'D' : leg.health })) })),
    })))
  })
  afterEach(() => rig.stop())

  it('is left alone for a moment before it is copied to: its disk would most likely refuse that, too, and the writers would pause once more', async () => {
    await volumeTurn(cluster, id, 0)
    expect(await states()).to.deep.equal(['insync', 'stale'])
    expect(await repairTurn(cluster)).to.equal(AFTER_LOSS_MS)
    expect(await states()).to.deep.equal(['insync', 'stale'])
    laterMs = AFTER_LOSS_MS
    await repairTurn(cluster)
    expect(await states()).to.deep.equal(['insync', 'syncing'])
  })

  it('has its server look at its disks, unless it did just now', async () => {
    cluster.compared.delete(server)
    await volumeTurn(cluster, id, 0)
    expect(kicked).to.include(`host ${server}`)
  })

  it('is no reason to ask a server that looked a moment ago', async () => {
    cluster.compared.set(server, cluster.clock.monoMs() - 1000)
    await volumeTurn(cluster, id, 0)
    expect(await states()).to.deep.equal(['insync', 'stale'])
    expect(kicked).to.not.include(`host ${server}`)
  })
})
