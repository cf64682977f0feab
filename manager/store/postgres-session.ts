/**
 * The door to PostgreSQL: one session on the server that takes writes, and its failures in our vocabulary. What the driver leaves open is
 * closed here: it knows no list of hosts (we walk it), waits for ever by default (every wait has a limit, on both sides), ends the
 * process when a session that nobody listens to breaks, and gives whole numbers of 64 bits as text.
 */
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { messageOf } from '../../lib/faults.js'
import { DbError, checkBinding } from './db.js'
import type { DbErrorKind, Row, SqlValue } from './db.js'
import { numbered } from './placeholders.js'
import type { PostgresTarget } from './postgres-target.js'

/** All in milliseconds. */
export interface PostgresTimes {
  /** For one host to be reached and to let us in. */
  readonly connect: number
  /** For one statement, commit included, on the server. Half as much again here, should the server no longer be heard. */
  readonly statement: number
  /** For a lock that somebody else has, and for a transaction in which nothing happens: below the lease's ttl, for a hung holder's locks stand in the next one's way. */
  readonly lock: number
  readonly idle: number
  /** For finding out what became of a commit whose answer was lost. */
  readonly settle: number
}

export const postgresTimes: PostgresTimes = { connect: 3000, statement: 4000, lock: 3000, idle: 2000, settle: 10_000 }

export interface Answer {
  readonly rows: readonly Row[]
  readonly count: number
}

export interface Session {
  /** Which of the target's hosts it is. */
  readonly host: number
  /** With `?` for values. Throws DbError. */
  query(sql: string, params?: readonly SqlValue[]): Promise<Answer>
  /** How often the server has warned so far. It does where it answers a commit that it could not make as safe as it should be. */
  warnings(): number
  /** Whether it can't be used any more. */
  broken(): boolean
  /** At once, without a word of goodbye that might have to wait. */
  end(): void
}

/**
 * Asked for on the server, for its own end of the session (s, and the last in ms): as PostgreSQL comes it keeps the session of a manager that
 * lost its power, or was cut off, for two hours, and a few of those later it lets nobody in any more.
 */
const PEER_GONE = 'set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set tcp_user_timeout = 20000'

const types = new pg.TypeOverrides()
/** A number that JavaScript can't hold stays text, which every reader of a number refuses. */
const whole = (text: string): number | string => (/^-?\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : text)
types.setTypeParser(20, whole) // bigint, count(*)
types.setTypeParser(1700, whole) // numeric: sum(bigint)

/** A session on the first host that takes writes; `first` is asked before the others. Throws DbError, `unavailable`, that names each host with its reason. */
export async function connectPrimary(target: PostgresTarget, times: PostgresTimes, first = 0): Promise<Session> {
  const config = await configOf(target, times)
  const order = target.hosts.map((_, index) => (index + first) % target.hosts.length)
  const refusals: string[] = []
  for (const at of order) {
    const place = target.hosts[at]
    if (!place) continue
    try {
      return await connectTo({ ...config, ...place, ...(config.ssl === false ? {} : { ssl: { ...config.ssl, ...(isAddress(place.host) ? {} : { servername: place.host }) } }) }, at)
    } catch (thrown) {
      refusals.push(`${place.host}:${place.port}: ${messageOf(thrown) || 'no reason given'}`)
    }
  }
  throw new DbError('unavailable', `no PostgreSQL server that takes writes can be reached (${refusals.join('; ')})`)
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^[\d.]+$/.test(host)
}

type Config = Omit<pg.ClientConfig, 'ssl'> & { readonly ssl: false | NonNullable<Exclude<pg.ClientConfig['ssl'], boolean>> }

async function configOf(target: PostgresTarget, times: PostgresTimes): Promise<Config> {
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(path, 'utf8')
    } catch (thrown) {
      throw new DbError('other', `Cannot read ${path}, which the database's address names: ${messageOf(thrown)}`, { cause: thrown })
    }
  }
  const { mode, rootCert, cert, key } = target.ssl
  return {
    user: target.user, database: target.database,
    password: target.passwordFile === '' ? target.password : (await read(target.passwordFile)).split('\n')[0] ?? '',
    connectionTimeoutMillis: times.connect, statement_timeout: times.statement, lock_timeout: times.lock, idle_in_transaction_session_timeout: times.idle,
    query_timeout: Math.round(times.statement * 1.5), keepAlive: true, application_name: 'vsky-manager', types,
    ssl: mode === 'disable' ? false : {
      rejectUnauthorized: mode !== 'require',
      ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
      ...(rootCert === '' ? {} : { ca: await read(rootCert) }), ...(cert === '' ? {} : { cert: await read(cert), key: await read(key) }),
    },
  }
}

