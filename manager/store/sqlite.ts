/**
 * SQLite behind the SQL door. What the driver does wrong is closed here: one writer connection under one mutex (its statements
 * would slip into another flow's transaction), a second connection for reads, one prepared statement per text that is always
 * awaited (a failing statement without callback ends the process), bindings checked (a BigInt becomes NULL), and the settings
 * that make a commit survive a power failure set and read back.
 */
import sqlite3 from 'sqlite3'
import type { Database, Statement } from 'sqlite3'
import { chmod } from 'node:fs/promises'
import { DbError, checkBinding } from './db.js'
import type { Db, DbErrorKind, Reader, Row, SqlValue, Tx } from './db.js'
import { createStatements } from './statements.js'

/** Opens `path` (`:memory:` for tests and simulation: reads then go through the writer). Throws DbError when it can't be made safe. */
export async function openSqlite(path: string): Promise<Db> {
  const writer = await Connection.open(path)
  await writer.configure(path === ':memory:' ? 'memory' : 'wal')
  if (path !== ':memory:') await chmod(path, 0o600)
  const reader = path === ':memory:' ? writer : await Connection.open(path)
  if (reader !== writer) await reader.configure('wal')
  let tail: Promise<unknown> = Promise.resolve()
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = tail.then(work, work)
    tail = mine.then(() => undefined, () => undefined)
    return mine
  }
  const read = <T>(work: () => Promise<T>): Promise<T> => (reader === writer ? exclusively(work) : work())
  return {
    engine: 'sqlite',
    all: (sql, params) => read(() => reader.all(sql, params ?? [])),
    get: (sql, params) => read(async () => (await reader.all(sql, params ?? []))[0]),
    tx: (work) => exclusively(() => inTransaction(writer, work)), // "begin immediate" is alone on this file, whoever else has it open
    async snapshot(work) {
      if (path === ':memory:') return exclusively(() => work(writer.reader()))
      const mine = await Connection.open(path)
      try {
        await mine.configure('wal')
        await mine.exec('begin')
        return await work(mine.reader())
      } finally {
        await mine.close()
      }
    },
    async close() {
      await exclusively(async () => {
        if (reader !== writer) await reader.close()
        await writer.close()
      })
    },
  }
}

async function inTransaction<T>(connection: Connection, work: (tx: Tx) => Promise<T>): Promise<T> {
  await connection.exec('begin immediate')
  const statements = createStatements()
  try {
    const result = await work({
      forShare: '',
      all: (sql, params) => statements.run(() => connection.all(sql, params ?? [])),
      get: (sql, params) => statements.run(async () => (await connection.all(sql, params ?? []))[0]),
      run: (sql, params) => statements.run(() => connection.run(sql, params ?? [])),
    })
    const failed = await statements.end()
    if (failed) throw failed.why // PostgreSQL commits nothing after a failed statement: one behaviour for both
    await connection.exec('commit')
    return result
  } catch (thrown) {
    await statements.end()
    await connection.exec('rollback').catch(() => undefined) // after a failed commit there may be nothing to roll back
    throw thrown
  }
}

class Connection {
  readonly #db: Database
  readonly #statements = new Map<string, Promise<Statement>>()
  private constructor(db: Database) {
    this.#db = db
  }

  static open(path: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const db = new sqlite3.Database(path, (error) => {
        if (error) reject(dbError(error, `open ${path}`))
        else resolve(new Connection(db))
      })
      db.on('error', () => undefined) // every failure also reaches its own callback
    })
  }

  async configure(journal: 'wal' | 'memory'): Promise<void> {
    for (const [pragma, value, reads] of [
      ['busy_timeout', '5000', '5000'], ['journal_mode', journal, journal], ['synchronous', 'full', '2'], ['foreign_keys', 'on', '1'],
    ] as const) {
      await this.exec(`pragma ${pragma} = ${value}`)
      const [row] = await this.#fresh(`pragma ${pragma}`)
      const found = String(Object.values(row ?? {})[0])
      if (found !== reads) throw new DbError('other', `SQLite: ${pragma} is ${found}, not ${reads}: commits would not be safe`)
    }
  }

  exec(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#db.exec(sql, (error) => { if (error) reject(dbError(error, sql)); else resolve() })
    })
  }

  async all(sql: string, params: readonly SqlValue[]): Promise<readonly Row[]> {
    checkBinding(params)
    const statement = await this.#prepare(sql)
    return new Promise((resolve, reject) => {
      statement.all(params, (error: Error | null, rows: Row[]) => {
        if (error) reject(dbError(error, sql))
        else resolve(rows)
      })
    })
  }

  async run(sql: string, params: readonly SqlValue[]): Promise<number> {
    checkBinding(params)
    const statement = await this.#prepare(sql)
    return new Promise((resolve, reject) => {
      statement.run(params, function done(error) {
        if (error) reject(dbError(error, sql))
        else resolve(this.changes)
      })
    })
  }

  reader(): Reader {
    return { all: (sql, params) => this.all(sql, params ?? []), get: async (sql, params) => (await this.all(sql, params ?? []))[0] }
  }

  async close(): Promise<void> {
    for (const statement of this.#statements.values()) {
      const ready = await statement.catch(() => undefined)
      if (ready) await new Promise<void>((resolve) => ready.finalize(() => { resolve() }))
    }
    await new Promise<void>((resolve, reject) => {
      this.#db.close((error) => { if (error) reject(dbError(error, 'close')); else resolve() })
    })
  }

  #fresh(sql: string): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      this.#db.all(sql, (error, rows) => { if (error) reject(dbError(error, sql)); else resolve(rows as readonly Row[]) })
    })
  }

  /** Texts are few and fixed in the source, so the map stays small. */
  #prepare(sql: string): Promise<Statement> {
    const known = this.#statements.get(sql)
    if (known) return known
    const made = new Promise<Statement>((resolve, reject) => {
      const statement: Statement = this.#db.prepare(sql, (error: Error | null) => { if (error) reject(dbError(error, sql)); else resolve(statement) })
      statement.on('error', () => undefined)
    })
    made.catch(() => this.#statements.delete(sql))
    this.#statements.set(sql, made)
    return made
  }
}

const kinds: readonly (readonly [RegExp, DbErrorKind])[] = [
  [/UNIQUE constraint/, 'unique'], [/FOREIGN KEY constraint/, 'foreign key'], [/CHECK constraint|NOT NULL constraint/, 'check'],
  [/SQLITE_BUSY|SQLITE_LOCKED/, 'busy'], [/SQLITE_FULL/, 'full'], [/SQLITE_READONLY/, 'read-only'], [/SQLITE_CORRUPT|SQLITE_NOTADB/, 'corrupt'],
]

/** The driver gives one code for all constraints; only the message tells them apart. */
function dbError(error: Error, doing: string): DbError {
  const kind = kinds.find(([pattern]) => pattern.test(error.message))?.[1] ?? 'other'
  return new DbError(kind, `${error.message} (${doing.replace(/\s+/g, ' ').slice(0, 120)})`, { cause: error })
}
