/**
 * The one SQL door. Every write goes through `tx`, which is one transaction, one at a time; reads outside see a committed
 * snapshot. Only what every driver carries without loss may be bound: null, strings, finite numbers, buffers. SQL inside `tx`
 * must have no effect but SQL: an engine that retries would do it twice.
 */
export type SqlValue = string | number | null | Uint8Array
export type Row = Readonly<Record<string, unknown>>

export interface Reader {
  all(sql: string, params?: readonly SqlValue[]): Promise<readonly Row[]>
  get(sql: string, params?: readonly SqlValue[]): Promise<Row | undefined>
}

export interface Tx extends Reader {
  /**
   * Ends a select whose row must stay as it is until this transaction has ended (on SQLite nothing: there is one writer at a time). After
   * a plain read on PostgreSQL an old manager's transaction was seen to commit when another one had taken over.
   */
  readonly forShare: '' | ' for share'
  /** Gives the number of rows that it changed. */
  run(sql: string, params?: readonly SqlValue[]): Promise<number>
}

export interface TxOptions {
  /** No other transaction that says so runs at the same time, in this program or another: for migrations. */
  readonly alone?: boolean
}

export interface Db extends Reader {
  readonly engine: 'sqlite' | 'postgres'
  /**
   * One transaction. A statement that fails dooms it, even if the work goes on: it throws that failure in the end. `work` may be called
   * again when other programs were in the way. Throws DbError; `unavailable` with `unknown` when the connection was lost during the
   * commit and nobody could be asked what became of it.
   */
  tx<T>(work: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>
  /** Many reads that see one and the same committed state, beside transactions that go on. */
  snapshot<T>(work: (reader: Reader) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** `unavailable`: the database can't be reached, or does not answer in time; the same again later may go well. */
export type DbErrorKind = 'unique' | 'foreign key' | 'check' | 'busy' | 'full' | 'read-only' | 'corrupt' | 'unavailable' | 'other'

/** Any failure of the database, in one vocabulary. */
export class DbError extends Error {
  override readonly name = 'DbError'
  readonly kind: DbErrorKind
  /** Whether the transaction has taken effect is not known. Look before it is repeated. */
  readonly unknown: boolean
  constructor(kind: DbErrorKind, message: string, options?: { cause?: unknown; unknown?: boolean }) {
    super(message, options)
    this.kind = kind
    this.unknown = options?.unknown ?? false
  }
}

/** Throws TypeError for a value that some driver would store as something else (sqlite3 binds a BigInt as NULL, silently). */
export function checkBinding(values: readonly unknown[]): void {
  values.forEach((value, index) => {
    const good = value === null || typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value)) || value instanceof Uint8Array
    if (!good) throw new TypeError(`SQL parameter ${index + 1} can't be bound: ${typeof value}`)
  })
}

function wrongColumn(name: string, needed: string, value: unknown): DbError {
  return new DbError('corrupt', `column ${name}: expected ${needed}, found ${value === null ? 'null' : typeof value}`)
}

export function textOf(row: Row, name: string): string {
  const value = row[name]
  if (typeof value !== 'string') throw wrongColumn(name, 'text', value)
  return value
}

export function numberOf(row: Row, name: string): number {
  const value = row[name]
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw wrongColumn(name, 'a whole number', value)
  return value
}

/** Sizes are stored as integers: SQLite and PostgreSQL hold 64 bits, JavaScript's numbers 2^53 bytes = 8 PiB, far above one disk. */
export function sizeOf(row: Row, name: string): bigint {
  return BigInt(numberOf(row, name))
}

export function flagOf(row: Row, name: string): boolean {
  return numberOf(row, name) === 1
}

export function wordOf<const W extends string>(row: Row, name: string, words: readonly W[]): W {
  const value = textOf(row, name)
  const found = words.find((each) => each === value)
  if (found === undefined) throw wrongColumn(name, `one of ${words.join(', ')}`, value)
  return found
}

/** A list of strings, kept as JSON text. */
export function textsOf(row: Row, name: string): readonly string[] {
  const value: unknown = JSON.parse(textOf(row, name))
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) throw wrongColumn(name, 'a list of strings', value)
  return value
}
