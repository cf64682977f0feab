import { expect } from 'chai'
import { must } from '../../../../lib/assert.js'
import { hostRegister } from '../../../../manager/api/hosts.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { chooseHead, loadFleet } from '../../../../manager/run/fleet.js'
import { repairTurn } from '../../../../manager/run/repair.js'
import { spareTurn } from '../../../../manager/run/spare.js'
import { allHosts, putHost } from '../../../../manager/store/hosts.js'
import { addExtent, extentsOf, setLeg } from '../../../../manager/store/volumes.js'
import { registration, startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('the repair\'s turn', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  let cluster: Cluster
  let changes = 0
  let kicked: string[] = []
  /** Changes that a turn makes. */
  async function turn(): Promise<number> {
    changes = 0
    kicked = []
    await repairTurn(cluster)
    return changes
  }
  const idOf = async (volume: string): Promise<string> => (await rig.call('volumeShow', { volume })).id
  async function fallBehind(volume: string): Promise<void> {
    const [, leg] = await extentsOf(rig.db, await idOf(volume))
    await rig.db.tx((tx) => setLeg(tx, leg?.id ?? '', 'stale', cluster.clock.nowMs()))
  }
  beforeEach(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 3 })
    await rig.call('settingSet', { name: 'resync.paused', value: 1 })
    await rig.settle()
    const { store, work } = rig.cluster
    cluster = {
      ...rig.cluster, work: { ...work, kick: (kind, about) => { kicked.push(`${kind} ${about}`) } },
      store: { ...store, read: store.read, change: (act) => { changes += 1; return store.change(act) } },
    }
  })
  afterEach(() => rig.stop())

  it('writes down once that copies wait, and nothing more while they do', async () => {
    for (const volume of ['v2', 'v3']) await fallBehind(volume)
    expect([await turn(), await turn(), await turn()], 'one change notes both').to.deep.equal([1, 0, 0])
    expect((await rig.call('jobList', {})).map(({ name, note }) => `${name}: ${note}`)).to.have.members(['v2: paused', 'v3: paused'])
  })

  it('tells once that a spare finds no place, and what it waits for is still told when nothing is news', async () => {
    const [leg] = await extentsOf(rig.db, await idOf('v2'))
    await rig.call('diskFail', { disk: leg?.disk ?? '' })
    await rig.settle()
    await turn()
    await turn()
    const told = (await rig.call('eventList', { limit: 100 })).filter((event) => event.kind === 'repair waits' && event.name === 'v2')
    expect(told).to.have.length(1)
    expect(cluster.waiting.get(await idOf('v2'))).to.match(/^segment 0: no spare for a lost leg: /)
  })

  it('and that of a new leg do not begin each other where its server does not answer', async () => {
    const [leg] = await extentsOf(rig.db, await idOf('v2'))
    const planned = { ...must(leg, 'a leg'), id: 'f'.repeat(32), slot: 2 }
    await rig.db.tx((tx) => addExtent(tx, planned, 'allocated'))
    kicked = []
    expect(await spareTurn({ ...cluster, presence: { ...cluster.presence, online: () => false } }, planned.volume), 'it is tried again').to.equal(5000)
    expect(kicked).to.deep.equal([])
    expect(await spareTurn(cluster, planned.volume)).to.equal('idle')
    expect(kicked).to.deep.equal(['repair cluster'])
  })

  for (const [claim, anew] of [['leaves behind a leg whose disk does not answer, once the other\'s server was heard', false], ['keeps a leg whose disk does not answer, if the other\'s server tells that it was started anew', true]] as const) {
    it(claim, async () => {
      const id = await idOf('v1')
      const [first, second] = (await extentsOf(rig.db, id)).map((leg) => must(leg, 'a leg'))
      await rig.db.tx((tx) => tx.run(`update disks set state = 'failed' where id = ?`, [first?.disk ?? '']))
      const [{ clock, presence }, other] = [cluster, second?.host ?? '']
      let heard = false
      cluster = {
        ...cluster, presence: { ...presence, proved: (host) => (host === other && !heard ? clock.monoMs() - 1000 : presence.proved(host)) },
        clock: { ...clock, sleep: async () => {
          expect((await extentsOf(rig.db, id)).map((leg) => leg.leg), 'nothing is given up before').to.deep.equal(['insync', 'insync'])
          if (anew) await hostRegister(rig.cluster, { ...registration(other, 'storage'), bootId: 'boot-2', incarnation: 'inc-2' })
          heard = true
        } },
      }
      await turn()
      expect(heard).to.equal(true)
      expect((await extentsOf(rig.db, id))[0]?.leg).to.equal(anew ? 'insync' : 'stale')
    })
  }

  it('forgets what a volume waited for when it is whole again', async () => {
    cluster.waiting.set(await idOf('v2'), 'segment 0: something')
    await turn()
    expect(cluster.waiting.size).to.equal(0)
  })

  it('spreads copies of volumes that nobody uses over the heads, one for all segments of a volume, and leaves out who refused', async () => {
    const [first] = (await allHosts(rig.db)).filter((host) => host.name === 'hd1')
    for (const name of ['hd2', 'hd3']) {
      if (first) await rig.db.tx((tx) => putHost(tx, { ...first, name }))
      cluster.presence.expect(name, cluster.clock.monoMs())
    }
    cluster.seen.clear() // what heads have already counts as well
    const fleet = await loadFleet(rig.db)
    const [leg] = await extentsOf(rig.db, await idOf('v2'))
    const chosen = (volume: string): string => (leg ? chooseHead(cluster, fleet, volume, leg) : '')
    cluster.shunned.set('b hd2', cluster.clock.monoMs() + 1)
    expect(['a', 'a', 'b', 'c', 'd'].map(chosen)).to.deep.equal(['hd1', 'hd1', 'hd3', 'hd2', 'hd1'])
    expect(chooseHead(cluster, await loadFleet(rig.db), 'e', { ...leg, host: 'hd3' } as never), 'its source is at home there').to.equal('hd3')
  })
})
