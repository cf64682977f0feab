/**
 * A backup: the rows of all tables, as text that either engine writes and reads. One JSON document a line:
 *
 *     {"vsky":"backup","format":1,"schema":N,"epoch":N,"madeAt":MS}
 *     {"table":"hosts","row":{COLUMN:VALUE,…}}          as often as there are rows, tables in the order below
 *     {"end":true,"rows":{TABLE:COUNT,…},"sha256":"…"}  of all bytes before this line
 *
 * Values are texts, numbers and null. It holds CHAP passwords, and hashes of others: nobody else may read the file.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { syncDirectory } from '../../lib/host/files.js'
import { numberOf, textOf } from './db.js'
import type { Db, Reader, Row, SqlValue, Tx } from './db.js'
import { migrate, schemaVersion } from './schema.js'

/** Table → its key, in an order in which each row finds what it refers to. */
export const stateTables: Readonly<Record<string, string>> = {
  hosts: 'name', disks: 'id', volumes: 'id', segments: 'volume, idx', extents: 'id', requests: 'id', jobs: 'id', settings: 'name', events: 'seq',
  classic_counters: 'counter', classic_ids: 'counter, id', tokens: 'id', users: 'name', invitations: 'id', host_keys: 'host', audit: 'seq', rebalances: 'id', unreleased: 'head, volume',
}
/** What belongs to a database and not to the cluster, and what the database makes of the rest by itself. */
export const otherTables: readonly string[] = ['migrations', 'runs_from', 'lease', 'lease_beat', 'managers', 'vsky_marks', 'disk_use']

export interface BackupHead {
  readonly schema: number
  readonly epoch: number
  readonly madeAt: number
}

export class BackupRefused extends Error {
  override readonly name = 'BackupRefused'
}

const PAGE = 500

/** Of all tables that there are, by name. */
export type RowCounts = Readonly<Record<string, number>>

/** Writes it durably, beside the manager that goes on, and under its name only when it is whole. */
export async function writeBackup(db: Db, path: string, nowMs: number): Promise<RowCounts> {
  const part = `${path}.part`
  const file = await open(part, 'w', 0o600)
  try {
    const rows = await readOut(db, nowMs, (text) => file.writeFile(text)) // from where the last one ended
    await file.sync()
    await file.close()
    await rename(part, path)
    await syncDirectory(dirname(path))
    return rows
  } catch (thrown) {
    await file.close().catch(() => undefined)
    await rm(part, { force: true })
    throw thrown
  }
}

/** The text of a backup of this moment, a page of rows at a time: the next is read when `write` is done with the one before. Rejects with what `write` throws. */
export async function readOut(db: Db, nowMs: number, write: (text: string) => Promise<void>): Promise<RowCounts> {
  const hash = createHash('sha256')
  const rows: Record<string, number> = {}
  const tell = async (lines: readonly unknown[]): Promise<void> => {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('')
    hash.update(text)
    await write(text)
  }
  await db.snapshot(async (reader) => {
    const lease = await reader.get(`select epoch from lease where name = 'manager'`)
    const schema = numberOf(await reader.get('select count(*) as n from migrations') ?? {}, 'n')
    await tell([{ vsky: 'backup', format: 1, schema, epoch: lease ? numberOf(lease, 'epoch') : 0, madeAt: nowMs }])
    const there = await tablesOf(db, reader)
    for (const [table, key] of Object.entries(stateTables)) {
      if (!there.has(table)) continue // no manager of this release has run on it yet
      rows[table] = 0
      const alone = !key.includes(',') // an offset reads all that it leaves out: too slow for the long ones, and those have one column as their key
      let behind: SqlValue | undefined
      for (let at = 0; ; at += PAGE) {
        const page = alone && behind !== undefined
          ? await reader.all(`select * from ${table} where ${key} > ? order by ${key} limit ?`, [behind, PAGE])
          : await reader.all(`select * from ${table} order by ${key} limit ? offset ?`, [PAGE, alone ? 0 : at])
        behind = page.at(-1)?.[key] as SqlValue | undefined
        await tell(page.map((row) => ({ table, row })))
        rows[table] += page.length
        if (page.length < PAGE) break
      }
    }
  })
  await write(`${JSON.stringify({ end: true, rows, sha256: hash.digest('hex') })}\n`)
  return rows
}

async function tablesOf({ engine }: Db, reader: Reader): Promise<ReadonlySet<string>> {
  const rows = await reader.all(engine === 'sqlite' ? `select name from sqlite_master where type = 'table'` : 'select table_name as name from information_schema.tables where table_schema = current_schema()')
  return new Set(rows.map((row) => textOf(row, 'name')))
}

