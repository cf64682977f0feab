/**
 * The statements of one transaction, whatever its engine: none begins after its end, those that the work did not wait for are waited for
 * (begun inside, they must not end outside), and one that failed dooms it, even if the work went on.
 */
import { DbError } from './db.js'

export interface Statements {
  /** Rejects with DbError after the end. */
  run<R>(act: () => Promise<R>): Promise<R>
  /** No more from here on. Resolves when all have ended, with the first failure if there was one. */
  end(): Promise<{ readonly why: unknown } | undefined>
}

export function createStatements(): Statements {
  let open = true
  let failed: { readonly why: unknown } | undefined
  const pending = new Set<Promise<unknown>>()
  return {
    run(act) {
      if (!open) return Promise.reject(new DbError('other', 'a transaction was used after its end'))
      const statement = act()
      const watched: Promise<unknown> = statement.catch((thrown: unknown) => { failed ??= { why: thrown } }).finally(() => pending.delete(watched))
      pending.add(watched)
      return statement
    },
    async end() {
      open = false
      await Promise.all(pending)
      return failed
    },
  }
}
