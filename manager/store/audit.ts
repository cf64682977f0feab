/**
 * The audit log as rows: appended in the transaction that makes the change, each entry with the hash of the one before (lib/audit.ts), read by pages,
 * cut at its old end. Numbers have no gap.
 */
import { NO_HASH, auditHash } from '../../lib/audit.js'
import type { AuditAnchor } from '../../lib/audit.js'
import type { AuditEntryView, AuditHeadView } from '../../lib/api/views.js'
import { numberOf, textOf } from './db.js'
import type { Reader, Row, SqlValue, Tx } from './db.js'

/** A migration: see schema.ts. */
export const auditTables: readonly string[] = [
  `create table audit (seq integer primary key, at_ms bigint not null, epoch bigint not null, kind text not null, who text not null, role text not null, proof text not null,
     peer text not null, door text not null, method text not null, params text not null, result text not null, request text not null, log_id text not null,
     previous text not null, hash text not null)`,
  // A rare name must not have to be looked for in the whole log: other reads would wait for that.
  `create index audit_by_who on audit (who, seq)`,
  `create index audit_by_method on audit (method, seq)`,
]

/** What a writer says of an entry; what it leaves out is empty. */
export type AuditNote = { readonly kind: 'call' | 'outcome' | 'refusals' | 'stranger' | 'cut' | 'alarm' } & Partial<Pick<AuditEntryView, 'who' | 'role' | 'proof' | 'peer' | 'door' | 'method' | 'params' | 'result' | 'request' | 'logId'>>

export interface AuditMoment {
  readonly atMs: number
  readonly epoch: number
}

const TEXT_MAX = 255
/** Characters of an entry's parameters. */
export const PARAMS_MAX = 4000

/** The newest entry; number 0 when there is none. */
export async function newestAudit(db: Reader): Promise<AuditAnchor> {
  const row = await db.get('select seq, hash from audit order by seq desc limit 1')
  return row ? { seq: numberOf(row, 'seq'), hash: textOf(row, 'hash') } : { seq: 0, hash: NO_HASH }
}

export async function auditHeadOf(db: Reader): Promise<AuditHeadView> {
  const row = await db.get('select seq, hash, (select min(seq) from audit) as first from audit order by seq desc limit 1')
  return row ? { seq: numberOf(row, 'seq'), hash: textOf(row, 'hash'), first: numberOf(row, 'first') } : { seq: 0, hash: NO_HASH, first: 0 }
}

/** Appends one entry behind `last`, which is the newest of this transaction. Gives the new newest. */
export async function appendAudit(tx: Tx, note: AuditNote, { atMs, epoch }: AuditMoment, last: AuditAnchor): Promise<AuditAnchor> {
  const { kind, who = '', role = '', proof = '', peer = '', door = '', method = '', params = '', result = '', request = '', logId = '' } = note
  const entry: Omit<AuditEntryView, 'hash'> = {
    seq: last.seq + 1, atMs, epoch, kind, who: whole(who), role: whole(role), proof: whole(proof), peer: whole(peer), door: whole(door), method: whole(method), params: whole(params, PARAMS_MAX),
    result: whole(result), request: whole(request), logId: whole(logId), previous: last.hash,
  }
  const hash = auditHash(entry)
  await tx.run(
    'insert into audit (seq, at_ms, epoch, kind, who, role, proof, peer, door, method, params, result, request, log_id, previous, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    [entry.seq, atMs, epoch, kind, entry.who, entry.role, entry.proof, entry.peer, entry.door, entry.method, entry.params, entry.result, entry.request, entry.logId, entry.previous, hash])
  return { seq: entry.seq, hash }
}

/** As every engine and every client keeps it: no half of a surrogate pair, no control character, not too long. */
function whole(text: string, max = TEXT_MAX): string {
  return Buffer.from(text.slice(0, max)).toString().replace(/[\0-\x1f\x7f\ufffe\uffff]/g, '?')
}

export interface AuditFilter {
  readonly who?: string | undefined
  readonly method?: string | undefined
  /** The last ones instead of the first. */
  readonly newest?: boolean | undefined
}

/** Oldest first. */
export async function auditAfter(db: Reader, after: number, limit: number, { who, method, newest = false }: AuditFilter = {}): Promise<readonly AuditEntryView[]> {
  const order = newest ? 'desc' : 'asc'
  const params: readonly SqlValue[] = [after, ...(who === undefined ? [] : [who]), ...(method === undefined ? [] : [method]), limit]
  // One text for each combination, so that each finds its index.
  const rows = await db.all(`select * from audit where seq > ?${who === undefined ? '' : ' and who = ?'}${method === undefined ? '' : ' and method = ?'} order by seq ${order} limit ?`, params)
  return (newest ? [...rows].reverse() : rows).map(auditEntryOf)
}

/** Whatever somebody else has put there is read as something whose hash does not fit, and does not stand in the way of reading the rest. */
export function auditEntryOf(row: Row): AuditEntryView {
  const text = (name: string, max?: number): string => (typeof row[name] === 'string' ? whole(row[name], max) : '')
  const number = (name: string): number => (typeof row[name] === 'number' && Number.isSafeInteger(row[name]) && row[name] >= 0 ? row[name] : 0)
  return {
    seq: number('seq'), atMs: number('at_ms'), epoch: number('epoch'), kind: text('kind'), who: text('who'), role: text('role'), proof: text('proof'), peer: text('peer'), door: text('door'),
    method: text('method'), params: text('params', PARAMS_MAX), result: text('result'), request: text('request'), logId: text('log_id'), previous: text('previous'), hash: text('hash'),
  }
}

export interface AuditKeep {
  /** Entries that are kept at least; a hundredth more may be there before the log is cut. */
  readonly entries: number
  /** Entries from before are removed; the log is cut when the oldest is a day older. */
  readonly fromMs: number
}

const DAY_MS = 86_400_000
/** Rows that one transaction removes at most, so that no change waits for long. */
const CUT_MAX = 5000

/** Removes the oldest entries, the entry that says so among what is kept. Gives how many; call again while it gives any. */
export async function cutAudit(tx: Tx & { audit(note: AuditNote): Promise<void> }, { entries, fromMs }: AuditKeep): Promise<number> {
  const ends = await tx.get('select min(seq) as first, max(seq) as last from audit')
  if (!ends || ends.first === null) return 0
  const [first, last] = [numberOf(ends, 'first'), numberOf(ends, 'last')]
  const tooMany = last - first + 1 > entries + Math.max(100, Math.floor(entries / 100)) ? last - entries : first - 1
  const oldest = await tx.all('select seq, at_ms, hash from audit order by seq limit ?', [CUT_MAX])
  const isOld = oldest.some((row) => numberOf(row, 'at_ms') < fromMs - DAY_MS)
  const young = oldest.findIndex((row) => numberOf(row, 'at_ms') >= fromMs)
  const tooOld = isOld ? first - 1 + (young < 0 ? oldest.length : young) : first - 1
  const through = Math.min(Math.max(tooMany, tooOld), first + CUT_MAX - 1)
  const end = oldest.findLast((row) => numberOf(row, 'seq') <= through)
  if (!end) return 0
  const said = { through: numberOf(end, 'seq'), hash: textOf(end, 'hash'), entries: numberOf(end, 'seq') - first + 1, untilMs: numberOf(end, 'at_ms') }
  await tx.audit({ kind: 'cut', params: JSON.stringify(said), result: 'ok' })
  return tx.run('delete from audit where seq <= ?', [said.through])
}