/** Reads all of it and proves that it is whole. Throws BackupRefused. `onRow` gets each row, in order. */
export async function readBackup(path: string, onRow: (table: string, row: Row) => Promise<void> = () => Promise.resolve()): Promise<BackupHead> {
  const refuse = (why: string): never => { throw new BackupRefused(`Cannot restore ${path}: ${why}`) }
  const hash = createHash('sha256')
  const counts: Record<string, number> = Object.fromEntries(Object.keys(stateTables).map((table) => [table, 0]))
  let head: BackupHead | undefined
  let ended = false
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    if (ended) refuse('something stands behind its end')
    const value = parsed(line) ?? refuse('a line of it is no JSON')
    if (!head) {
      const { vsky, format, schema, epoch, madeAt } = value
      if (vsky !== 'backup' || format !== 1) refuse('it is no backup of Vsky that this program can read')
      if (typeof schema !== 'number' || typeof epoch !== 'number' || typeof madeAt !== 'number') return refuse('its first line is damaged')
      if (schema > schemaVersion) refuse(`it has schema ${schema}, this program knows ${schemaVersion}: use the newer release`)
      head = { schema, epoch, madeAt }
    } else if (value.end === true) {
      const found = hash.digest('hex')
      if (value.sha256 !== found || !sameCounts(value.rows, counts)) refuse('it is damaged: its checksum or its count of rows is another')
      ended = true
      continue
    } else {
      const { table, row } = value
      if (typeof table !== 'string' || !Object.hasOwn(stateTables, table) || typeof row !== 'object' || row === null) return refuse('a row of it is of no table that is known')
      counts[table] = (counts[table] ?? 0) + 1
      await onRow(table, row as Row)
    }
    hash.update(`${line}\n`)
  }
  if (!head || !ended) return refuse('it is cut off')
  return head
}

/** A release before this one knew fewer tables, and says nothing of the others: they are empty. */
function sameCounts(said: unknown, found: Readonly<Record<string, number>>): boolean {
  if (typeof said !== 'object' || said === null) return false
  const rows = new Map<string, unknown>(Object.entries(said))
  return [...rows.keys()].every((table) => Object.hasOwn(found, table)) && Object.entries(found).every(([table, count]) => (rows.get(table) ?? 0) === count)
}

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value as Readonly<Record<string, unknown>> : undefined
  } catch {
    return undefined
  }
}

/**
 * Fills an empty database, of the backup's own schema, and then brings it to this program's. One transaction: nothing of it stays when it
 * fails. `epoch`: the highest that anybody has seen; the next manager's is above.
 */
export async function restoreBackup(db: Db, path: string, { epoch, nowMs }: { readonly epoch: number; readonly nowMs: number }): Promise<void> {
  const head = await readBackup(path)
  await migrate(db, head.schema)
  await db.tx(async (tx) => {
    await refuseFull(tx)
    await readBackup(path, (table, row) => insertRow(tx, table, row))
    await setEpoch(tx, Math.max(epoch, head.epoch), nowMs)
  })
  await migrate(db)
}

/** Throws BackupRefused for a database in which there is a cluster already. */
export async function refuseFull(tx: Pick<Tx, 'get'>): Promise<void> {
  for (const table of ['hosts', 'disks', 'volumes', 'extents']) {
    const count = numberOf(await tx.get(`select count(*) as n from ${table}`) ?? {}, 'n')
    if (count > 0) throw new BackupRefused(`the database is not empty (${count} ${table}): name an empty one, or move this one away`)
  }
}

export async function insertRow(tx: Tx, table: string, row: Row): Promise<void> {
  const columns = Object.keys(row)
  if (columns.some((column) => !/^[a-z_]+$/.test(column))) throw new BackupRefused(`table ${table} has no such columns`)
  await tx.run(`insert into ${table} (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`, columns.map((column) => row[column] as SqlValue))
}

/** Whoever takes over next has an epoch above this one. */
export async function setEpoch(tx: Tx, epoch: number, nowMs: number): Promise<void> {
  await tx.run(
    `insert into lease (name, epoch, holder, incarnation, started_at) values ('manager', ?, '', '', ?) on conflict (name) do update set epoch = excluded.epoch, holder = '', incarnation = ''`, [epoch, nowMs])
  await tx.run('insert into lease_beat (name, beat) values (?, 0) on conflict (name) do nothing', ['manager'])
}
