/**
 * PostgreSQL behind the SQL door, for managers on several hosts. As on SQLite this program's transactions run one after the other, so
 * they never stand in each other's way; those of other managers are kept apart by SERIALIZABLE and by the row locks that the work asks
 * for, and a transaction that lost against another program's is run again.
 *
 * **A commit whose answer is lost** is neither done nor not done until somebody looks. So each transaction leaves a mark in a row of this
 * program's own, in one message with its commit. A new session locks that row, which waits until the lost one has really ended, and
 * reads the mark. Transaction numbers would not do: a server that took over may give the same one to somebody else.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DbError, textOf } from './db.js'
import type { Db, Reader, Row, SqlValue, Tx, TxOptions } from './db.js'
import { connectPrimary, postgresTimes } from './postgres-session.js'
import type { PostgresTimes, Session } from './postgres-session.js'
import { createStatements } from './statements.js'
import { describePostgres } from './postgres-target.js'
import type { PostgresTarget } from './postgres-target.js'

export interface PostgresOptions {
  readonly times?: Partial<PostgresTimes>
  /** Several hosts may forget what was committed, or it was accepted by a person: no synchronous replication is asked for. */
  readonly unreplicated?: boolean
  /** All sessions for reads are opened at once, not when reads first need them: who takes over has no time for it. */
  readonly ahead?: boolean
}

const READERS_MAX = 4
const READERS_WAITING_MAX = 10_000
/** Runs of a transaction that other programs were in the way of. With pauses of 5 to 160 ms they take a second at most. */
const RUNS = 8
/** Any number that is ours: migrations of all managers of one database take turns by it. */
const ALONE = 0x7673_6b79
const FORGET_MARKS_MS = 30 * 24 * 3600 * 1000

/** Throws DbError when it can't be reached, or can't keep what is committed. */
export async function openPostgres(target: PostgresTarget, { times: given = {}, unreplicated = false, ahead = false }: PostgresOptions = {}): Promise<Db> {
  const times = { ...postgresTimes, ...given }
  const place = { first: 0 }
  const connect = async (): Promise<Session> => {
    const session = await connectPrimary(target, times, place.first)
    place.first = session.host
    return session
  }
  const first = await connect()
  const name = randomBytes(12).toString('hex')
  try {
    await checkServer(first, target, unreplicated)
    await makeMark(first, name)
  } catch (thrown) {
    first.end()
    throw thrown
  }
  const readers = createReaders(connect)
  if (ahead) readers.open()
  let writer: Session | undefined = first
  let tail: Promise<unknown> = Promise.resolve()
  let closed = false
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = tail.then(work, work)
    tail = mine.catch(() => undefined)
    return mine
  }
  const begun = async (begin: string): Promise<Session> => {
    if (closed) throw new DbError('other', 'the database is closed')
    if (writer && !writer.broken()) {
      try {
        await writer.query(begin)
        return writer
      } catch (thrown) {
        if (!writer.broken()) throw thrown // else it had broken while nobody looked: nothing was begun on it
      }
    }
    writer = await connect()
    await writer.query(begin)
    return writer
  }
  return {
    engine: 'postgres',
    all: (sql, params) => readers.read(sql, params),
    get: async (sql, params) => (await readers.read(sql, params))[0],
    tx: (work, options) => exclusively(() => repeated(async () => inTransaction({ session: await begun(beginOf(options)), connect, name, times, target }, work))),
    async snapshot(work) {
      const session = await connect()
      try {
        await session.query('begin isolation level repeatable read read only')
        return await work(readerOf(session))
      } finally {
        session.end()
      }
    },
    close: () => exclusively(async () => {
      closed = true
      readers.close()
      await writer?.query('delete from vsky_marks where name = ?', [name]).catch(() => undefined)
      writer?.end()
    }),
  }
}

function beginOf({ alone = false }: TxOptions = {}): string {
  // Alone, what the one before has committed must be seen: a serializable snapshot would be from before the wait for it.
  return alone ? `begin isolation level read committed; select pg_advisory_xact_lock(${ALONE})` : 'begin isolation level serializable'
}

function readerOf(session: Session): Reader {
  return { all: async (sql, params) => (await session.query(sql, params)).rows, get: async (sql, params) => (await session.query(sql, params)).rows[0] }
}

async function repeated<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run()
    } catch (thrown) {
      if (!(thrown instanceof DbError) || thrown.kind !== 'busy' || attempt === RUNS) throw thrown
      await sleep((0.5 + Math.random()) * Math.min(160, 5 * 2 ** attempt))
    }
  }
}

interface Running {
  readonly session: Session
  readonly connect: () => Promise<Session>
  readonly name: string
  readonly times: PostgresTimes
  readonly target: PostgresTarget
}

async function inTransaction<T>(running: Running, work: (tx: Tx) => Promise<T>): Promise<T> {
  const { session, name } = running
  const statements = createStatements()
  try {
    const result = await work({
      forShare: ' for share',
      all: (sql, params) => statements.run(async () => (await session.query(sql, params)).rows),
      get: (sql, params) => statements.run(async () => (await session.query(sql, params)).rows[0]),
      run: (sql, params) => statements.run(async () => (await session.query(sql, params)).count),
    })
    const failed = await statements.end()
    if (failed) throw failed.why
    const mark = randomBytes(12).toString('hex')
    try {
      const warnings = session.warnings()
      await session.query(`${PATIENT}; update vsky_marks set mark = '${mark}' where name = '${name}'; commit`)
      if (session.warnings() > warnings) throw unknown(running, undefined) // committed there, and perhaps on no other server
    } catch (thrown) {
      if (!session.broken() || !(await settled(running, mark, thrown))) throw thrown
    }
    return result
  } catch (thrown) {
    await statements.end()
    if (!session.broken()) await session.query('rollback').catch(() => { session.end() })
    throw thrown
  }
}

