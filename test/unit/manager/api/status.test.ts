import { expect } from 'chai'
import { status } from '../../../../manager/api/status.js'
import { countReadError } from '../../../../manager/store/hosts.js'
import { addJob, startJob } from '../../../../manager/store/jobs.js'
import { addExtent, addSegment, addVolume, removeVolume, setExtentReady, setLeg, updateVolume } from '../../../../manager/store/volumes.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

const MIB = 1024n * 1024n
const MANY = 450

describe('the state of a cluster in which much is wrong', function () {
  this.timeout(30_000)
  let rig: ManagerRig
  before(async function () {
    this.timeout(30_000)
    rig = await startManager({ servers: 3, volumes: 1 })
    const disks = await rig.call('diskList', {})
    await rig.db.tx(async (tx) => { // not through the cluster, which would begin to put it right
      for (let at = 0; at < MANY; at += 1) {
        const [id, name] = [`f${at.toString(16).padStart(31, '0')}`, `many${String(at).padStart(3, '0')}`]
        await addVolume(tx, { id, name, bytes: 4n * MIB, redundancy: 2, createdAt: 1 })
        await updateVolume(tx, id, { phase: 'detached' })
        await addSegment(tx, { volume: id, index: 0, offset: 0n, bytes: 4n * MIB, generation: 1 })
        for (const [slot, host] of (['st1', 'st2'] as const).entries()) {
          const extent = `${slot === 0 ? 'a' : 'b'}${at.toString(16).padStart(31, '0')}`
          await addExtent(tx, { id: extent, disk: disks.find((disk) => disk.host === host)?.id ?? '', host, volume: id, segment: 0, slot, bytes: 4n * MIB }, 'insync')
          await setExtentReady(tx, extent)
          if (slot === 1 && at < MANY - 50) await setLeg(tx, extent, 'stale', 1)
        }
        if (at >= MANY - 50) continue
        await addJob(tx, { id: `job${at}`, kind: 'resync', about: id, name, segment: 0, note: '', bytes: 4n * MIB, createdAt: at })
        if (at >= 300) await startJob(tx, 'resync', id, 0, '', at)
      }
    })
  })
  after(async () => { await rig.stop() })

  it('is looked at once for all who come while somebody looks, and what they are told is not from before they came', async () => {
    const first = status(rig.cluster)
    await rig.db.tx(async (tx) => {
      await addVolume(tx, { id: 'e'.repeat(32), name: 'late', bytes: 4n * MIB, redundancy: 2, createdAt: 1 })
      await updateVolume(tx, 'e'.repeat(32), { phase: 'detached' })
    })
    const [one, two, three] = await Promise.all([first, status(rig.cluster), status(rig.cluster)])
    await rig.db.tx((tx) => removeVolume(tx, 'e'.repeat(32)))
    expect([two === three, two.volumes, one === two]).to.deep.equal([true, MANY + 2, false])
    expect((await status(rig.cluster)).volumes, 'the next time').to.equal(MANY + 1)
  })

  it('names every volume that is not whole, and none that is', async () => {
    const { verdict, degraded, oneCopy, unavailable, volumes } = await rig.call('status', {})
    expect([verdict, degraded.length, oneCopy.length, unavailable.length, volumes]).to.deep.equal(['at risk', MANY - 50, MANY - 50, 0, MANY + 1])
    expect([...degraded].sort()[0]).to.equal('many000')
    expect([...degraded].sort().at(-1)).to.equal('many399')
  })

  it('tells the first reasons and jobs one by one, and how many more there are', async () => {
    const { reasons, jobs } = await rig.call('status', {})
    expect(reasons.slice(199)).to.deep.equal(['… and 201 more like these', '400 jobs are open, those that are told are the first: vsky job list'])
    expect(reasons.every((reason, at) => at >= 199 || /^many\d{3}: 1 of 1 segments have fewer than 2 good legs$/.test(reason))).to.equal(true)
    expect(jobs.map((job) => job.state)).to.deep.equal([...Array.from({ length: 100 }, () => 'running'), ...Array.from({ length: 100 }, () => 'waiting')])
    expect([jobs[0]?.name, jobs[100]?.name]).to.deep.equal(['many300', 'many000'])
  })

  it('a drain of a server is planned over all its legs, each with the ones beside it', async () => {
    const plan = await rig.call('hostDrainPlan', { host: 'st1' })
    const legs = await rig.call('legList', { host: 'st1', limit: 1000 })
    expect([plan.legs, plan.volumes.length, plan.problems]).to.deep.equal([legs.length, new Set(legs.map((leg) => leg.volume)).size, []])
    expect(plan.targets.find(({ host }) => host === 'st3')?.legs).to.be.at.least(MANY) // st2 has the other leg of each
    expect(plan.atRisk).to.have.length(MANY - 50)
  })

  it('says which disk has many read errors, until a person takes it into use again', async () => {
    const [disk] = await rig.call('diskList', { host: 'st3' })
    await rig.db.tx(async (tx) => { for (let at = 0; at < 200; at += 1) await countReadError(tx, disk?.id ?? '') })
    await rig.db.tx(async (tx) => { await tx.run(`update extents set disk = ?, host = 'st3', lun = 999 where id = ?`, [disk?.id ?? '', `b${'0'.repeat(31)}`]) })
    const told = async (): Promise<string | undefined> => (await rig.call('status', {})).reasons.find((reason) => reason.startsWith('st3:'))
    expect(await told()).to.equal('st3:/dev/sdb had 200 read errors: vsky disk evacuate st3:/dev/sdb')
    await rig.call('diskUse', { disk: 'st3:/dev/sdb' })
    expect(await told()).to.equal(undefined)
    expect((await rig.call('diskShow', { disk: 'st3:/dev/sdb' })).readErrors).to.equal(0)
    expect((await rig.call('eventList', { about: 'disk', newest: true, limit: 1 }))[0]?.text).to.equal('it is in use again; its 200 read errors count no more')
  })
})
