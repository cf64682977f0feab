/**
 * State as the manager uses it: every change is one transaction that first proves, inside itself, that this manager's epoch is
 * still the newest (design rule 4), and that carries its events with it: no change without its event, no event without its change.
 */
import { Fault } from '../../lib/faults.js'
import type { Clock, Random } from '../../lib/ports.js'
import { appendAudit, newestAudit } from './audit.js'
import type { AuditNote } from './audit.js'
import type { AuditAnchor } from '../../lib/audit.js'
import { numberOf, textOf } from './db.js'
import type { Db, Reader, Tx } from './db.js'

/** This manager is no longer the active one. Whatever it was doing must stop; nothing that it does can take effect any more. */
export class EpochLost extends Error {
  override readonly name = 'EpochLost'
}

export interface EventWritten {
  readonly kind: string
  readonly about: 'volume' | 'host' | 'disk' | 'manager'
  readonly name: string
  readonly text: string
}

export interface ChangeTx extends Tx {
  event(event: EventWritten): Promise<void>
  /** Appends an entry to the audit log; it is there if, and only if, this change is. */
  audit(note: AuditNote): Promise<void>
}

export interface StorePorts {
  readonly clock: Clock
  /** Told when the end of the audit log is not what this manager wrote last: nobody else may write it. */
  readonly onAuditChanged?: (expected: AuditAnchor, found: AuditAnchor) => void
}

export interface Store {
  readonly epoch: number
  /** For reads outside a transaction: a committed snapshot. */
  readonly read: Reader
  /** One change. Throws EpochLost when another manager has taken over. After the commit, waiters are woken. */
  change<T>(work: (tx: ChangeTx) => Promise<T>): Promise<T>
  /** Resolves at the next commit, or after `ms`, or when the signal aborts. */
  nextChange(ms: number, signal?: AbortSignal): Promise<void>
}

const LEASE = 'manager'

/** Takes the next epoch, whoever holds it. From here on every older manager's changes fail. */
export async function takeOver(db: Db, holder: string, { clock, random, ...others }: StorePorts & { readonly random: Random }): Promise<Store> {
  const incarnation = random.hex(8)
  const epoch = await newestEpoch(db) + 1
  if (!await claimEpoch(db, { epoch, incarnation }, holder, clock)) throw new EpochLost(`epoch ${epoch} is over before it began: another manager was faster`)
  return openStore(db, { epoch, incarnation }, { clock, ...others })
}

/** The highest epoch of the database; 0: there was none. */
export async function newestEpoch(db: Reader): Promise<number> {
  const row = await db.get('select epoch from lease where name = ?', [LEASE])
  return row ? numberOf(row, 'epoch') : 0
}

/** Makes an epoch the newest, where the lease that gave it is kept elsewhere. False when it is not newer: another holder was faster. */
export async function claimEpoch(db: Db, { epoch, incarnation }: { epoch: number; incarnation: string }, holder: string, clock: Clock): Promise<boolean> {
  return db.tx(async (tx) => {
    if (await newestEpoch(tx) >= epoch) return false
    await tx.run(
      'insert into lease (name, epoch, holder, incarnation, started_at) values (?, ?, ?, ?, ?) on conflict (name) do update set '
        + 'epoch = excluded.epoch, holder = excluded.holder, incarnation = excluded.incarnation, started_at = excluded.started_at',
      [LEASE, epoch, holder, incarnation, clock.nowMs()],
    )
    await tx.run('insert into lease_beat (name, beat) values (?, 0) on conflict (name) do update set beat = lease_beat.beat + 1', [LEASE])
    return true
  })
}

/** State as the holder of this epoch changes it. */
export function openStore(db: Db, { epoch, incarnation }: { epoch: number; incarnation: string }, { clock, onAuditChanged }: StorePorts): Store {
  const waiters = new Set<() => void>()
  /** What this manager wrote last into the audit log; undefined while it is not known. */
  let auditEnd: AuditAnchor | undefined
  return {
    epoch,
    read: db,
    async change(work) {
      let appended: AuditAnchor | undefined
      const result = await db.tx(async (tx) => {
        appended = undefined // an engine may run it again
        const row = await tx.get(`select epoch, holder, incarnation from lease where name = ?${tx.forShare}`, [LEASE])
        if (!row || numberOf(row, 'epoch') !== epoch || textOf(row, 'incarnation') !== incarnation) {
          throw new EpochLost(`epoch ${epoch} is over: ${row ? `${textOf(row, 'holder')} has epoch ${numberOf(row, 'epoch')}` : 'the lease is gone'}`)
        }
        return work({
          ...tx,
          async event({ kind, about, name, text }) {
            await tx.run('insert into events (seq, at_ms, kind, about, name, text) values ((select coalesce(max(seq), 0) + 1 from events), ?, ?, ?, ?, ?)',
              [clock.nowMs(), kind, about, name, text])
          },
          async audit(note) {
            const now = { atMs: clock.nowMs(), epoch }
            if (!appended) {
              appended = await newestAudit(tx)
              if (auditEnd && (auditEnd.seq !== appended.seq || auditEnd.hash !== appended.hash)) {
                onAuditChanged?.(auditEnd, appended)
                appended = await appendAudit(tx, { kind: 'alarm', params: JSON.stringify({ expected: auditEnd, found: appended }) }, now, appended)
              }
            }
            appended = await appendAudit(tx, note, now, appended)
          },
        })
      }).catch((thrown: unknown) => {
        if (appended) auditEnd = undefined // the commit may have taken effect all the same
        throw thrown
      })
      auditEnd = appended ?? auditEnd
      for (const wake of [...waiters]) wake()
      return result
    },
    nextChange(ms, signal) {
      return new Promise((resolve) => {
        const stop = new AbortController()
        const done = (): void => {
          waiters.delete(done)
          stop.abort()
          resolve()
        }
        waiters.add(done)
        if (signal?.aborted === true) {
          done()
          return
        }
        signal?.addEventListener('abort', done, { once: true, signal: stop.signal })
        clock.sleep(ms, stop.signal).then(done, () => undefined)
      })
    },
  }
}

/** A lost epoch, told to a caller as the fault that it is. */
export function staleEpoch(lost: EpochLost): Fault {
  return new Fault('not active', lost.message, { cause: lost })
}
