/** Both engines behind the SQL door, so that one suite is run against each. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Db } from '../../manager/store/db.js'
import { openPostgres } from '../../manager/store/postgres.js'
import type { PostgresOptions } from '../../manager/store/postgres.js'
import { parsePostgres } from '../../manager/store/postgres-target.js'
import type { PostgresTarget } from '../../manager/store/postgres-target.js'
import { openSqlite } from '../../manager/store/sqlite.js'
import { postgres } from './postgres.js'

export interface Engine {
  readonly name: 'SQLite' | 'PostgreSQL'
  /** An empty database, opened. The one of the test before is gone. */
  fresh(): Promise<Db>
  /** The same database once more. */
  again(): Promise<Db>
}

/** `body` declares the tests, once for each engine. Whatever was opened is closed after each test. */
export function onEachEngine(title: string, body: (engine: Engine) => void): void {
  describe(`${title} (SQLite)`, function onSqlite() {
    this.timeout(60_000)
    let dir = ''
    /** A test may begin with one database and go on with another. */
    const dirs: string[] = []
    const opened: Db[] = []
    const again = async (): Promise<Db> => keep(opened, await openSqlite(join(dir, 'db')))
    body({
      name: 'SQLite', again,
      async fresh() {
        dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
        dirs.push(dir)
        return again()
      },
    })
    afterEach(async () => {
      await closeAll(opened)
      for (const each of dirs.splice(0)) await rm(each, { recursive: true, force: true })
    })
  })
  describe(`${title} (PostgreSQL)`, function onPostgres() {
    this.timeout(60_000)
    let database = ''
    const opened: Db[] = []
    const again = async (): Promise<Db> => keep(opened, await openPostgres(targetOf((await postgres()).url(database))))
    before(async function start() {
      this.timeout(60_000)
      database = await (await postgres()).database()
    })
    body({
      name: 'PostgreSQL', again,
      async fresh() {
        await (await postgres()).empty(database)
        return again()
      },
    })
    afterEach(async () => { await closeAll(opened) })
  })
}

export function targetOf(url: string): PostgresTarget {
  const target = parsePostgres(url)
  if ('problem' in target) throw new Error(target.problem)
  return target
}

export async function openAt(url: string, options?: PostgresOptions): Promise<Db> {
  return openPostgres(targetOf(url), options)
}

function keep(opened: Db[], db: Db): Db {
  opened.push(db)
  return db
}

async function closeAll(opened: Db[]): Promise<void> {
  for (const db of opened.splice(0)) await db.close().catch(() => undefined)
}

/** The failure of what must fail. */
export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(() => { throw new Error('it did not fail') }, (thrown: unknown) => thrown)
}
