/** What every command shares: the global options, calls to the manager, and how their answers are shown. */
import type { Command } from 'commander'
import { PAGE_MAX, everyRow } from '../../lib/api/lists.js'
import type { PagedName } from '../../lib/api/lists.js'
import type { ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { messageOf } from '../../lib/faults.js'
import { writeDurably } from '../../lib/host/files.js'
import { connectManager } from './connect.js'
import type { Manager } from './connect.js'
import { explain } from './explain.js'
import { painter } from './print.js'
import type { Look } from './print.js'
import { UsageError } from './settings.js'

export interface Context {
  readonly json: boolean
  readonly look: Look
  /** For one call, ms. */
  readonly timeoutMs: number
  /** One call, then the connection is closed. */
  readonly ask: <N extends ApiName>(name: N, params: Omit<ApiParams<N>, 'request'>) => Promise<ApiResult<N>>
  /** A list to its end, or only so many rows of it. */
  readonly list: <N extends PagedName>(name: N, params: ApiParams<N>, paging: Paging) => Promise<ApiResult<N>>
  readonly withManager: <T>(work: (manager: Manager) => Promise<T>) => Promise<T>
  /** The answer as one JSON document, or as `people` says it. */
  readonly show: <T>(answer: T, people: (answer: T) => string) => void
  /** Once, or again and again when `--watch` was given. */
  readonly watching: (watch: Watch, look: () => Promise<void>) => Promise<void>
  /** Asks the person at the terminal whether to go on; without a terminal, or with --yes, it is taken for said. Throws UsageError for a no. */
  readonly confirm: (what: string) => Promise<void>
}

/** As commander gives `--watch [seconds]`. */
export type Watch = string | boolean | undefined
export interface Paging { readonly limit?: string; readonly after?: string }

export const watchOption = ['--watch [seconds]', 'again and again, every 2 seconds or as said, until ^C'] as const
export const limitOption = ['--limit <n>', `only so many, 1 to ${PAGE_MAX} (default: all)`] as const
export const afterOption = ['--after <key>', 'only those behind this one'] as const
export const planOption = ['--plan', 'only tells what it would do'] as const
export const noWaitOption = ['--no-wait', 'does not wait for the work: only until it is accepted'] as const
/** What `--no-wait` says to the manager. */
export function manner({ wait }: { readonly wait: boolean }): { readonly wait?: false } {
  return wait ? {} : { wait: false }
}

const WATCH_S = 2

export function contextOf(program: Command): Context {
  const options = program.opts<{ json?: boolean; yes?: boolean; manager?: string; tlsDir?: string; tokenFile?: string; timeout: string }>()
  const seconds = Number(options.timeout)
  if (!Number.isFinite(seconds) || seconds < 1 || seconds > 86_400) throw new UsageError(`--timeout takes 1 to 86400 seconds, not ${JSON.stringify(options.timeout)}`)
  const json = options.json === true
  const timeoutMs = seconds * 1000
  const terminal = process.stdout.isTTY
  const withManager: Context['withManager'] = async (work) => {
    const onWait = process.stderr.isTTY ? (why: string): void => { console.error(`vsky: ${why}; trying again, for ${seconds} s at most`) } : undefined
    const manager = await connectManager({ manager: options.manager, tlsDir: options.tlsDir, tokenFile: options.tokenFile, timeoutMs, ...(onWait ? { onWait } : {}) })
    try {
      return await work(manager)
    } finally {
      manager.close()
    }
  }
  return {
    json, timeoutMs, withManager,
    look: { width: terminal ? process.stdout.columns : 0, paint: painter(terminal && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb') },
    ask: (name, params) => withManager((manager) => manager.call(name, params)),
    list: (name, params, { limit, after }) => withManager((manager) => {
      const asked = { ...params, ...(after === undefined ? {} : { after }) }
      if (limit !== undefined) return manager.call(name, { ...asked, limit: numberOf('--limit', limit, 1, PAGE_MAX) } as never)
      return everyRow(name, asked, (page) => manager.call(name, page as never))
    }),
    show(answer, people) {
      console.log(json ? JSON.stringify(answer, jsonValue) : people(answer))
    },
    async watching(watch, look) {
      if (watch === undefined || watch === false) return look()
      const every = watch === true ? WATCH_S : numberOf('--watch', watch, 1, 86_400)
      for (;;) {
        if (terminal && !json) process.stdout.write('\u001b[H\u001b[2J')
        await look().catch((thrown: unknown) => {
          if (explain(thrown).json.class !== 'unavailable') throw thrown
          console.error(`vsky: ${messageOf(thrown)}`) // whoever watches wants to see it come back
        })
        await new Promise((resolve) => setTimeout(resolve, every * 1000))
        if (!terminal && !json) console.log('')
      }
    },
    async confirm(what) {
      if (options.yes === true || !process.stdin.isTTY) return
      const { createInterface } = await import('node:readline/promises')
      const lines = createInterface({ input: process.stdin, output: process.stderr })
      try {
        const answer = await lines.question(`${what} Go on? [y/N] `)
        if (!/^y(es)?$/i.test(answer.trim())) throw new UsageError('nothing was done')
      } finally {
        lines.close()
      }
    },
  }
}

/** A whole number from the command line. Throws UsageError. */
export function numberOf(option: string, text: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw new UsageError(`${option} takes a number from ${min} to ${max}, not ${JSON.stringify(text)}`)
  return value
}

/** One of a few words from the command line. Throws UsageError. */
export function wordOf<const W extends string>(option: string, text: string | undefined, words: readonly W[]): W | undefined {
  const found = words.find((word) => word === text)
  if (text !== undefined && found === undefined) throw new UsageError(`${option} takes one of ${words.join(', ')}, not ${JSON.stringify(text)}`)
  return found
}

/** Without the members that are undefined. */
export function given<T extends object>(members: T): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never
}

/** Sizes are decimal strings: they may pass 2^53. */
export function jsonValue(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}

/** Into a file that nobody else can read. Throws UsageError that begins with `lost` where that fails. */
export async function writeSecret(file: string, secret: string, lost: string): Promise<void> {
  await writeDurably(file, `${secret}\n`, 0o600).catch((thrown: unknown) => { throw new UsageError(`${lost}: ${messageOf(thrown)}`, { cause: thrown }) })
}

const units: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400, y: 365 * 86_400 }

/** Of `--expires`. Throws UsageError. */
export function secondsOf(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,9})([mhdy])$/.exec(text) ?? []
  const seconds = Number(count) * (units[unit] ?? 0)
  if (seconds < 60 || seconds > 10 * 366 * 86_400) throw new UsageError(`--expires takes a time such as 90m, 12h, 30d or 1y, one minute to ten years, not ${JSON.stringify(text)}`)
  return seconds
}
