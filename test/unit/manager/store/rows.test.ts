import { expect } from 'chai'
import fc from 'fast-check'
import { Fault } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import { systemRandom } from '../../../../lib/host/random.js'
import type { HostRow } from '../../../../manager/state/rows.js'
import { DbError } from '../../../../manager/store/db.js'
import type { Db, Tx } from '../../../../manager/store/db.js'
import { eventsAfter, pruneEvents } from '../../../../manager/store/events.js'
import { addDisk, allDisks, findDisk, findHost, lostDisks, putHost, removeDisk, rotateSecret, setDiskDuty, setDiskState } from '../../../../manager/store/hosts.js'
import { aboutsOpen, doomRequest, findRequest, finishRequest, openRequest, openRequestAbout, pruneRequests, requestDoomed } from '../../../../manager/store/requests.js'
import { migrate } from '../../../../manager/store/schema.js'
import { EpochLost, staleEpoch, takeOver } from '../../../../manager/store/store.js'
import type { Store } from '../../../../manager/store/store.js'
import {
  addExtent, addSegment, addVolume, dropExtents, droppingOnHost, extentsOf, extentsOnHost, findVolume, hostsDropping, raiseGeneration, removeExtent, removeVolume, segmentsOf, updateVolume,
} from '../../../../manager/store/volumes.js'
import { failureOf, onEachEngine } from '../../../support/engines.js'

const ports = { clock: systemClock, random: systemRandom }
const MIB = 1024n ** 2n
const host = (name: string, more: Partial<HostRow> = {}): HostRow => ({
  name, roles: ['storage'], zone: '', address: `${name}:1`, dataAddresses: [], initiator: '', version: '', bootId: '', incarnation: '', chapUser: 'u', chapPassword: 'p', duty: 'use', ...more,
})
const extent = (id: string, name = 'st1', more: { segment?: number; slot?: number } = {}): Parameters<typeof addExtent>[1] => ({ id, disk: `disk of ${name}`, host: name, volume: 'v1', segment: 0, slot: 0, bytes: 4n * MIB, ...more })
const told = (name: string): { kind: string; about: 'volume'; name: string; text: string } => ({ kind: 'told', about: 'volume', name, text: '' })

async function addServer(tx: Tx, name: string): Promise<void> {
  await putHost(tx, host(name))
  await addDisk(tx, { id: `disk of ${name}`, host: name, device: '/dev/sdb', force: false })
}

