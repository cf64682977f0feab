/**
 * A small world to break: servers with disks whose blocks are version numbers, and heads that keep dm-mirror's rules (drivers/md/dm-raid1.c).
 * What a head does with an order, and what it reports, is the product's own; only the kernel below it is played.
 */
import { must } from '../../lib/assert.js'
import { checkWish, planVolume } from '../../agent/head/plan.js'
import type { DeviceTable, DeviceThere } from '../../agent/head/plan.js'
import { justMade, notReached, segmentSeen } from '../../agent/head/look.js'
import type { LegHealth, MirrorStatus } from '../../agent/dm/status.js'
import type { Part } from '../../agent/dm/table.js'
import type { VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'

/** Of each segment; also the regions of its copy. */
export const BLOCKS = 3

export interface Host { readonly name: string; up: boolean; /** The manager can reach its agent. */ control: boolean; boot: number; heardMs: number }
export interface Disk { readonly id: string; readonly host: string; working: boolean }
/** `safe`: what survives a power failure of the server. */
export interface Leg { readonly disk: string; readonly blocks: number[]; readonly safe: number[]; admits: string }
interface Write { readonly segment: number; readonly block: number; readonly version: number }
interface Device { readonly table: DeviceTable; readonly letters: Map<string, LegHealth>; readonly copied: Set<number>; failed: boolean }

/** An order that a head does not carry out, now. */
export class Refused extends Error {}

export class World {
  now = 0
  readonly hosts = new Map<string, Host>()
  readonly disks = new Map<string, Disk>()
  readonly legs = new Map<string, Leg>()
  readonly heads = new Map<string, Head>()
  /** By segment and block: the newest version that the guest believes written, and the newest that it flushed. */
  readonly acked: number[][]
  readonly flushed: number[][]
  #versions = 0

  constructor({ storage, disks, heads, segments }: { readonly storage: number; readonly disks: number; readonly heads: number; readonly segments: number }) {
    this.acked = Array.from({ length: segments }, () => zeros())
    this.flushed = Array.from({ length: segments }, () => zeros())
    for (let at = 1; at <= storage; at += 1) {
      this.#addHost(`st${at}`)
      for (let disk = 0; disk < disks; disk += 1) this.disks.set(`st${at}/${disk}`, { id: `st${at}/${disk}`, host: `st${at}`, working: true })
    }
    for (let at = 1; at <= heads; at += 1) {
      this.#addHost(`hd${at}`)
      this.heads.set(`hd${at}`, new Head(this, `hd${at}`))
    }
  }

  #addHost(name: string): void {
    this.hosts.set(name, { name, up: true, control: true, boot: 1, heardMs: 0 })
  }

  host(name: string): Host { return must(this.hosts.get(name), `${name} exists`) }
  disk(id: string): Disk { return must(this.disks.get(id), `${id} exists`) }
  head(name: string): Head { return must(this.heads.get(name), `${name} exists`) }
  answers(name: string): boolean { return this.host(name).up && this.host(name).control }
  nextVersion(): number { return this.#versions += 1 }

  /** Power off. A head loses what it had up; of a server's legs what was not flushed is gone when its disks had a cache. */
  down(name: string, { cached = false } = {}): void {
    this.host(name).up = false
    this.heads.get(name)?.crash()
    for (const leg of this.legsOn(name)) {
      leg.admits = ''
      if (cached) leg.blocks.splice(0, BLOCKS, ...leg.safe)
    }
  }

  up(name: string): void {
    const host = this.host(name)
    if (!host.up) host.boot += 1
    host.up = true
  }

  legsOn(host: string): readonly Leg[] { return [...this.legs.values()].filter((leg) => this.disk(leg.disk).host === host) }

  reachable(head: string, extent: string): boolean {
    const leg = this.legs.get(extent)
    return leg !== undefined && leg.admits === head && this.host(this.disk(leg.disk).host).up && this.disk(leg.disk).working
  }
}

export const zeros = (): number[] => Array.from({ length: BLOCKS }, () => 0)

/** One head, with one volume at most. */
export class Head {
  readonly #world: World
  readonly name: string
  record: VolumeWanted | undefined
  readonly devices = new Map<Part, Device>()
  /** Writes of the guest that are not answered yet. */
  waiting: Write[] = []
  /** The guest keeps the device open even when its writes fail. */
  guestStays = false
  /** Told of each write that was acknowledged. */
  onAck: (segment: number) => void = () => undefined

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
  }

  crash(): void {
    this.devices.clear()
    this.waiting = []
  }

  there(): readonly DeviceThere[] {
    return [...this.devices].map(([part, { table, letters, failed }]) => ({ part, table, suspended: false, failed: failed || letters.size > 0 }))
  }

  /** As agent/head/role.ts: refused, or some leg was not reached and nothing was changed, or all is as ordered. */
  attach(wanted: VolumeWanted): VolumeSeen {
    checkWish(wanted)
    const before = this.record
    if (before && (before.attachEpoch > wanted.attachEpoch || before.layout > wanted.layout)) throw new Refused('this order is history')
    if (this.devices.size > 0 && before?.attachEpoch !== wanted.attachEpoch && !(before?.scope === 'copies' && !this.devices.has('top'))) {
      if (this.waiting.length > 0 && this.guestStays) throw new Refused('devices of an attachment that is over are in use')
      this.waiting = [] // they end with an error
      this.devices.clear()
    }
    const steps = planVolume(wanted, this.there(), before === undefined || before.layout < wanted.layout)
    const inUse = new Set([...this.devices.values()].flatMap(({ table }) => (table.kind === 'mirror' ? table.mirror.legs : [])))
    const named = steps.flatMap((step) => ((step.do === 'create' || step.do === 'reload') && step.table.kind === 'mirror' ? step.table.mirror.legs : []))
    const missing = named.filter((leg) => !leg.endsWith('-low') && !inUse.has(leg) && !this.#world.reachable(this.name, leg))
    if (missing.length > 0) return notReached(wanted, [...new Set(missing)].map((extent) => ({ extent, why: 'it does not answer' })))
    this.record = wanted
    for (const step of steps) {
      const device = this.devices.get(step.part)
      if (step.do === 'remove') {
        if (this.waiting.length > 0 && step.part === 'top') throw new Refused('the volume is in use')
        this.devices.delete(step.part)
      } else if (step.do === 'reinstate') { if (device) device.failed = false }
      else if ('table' in step) this.devices.set(step.part, { table: step.table, letters: new Map(), copied: new Set(), failed: false })
      this.drain()
    }
    return must(this.seen(), 'it was made a moment ago')
  }

  /** False when writes wait: nothing was changed. */
  detach(): boolean {
    if (this.devices.has('top') && !this.flush()) return false
    this.devices.clear()
    this.record = undefined
    return true
  }

  seen(): VolumeSeen | undefined {
    const record = this.record
    if (!record || this.devices.size === 0) return undefined
    const steps = planVolume(record, this.there(), false)
    return {
      ...justMade(record), layout: steps.length === 0 ? record.layout : 0, state: steps.some((step) => step.do === 'create') ? 'partial' : 'up', waiting: this.devices.get('top')?.failed ?? false,
      segments: record.segments.map(({ index, generation }) => {
        const [upper, low]: readonly [Part, Part] = [`s${index}`, `s${index}-low`]
        const seen = { ...segmentSeen(index, this.#legs(upper), this.#status(upper), this.#legs(low), this.#status(low)), generation }
        return record.scope === 'copies' && seen.inSync === seen.regions && !this.#makeSafe(upper) ? { ...seen, inSync: seen.regions - 1 } : seen
      }),
    }
  }

  #legs(part: string): readonly string[] {
    const table = this.devices.get(part as Part)?.table
    return table?.kind === 'mirror' ? table.mirror.legs : []
  }

  #status(part: Part): MirrorStatus | undefined {
    const device = this.devices.get(part)
    if (device?.table.kind !== 'mirror') return undefined
    const { legs, copy } = device.table.mirror
    if (legs.length === 1) return { legs: [], inSync: 1, regions: 1 }
    return { legs: legs.map((leg) => ({ device: leg, health: device.letters.get(leg) ?? 'A' })), inSync: copy === 'all' ? device.copied.size : BLOCKS, regions: BLOCKS }
  }

  /** The guest writes. */
  write(segment: number, block: number): void {
    if (!this.devices.has('top')) return
    this.waiting.push({ segment, block, version: this.#world.nextVersion() })
    this.drain()
  }

  /** The guest flushes: true when all that it wrote before is safe. */
  flush(): boolean {
    this.drain()
    if (this.waiting.length > 0 || !this.devices.has('top')) return false
    for (const [segment, acked] of this.#world.acked.entries()) {
      const all = this.#leaves(`s${segment}`)
      if (all.length === 0 || !all.every((leg) => this.#world.reachable(this.name, leg))) return false
      for (const extent of all) {
        const leg = must(this.#world.legs.get(extent), 'it was reached')
        leg.safe.splice(0, BLOCKS, ...leg.blocks)
      }
      // What every leg has lost before, nobody can promise any more.
      const legs = all.map((extent) => must(this.#world.legs.get(extent), 'it was reached').blocks)
      const whole = legs.some((blocks) => blocks.every((version, block) => version >= (acked[block] ?? 0)))
      must(this.#world.flushed[segment], 'one a segment').splice(0, BLOCKS, ...acked.map((version, block) => (whole ? version : Math.min(version, ...legs.map((blocks) => blocks[block] ?? 0)))))
    }
    return true
  }

  /** What was copied for a detached volume is told as copied when no power failure can undo it. */
  #makeSafe(part: string): boolean {
    const all = this.#leaves(part)
    if (!all.every((leg) => this.#world.reachable(this.name, leg))) return false
    for (const extent of all) {
      const leg = must(this.#world.legs.get(extent), 'it was reached')
      leg.safe.splice(0, BLOCKS, ...leg.blocks)
    }
    return true
  }

  /** What waits is tried; a write waits for an older one to the same block. */
  drain(): void {
    const held = new Set<string>()
    this.waiting = this.waiting.filter(({ segment, block, version }) => {
      const [top, key] = [this.devices.get('top'), `${segment} ${block}`]
      if (!top || top.failed || held.has(key)) return true
      const result = this.#put(`s${segment}`, block, version)
      if (result === 'error') top.failed = true
      if (result !== 'ok') {
        held.add(key)
        return true
      }
      const acked = must(this.#world.acked[segment], 'one a segment')
      acked[block] = Math.max(version, acked[block] ?? 0) // an older write that is carried out later destroys a newer one
      this.onAck(segment)
      return false
    })
  }

  #put(name: string, block: number, version: number): 'ok' | 'held' | 'error' {
    const device = this.devices.get(name as Part)
    if (!device) {
      if (!this.#world.reachable(this.name, name)) return 'error'
      must(this.#world.legs.get(name), 'it was reached').blocks[block] = version
      return 'ok'
    }
    const legs = this.#legs(name)
    const copying = device.table.kind === 'mirror' && device.table.mirror.copy === 'all' && !device.copied.has(block)
    if (legs.length === 1 || copying) return this.#put(legs[0] ?? '', block, version) // a region that is not copied yet is written below alone
    if (device.letters.size > 0) return 'held'
    const results = legs.map((leg) => ({ leg, result: this.#put(leg, block, version) }))
    for (const { leg, result } of results) if (result === 'error') device.letters.set(leg, 'D')
    return results.every(({ result }) => result === 'ok') ? 'ok' : results.every(({ result }) => result === 'error') ? 'error' : 'held'
  }

  /** The extents below a device that writes go to. */
  #leaves(name: string): readonly string[] {
    return this.devices.has(name as Part) ? this.#legs(name).flatMap((leg) => this.#leaves(leg)) : name === '' || /^s\d/.test(name) ? [] : [name]
  }

  /** The extents from which a read of this segment may come now. */
  readers(segment: number): readonly string[] {
    const below = this.devices.has(`s${segment}-low`) ? `s${segment}-low` as const : `s${segment}` as const
    const letters = this.devices.get(below)?.letters
    return this.#legs(below).filter((leg) => letters?.get(leg) === undefined && this.#world.reachable(this.name, leg))
  }

  /** Each copy under way copies one block. */
  copyStep(): void {
    for (const [part, device] of this.devices) {
      if (device.table.kind !== 'mirror' || device.table.mirror.copy !== 'all' || device.letters.size > 0) continue
      const segment = Number(/\d+/.exec(part)?.[0])
      const block = zeros().findIndex((_, at) => !device.copied.has(at) && !this.waiting.some((write) => write.segment === segment && write.block === at))
      if (block < 0) continue
      const [low = '', ...targets] = device.table.mirror.legs
      const source = this.readers(segment)[0]
      if (source === undefined) {
        device.letters.set(low, 'S')
        continue
      }
      const version = must(this.#world.legs.get(source)?.blocks[block], 'a block of the source')
      const failed = targets.filter((target) => this.#put(target, block, version) !== 'ok')
      for (const target of failed) device.letters.set(target, 'S')
      if (failed.length === 0) device.copied.add(block)
    }
  }
}
