import { expect } from 'chai'
import { systemClock } from '../../../../lib/host/clock.js'
import { systemRandom } from '../../../../lib/host/random.js'
import type { HostRow } from '../../../../manager/state/rows.js'
import type { Db, Tx } from '../../../../manager/store/db.js'
import { addDisk, putHost } from '../../../../manager/store/hosts.js'
import { addJob, findJob, listJobs, openJobs, pruneJobs } from '../../../../manager/store/jobs.js'
import { addRebalance, countMoved, endRebalance, movableLegs, noteRebalance, openRebalance, setMoving, stopMoving, underWay } from '../../../../manager/store/rebalance.js'
import { migrate } from '../../../../manager/store/schema.js'
import { takeOver } from '../../../../manager/store/store.js'
import type { Store } from '../../../../manager/store/store.js'
import { addExtent, addVolume, dropExtent, setDoubt, setExtentReady, setLeg, updateVolume } from '../../../../manager/store/volumes.js'
import { onEachEngine } from '../../../support/engines.js'

const MIB = 1024n ** 2n
const host = (name: string): HostRow => ({
  name, roles: ['storage'], zone: '', address: `${name}:1`, dataAddresses: [], initiator: '', version: '', bootId: '', incarnation: '', chapUser: 'u', chapPassword: 'p', duty: 'use',
})

async function addLegs(tx: Tx, volume: string, redundancy: number, legs: readonly (readonly [id: string, disk: string])[]): Promise<void> {
  await addVolume(tx, { id: volume, name: volume, bytes: 4n * MIB, redundancy, createdAt: 0 })
  await updateVolume(tx, volume, { phase: 'detached' })
  for (const [slot, [id, disk]] of legs.entries()) {
    await addExtent(tx, { id, disk, host: disk.slice(0, 3), volume, segment: 0, slot, bytes: 4n * MIB }, 'insync')
    await setExtentReady(tx, id)
  }
}

onEachEngine('what is kept of a rebalance', (engine) => {
  let db: Db
  let store: Store
  beforeEach(async () => {
    db = await engine.fresh()
    await migrate(db)
    store = await takeOver(db, 'mgr1', { clock: systemClock, random: systemRandom })
    await store.change(async (tx) => {
      for (const name of ['st1', 'st2', 'st3']) {
        await putHost(tx, host(name))
        await addDisk(tx, { id: `${name} disk`, host: name, device: '/dev/sdb', force: false })
      }
      await addLegs(tx, 'v1', 2, [['a', 'st1 disk'], ['b', 'st2 disk']])
      await addLegs(tx, 'v2', 1, [['c', 'st1 disk']])
    })
  })
  const movable = async (...disks: readonly string[]): Promise<readonly string[]> => (await movableLegs(db, disks)).map((leg) => `${leg.extent}: ${leg.others.join()}`)

  it('is a job like others: open, counted, ended, forgotten', async () => {
    await store.change(async (tx) => {
      await addJob(tx, { id: 'j1', kind: 'evacuate', about: 'd', name: 'd', segment: 0, note: '', bytes: 1n, createdAt: 1 })
      await addRebalance(tx, { id: 'j2', note: 'begun', bytes: 9n, createdAt: 2 })
      await noteRebalance(tx, 'running', 'on the way', 5)
      await noteRebalance(tx, 'running', 'still', 6)
      await countMoved(tx, 4n)
    })
    expect((await openJobs(db)).map((job) => job.id)).to.deep.equal(['j1', 'j2'])
    expect(await openRebalance(db)).to.deep.equal({ id: 'j2', kind: 'rebalance', about: 'cluster', name: 'cluster', segment: 0, state: 'running', note: 'still', bytes: 9n, moved: 4n, createdAt: 2, startedAt: 5, endedAt: 0 })
    await store.change((tx) => endRebalance(tx, 'done', 'all is well', 7))
    expect(await openRebalance(db)).to.equal(undefined)
    expect((await listJobs(db, 5)).map((job) => [job.id, job.state])).to.deep.equal([['j1', 'waiting'], ['j2', 'done']])
    await store.change((tx) => countMoved(tx, 1n))
    expect((await findJob(db, 'j2'))?.moved).to.equal(4n)
    expect(await store.change((tx) => pruneJobs(tx, 8))).to.equal(1)
    expect(await findJob(db, 'j2')).to.equal(undefined)
  })

  it('when it ends, legs that are still good move no more; those that are given up already are counted to the end', async () => {
    await store.change(async (tx) => {
      await setMoving(tx, 'a', true)
      await setMoving(tx, 'b', true)
      await setLeg(tx, 'b', 'stale', 1)
      await addRebalance(tx, { id: 'j', note: '', bytes: 0n, createdAt: 1 })
    })
    expect((await underWay(db)).moves).to.equal(2)
    expect(await store.change((tx) => endRebalance(tx, 'cancelled', '', 2))).to.deep.equal(['v1'])
    expect((await underWay(db)).moves).to.equal(1)
    await store.change((tx) => stopMoving(tx, 'v1', 0))
    expect((await underWay(db)).moves).to.equal(0)
  })

  it('tells of each disk what will be gone from it, and how many legs on it are behind', async () => {
    await store.change(async (tx) => {
      await setMoving(tx, 'a', true)
      await setLeg(tx, 'b', 'stale', 1)
      await dropExtent(tx, 'c')
    })
    const { moves, leaving, dropping, behind } = await underWay(db)
    expect([moves, [...leaving], [...dropping], [...behind]]).to.deep.equal([1, [['st1 disk', 8n * MIB]], [['st1 disk', 4n * MIB]], [['st2 disk', 1]]])
  })

  it('a leg may move when all of its segment are good, none moves, and its volume is at rest', async () => {
    expect(await movable('st1 disk')).to.deep.equal(['a: st2', 'c: '])
    expect(await movable('st1 disk', 'st2 disk')).to.deep.equal(['a: st2', 'b: st1', 'c: '])
    expect(await movable()).to.deep.equal([])
    const obstacles: readonly (readonly [what: string, act: (tx: Tx) => Promise<void>, undo: (tx: Tx) => Promise<void>])[] = [
      ['the other is stale', (tx) => setLeg(tx, 'b', 'stale', 1), (tx) => setLeg(tx, 'b', 'insync')],
      ['the other moves', (tx) => setMoving(tx, 'b', true), (tx) => setMoving(tx, 'b', false)],
      ['it moves itself', (tx) => setMoving(tx, 'a', true), (tx) => setMoving(tx, 'a', false)],
      ['its volume is on its way', (tx) => updateVolume(tx, 'v1', { phase: 'attaching' }), (tx) => updateVolume(tx, 'v1', { phase: 'attached' })],
      ['it is being made anew', (tx) => addExtent(tx, { id: 'n', disk: 'st3 disk', host: 'st3', volume: 'v1', segment: 0, slot: 2, bytes: 4n * MIB }, 'allocated'), (tx) => dropExtent(tx, 'n')],
      ['the other is in doubt', (tx) => setDoubt(tx, 'b', 1), () => Promise.resolve()],
    ]
    for (const [what, act, undo] of obstacles) {
      await store.change(act)
      expect(await movable('st1 disk'), what).to.deep.equal(['c: '])
      await store.change(undo)
    }
  })
})