onEachEngine('the store', (engine) => {
  let db: Db
  let store: Store
  beforeEach(async () => {
    db = await engine.fresh()
    await migrate(db)
    store = await takeOver(db, 'mgr1', ports)
  })

  it('counts what is used of each disk, tombstones too, and knows which disks are lost', async () => {
    await store.change(async (tx) => {
      for (const name of ['st1', 'st2', 'st3']) await addServer(tx, name)
      await addVolume(tx, { id: 'v1', name: 'v1', bytes: 8n * MIB, redundancy: 2, createdAt: 0 })
      await addExtent(tx, extent('a'), 'allocated')
      await addExtent(tx, extent('b', 'st1', { segment: 1 }), 'allocated')
      await addExtent(tx, extent('c', 'st2', { slot: 1 }), 'allocated')
      await dropExtents(tx, 'v1')
      await setDiskState(tx, 'disk of st2', 'missing', '')
      await setDiskDuty(tx, 'disk of st3', 'failed')
    })
    expect((await allDisks(db)).map((disk) => [disk.host, disk.usedBytes, disk.extents])).to.deep.equal([['st1', 8n * MIB, 2], ['st2', 4n * MIB, 1], ['st3', 0n, 0]])
    expect([...await lostDisks(db)].sort()).to.deep.equal(['disk of st2', 'disk of st3'])
    expect([[...await lostDisks(db, 'st2')], [...await lostDisks(db, 'st1')]]).to.deep.equal([['disk of st2'], []])
  })

  it('counts no extent that is gone, nor one whose change was not committed', async () => {
    await store.change(async (tx) => {
      await addServer(tx, 'st1')
      await addVolume(tx, { id: 'v1', name: 'v1', bytes: 8n * MIB, redundancy: 2, createdAt: 0 })
      for (const id of ['a', 'b', 'c']) await addExtent(tx, extent(id), 'allocated')
      await dropExtents(tx, 'v1')
      await removeExtent(tx, 'a')
    })
    await failureOf(store.change(async (tx) => {
      await addExtent(tx, extent('d'), 'allocated')
      await removeExtent(tx, 'b')
      throw new Error('power failure')
    }))
    expect((await allDisks(db)).map((disk) => [disk.usedBytes, disk.extents])).to.deep.equal([[8n * MIB, 2]])
  })

  describe('in the hands of two managers', () => {
    it('takes no change of the older one, and does not even begin its work', async () => {
      const newer = await takeOver(db, 'mgr2', ports)
      let begun = false
      const failure = await failureOf(store.change(async (tx) => {
        begun = true
        await putHost(tx, host('st1'))
      }))
      expect(failure).to.be.instanceOf(EpochLost)
      expect(String(failure)).to.contain(`epoch ${store.epoch} is over: mgr2 has epoch ${newer.epoch}`)
      expect([begun, await findHost(db, 'st1')]).to.deep.equal([false, undefined])
    })

    it('tells a manager of the same name apart: a restarted one is a newer one', async () => {
      const restarted = await takeOver(db, 'mgr1', ports)
      expect(await failureOf(store.change(() => Promise.resolve()))).to.be.instanceOf(EpochLost)
      await restarted.change((tx) => tx.event(told('a')))
    })

    it('gives epochs that only grow', async () => {
      const epochs = [store.epoch]
      for (let times = 0; times < 3; times += 1) epochs.push((await takeOver(db, 'mgr1', ports)).epoch)
      expect(epochs).to.deep.equal([1, 2, 3, 4])
    })

    it('lets the older one read on', async () => {
      await takeOver(db, 'mgr2', ports)
      expect(await eventsAfter(store.read, 0, 10)).to.deep.equal([])
    })

    for (const [what, sql] of Object.entries({ 'of another incarnation': `update lease set incarnation = 'x'`, 'of another epoch': 'update lease set epoch = epoch + 1' })) {
      it(`refuses a change under a lease ${what}, be all else equal`, async () => {
        await db.tx((tx) => tx.run(sql))
        expect(await failureOf(store.change(() => Promise.resolve()))).to.be.instanceOf(EpochLost)
      })
    }

    it('refuses everybody when the lease is gone', async () => {
      await db.tx((tx) => tx.run('delete from lease'))
      expect(String(await failureOf(store.change(() => Promise.resolve())))).to.contain('the lease is gone')
    })

    it('answers callers of the older one with "not active"', () => {
      expect(staleEpoch(new EpochLost('over'))).to.be.instanceOf(Fault).and.to.have.property('fault', 'not active')
    })
  })

  describe('and those who wait for a change', () => {
    const never = (): Promise<void> => store.nextChange(60_000, AbortSignal.timeout(9_000))

    it('wakes all of them after the commit', async () => {
      const waiting = Promise.all([never(), never()])
      await store.change((tx) => tx.event(told('a')))
      await waiting
      expect(await eventsAfter(db, 0, 10)).to.have.length(1)
    })

    it('does not wake them for a change that was refused', async () => {
      let woken = false
      const stop = new AbortController()
      const waiting = store.nextChange(60_000, stop.signal).then(() => { woken = true })
      await failureOf(store.change(() => Promise.reject(new Error('no'))))
      await new Promise((resolve) => setImmediate(resolve))
      expect(woken).to.equal(false)
      stop.abort()
      await waiting
    })

    it('lets them go after their time', async () => {
      await store.nextChange(1)
    })
  })

  describe('and its events', () => {
    it('are numbered in order without a gap, also when changes come all at once and some fail', async () => {
      await Promise.allSettled(Array.from({ length: 20 }, (_, index) => store.change(async (tx) => {
        await tx.event(told(`${index}`))
        if (index % 3 === 0) throw new Error('no')
      })))
      const events = await eventsAfter(db, 0, 100)
      expect(events.map((event) => event.seq)).to.deep.equal(events.map((_, index) => index + 1))
      expect(events.map((event) => Number(event.name))).to.deep.equal(Array.from({ length: 20 }, (_, index) => index).filter((index) => index % 3 !== 0))
    })

    it('are read from where the reader was, and no more than it asked for', async () => {
      await store.change(async (tx) => { for (const name of ['a', 'b', 'c', 'd']) await tx.event(told(name)) })
      expect((await eventsAfter(db, 1, 2)).map((event) => event.name)).to.deep.equal(['b', 'c'])
      expect(await eventsAfter(db, 4, 2)).to.deep.equal([])
    })

    it('keep their numbers when the old ones are forgotten, even all but one', async () => {
      await store.change(async (tx) => { for (const name of ['a', 'b', 'c', 'd']) await tx.event(told(name)) })
      await store.change((tx) => pruneEvents(tx, 0))
      await store.change((tx) => tx.event(told('e')))
      expect((await eventsAfter(db, 0, 10)).map((event) => event.seq)).to.deep.equal([4, 5])
    })
  })

  describe('and its requests', () => {
    const open = (id: string, about: string, nowMs = 1): Promise<void> => store.change((tx) => openRequest(tx, { id, method: 'm', digest: 'd', about, nowMs }))
    const outcome = async (id: string): Promise<unknown> => (await findRequest(db, id))?.outcome

    it('are found again by the id of the caller, with method and digest, so that a repeated call joins', async () => {
      await open('r1', 'v1')
      expect(await findRequest(db, 'r1')).to.deep.equal({ id: 'r1', method: 'm', digest: 'd', about: 'v1', outcome: { state: 'open' } })
      expect(await findRequest(db, 'r2')).to.equal(undefined)
    })

    it('can\'t be opened twice under one id', async () => {
      await open('r1', 'v1')
      expect(await failureOf(open('r1', 'v2'))).to.be.instanceOf(DbError).and.to.have.property('kind', 'unique')
    })

    it('are done when their work is finished, and are then no longer open', async () => {
      await open('r1', 'v1')
      expect([await openRequestAbout(db, 'v1'), await aboutsOpen(db)]).to.deep.equal(['r1', ['v1']])
      await store.change((tx) => finishRequest(tx, 'v1'))
      expect(await outcome('r1')).to.deep.equal({ state: 'done' })
      expect([await openRequestAbout(db, 'v1'), await aboutsOpen(db)]).to.deep.equal([undefined, []])
    })

    it('stay open while they are doomed, until what they left has been cleaned up', async () => {
      await open('r1', 'v1')
      await store.change((tx) => doomRequest(tx, 'v1', new Fault('no room', 'full')))
      expect([await outcome('r1'), await requestDoomed(db, 'v1')]).to.deep.equal([{ state: 'open' }, true])
      await store.change((tx) => finishRequest(tx, 'v1'))
      expect([await outcome('r1'), await requestDoomed(db, 'v1')]).to.deep.equal([{ state: 'failed', fault: 'no room', message: 'full' }, false])
    })

    it('fail with the reason that is given at their end', async () => {
      await open('r1', 'v1')
      await store.change((tx) => finishRequest(tx, 'v1', new Fault('host offline', 'silent')))
      expect(await outcome('r1')).to.deep.equal({ state: 'failed', fault: 'host offline', message: 'silent' })
    })

    it('keep the outcome that they had when another one about the same object ends', async () => {
      await open('r1', 'v1')
      await store.change((tx) => finishRequest(tx, 'v1'))
      await open('r2', 'v1')
      await store.change((tx) => finishRequest(tx, 'v1', new Fault('no room', 'full')))
      expect(await outcome('r1')).to.deep.equal({ state: 'done' })
    })

    it('do not touch those about other objects', async () => {
      await open('r1', 'v1')
      await open('r2', 'v2')
      await store.change((tx) => doomRequest(tx, 'v1', new Fault('no room', 'full')))
      await store.change((tx) => finishRequest(tx, 'v1'))
      expect([await outcome('r2'), await requestDoomed(db, 'v2')]).to.deep.equal([{ state: 'open' }, false])
    })

    it('are forgotten when they are old and finished, never while they are open', async () => {
      await open('r1', 'v1', 10)
      await open('r2', 'v2', 10)
      await open('r3', 'v3', 20)
      await store.change(async (tx) => { for (const about of ['v2', 'v3']) await finishRequest(tx, about) })
      expect(await store.change((tx) => pruneRequests(tx, 20))).to.equal(1)
      expect([await outcome('r1'), await outcome('r2'), await outcome('r3')]).to.deep.equal([{ state: 'open' }, undefined, { state: 'done' }])
    })

    it('with a fault that this program does not know are told as internal errors', async () => {
      await open('r1', 'v1')
      await db.tx((tx) => tx.run(`update requests set state = 'failed', fault = 'toString', message = 'm'`))
      expect(await outcome('r1')).to.deep.equal({ state: 'failed', fault: 'internal error', message: 'm' })
    })
  })

  describe('and its volumes', () => {
    beforeEach(async () => {
      await store.change(async (tx) => {
        await addServer(tx, 'st1')
        await addServer(tx, 'st2')
        await addVolume(tx, { id: 'v1', name: 'disk1', bytes: 5n * MIB, redundancy: 2, createdAt: 1 })
        await addSegment(tx, { volume: 'v1', index: 0, offset: 0n, bytes: 5n * MIB, generation: 1 })
      })
    })

    it('begin as creating, with no head', async () => {
      expect(await findVolume(db, 'disk1')).to.deep.include({ id: 'v1', bytes: 5n * MIB, phase: 'creating', head: '', attachEpoch: 0 })
    })

    it('have names that no two share', async () => {
      const twin = store.change((tx) => addVolume(tx, { id: 'v2', name: 'disk1', bytes: MIB, redundancy: 1, createdAt: 1 }))
      expect(await failureOf(twin)).to.be.instanceOf(DbError).and.to.have.property('kind', 'unique')
    })

    it('change only in what is named', async () => {
      const before = await findVolume(db, 'disk1')
      await store.change((tx) => updateVolume(tx, 'v1', { phase: 'attached', head: 'hd1' }))
      expect(await findVolume(db, 'disk1')).to.deep.equal({ ...before, phase: 'attached', head: 'hd1' })
      await store.change((tx) => updateVolume(tx, 'v1', {}))
      expect(await findVolume(db, 'disk1')).to.deep.include({ phase: 'attached' })
    })

    it('have a generation for each segment, raised by one', async () => {
      await store.change((tx) => raiseGeneration(tx, 'v1', 0))
      expect((await segmentsOf(db, 'v1')).map((segment) => segment.generation)).to.deep.equal([2])
    })

    it('leave their extents behind as tombstones, until the server has confirmed', async () => {
      await store.change(async (tx) => {
        await addExtent(tx, extent('e1', 'st1'), 'insync')
        await addExtent(tx, extent('e2', 'st2', { slot: 1 }), 'insync')
        await dropExtents(tx, 'v1')
        await removeVolume(tx, 'v1')
      })
      expect([await findVolume(db, 'disk1'), await segmentsOf(db, 'v1'), await extentsOf(db, 'v1')]).to.deep.equal([undefined, [], []])
      expect(await hostsDropping(db, 'v1')).to.deep.equal(['st1', 'st2'])
      await store.change((tx) => removeExtent(tx, 'e1'))
      expect([await droppingOnHost(db, 'st1'), await hostsDropping(db, 'v1')]).to.deep.equal([[], ['st2']])
    })

    it('lose no extent that is not a tombstone', async () => {
      await store.change((tx) => addExtent(tx, extent('e1'), 'insync'))
      await store.change((tx) => removeExtent(tx, 'e1'))
      expect(await extentsOf(db, 'v1')).to.have.length(1)
    })

    it('hold their disks: one with extents can\'t be removed, nor is a tombstone\'s room free', async () => {
      await store.change((tx) => addExtent(tx, extent('e1'), 'insync'))
      await store.change((tx) => dropExtents(tx, 'v1'))
      expect((await findDisk(db, 'disk of st1'))?.usedBytes).to.equal(4n * MIB)
      expect(await failureOf(store.change((tx) => removeDisk(tx, 'disk of st1')))).to.be.instanceOf(DbError).and.to.have.property('kind', 'foreign key')
    })

    it('have LUNs of their own on each server', async () => {
      await store.change(async (tx) => { for (const [id, name] of [['e1', 'st1'], ['e2', 'st2'], ['e3', 'st1']] as const) await addExtent(tx, extent(id, name), 'allocated') })
      expect((await extentsOnHost(db, 'st1')).map((each) => each.lun)).to.have.members([1, 2])
      expect((await extentsOnHost(db, 'st2')).map((each) => each.lun)).to.deep.equal([1])
    })

    it('always take the lowest LUN that is free, whatever came and went', async () => {
      await fc.assert(fc.asyncProperty(fc.array(fc.option(fc.nat(9)), { maxLength: 16 }), async (steps) => {
        await store.change(async (tx) => {
          await tx.run('delete from extents')
          const luns = new Map<string, number>()
          for (const [index, step] of steps.entries()) {
            const gone = step === null ? undefined : [...luns.keys()][step]
            if (gone !== undefined) {
              await tx.run(`update extents set state = 'dropping' where id = ?`, [gone])
              await removeExtent(tx, gone)
              luns.delete(gone)
              continue
            }
            await addExtent(tx, extent(`e${index}`), 'allocated')
            const taken = new Set(luns.values())
            luns.set(`e${index}`, Array.from({ length: 20 }, (_, lun) => lun + 1).find((lun) => !taken.has(lun)) ?? -1)
          }
          expect(new Map((await extentsOnHost(tx, 'st1')).map((each) => [each.id, each.lun]))).to.deep.equal(luns)
        })
      }), { numRuns: 50 })
    })
  })

  it('keeps the CHAP credentials of a host that registers again', async () => {
    await store.change((tx) => putHost(tx, host('st1')))
    await store.change((tx) => putHost(tx, host('st1', { zone: 'z', bootId: 'second', chapUser: 'other', chapPassword: 'other' })))
    expect(await findHost(db, 'st1')).to.deep.include({ zone: 'z', bootId: 'second', chapUser: 'u', chapPassword: 'p' })
  })

  it('gives a head another secret only when no volume is there, is copied there or is on its way there', async () => {
    const secretNow = async (): Promise<string | undefined> => (await findHost(db, 'hd1'))?.chapPassword
    await store.change(async (tx) => {
      for (const name of ['hd1', 'hd2']) await putHost(tx, host(name, { roles: ['head'] }))
      await addVolume(tx, { id: 'v1', name: 'v1', bytes: 8n * MIB, redundancy: 2, createdAt: 0 })
    })
    for (const there of [{ head: 'hd1' }, { head: '', copyHead: 'hd1' }, { head: 'hd2', copyHead: '', nextHead: 'hd1' }]) {
      await store.change((tx) => updateVolume(tx, 'v1', there))
      await store.change((tx) => rotateSecret(tx, 'hd1', 'new'))
      expect(await secretNow(), JSON.stringify(there)).to.equal('p')
    }
    await store.change((tx) => updateVolume(tx, 'v1', { nextHead: '' }))
    await store.change((tx) => rotateSecret(tx, 'hd1', 'new'))
    expect([await secretNow(), (await findHost(db, 'hd2'))?.chapPassword]).to.deep.equal(['new', 'p'])
  })

  it('finds a disk by its id and as HOST:DEVICE', async () => {
    await store.change((tx) => addServer(tx, 'st1'))
    expect((await findDisk(db, 'st1:/dev/sdb'))?.id).to.equal('disk of st1')
    expect((await findDisk(db, 'disk of st1'))?.device).to.equal('/dev/sdb')
    expect(await findDisk(db, 'st2:/dev/sdb')).to.equal(undefined)
  })
})
