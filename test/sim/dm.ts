/**
 * Device-mapper: devices with a table in use and one in waiting, suspend and resume with what comes meanwhile, events. Source: Linux
 * drivers/md/dm.c. Each kind of target has its rules in a file of its own.
 */
import { counted, newCounts, submitAll } from './block.js'
import type { Bio, BlockDevice } from './block.js'
import type { Kernel } from './kernel.js'

export interface Target {
  /** `Live` device for what it prints: devices are named by number. */
  readonly table: string
  submit(bio: Bio): void
  status(): string
  /** What it keeps ends: asked anew of the device (`requeue`) or, with a flush, as an error. */
  presuspend(noflush: boolean): void
  /** Nothing is under way in it any more. */
  idle(): boolean
  resume(): void
  message(words: readonly string[]): Promise<void>
  readonly devices: readonly BlockDevice[]
  /** Of a mirror: legs that are being copied to. */
  copyingTo?(): readonly BlockDevice[]
  /** What it writes when its device is removed, before `close`. */
  end?(): Promise<unknown>
  /** Nothing that it has under way has an effect any more. */
  close(): void
}

export interface TargetContext {
  readonly kernel: Kernel
  readonly event: () => void
  /** It may have become idle. */
  readonly stir: () => void
  readonly noflush: () => boolean
}

export type MakeTarget = (kind: string, words: readonly string[], sectors: number, context: TargetContext) => Promise<Target>

export class DmError extends Error {}

interface Line { readonly start: number; readonly sectors: number; readonly target: Target }

export class DmDevice implements BlockDevice {
  readonly kernel: string
  readonly devno: string
  readonly name: string
  readonly uuid: string
  readonly holders = new Set<string>()
  readonly counts = newCounts()
  opens = 0
  events = 0
  suspended = true
  gone = false
  live: readonly Line[] = []
  waiting: readonly Line[] | undefined
  /** By a resume that waits for the end of what is under way. */
  #taken: readonly Line[] = []
  #tail: Promise<unknown> = Promise.resolve()
  /** Called at each event, and when it is gone. */
  readonly watchers = new Set<() => void>()
  readonly #kernel: Kernel
  readonly #deferred: Bio[] = []
  #blocked = true
  #noflush = false
  #inFlight = 0
  #idle: (() => void)[] = []

  constructor(kernel: Kernel, name: string, uuid: string) {
    const minor = kernel.nextMinor()
    this.#kernel = kernel
    this.name = name
    this.uuid = uuid
    this.kernel = `dm-${minor}`
    this.devno = `254:${minor}`
  }

  /** For people: what it waits for. */
  get state(): string {
    return `${this.#blocked ? (this.suspended ? 'suspended' : 'being suspended') : 'active'}, ${this.#inFlight} under way, ${this.#deferred.length} wait`
  }

