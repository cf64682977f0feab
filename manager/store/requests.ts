/**
 * Requests: what makes a repeated call harmless. The row is written in the transaction that records the intent; the same id again
 * finds it. Only outcomes of accepted work are kept: a call that was refused at once changed nothing and may be tried again.
 */
import { Fault, faults } from '../../lib/faults.js'
import type { FaultName } from '../../lib/faults.js'
import { textOf, wordOf } from './db.js'
import type { Reader, Tx } from './db.js'
import type { ChangeTx } from './store.js'

export interface RequestRow {
  readonly id: string
  readonly method: string
  /** SHA-256 of the parameters: the same id with others is another request. */
  readonly digest: string
  /** The id of the object that the work is about. */
  readonly about: string
  readonly outcome: { readonly state: 'open' } | { readonly state: 'done' } | { readonly state: 'failed'; readonly fault: FaultName; readonly message: string }
}

export async function findRequest(db: Reader, id: string): Promise<RequestRow | undefined> {
  const row = await db.get('select * from requests where id = ?', [id])
  if (!row) return undefined
  const state = wordOf(row, 'state', ['open', 'done', 'failed'])
  const fault = textOf(row, 'fault')
  return {
    id: textOf(row, 'id'),
    method: textOf(row, 'method'),
    digest: textOf(row, 'digest'),
    about: textOf(row, 'about'),
    outcome: state === 'failed'
      ? { state, fault: Object.hasOwn(faults, fault) ? fault as FaultName : 'internal error', message: textOf(row, 'message') }
      : { state },
  }
}

export async function openRequest(tx: Tx, request: { id: string; method: string; digest: string; about: string; nowMs: number }): Promise<void> {
  await tx.run(`insert into requests (id, method, digest, about, state, fault, message, created_at) values (?, ?, ?, ?, 'open', '', '', ?)`,
    [request.id, request.method, request.digest, request.about, request.nowMs])
}

/** The open request about an object, if any: there is at most one, for a second one finds the object busy. */
export async function openRequestAbout(db: Reader, about: string): Promise<string | undefined> {
  const row = await db.get(`select id from requests where about = ? and state = 'open'`, [about])
  return row && textOf(row, 'id')
}

/** Ids of objects with open requests. */
export async function aboutsOpen(db: Reader): Promise<readonly string[]> {
  return (await db.all(`select distinct about from requests where state = 'open'`)).map((row) => textOf(row, 'about'))
}

/** Decides that the open request about an object will fail; it is answered when what it left behind has been cleaned up. */
export async function doomRequest(tx: Tx, about: string, failure: Fault): Promise<void> {
  await tx.run(`update requests set fault = ?, message = ? where about = ? and state = 'open'`, [failure.fault, failure.message, about])
}

/** Ends the open request about an object: failed when `failure` is given or it was doomed before, else done. The audit log gets the outcome. */
export async function finishRequest(tx: ChangeTx, about: string, failure?: Fault): Promise<void> {
  if (failure) await doomRequest(tx, about, failure)
  const open = await tx.all(`select id, method, fault from requests where about = ? and state = 'open'`, [about])
  if (open.length === 0) return
  await tx.run(`update requests set state = case when fault = '' then 'done' else 'failed' end where about = ? and state = 'open'`, [about])
  for (const row of open) await tx.audit({ kind: 'outcome', method: textOf(row, 'method'), request: textOf(row, 'id'), result: textOf(row, 'fault') || 'ok' })
}

/** Done at once: nothing is left to do after the transaction. */
export async function finishRequestById(tx: Tx, id: string): Promise<void> {
  await tx.run(`update requests set state = 'done' where id = ?`, [id])
}

/** Forgets finished requests made before `beforeMs`. */
export async function pruneRequests(tx: Tx, beforeMs: number): Promise<number> {
  return tx.run(`delete from requests where state <> 'open' and created_at < ?`, [beforeMs])
}

/** Whether the open request about an object is bound to fail already. */
export async function requestDoomed(db: Reader, about: string): Promise<boolean> {
  return (await db.get(`select 1 as yes from requests where about = ? and state = 'open' and fault <> ''`, [about])) !== undefined
}
