import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import { systemRandom } from '../../../../lib/host/random.js'
import { DbError, numberOf } from '../../../../manager/store/db.js'
import type { Db } from '../../../../manager/store/db.js'
import { eventsAfter } from '../../../../manager/store/events.js'
import { addDisk, findDisk, putHost } from '../../../../manager/store/hosts.js'
import { findRequest, finishRequest, doomRequest, openRequest } from '../../../../manager/store/requests.js'
import { migrate } from '../../../../manager/store/schema.js'
import { EpochLost, takeOver } from '../../../../manager/store/store.js'
import { addExtent, dropExtent, extentsOnHost, removeExtent } from '../../../../manager/store/volumes.js'
import { failureOf as rejects, onEachEngine } from '../../../support/engines.js'

const ports = { clock: systemClock, random: systemRandom }

onEachEngine('the SQL door', (engine) => {
  let db: Db
  beforeEach(async () => {
    db = await engine.fresh()
    await migrate(db)
  })

  it('keeps two transactions apart: none loses the other\'s change', async () => {
    await db.tx((tx) => tx.run('create table counter (n integer not null)'))
    await db.tx((tx) => tx.run('insert into counter (n) values (0)'))
    await Promise.all(Array.from({ length: 50 }, () => db.tx(async (tx) => {
      const n = numberOf(await tx.get('select n from counter') ?? {}, 'n')
      await new Promise((resolve) => setImmediate(resolve))
      await tx.run('update counter set n = ?', [n + 1])
    })))
    expect(numberOf(await db.get('select n from counter') ?? {}, 'n')).to.equal(50)
  })

  it('leaves nothing of a transaction that throws', async () => {
    await rejects(db.tx(async (tx) => {
      await tx.run(`insert into requests (id, method, digest, about, state, fault, message, created_at) values ('r', 'm', 'd', 'a', 'open', '', '', 1)`)
      throw new Error('no')
    }))
    expect(await findRequest(db, 'r')).to.equal(undefined)
  })

  it('refuses what a driver would store as something else', async () => {
    for (const value of [1n, undefined, true, new Date(), {}, Number.NaN]) {
      expect(await rejects(db.tx((tx) => tx.run('delete from events where seq = ?', [value as never])))).to.be.instanceOf(TypeError)
    }
  })

  it('names the kind of a broken constraint', async () => {
    const orphan = db.tx((tx) => addDisk(tx, { id: 'd', host: 'nobody', device: '/dev/x', force: false }))
    expect(await rejects(orphan)).to.be.instanceOf(DbError).and.to.have.property('kind', 'foreign key')
  })

  it('takes back what a transaction began and did not wait for', async () => {
    await rejects(db.tx((tx) => {
      tx.run(`insert into requests (id, method, digest, about, state, fault, message, created_at) values ('r', 'm', 'd', 'a', 'open', '', '', 1)`).catch(() => undefined)
      return Promise.reject(new Error('no'))
    }))
    expect(await findRequest(db, 'r')).to.equal(undefined)
  })

  it('wakes a waiter at once whose caller has gone already', async () => {
    const store = await takeOver(db, 'mgr1', ports)
    const started = performance.now()
    await store.nextChange(5000, AbortSignal.abort())
    expect(performance.now() - started).to.be.lessThan(1000)
  })

  it('refuses a transaction that is used after its end', async () => {
    let escaped: (() => Promise<unknown>) | undefined
    await db.tx(async (tx) => {
      escaped = () => tx.run('delete from events')
      await Promise.resolve()
    })
    expect(await rejects((escaped ?? (() => Promise.resolve()))())).to.be.instanceOf(DbError)
  })

  it('migrates once, and refuses the database of a newer program', async () => {
    await migrate(db)
    await db.tx((tx) => tx.run(`insert into migrations (number, checksum) values (99, 'x')`))
    expect(String(await rejects(migrate(db)))).to.contain('start the newer release')
  })

  it('lets the older manager change nothing once a newer one has taken over', async () => {
    const older = await takeOver(db, 'mgr1', ports)
    const newer = await takeOver(db, 'mgr2', ports)
    const event = { kind: 'k', about: 'manager', name: 'n', text: 't' } as const
    expect(await rejects(older.change((tx) => tx.event(event)))).to.be.instanceOf(EpochLost)
    expect(await eventsAfter(db, 0, 10)).to.deep.equal([])
    await newer.change((tx) => tx.event(event))
    expect((await eventsAfter(db, 0, 10)).map((each) => each.seq)).to.deep.equal([1])
    expect(newer.epoch).to.equal(older.epoch + 1)
  })

  it('gives the lowest LUN that is free on a server, and keeps that of a tombstone', async () => {
    const store = await takeOver(db, 'mgr1', ports)
    const luns = async (): Promise<readonly number[]> => (await extentsOnHost(db, 'st1')).map((extent) => extent.lun).sort((a, b) => a - b)
    await store.change(async (tx) => {
      await putHost(tx, { name: 'st1', roles: ['storage'], zone: '', address: 'a:1', dataAddresses: [], initiator: '', version: '', bootId: '', incarnation: '', chapUser: '', chapPassword: '' })
      await addDisk(tx, { id: 'd', host: 'st1', device: '/dev/x', force: false })
      for (const id of ['e0', 'e1', 'e2']) await addExtent(tx, { id, disk: 'd', host: 'st1', volume: 'v', segment: 0, slot: Number(id[1]), bytes: 4194304n }, 'allocated')
    })
    expect(await luns()).to.deep.equal([1, 2, 3])
    await store.change((tx) => dropExtent(tx, 'e1'))
    await store.change((tx) => addExtent(tx, { id: 'e3', disk: 'd', host: 'st1', volume: 'v', segment: 1, slot: 0, bytes: 4194304n }, 'allocated'))
    expect(await luns()).to.deep.equal([1, 2, 3, 4])
    await store.change((tx) => removeExtent(tx, 'e1'))
    await store.change((tx) => addExtent(tx, { id: 'e4', disk: 'd', host: 'st1', volume: 'v', segment: 2, slot: 0, bytes: 4194304n }, 'allocated'))
    expect(await luns()).to.deep.equal([1, 2, 3, 4])
    expect((await findDisk(db, 'st1:/dev/x'))?.usedBytes).to.equal(4n * 4194304n)
  })

  it('ends a doomed request as failed, with its reason', async () => {
    await db.tx((tx) => openRequest(tx, { id: 'request1', method: 'm', digest: 'd', about: 'v', nowMs: 1 }))
    await db.tx((tx) => doomRequest(tx, 'v', new Fault('wrong device', 'not the one')))
    expect((await findRequest(db, 'request1'))?.outcome.state).to.equal('open')
    await (await takeOver(db, 'mgr1', ports)).change((tx) => finishRequest(tx, 'v'))
    expect((await findRequest(db, 'request1'))?.outcome).to.deep.equal({ state: 'failed', fault: 'wrong device', message: 'not the one' })
  })
})
