/**
 * The ports: everything through which Vsky's logic touches the world, as interfaces without code. The real ones live in
 * lib/host, lib/rpc and manager/store; a simulation hands in its own. Logic never reads a clock, dice or a log by itself.
 */

/** Time. `nowMs` is the wall clock (epoch milliseconds, for people and records); `monoMs` never jumps (for every duration). */
export interface Clock {
  nowMs(): number
  monoMs(): number
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export interface Random {
  /** `count` random bytes as lower-case hex: 2 × count characters. */
  hex(count: number): string
  /** A number in [0, 1). */
  unit(): number
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined | readonly string[]>>

/** One JSON object a line. `child` binds identity once. Never pass a secret or a whole object from the wire. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  child(fields: LogFields): Log
}

export interface RunRequest {
  readonly file: string
  readonly args: readonly string[]
  /** Sent to standard input, which is closed after it. Absent: no standard input at all. */
  readonly input?: string
  /** The call settles by then, whatever the program does: its whole process group gets SIGKILL. */
  readonly timeoutMs: number
  /**
   * It settles when the program is gone, however long after its kill that is: for one whose last write must not come after what follows. The
   * kernel holds a killed program until its requests have ended.
   */
  readonly untilGone?: boolean
  /** Added to `LC_ALL=C` and a fixed PATH; nothing else is inherited. */
  readonly env?: Readonly<Record<string, string>>
  /** Output kept per stream, in bytes; more makes the run fail. Default 4 MiB. */
  readonly maxOutputBytes?: number
  readonly signal?: AbortSignal
  /** Those of one line run one at a time, and take no place of others: one that hangs holds up its own line alone. */
  readonly line?: string
}

/** What a program did. `exit` is the only field that says how it ended. */
export interface RunResult {
  readonly exit:
    | { readonly kind: 'code'; readonly code: number }
    | { readonly kind: 'signal'; readonly signal: string }
    | { readonly kind: 'timeout' }
    | { readonly kind: 'cancelled' }
    | { readonly kind: 'output too long' }
    | { readonly kind: 'not started'; readonly reason: string }
  readonly stdout: string
  readonly stderr: string
  readonly durationMs: number
}

/** Runs programs. Never a shell, never a rejection: how it ended is in the result. */
export interface Run {
  (request: RunRequest): Promise<RunResult>
}