  get slots(): number { return Math.ceil(this.#sectors(this.live) / 8) }

  #sectors(lines: readonly Line[]): number {
    return lines.reduce((sum, line) => sum + line.sectors, 0)
  }

  async load(lines: readonly string[], make: MakeTarget): Promise<void> {
    const loaded: Line[] = []
    for (const line of lines) {
      const [start = '', sectors = '', kind = '', ...words] = line.trim().split(/\s+/)
      const target = await make(kind, words, Number(sectors), {
        kernel: this.#kernel, event: () => { this.event() }, stir: () => { this.#stir() }, noflush: () => this.#noflush,
      })
      const taken = target.devices.find((device) => [...device.holders].some((holder) => holder.startsWith('target ')))
      if (taken) throw new DmError(`${taken.devno}: Device or resource busy`)
      for (const device of target.devices) device.holders.add(this.kernel)
      loaded.push({ start: Number(start) / 8, sectors: Number(sectors), target })
    }
    this.#drop(this.waiting)
    this.waiting = loaded
  }

  #drop(lines: readonly Line[] | undefined): void {
    for (const { target } of lines ?? []) target.close()
    const kept = new Set([...this.live, ...this.#taken, ...this.waiting ?? []].filter((line) => !lines?.includes(line)).flatMap((line) => line.target.devices))
    for (const { target } of lines ?? []) for (const device of target.devices) if (!kept.has(device)) device.holders.delete(this.kernel)
  }

  event(): void {
    this.events += 1
    for (const watcher of [...this.watchers]) watcher()
  }

  submit(bio: Bio): void {
    this.#map(counted(this, bio))
  }

  #map(bio: Bio): void {
    if (this.gone) {
      bio.done('io', new Map())
      return
    }
    if (this.#blocked) {
      this.#deferred.push(bio)
      return
    }
    this.#inFlight += 1
    const inner: Bio = { ...bio, done: (outcome, data) => {
      this.#inFlight -= 1
      if (outcome === 'requeue') this.#deferred.push(bio)
      else bio.done(outcome, data)
      this.#stir()
    } }
    const [only] = this.live
    if (only && this.live.length === 1) only.target.submit(inner)
    else if (bio.op === 'flush') submitAll(inner, this.live.map(({ target }) => ({ device: target, slot: 0, count: 0, from: 0 })))
    else {
      submitAll(inner, this.live.flatMap(({ start, sectors, target }) => {
        const [from, to] = [Math.max(bio.slot, start), Math.min(bio.slot + bio.count, start + Math.ceil(sectors / 8))]
        return from < to ? [{ device: target, slot: from - start, count: to - from, from: from - bio.slot }] : []
      }))
    }
  }

  #stir(): void {
    if (this.#inFlight > 0 || this.#idle.length === 0 || !this.live.every(({ target }) => target.idle())) return
    const idle = this.#idle
    this.#idle = []
    for (const each of idle) each()
  }

  suspend(noflush: boolean): Promise<void> {
    return this.#locked(() => this.#suspendNow(noflush))
  }

  async #suspendNow(noflush: boolean): Promise<void> {
    if (this.suspended) return
    if (!noflush) { // writes out what is under way before anything is stopped
      for (const { target } of this.live) target.presuspend(false)
    }
    this.#blocked = true
    this.#noflush = noflush
    for (const { target } of this.live) target.presuspend(noflush)
    await new Promise<void>((resolve) => {
      this.#idle.push(() => {
        this.#kernel.timeline.touch()
        resolve()
      })
      this.#kernel.after(0, () => { this.#stir() })
    })
    this.suspended = true
    this.#noflush = false
  }

  /** One after the other (suspend_lock): who suspends a device that another is about to resume with a new table waits for it. */
  #locked<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(work, work)
    this.#tail = mine.catch(() => undefined)
    return mine
  }

  resume(noflush: boolean): Promise<void> {
    const fresh = this.waiting // taken before the suspend (dm-ioctl.c do_resume): a second resume meanwhile finds no table to put in place
    this.waiting = undefined
    this.#taken = [...this.#taken, ...fresh ?? []]
    return this.#locked(async () => {
      if (fresh) {
        await this.#suspendNow(noflush)
        const old = this.live
        this.live = fresh
        this.#taken = this.#taken.filter((line) => !fresh.includes(line))
        this.#drop(old)
      }
      if (!this.suspended) return
      this.suspended = false
      this.#blocked = false
      for (const { target } of this.live) target.resume()
      for (const bio of this.#deferred.splice(0)) this.#map(bio)
    })
  }

  remove(): void {
    this.gone = true
    const [live, waiting] = [this.live, this.waiting]
    this.live = []
    this.waiting = undefined
    this.#drop(live)
    this.#drop(waiting)
    for (const watcher of [...this.watchers]) watcher()
  }
}

/** dm-linear and dm-error. */
export function linear(device: BlockDevice, startSector: number, sectors: number): Target {
  const start = startSector / 8
  return {
    table: `linear ${device.devno} ${startSector}`, devices: [device],
    submit(bio) {
      if (bio.op !== 'flush' && bio.slot + bio.count > Math.ceil(sectors / 8)) throw new Error('a request past the end of a linear')
      device.submit(bio.op === 'flush' ? bio : { ...bio, slot: bio.slot + start })
    },
    status: () => 'linear', presuspend: () => undefined, idle: () => true, resume: () => undefined, close: () => undefined,
    message: () => Promise.reject(new DmError('linear takes no messages')),
  }
}

export function error(): Target {
  return {
    table: 'error', devices: [], submit(bio) { bio.done('io', new Map()) }, status: () => 'error', presuspend: () => undefined, idle: () => true, resume: () => undefined, close: () => undefined,
    message: () => Promise.reject(new DmError('error takes no messages')),
  }
}
