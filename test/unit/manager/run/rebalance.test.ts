import { expect } from 'chai'
import type { JobView } from '../../../../lib/api/views.js'
import { must } from '../../../../lib/assert.js'
import { diskFail } from '../../../../manager/api/duties.js'
import { jobCancel, jobList } from '../../../../manager/api/jobs.js'
import { rebalanceApply, rebalancePlan } from '../../../../manager/api/rebalance.js'
import { settingSet } from '../../../../manager/api/settings.js'
import { volumeAttach, volumeCreate } from '../../../../manager/api/volumes.js'
import { Site } from '../../../support/site.js'

const GIB = 1024n ** 3n
const { signal } = new AbortController()

/** Three servers, each with a disk that is 60 % full with legs of 4 %, and a fourth that came later, with an empty one. */
async function grown({ attached = false } = {}): Promise<Site> {
  const site = await Site.start({ heads: 1, servers: 4, disks: 1, extentGib: 4 })
  await site.silence('st4')
  await volumeCreate(site.cluster, { name: 'vol', bytes: 22n * 4n * GIB, redundancy: 2, request: 'request-create' }, signal)
  if (attached) await volumeAttach(site.cluster, { volume: 'vol', host: 'hd1', request: 'request-attach' }, signal, { caller: { who: 'ann', role: 'operator' } })
  await site.back('st4')
  return site
}

const one = async (site: Site, sql: string): Promise<number> => Number(must(await site.cluster.store.read.get(sql), 'a row').n)
const moving = (site: Site): Promise<number> => one(site, `select count(*) as n from extents where moving = 1 and state <> 'dropping'`)
const onNew = (site: Site): Promise<number> => one(site, `select count(*) as n from extents where host = 'st4' and state <> 'dropping'`)
const job = async (site: Site): Promise<JobView> => must((await jobList(site.cluster, { work: 'rebalance' }))[0], 'there is a rebalance')

/** As many good legs as were asked for, on as many servers, of each segment; and no leg too many when nothing is under way. */
async function expectWhole(site: Site, legs?: number): Promise<void> {
  for (const row of await site.cluster.store.read.all(`select segment, count(*) as legs, count(distinct host) as hosts from extents where state <> 'dropping' and leg = 'insync' group by segment`)) {
    expect([row.legs, row.hosts]).to.deep.equal([2, 2])
  }
  if (legs !== undefined) expect(await one(site, `select count(*) as n from extents where state <> 'dropping'`)).to.equal(legs)
}

/** Copies end, one after the other, until the rebalance has; all segments are whole all the time. */
async function play(site: Site, rounds = 60): Promise<JobView> {
  for (let round = 0; round < rounds && (await job(site)).endedAt === 0; round += 1) {
    await expectWhole(site)
    await site.endCopies()
  }
  await site.advance(5000)
  return job(site)
}

