/**
 * The lease in the database, where one transaction can prove it. Who holds it (row of `lease`) and that it lives (row of `lease_beat`)
 * are two rows: every change of state looks at the first, so a renewal must not write it. A taking compares and sets both in one
 * transaction. A renewal reads the first and writes the second: a taking in between makes one of the two fail or begin again.
 *
 * What an older release does not know (ttl, released, …) counts only when it was written by the holder itself: its incarnation stands beside it.
 */
import { numberOf, textOf } from '../store/db.js'
import type { Db, Reader, Row } from '../store/db.js'
import type { LeaseStore } from './store.js'
import { sameRecord, TTL_DEFAULT_MS } from './timeline.js'
import type { LeaseRecord } from './timeline.js'

const LEASE = 'manager'

const READ = 'select l.*, coalesce(b.beat, 0) as beat from lease l left join lease_beat b on b.name = l.name where l.name = ?'

function recordOf(row: Row): LeaseRecord {
  const known = textOf(row, 'written_by') === textOf(row, 'incarnation')
  const shared = { epoch: numberOf(row, 'epoch'), holder: textOf(row, 'holder'), incarnation: textOf(row, 'incarnation'), beat: numberOf(row, 'beat') }
  if (!known) return { ...shared, ttlMs: TTL_DEFAULT_MS, released: false, next: '', place: '', address: '' }
  return { ...shared, ttlMs: numberOf(row, 'ttl'), released: numberOf(row, 'released') === 1, next: textOf(row, 'next'), place: textOf(row, 'place'), address: textOf(row, 'address') }
}

async function read(db: Reader): Promise<LeaseRecord | undefined> {
  const row = await db.get(READ, [LEASE])
  return row && recordOf(row)
}

/** `nowMs` is the time of day, for people only. */
export function databaseLease(db: Db, nowMs: () => number): LeaseStore {
  return {
    read: () => read(db),
    take(seen, mine) {
      return db.tx(async (tx) => {
        if (!sameRecord(await read(tx), seen)) return false
        if (!seen) await tx.run('insert into lease (name, epoch, holder, incarnation, started_at) values (?, 0, ?, ?, 0) on conflict (name) do nothing', [LEASE, '', ''])
        const taken = await tx.run(
          'update lease set epoch = ?, holder = ?, incarnation = ?, started_at = ?, ttl = ?, released = 0, next = ?, place = ?, address = ?, written_by = ? where name = ? and epoch = ? and incarnation = ?',
          [mine.epoch, mine.holder, mine.incarnation, nowMs(), mine.ttlMs, '', mine.place, mine.address, mine.incarnation, LEASE, seen?.epoch ?? 0, seen?.incarnation ?? ''],
        )
        if (taken !== 1) return false
        await tx.run('insert into lease_beat (name, beat) values (?, ?) on conflict (name) do update set beat = excluded.beat', [LEASE, mine.beat])
        return true
      })
    },
    beat({ epoch, incarnation }) {
      return db.tx(async (tx) => {
        const now = await tx.get('select epoch, incarnation from lease where name = ?', [LEASE])
        if (!now || numberOf(now, 'epoch') !== epoch || textOf(now, 'incarnation') !== incarnation) return false
        return await tx.run('update lease_beat set beat = beat + 1 where name = ?', [LEASE]) === 1
      })
    },
    release({ epoch, incarnation }, next) {
      return db.tx(async (tx) => (await tx.run('update lease set released = 1, next = ? where name = ? and epoch = ? and incarnation = ?', [next, LEASE, epoch, incarnation])) === 1)
    },
    async close() { /* the database is closed by who opened it */ },
  }
}
