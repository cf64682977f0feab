import { expect } from 'chai'
import { must } from '../../../../lib/assert.js'
import { Fault } from '../../../../lib/faults.js'
import { agentMethods } from '../../../../lib/wire/agent.js'
import { ourProtocols } from '../../../../lib/wire/protocol.js'
import { hostRegister } from '../../../../manager/api/hosts.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { loadFacts } from '../../../../manager/run/facts.js'
import type { VolumeFacts } from '../../../../manager/run/facts.js'
import { noteSeen, upTurn } from '../../../../manager/run/up.js'
import { volumeTurn } from '../../../../manager/run/volume-turn.js'
import type { HostRow } from '../../../../manager/state/rows.js'
import { allHosts } from '../../../../manager/store/hosts.js'
import { extentsOf, volumeById } from '../../../../manager/store/volumes.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('a leg whose server was started anew', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  let [id, second, server] = ['', '', '']
  const legs = async (): Promise<readonly string[]> => (await extentsOf(rig.db, id)).map((extent) => `${extent.leg}${extent.doubt ? ', in doubt' : ''}`)
  const set = (what: string): Promise<void> => rig.db.tx(async (tx) => { await tx.run(`update extents set ${what} where id = ?`, [second]) })
  const facts = async (): Promise<VolumeFacts> => loadFacts(rig.db, must(await volumeById(rig.db, id), 'the volume'))
  beforeEach(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 1 })
    id = (await rig.call('volumeShow', { volume: 'v1' })).id
    const leg = must((await extentsOf(rig.db, id))[1], 'a second leg');
    [second, server] = [leg.id, leg.host]
  })
  afterEach(() => rig.stop())

  const register = (host: HostRow, cluster: Cluster): Promise<unknown> => hostRegister(cluster, { ...host, bootId: 'another', roles: [...host.roles], dataAddresses: [...host.dataAddresses], disks: [], protocols: ourProtocols })
  async function bootSecond(): Promise<void> {
    await register(must((await allHosts(rig.db)).find((each) => each.name === server), 'its server'), rig.cluster)
  }

  it('is in doubt while its volume is in use', async () => {
    await bootSecond()
    expect(await legs()).to.deep.equal(['insync', 'insync, in doubt'])
  })

  it('is in doubt in a volume that nobody uses only while it is copied to: all others were flushed', async () => {
    await rig.call('volumeDetach', { volume: 'v1' })
    await rig.db.tx(async (tx) => { await tx.run(`update volumes set copy_head = 'hd1' where id = ?`, [id]) })
    await bootSecond()
    expect(await legs()).to.deep.equal(['insync', 'insync'])
    await set(`leg = 'syncing'`)
    await rig.db.tx(async (tx) => { await tx.run(`update hosts set boot_id = 'before' where name = ?`, [server]) })
    await bootSecond()
    expect(await legs()).to.deep.equal(['insync', 'syncing, in doubt'])
  })

  it('is judged also when nobody copies any more', async () => {
    await rig.call('volumeDetach', { volume: 'v1' })
    await set(`leg = 'syncing', doubt = 1`)
    await volumeTurn(rig.cluster, id, 0)
    expect(await legs()).to.deep.equal(['insync', 'stale'])
  })

  it('is not in sync at the end of a copy to it before that was judged', async () => {
    await set(`leg = 'syncing'`)
    const before = await facts()
    await set('doubt = 1') // after the turn has begun
    const seen = must(rig.cluster.seen.get('hd1'), 'hd1 was looked at')
    noteSeen(rig.cluster, 'hd1', seen.bootId, seen.volumes.map((volume) => ({ ...volume, layout: before.volume.layout })))
    await upTurn(rig.cluster, before)
    expect(await legs()).to.deep.equal(['insync', 'syncing, in doubt'])
    await volumeTurn(rig.cluster, id, 0)
    expect(await legs()).to.deep.equal(['insync', 'stale'])
  })

  it('is copied to, and not copied from, when its head was lost as well', async () => {
    const [first] = await extentsOf(rig.db, id)
    await rig.db.tx(async (tx) => {
      await tx.run(`update extents set doubt = 1 where id = ?`, [first?.id ?? ''])
      await tx.run(`update hosts set boot_id = 'another' where name = 'hd1'`)
    })
    await volumeTurn(rig.cluster, id, 0)
    expect(await legs()).to.deep.equal(['syncing', 'insync'])
  })

  it('is not copied from when its server says only after its head that it was started anew', async () => {
    const { cluster } = rig
    const [first, other] = await extentsOf(rig.db, id)
    const host = must((await allHosts(rig.db)).find((each) => each.name === first?.host), 'its server')
    let [nowMs, looks] = [cluster.clock.monoMs(), 0]
    const clock: Cluster['clock'] = { ...cluster.clock, monoMs: () => nowMs, sleep: async (ms) => {
      nowMs += ms
      looks += 1
      if (looks === 2) cluster.presence.heard(other?.host ?? '', nowMs)
      if (looks === 3) await register(host, { ...cluster, clock })
    } }
    nowMs += 100 // since both servers were heard
    await rig.db.tx(async (tx) => { await tx.run(`update hosts set boot_id = 'another' where name = 'hd1'`) })
    await volumeTurn({ ...cluster, clock }, id, 0)
    expect([await legs(), looks]).to.deep.equal([['syncing', 'insync'], 3])
  })

  it('is not taken for the truth where its head is shut out before its server has told that', async () => {
    const { agents } = rig.cluster
    const call = agents.call.bind(agents)
    const confirmed = new Set([server])
    Object.assign(agents, {
      call: (...args: Parameters<typeof call>) => {
        const [host, method] = args
        if (method.name !== agentMethods.banInitiator.name) return call(...args)
        return confirmed.has(host.name) ? Promise.resolve({ bootId: host.name === server ? 'another' : host.bootId }) : Promise.reject(new Fault('host offline', `${host.name} did not answer`))
      },
    })
    const fence = async (): Promise<string> => {
      await rig.db.tx(async (tx) => { await tx.run(`update volumes set phase = 'fencing' where id = ?`, [id]) })
      await volumeTurn(rig.cluster, id, 0)
      return must(await volumeById(rig.db, id), 'the volume').phase
    }
    expect([await fence(), await legs()]).to.deep.equal(['fencing', ['insync', 'insync']]) // nobody waits for it, so it is tried again
    await bootSecond() // which the other's server has not confirmed, and this one's disks may have lost what that has
    expect([await fence(), await legs()]).to.deep.equal(['fencing', ['insync', 'insync, in doubt']])
    for (const host of await allHosts(rig.db)) confirmed.add(host.name)
    expect([await fence(), await legs()]).to.deep.equal(['detached', ['insync', 'stale']]) // its copy has no head yet
  })

  it('is in sync at the end of a copy to it that was begun since', async () => {
    await set(`leg = 'syncing'`)
    await upTurn(rig.cluster, await facts())
    expect(await legs()).to.deep.equal(['insync', 'insync'])
  })
})
