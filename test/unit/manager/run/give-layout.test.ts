import { expect } from 'chai'
import { must } from '../../../../lib/assert.js'
import { agentMethods } from '../../../../lib/wire/agent.js'
import type { VolumeAttach, VolumeSeen } from '../../../../lib/wire/agent.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { noteSeen } from '../../../../manager/run/up.js'
import { volumeTurn } from '../../../../manager/run/volume-turn.js'
import { changeLayout, extentsOf } from '../../../../manager/store/volumes.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('a new layout that its head can\'t get past a failed leg', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  let cluster: Cluster
  let id = ''
  let orders: readonly (readonly string[])[] = []
  let [hangs, ended] = [true, false]
  let turn: Promise<unknown> = Promise.resolve()
  const settle = async (): Promise<void> => { for (let round = 0; round < 50; round += 1) await new Promise((resolve) => setImmediate(resolve)) }
  /** What its head tells of it while the order stands. */
  function report(unreachable: VolumeSeen['unreachable']): void {
    const seen = must(cluster.seen.get('hd1'), 'hd1 was looked at')
    noteSeen(cluster, 'hd1', seen.bootId, seen.volumes.map((volume) => ({ ...volume, layout: 0, unreachable })))
  }
  beforeEach(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 1 })
    id = (await rig.call('volumeShow', { volume: 'v1' })).id
    orders = [];
    [hangs, ended] = [true, false]
    const { agents, work } = rig.cluster
    cluster = {
      ...rig.cluster, work: { ...work, kick: () => undefined },
      agents: {
        ...agents,
        call(host, method, params) {
          if (method.name !== agentMethods.attachVolume.name) return agents.call(host, method, params)
          const { volume } = params as unknown as VolumeAttach
          orders = [...orders, volume.segments.flatMap((segment) => segment.legs.map((leg) => leg.extent))]
          return hangs ? new Promise(() => undefined) : agents.call(host, method, params)
        },
      },
    }
    await rig.db.tx((tx) => changeLayout(tx, id))
    turn = volumeTurn(cluster, id, 0).finally(() => { ended = true })
    for (let waits = 0; orders.length === 0 && waits < 1000; waits += 1) await settle()
  })
  afterEach(() => rig.stop())

  it('is not waited for any more when the head tells which one it is, and the next one is without it', async () => {
    const [first, second] = await extentsOf(rig.db, id)
    expect([orders, ended]).to.deep.equal([[[first?.id, second?.id]], false])
    report([{ extent: must(second, 'a second leg').id, why: 'it failed' }])
    await turn
    hangs = false
    await volumeTurn(cluster, id, 0)
    expect((await extentsOf(rig.db, id)).map((extent) => extent.leg)).to.deep.equal(['insync', 'stale'])
    expect(orders.slice(1)).to.deep.equal([[first?.id]])
  })

  it('is waited for while there is no good leg beside those that failed, and while nothing is told of any', async () => {
    report([])
    report((await extentsOf(rig.db, id)).map((extent) => ({ extent: extent.id, why: 'it failed' })))
    await settle()
    expect([ended, (await extentsOf(rig.db, id)).map((extent) => extent.leg)]).to.deep.equal([false, ['insync', 'insync']])
  })
})