async function connectTo(config: pg.ClientConfig, host: number): Promise<Session> {
  const client = new pg.Client(config)
  let lost: Error | undefined
  client.on('error', (error) => { lost ??= error }) // without a listener it would end this process
  let warnings = 0
  client.on('notice', ({ code }) => { if (code?.startsWith('01') === true) warnings += 1 })
  client.on('end', () => { lost ??= new Error('the connection has ended') })
  const end = (): void => {
    lost ??= new Error('the session was ended')
    client.end().catch(() => undefined)
  }
  let last: Promise<unknown> = Promise.resolve()
  /** One statement after the other: the driver's own queue would count the wait for those before it as time without an answer. */
  const inTurn = <T>(ask: () => Promise<T>): Promise<T> => {
    const mine = last.then(ask, ask)
    last = mine.then(() => undefined, () => undefined) // not what it gave
    return mine
  }
  try {
    await client.connect()
    const answers: unknown = await client.query(`${PEER_GONE}; show transaction_read_only`)
    const shown = (answers as readonly pg.QueryResult<{ transaction_read_only: string }>[]).at(-1) // of several statements there are several answers
    if (shown?.rows[0]?.transaction_read_only !== 'off') throw new Error('it takes no writes: a standby, or read-only')
  } catch (thrown) {
    end()
    throw thrown
  }
  return {
    host,
    warnings: () => warnings,
    broken: () => lost !== undefined,
    end,
    query: (sql, params = []) => inTurn(async () => {
      checkBinding(params)
      if (lost) throw new DbError('unavailable', `PostgreSQL: ${lost.message}`, { cause: lost })
      try {
        const answer = await client.query<Record<string, unknown>>(numbered(sql), params.map((each) => (each instanceof Uint8Array ? Buffer.from(each) : each)))
        // Several statements in one text have several answers.
        const of = Array.isArray(answer) ? (answer as readonly (typeof answer)[]).at(-1) ?? answer : answer
        return { rows: of.rows, count: of.rowCount ?? 0 }
      } catch (thrown) {
        const error = dbError(thrown, sql)
        if (endsSession(thrown)) {
          lost ??= error
          end()
        }
        throw error
      }
    }),
  }
}

const kinds: readonly (readonly [RegExp, DbErrorKind])[] = [
  [/^23505$/, 'unique'], [/^23503$/, 'foreign key'], [/^(?:23514|23502)$/, 'check'], [/^(?:40001|40P01|55P03)$/, 'busy'], [/^53100$/, 'full'],
  [/^(?:25006|25P03|57...|08...|53...)$/, 'unavailable'], [/^(?:XX001|XX002)$/, 'corrupt'],
]

function codeOf(thrown: unknown): string {
  return thrown instanceof pg.DatabaseError ? thrown.code ?? '' : ''
}

/** An error that is no answer of the server (the connection broke, no answer came), or says that this session or server is of no more use. */
function endsSession(thrown: unknown): boolean {
  return !(thrown instanceof pg.DatabaseError) || thrown.severity === 'FATAL' || thrown.severity === 'PANIC' || codeOf(thrown) === '25006'
}

function dbError(thrown: unknown, doing: string): DbError {
  if (thrown instanceof DbError) return thrown
  const code = codeOf(thrown)
  const kind = thrown instanceof pg.DatabaseError ? kinds.find(([pattern]) => pattern.test(code))?.[1] ?? 'other' : 'unavailable'
  return new DbError(kind, `PostgreSQL: ${messageOf(thrown)}${code === '' ? '' : ` [${code}]`} (${doing.replace(/\s+/g, ' ').slice(0, 120)})`, { cause: thrown })
}