describe('a rebalance', function () {
  this.timeout(120_000)

  for (const attached of [false, true]) {
    it(`moves legs of ${attached ? 'an attached' : 'a detached'} volume until the disks are equally full, a few at a time, with all segments whole all the time`, async () => {
      const site = await grown({ attached })
      const plan = await rebalancePlan(site.cluster)
      expect([plan.balanced, plan.complete, plan.before.emptiest, plan.after.fullest.perMille - plan.after.emptiest.perMille <= 50]).to.deep.equal([true, true, { disk: 'st4:/dev/sdb', perMille: 0 }, true])
      expect(plan.legs).to.be.within(9, 11)
      expect(plan.moves.every((each) => each.to === 'st4:/dev/sdb')).to.equal(true)
      expect(await moving(site), 'a plan changes nothing').to.equal(0)

      const begun = await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
      expect([begun.work, begun.kind, begun.name, begun.bytes]).to.deep.equal(['rebalance', 'evacuate', 'cluster', plan.bytes])
      await site.settle()
      expect(await moving(site), 'one is copied, one is made meanwhile').to.equal(2)
      expect((await job(site)).note).to.match(/^2 legs are on the way; st/)
      await site.endCopies()
      await site.endCopies()
      expect(Number((await job(site)).doneBytes)).to.be.greaterThan(0)

      const ended = await play(site)
      expect([ended.state, ended.note]).to.satisfy(([state, note]: readonly string[]) => state === 'done' && /, the fullest, is 4\d\.\d % full, .*, the emptiest, 4\d\.\d %$/.test(note ?? ''))
      expect(await onNew(site)).to.be.within(10, 11)
      expect([await moving(site), await one(site, 'select count(*) as n from segments where spare = 1')]).to.deep.equal([0, 0])
      await expectWhole(site, 44)
      expect((await rebalancePlan(site.cluster)).legs).to.equal(0)
      await site.stop()
    })
  }

  it('ends at once where nothing can get better, and says how full disks are', async () => {
    const site = await Site.start({ heads: 1, servers: 2 })
    await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
    await site.settle()
    const { state, note } = await job(site)
    expect([state, note]).to.deep.equal(['done', 'st1:/dev/sdb, the fullest, is 0.0 % full, st1:/dev/sdb, the emptiest, 0.0 %'])
    await site.stop()
  })

  it('joins the one that is under way', async () => {
    const site = await grown()
    const first = await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
    expect((await rebalanceApply(site.cluster, { request: 'request-again' }, signal)).id).to.equal(first.id)
    expect(await one(site, 'select count(*) as n from rebalances')).to.equal(1)
    await site.stop()
  })

  it('that is cancelled keeps what has arrived, takes back what is on its way, and begins nothing more', async () => {
    const site = await grown()
    const { id } = await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
    await site.settle()
    for (let round = 0; round < 3; round += 1) await site.endCopies()
    const there = await onNew(site)
    expect((await jobCancel(site.cluster, { job: id, request: 'request-cancel' }, signal)).state).to.equal('cancelled')
    for (let round = 0; round < 3; round += 1) await site.endCopies()
    expect(await moving(site)).to.equal(0)
    expect(await onNew(site)).to.be.within(1, there)
    await expectWhole(site, 44)
    await site.stop()
  })

  it('goes on under another manager', async () => {
    const site = await grown()
    await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
    await site.settle()
    await site.endCopies()
    await site.restart()
    expect((await play(site)).state).to.equal('done')
    expect(await onNew(site)).to.be.within(10, 11)
    await expectWhole(site, 44)
    await site.stop()
  })

  it('begins nothing while anything is not whole, and says so', async () => {
    const site = await grown()
    await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
    await site.settle()
    await diskFail(site.cluster, { disk: 'st3:/dev/sdb', request: 'request-fail' }, signal)
    await site.settle()
    const waits = await job(site)
    expect(waits.state).to.equal('waiting')
    expect(waits.note).to.match(/^waits: \d+ segments are not whole/)
    const before = await moving(site)
    for (let round = 0; round < 4; round += 1) {
      await site.endCopies()
      expect(await moving(site), 'nothing begins').to.be.at.most(before)
    }
    await site.stop()
  })

  it('begins no copy while copies are paused, and says so', async () => {
    const site = await grown()
    await settingSet(site.cluster, { name: 'resync.paused', value: 1, request: 'request-pause' }, signal)
    await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
    await site.advance(4000)
    expect([(await job(site)).note, await moving(site)]).to.deep.equal(['waits: copies are paused (resync.paused)', 0])
    await site.stop()
  })

  it('rests for a minute when a server can\'t make the new leg, and leaves the old one as it was', async () => {
    const site = await grown()
    site.refusals.set('st4 agent.extent.ensure', { fault: 'agent failed', text: 'no' })
    await rebalanceApply(site.cluster, { request: 'request-apply' }, signal)
    await site.advance(4000)
    expect([(await job(site)).note, await moving(site)]).to.deep.equal(['waits a minute: a new leg could not be made', 0])
    await expectWhole(site, 44)
    site.refusals.clear()
    await site.advance(90_000)
    expect(await moving(site)).to.equal(2)
    await site.stop()
  })
})