/** A commit that waits for another server must not be cut short by the limit on statements: it would be answered as if it had been waited for. */
const PATIENT = 'set local statement_timeout = 0'

function unknown({ target }: Running, lost: unknown): DbError {
  return new DbError('unavailable', `${describePostgres(target)}: the connection was lost during a commit, and it is not known whether that has taken effect`, { cause: lost, unknown: true })
}

/**
 * Whether the commit with this mark has taken effect. The row is written once more: that waits for whoever still holds it, and for the other
 * servers, so what it shows stays. Throws DbError with `unknown` when it can't be found out in time.
 */
async function settled(running: Running, mark: string, lost: unknown): Promise<boolean> {
  const { connect, name, times } = running
  const until = performance.now() + times.settle
  for (;;) {
    let session: Session | undefined
    try {
      session = await connect()
      await session.query('begin isolation level read committed')
      const found = (await session.query('update vsky_marks set made_at = made_at where name = ? returning mark', [name])).rows[0]
      const warnings = session.warnings()
      await session.query(`${PATIENT}; commit`)
      if (session.warnings() > warnings) throw unknown(running, lost)
      if (found) return found.mark === mark
      break // the row was there before: this server has forgotten it, so it says nothing of the commit
    } catch (thrown) {
      if (!(thrown instanceof DbError) || thrown.unknown || (thrown.kind !== 'unavailable' && thrown.kind !== 'busy')) throw thrown
      if (performance.now() > until) break
    } finally {
      session?.end()
    }
    await sleep(200)
  }
  throw unknown(running, lost)
}

/** Sessions for single reads: they are repeated once when theirs had broken while nobody looked. */
function createReaders(connect: () => Promise<Session>): { read(sql: string, params?: readonly SqlValue[]): Promise<readonly Row[]>; open(): void; close(): void } {
  const idle: Session[] = []
  const waiting: (() => void)[] = []
  let busy = 0
  let closed = false
  const once = async (sql: string, params: readonly SqlValue[] | undefined): Promise<readonly Row[]> => {
    const old = idle.pop()
    const session = old && !old.broken() ? old : await connect()
    try {
      return (await session.query(sql, params)).rows
    } catch (thrown) {
      if (session === old && session.broken()) {
        for (const each of idle.splice(0)) each.end() // whatever ended this one has most likely ended them
        return await once(sql, params)
      }
      throw thrown
    } finally {
      if (closed || session.broken()) session.end()
      else idle.push(session)
    }
  }
  return {
    async read(sql, params) {
      if (closed) throw new DbError('other', 'the database is closed')
      if (waiting.length >= READERS_WAITING_MAX) throw new DbError('unavailable', `${waiting.length} reads wait for the database already`)
      while (busy >= READERS_MAX) await new Promise<void>((resolve) => { waiting.push(resolve) })
      busy += 1
      try {
        return await once(sql, params)
      } finally {
        busy -= 1
        waiting.shift()?.()
      }
    },
    open() {
      for (let more = READERS_MAX - busy - idle.length; more > 0; more -= 1) {
        connect().then((session) => {
          if (closed || busy + idle.length >= READERS_MAX) session.end()
          else idle.push(session)
        }, () => undefined) // a read will say it
      }
    },
    close() {
      closed = true
      for (const each of idle.splice(0)) each.end()
    },
  }
}

/** One row for each program that has the database open. */
async function makeMark(session: Session, name: string): Promise<void> {
  await session.query(`begin isolation level read committed; select pg_advisory_xact_lock(${ALONE})`)
  await session.query('create table if not exists vsky_marks (name text primary key, mark text not null, made_at bigint not null)')
  await session.query('delete from vsky_marks where made_at < ?', [Date.now() - FORGET_MARKS_MS])
  await session.query('insert into vsky_marks (name, mark, made_at) values (?, ?, ?)', [name, '', Date.now()])
  await session.query('commit')
}

/** A commit must survive the failure of what it was made on. */
async function checkServer(session: Session, target: PostgresTarget, unreplicated: boolean): Promise<void> {
  const show = async (setting: string): Promise<string> => textOf((await session.query(`show ${setting}`)).rows[0] ?? {}, setting)
  const refuse = (found: string, needed: string): never => { throw new DbError('other', `${describePostgres(target)}: ${found}: ${needed}`) }
  if (await show('server_encoding') !== 'UTF8') refuse(`its encoding is ${await show('server_encoding')}`, 'make a database with encoding UTF8')
  if (await show('fsync') !== 'on') refuse('fsync is off', 'a power failure would undo what was committed; set fsync = on')
  const commit = await show('synchronous_commit')
  if (commit === 'off') refuse('synchronous_commit is off', 'a crash would undo what was committed; set synchronous_commit = on')
  if (target.hosts.length < 2 || unreplicated) return
  const needed = 'a fail-over would forget what was committed ("this copy is stale"); set synchronous_standby_names and synchronous_commit = on, or say database_unreplicated = true in the configuration if you accept that'
  if (commit === 'local') refuse('synchronous_commit is local', needed)
  if (await show('synchronous_standby_names') === '') refuse('it does not replicate synchronously (synchronous_standby_names is empty)', needed)
}
