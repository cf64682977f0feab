/**
 * The manager's database: real SQL and real transactions (SQLite in WebAssembly, which answers at once, so that no thread's speed gets
 * into the course of events). It outlives its manager; readers see what was committed; a commit takes a moment, and who dies in it has not committed.
 */
import load from 'sql.js'
import type { Database, Statement } from 'sql.js'
import { DbError, checkBinding } from '../../manager/store/db.js'
import type { Db, DbErrorKind, Row, SqlValue } from '../../manager/store/db.js'
import { diesAt, never } from './inside.js'
import type { Process } from './inside.js'

class Connection {
  readonly #db: Database
  readonly #statements = new Map<string, Statement>()

  constructor(db: Database) {
    this.#db = db
    // Nobody else has it open, and its file is memory: neither locks nor a journal beside it are looked for.
    for (const pragma of ['foreign_keys = on', 'locking_mode = exclusive', 'journal_mode = memory', 'synchronous = off']) db.run(`pragma ${pragma}`)
  }

  exec(sql: string): void {
    this.#db.run(sql)
  }

  all(sql: string, params: readonly SqlValue[]): readonly Row[] {
    return this.#use(sql, params, (statement) => {
      const rows: Row[] = []
      const names = statement.getColumnNames() // not once for each row
      while (statement.step()) {
        const row: Record<string, unknown> = {}
        for (const [at, value] of statement.get().entries()) row[names[at] ?? ''] = value
        rows.push(row)
      }
      return rows
    })
  }

  close(): void {
    this.#db.close() // and with it its statements
  }

  change(sql: string, params: readonly SqlValue[]): number {
    return this.#use(sql, params, (statement) => {
      while (statement.step());
      return this.#db.getRowsModified()
    })
  }

  #use<T>(sql: string, params: readonly SqlValue[], work: (statement: Statement) => T): T {
    checkBinding(params)
    try {
      const statement = this.#statements.get(sql) ?? this.#db.prepare(sql)
      this.#statements.set(sql, statement)
      try {
        statement.bind(params)
        return work(statement)
      } finally {
        statement.reset()
      }
    } catch (thrown) {
      throw dbError(thrown, sql)
    }
  }
}

const kinds: readonly (readonly [RegExp, DbErrorKind])[] = [[/UNIQUE constraint/, 'unique'], [/FOREIGN KEY constraint/, 'foreign key'], [/CHECK constraint|NOT NULL constraint/, 'check']]

function dbError(thrown: unknown, sql: string): DbError {
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new DbError(kinds.find(([pattern]) => pattern.test(message))?.[1] ?? 'other', `${message} (${sql.slice(0, 120)})`)
}

/** What a transaction changed, in a few words. */
function told(statements: readonly string[]): string {
  return [...new Set(statements.map((sql) => /^\s*(insert into|update|delete from) (\w+)/i.exec(sql)?.slice(1).join(' ') ?? sql.slice(0, 30)))].join(', ')
}

/** Compiled once for all worlds. */
let loaded: ReturnType<typeof load> | undefined

export class Store {
  readonly #writer: Connection
  readonly #reader: Connection
  /** To what was asked since the last commit. */
  readonly #answers = new Map<string, readonly Row[]>()
  #tail: Promise<unknown> = Promise.resolve()
  #holder: { readonly process: Process; readonly release: () => void } | undefined
  /** Told of each commit, with what it changed. */
  onCommit: () => void = () => undefined

  private constructor(writer: Database, reader: Database) {
    this.#writer = new Connection(writer)
    this.#reader = new Connection(reader)
  }

  static async make(): Promise<Store> {
    const { Database } = await (loaded ??= load())
    return new Store(new Database(), new Database())
  }

  /** What was committed. Asked again before the next commit, it is the same answer: most questions of a quiet cluster are. */
  read(sql: string, params: readonly SqlValue[] = []): readonly Row[] {
    const question = `${sql}\n${params.map((param) => `${typeof param} ${String(param)}`).join('\n')}`
    const known = this.#answers.get(question)
    if (known) return known
    const answer = this.#reader.all(sql, params)
    this.#answers.set(question, answer)
    return answer
  }

  /** At the world's end: the memory of all worlds' databases is one, and is not collected. */
  close(): void {
    this.#writer.close()
    this.#reader.close()
  }

  /** Its process is dead: what it had not committed is rolled back. */
  forsake(process: Process): void {
    if (this.#holder?.process !== process) return
    this.#writer.exec('rollback')
    this.#holder.release()
  }

  open(process: Process): Db {
    const delay = (ms: number): Promise<void> => new Promise((resolve) => {
      process.timeline.after(ms, () => {
        if (!process.alive) return
        process.timeline.touch()
        resolve()
      })
    })
    const reader = { all: async (sql: string, params: readonly SqlValue[] = []) => this.read(sql, params), get: async (sql: string, params: readonly SqlValue[] = []) => this.read(sql, params)[0] }
    return {
      engine: 'sqlite',
      snapshot: (work) => work(reader), // nothing is changed between two awaits that wait for nothing
      ...reader,
      close: async () => undefined,
      tx: async (work) => {
        const before = this.#tail
        let release = (): void => undefined
        this.#tail = new Promise<void>((resolve) => { release = resolve })
        await before
        if (!process.alive) {
          release()
          return new Promise(() => undefined)
        }
        const end = (): void => {
          this.#holder = undefined
          release()
        }
        this.#holder = { process, release: end }
        this.#writer.exec('begin immediate')
        const written: (readonly [sql: string, params: readonly SqlValue[]])[] = []
        try {
          const result = await work({
            forShare: '',
            all: async (sql, params = []) => (process.alive ? this.#writer.all(sql, params) : never()),
            get: async (sql, params = []) => (process.alive ? this.#writer.all(sql, params)[0] : never()),
            run: async (sql, params = []) => {
              if (!process.alive) return never()
              written.push([sql, params])
              return this.#writer.change(sql, params)
            },
          })
          await delay(0.5)
          const effect = written.length === 0 ? undefined : told(written.map(([sql]) => sql))
          if (effect !== undefined && diesAt(process, `before the commit of ${effect}`)) return never()
          this.#writer.exec('commit')
          this.#reader.exec('begin')
          for (const [sql, params] of written) this.#reader.change(sql, params)
          this.#reader.exec('commit')
          this.#answers.clear()
          end()
          this.onCommit()
          if (effect !== undefined && diesAt(process, `after the commit of ${effect}`)) return never()
          await delay(0.5)
          return result
        } catch (thrown) {
          this.#writer.exec('rollback')
          end()
          throw thrown
        }
      },
    }
  }
}
