import { expect } from 'chai'
import { cursors, everyRow } from '../../../../lib/api/lists.js'
import type { PagedName } from '../../../../lib/api/lists.js'
import { Fault } from '../../../../lib/faults.js'
import { addToken, addUser } from '../../../../manager/store/credentials.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('lists and calls', function () {
  this.timeout(30_000)
  let rig: ManagerRig
  before(async function () {
    this.timeout(30_000)
    rig = await startManager({ servers: 4, volumes: 12 })
    await rig.call('diskEvacuate', { disk: 'st4:/dev/sdb' })
    await rig.call('volumeCreate', { name: 'w_1', bytes: 64n * 1024n * 1024n * 3n, redundancy: 2 })
    await rig.cluster.store.change(async (tx) => {
      for (const name of ['t1', 't2', 't3', 't4']) {
        await addToken(tx, { id: name, name, role: 'viewer', host: '', hash: '', createdAt: 1, expiresAt: 0 })
        await addUser(tx, { name, role: 'viewer', hash: '', createdAt: 1, changedAt: 1 })
      }
    })
    await rig.settle()
  })
  after(async () => { await rig.stop() })

  const names = (rows: readonly { readonly name: string }[]): readonly string[] => rows.map((row) => row.name)

  describe('a long list', () => {
    for (const name of Object.keys(cursors) as readonly PagedName[]) {
      it(`${name} comes page by page, whole, in one order, no row twice`, async () => {
        const whole = await rig.call(name, {}) as readonly unknown[]
        const cursor = cursors[name] as (row: unknown) => string
        for (const limit of [1, 3]) {
          const rows: unknown[] = []
          for (let after: string | undefined; ;) {
            const page = await rig.call(name, { limit, ...(after === undefined ? {} : { after }) }) as readonly unknown[]
            expect(page.length).to.be.at.most(limit)
            rows.push(...page)
            if (page.length < limit) break
            after = cursor(page.at(-1))
          }
          expect(rows.map(cursor)).to.deep.equal(whole.map(cursor))
        }
        expect(new Set(whole.map(cursor)).size).to.equal(whole.length)
        expect(whole.length).to.be.greaterThan(name === 'jobList' ? 0 : 3)
      })
    }

    it('is filtered before it is cut', async () => {
      expect(names(await rig.call('volumeList', { prefix: 'v1' }))).to.deep.equal(['v1', 'v10', 'v11', 'v12'])
      expect(names(await rig.call('volumeList', { prefix: 'v1', limit: 2, after: 'v10' }))).to.deep.equal(['v11', 'v12'])
      expect(names(await rig.call('volumeList', { prefix: 'v_' }))).to.deep.equal([]) // no wildcard of SQL
      expect(names(await rig.call('volumeList', { state: 'attached' }))).to.deep.equal(['v1'])
      expect(names(await rig.call('volumeList', { host: 'hd1' }))).to.deep.equal(['v1'])
      expect(names(await rig.call('hostList', { role: 'head' }))).to.deep.equal(['hd1'])
      expect(names(await rig.call('hostList', { state: 'offline' }))).to.deep.equal([])
      expect((await rig.call('diskList', { host: 'st2' })).map((disk) => disk.host)).to.deep.equal(['st2'])
      expect((await rig.call('diskList', { duty: 'failed' }))).to.deep.equal([])
      expect((await rig.call('eventList', { kind: 'volume cre', name: 'v3' })).map((event) => event.kind)).to.deep.equal(['volume created'])
      expect((await rig.call('eventList', { about: 'disk', limit: 2 })).every((event) => event.about === 'disk')).to.equal(true)
    })

    it('of legs and segments is that of a volume, a host or a disk, as the volumes themselves tell', async () => {
      const shown = await rig.call('volumeShow', { volume: 'w_1' })
      expect((await rig.call('segmentList', { volume: 'w_1' })).map(({ volume, ...segment }) => [volume, segment])).to.deep.equal(shown.segments.map((segment) => ['w_1', segment]))
      const here = await rig.call('legList', { host: 'st1' })
      expect(here.every((leg) => leg.host === 'st1' && leg.online)).to.equal(true)
      const [disk] = await rig.call('diskList', { host: 'st1' })
      expect((await rig.call('legList', { disk: 'st1:/dev/sdb' })).length).to.equal(disk?.extents).and.to.be.greaterThan(0)
      for (const segment of await rig.call('segmentList', { host: 'st1' })) expect(segment.legs.some((leg) => leg.host === 'st1')).to.equal(true)
      expect((await rig.call('legList', { volume: 'w_1' })).length).to.equal(6)
    })

    it('refuses to look for what is not there', async () => {
      const refused = async (work: Promise<unknown>): Promise<string> => work.then(() => 'done', (thrown: unknown) => (thrown as Fault).fault)
      expect(await refused(rig.call('legList', { volume: 'nope' }))).to.equal('unknown volume')
      expect(await refused(rig.call('segmentList', { disk: 'nope' }))).to.equal('unknown disk')
      expect(await refused(rig.call('segmentList', { after: 'nope' }))).to.equal('bad parameter')
      expect(await refused(rig.call('jobList', { after: 'nope' }))).to.equal('unknown job')
      expect(await refused(rig.call('volumeList', { limit: 1001 }))).to.equal('bad parameter')
    })

    it('is asked for to its end by who wants it whole', async () => {
      let asked = 0
      const page = (from: number, count: number): never => Array.from({ length: count }, (_, at) => ({ name: `n${from + at}` })) as never
      const rows = await everyRow('volumeList', {}, ({ after }) => { asked += 1; return Promise.resolve(after === undefined ? page(0, 1000) : after === 'n999' ? page(1000, 1000) : page(2000, 5)) })
      expect([asked, rows.length]).to.deep.equal([3, 2005])
    })
  })

  describe('a call that does not wait', () => {
    it('is answered when the work is written down, and the same request can wait for it after all', async () => {
      const client = rig.client('operator')
      const asked = { name: 'hasty', bytes: '1048576', redundancy: 2, request: 'hasty-0001' }
      const begun = await client.call('vsky.volume.create', [{ ...asked, wait: false }]) as { readonly state: string }
      expect(begun.state).to.be.oneOf(['creating', 'detached'])
      expect(await client.call('vsky.volume.create', [asked])).to.include({ name: 'hasty', state: 'detached' })
    })
  })
})
