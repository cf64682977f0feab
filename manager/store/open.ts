/** Opens the database that the configuration names, and brings it to this program's schema; or refuses, in one line. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../lib/faults.js'
import { numberOf, textOf } from './db.js'
import type { Db } from './db.js'
import { openPostgres } from './postgres.js'
import { describePostgres } from './postgres-target.js'
import type { PostgresTarget } from './postgres-target.js'
import { migrate } from './schema.js'
import { openSqlite } from './sqlite.js'

export type DatabaseTarget =
  /** Without a path: in the folder of the manager's state. */
  | { readonly engine: 'sqlite'; readonly path: string | undefined }
  | ({ readonly engine: 'postgres'; readonly unreplicated: boolean } & PostgresTarget)

/** A manager must not start on this database. */
export class DatabaseRefused extends Error {
  override readonly name = 'DatabaseRefused'
}

/**
 * `ahead`: all sessions for reads are opened at once. Throws DatabaseRefused: it can't be reached, is of a newer program, would lose what it
 * commits, or is known to be older than the cluster.
 */
export async function openDatabase({ database, stateDir }: { readonly database: DatabaseTarget; readonly stateDir: string }, { ahead = false } = {}): Promise<Db> {
  const place = database.engine === 'sqlite' ? database.path ?? join(stateDir, 'manager.db') : describePostgres(database)
  let db: Db | undefined
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    db = database.engine === 'sqlite' ? await openSqlite(place) : await openPostgres(database, { unreplicated: database.unreplicated, ahead })
    await migrate(db)
    const older = await knownOlder(db)
    if (older !== undefined) throw new Error(older)
    return db
  } catch (thrown) {
    await db?.close().catch(() => undefined)
    throw new DatabaseRefused(`Cannot use the database (${place}): ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** A row beside the lease, so that every start sees it: with each one the epoch rises, and would pass the cluster's in the end. */
const OLDER = 'older than the cluster'

/** Remembers that an agent has seen a later epoch than this database ever had: what it says of legs may be wrong. */
export async function markOlder(db: Db, found: { readonly host: string; readonly seen: number; readonly nowMs: number }): Promise<void> {
  await db.tx((tx) => tx.run(`insert into lease (name, epoch, holder, incarnation, started_at) values (?, ?, ?, '', ?) on conflict (name) do nothing`, [OLDER, found.seen, found.host, found.nowMs]))
}

async function knownOlder(db: Db): Promise<string | undefined> {
  const row = await db.get('select epoch, holder from lease where name = ?', [OLDER])
  return row && olderText(numberOf(row, 'epoch'), textOf(row, 'holder'))
}

export function olderText(seen: number, host: string, own?: number): string {
  return `it is older than the cluster: ${host} has seen epoch ${seen}${own === undefined ? '' : `, this database is at ${own}`}; what it says of copies may be wrong. `
    + 'Start the manager on the newer database, or make an empty one and run "vsky-manager rebuild"'
}
