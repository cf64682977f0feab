/** What every command shares: the global options, one call to the manager, and how its answer is shown. */
import type { Command } from 'commander'
import type { ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { connectManager } from './connect.js'
import type { Manager } from './connect.js'
import { UsageError } from './settings.js'

export interface Context {
  readonly json: boolean
  /** Width of the terminal; 0 when piped. */
  readonly width: number
  /** For one call, ms. */
  readonly timeoutMs: number
  /** One call, then the connection is closed. */
  readonly ask: <N extends ApiName>(name: N, params: Omit<ApiParams<N>, 'request'>) => Promise<ApiResult<N>>
  readonly withManager: <T>(work: (manager: Manager) => Promise<T>) => Promise<T>
  /** The answer as one JSON document, or as `people` says it. */
  readonly show: <T>(answer: T, people: (answer: T) => string) => void
}

export function contextOf(program: Command): Context {
  const options = program.opts<{ json?: boolean; manager?: string; tlsDir?: string; timeout: string }>()
  const seconds = Number(options.timeout)
  if (!Number.isFinite(seconds) || seconds < 1 || seconds > 86_400) throw new UsageError(`--timeout takes 1 to 86400 seconds, not ${JSON.stringify(options.timeout)}`)
  const json = options.json === true
  const timeoutMs = seconds * 1000
  const withManager: Context['withManager'] = async (work) => {
    const onWait = process.stderr.isTTY ? (why: string): void => { console.error(`vsky: ${why}; trying again, for ${seconds} s at most`) } : undefined
    const manager = await connectManager({ manager: options.manager, tlsDir: options.tlsDir, timeoutMs, ...(onWait ? { onWait } : {}) })
    try {
      return await work(manager)
    } finally {
      manager.close()
    }
  }
  return {
    json, width: process.stdout.isTTY ? process.stdout.columns : 0, timeoutMs, withManager,
    ask: (name, params) => withManager((manager) => manager.call(name, params)),
    show(answer, people) {
      console.log(json ? JSON.stringify(answer, jsonValue) : people(answer))
    },
  }
}

/** Sizes are decimal strings: they may pass 2^53. */
export function jsonValue(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
