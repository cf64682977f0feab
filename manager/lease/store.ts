/** Where the lease is kept: a small register. A database's rows (database.ts) or one sector of a shared disk or file (device.ts). */
import type { LeaseRecord } from './timeline.js'

export interface LeaseStore {
  /** Undefined: nobody has ever held it. */
  read(): Promise<LeaseRecord | undefined>
  /** Sets it if it is still what was `seen` (epoch, incarnation, beat, released). False: somebody was faster. */
  take(seen: LeaseRecord | undefined, mine: LeaseRecord): Promise<boolean>
  /** Moves the beat if the record is still of this epoch and incarnation. False: it is another's now. May be repeated. */
  beat(mine: Term): Promise<boolean>
  /** Gives it up, with the wish who is next, if it is still ours. May be repeated. */
  release(mine: Term, next: string): Promise<boolean>
  close(): Promise<void>
}

export interface Term {
  readonly epoch: number
  readonly incarnation: string
}

/** The lease can't be kept there: told in one line at start. */
export class LeaseStoreError extends Error {
  override readonly name = 'LeaseStoreError'
}
