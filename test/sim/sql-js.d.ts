/** As much of sql.js (SQLite in WebAssembly, synchronous) as db.ts uses. */
declare module 'sql.js' {
  type Value = string | number | null | Uint8Array
  export interface Statement {
    bind(values: readonly Value[]): boolean
    step(): boolean
    getColumnNames(): string[]
    get(): Value[]
    reset(): void
  }
  export interface Database {
    run(sql: string): void
    prepare(sql: string): Statement
    getRowsModified(): number
    close(): void
  }
  const load: () => Promise<{ readonly Database: new () => Database }>
  export default load
}
