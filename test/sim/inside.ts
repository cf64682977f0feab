/**
 * Which process of the world runs just now. The product's modules ask for files, programs and connections by importing them; the
 * stand-ins (hooks.ts puts them in their place) find here whose they are. A process that was killed gets no answer any more.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { RunRequest, RunResult } from '../../lib/ports.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import type { Timeline } from './clock.js'
import type { Files } from './files.js'

export interface CallRequest {
  readonly url: string
  readonly method: string
  readonly params: readonly XmlValue[]
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
}

export interface Process {
  readonly name: string
  alive: boolean
  readonly timeline: Timeline
  readonly files: Files
  run(request: RunRequest): Promise<RunResult>
  call(request: CallRequest): Promise<XmlValue>
  /** Whether anything but zeros is on a device, in a range of bytes, or anywhere. */
  usedIn(path: string, from: number, bytes: number): boolean
  blank(path: string): Promise<boolean>
  /** Whether a target's server can be connected to. */
  listens(target: string): Promise<boolean>
  /** Told of each step: the moments before and after an effect on what outlives the process. True: it was killed in that moment. */
  onStep(what: string): boolean
}

/** Whether it is dead already, or dies at this step: then it does nothing more, and gets no answer any more. */
export function diesAt(process: Process, what: string): boolean {
  return !process.alive || process.onStep(what)
}

export function never<T>(): Promise<T> {
  return new Promise(() => undefined)
}

const storage = new AsyncLocalStorage<Process>()

export function enter<T>(process: Process, work: () => T): T {
  return storage.run(process, work)
}

/** The world's own work is nobody's: it goes on when the process that asked for it is dead. */
export function leave<T>(work: () => T): T {
  return storage.exit(work)
}

export function here(): Process {
  const process = storage.getStore()
  if (!process) throw new Error('something of the product runs outside of every process of the world')
  return process
}

export function maybeHere(): Process | undefined {
  return storage.getStore()
}

/** An answer for a process, unless it is dead by then, or dies at the step that this answer is. */
export function answer<T>(process: Process, work: Promise<T>, step?: string): Promise<T> {
  const hears = (): boolean => (step === undefined ? process.alive : !diesAt(process, step))
  return new Promise((resolve, reject) => {
    work.then((value) => { if (hears()) resolve(value) }, (thrown: unknown) => { if (hears()) reject(thrown) })
  })
}

/** Timers that a process sets without its clock (agent/core/epoch.ts) are the world's as well. */
export function takeTimers(): void {
  const [set, clear] = [globalThis.setTimeout, globalThis.clearTimeout]
  const ours = new Map<object, () => void>()
  const setTimeout = (act: (...args: unknown[]) => void, ms?: number, ...args: unknown[]): unknown => {
    const process = storage.getStore()
    if (!process) return set(act, ms, ...args)
    const handle = { unref: () => handle, ref: () => handle }
    ours.set(handle, process.timeline.after(ms ?? 0, () => {
      ours.delete(handle)
      if (!process.alive) return
      process.timeline.touch()
      enter(process, () => { act(...args) })
    }))
    return handle
  }
  const clearTimeout = (handle: unknown): void => {
    const cancel = typeof handle === 'object' && handle !== null ? ours.get(handle) : undefined
    if (cancel && handle) {
      cancel()
      ours.delete(handle)
    } else clear(handle as NodeJS.Timeout)
  }
  Object.assign(globalThis, { setTimeout, clearTimeout })
}
