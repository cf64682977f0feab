/**
 * A head of the small world (world.ts), which keeps dm-mirror's rules (drivers/md/dm-raid1.c) and dm-era's. What it does with an order,
 * and what it reports, is the product's own; only the kernel below is played.
 */
import { isDeepStrictEqual } from 'node:util'
import { assert, must } from '../../lib/assert.js'
import { checkWish, devicesWanted, planVolume, withoutCopies } from '../../agent/head/plan.js'
import type { DeviceTable, DeviceThere, HeadStep } from '../../agent/head/plan.js'
import { justMade, notReached, wholeSegmentSeen } from '../../agent/head/look.js'
import type { LegHealth, MirrorStatus } from '../../agent/dm/status.js'
import { segmentOf } from '../../agent/dm/table.js'
import type { MirrorTable, Part } from '../../agent/dm/table.js'
import type { SegmentSeen, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import { CHECKPOINT_MS, Changes, emptyMemory, isMarked, nextEra, withMark } from './memory.js'
import type { Memory } from './memory.js'
import type { Leg, World } from './world.js'

/** Of each segment; also the regions of its copy. What is remembered is one region. */
export const BLOCKS = 3
export const zeros = (): number[] => Array.from({ length: BLOCKS }, () => 0)

interface Write {
  readonly segment: number
  readonly block: number
  readonly version: number
  /** It is remembered, and below what remembers. */
  marked: boolean
  /** It is under way until then, and only some of the legs have it. */
  readonly landsMs: number
  readonly few: number
}
interface Device { readonly table: DeviceTable; readonly letters: Map<string, LegHealth>; readonly copied: Set<number>; failed: boolean }
type Result = 'ok' | 'held' | 'error'

/** An order that a head does not carry out, now. */
export class Refused extends Error {}

/** What is in a disk's cache no power failure can undo any more. */
function makeSafe(leg: Leg): void {
  leg.safe.splice(0, BLOCKS, ...leg.blocks)
  leg.safeMemory = leg.memory
}

/** With one volume at most. */
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
  readonly changes = new Changes()
  /** What dm-era has in core: all of it was written down, unless it has been given up. */
  #memory: Memory | undefined
  #spoiled = false
  /** Some of the legs may have what could not be written down on all. */
  #holds = false
  #done = 0
  /** Copies whose end was written out, by device and layout. */
  readonly #ended = new Set<string>()

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
  }

  crash(): void {
    this.devices.clear()
    this.waiting = []
    this.#forget()
  }

  #forget(): void {
    this.changes.forget()
    this.#memory = undefined
    this.#spoiled = false
    this.#ended.clear()
  }

  /** Its agent is killed and started again: devices stay. */
  restartAgent(): void {
    this.changes.forget()
    this.#ended.clear()
    if (this.record && this.devices.size > 0) this.changes.note(this.record)
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
      this.#memory = undefined
    }
    const there = this.there()
    const steps = planVolume(wanted, there, before === undefined || before.layout < wanted.layout)
    const inUse = new Set([...this.devices.values()].flatMap(({ table }) => (table.kind === 'mirror' ? table.mirror.legs : [])))
    const named = steps.flatMap((step) => ((step.do === 'create' || step.do === 'reload') && step.table.kind === 'mirror' ? step.table.mirror.legs : []))
    const missing = named.filter((leg) => !leg.endsWith('-low') && !inUse.has(leg) && !this.#world.reachable(this.name, leg))
    if (missing.length > 0) return notReached(wanted, [...new Set(missing)].map((extent) => ({ extent, why: 'it does not answer' })))
    this.record = wanted
    const first = wanted.segments.some((segment) => segment.copy === 'changed') && !this.devices.has('changes') ? withoutCopies(wanted) : undefined
    if (first) this.#build(first, planVolume(first, there, true))
    this.#build(wanted, first ? planVolume(wanted, devicesWanted(first).map((device) => ({ ...device, suspended: false, failed: false })), false) : steps)
    this.changes.note(wanted)
    return must(this.seen(), 'it was made a moment ago')
  }

  #build(wanted: VolumeWanted, steps: readonly HeadStep[]): void {
    for (const step of steps) {
      this.drain(true) // a device that gets a new table waits for what is under way
      const device = this.devices.get(step.part)
      if (step.do === 'remove') {
        if (this.waiting.length > 0 && step.part === 'top') throw new Refused('the volume is in use')
        if (step.part === 'changes') this.#memory = undefined
        this.devices.delete(step.part)
      } else if (step.do === 'reinstate') { if (device) device.failed = false }
      else if (step.do === 'wipe') this.#put('meta', 0, (leg) => { leg.memory = leg.safeMemory = emptyMemory })
      else if ('table' in step) this.#load(wanted, step)
      this.drain()
    }
  }

  #load(wanted: VolumeWanted, step: HeadStep & { readonly table: DeviceTable }): void {
    const { part, table } = step
    if (table.kind === 'mirror' && table.mirror.copy === 'changed') this.devices.set(part, this.#changedOnly(wanted, part, table.mirror, step.do === 'reload'))
    else this.devices.set(part, { table, letters: new Map(), copied: new Set(), failed: false })
    const [memory, ...others] = this.#readersOf('meta').map((leg) => this.#leg(leg).memory)
    if (table.kind === 'changes' || (this.#memory && !this.#spoiled && !this.#holds)) assert(others.every((other) => isDeepStrictEqual(other, memory)), 'what is remembered is the same on every leg that it may be read from')
    if (table.kind !== 'changes') return
    // When it is made the kernel takes up what was written down last, and begins an era.
    this.#holds = false
    this.#memory = must(memory, 'a leg of segment 0 was reached')
    this.#spoiled = false
    this.#commit(nextEra(this.#memory))
  }

  /** A list can be had only while eras can be written down; without one all is copied. */
  #changedOnly(wanted: VolumeWanted, part: Part, mirror: MirrorTable, canAsk: boolean): Device {
    const segment = segmentOf(part) ?? 0
    const { since = 1 } = must(wanted.segments.find(({ index }) => index === segment), 'a segment of the order')
    const memory = this.#memory
    if (!canAsk || !memory || !this.#commit(nextEra(memory))) return { table: { kind: 'mirror', mirror: { ...mirror, copy: 'all' } }, letters: new Map(), copied: new Set(), failed: false }
    const same = [...zeros().keys()].filter((block) => (memory.written[segment * BLOCKS + block] ?? 0) < since)
    return { table: { kind: 'mirror', mirror }, letters: new Map(), copied: new Set(same), failed: false }
  }

  /** False when writes wait: nothing was changed. */
  detach(): boolean {
    this.drain(true)
    if (this.devices.has('top') && !this.flush()) return false
    this.devices.clear()
    this.record = undefined
    this.#forget()
    return true
  }

  seen(): VolumeSeen | undefined {
    const record = this.record
    if (!record || this.devices.size === 0) return undefined
    const steps = planVolume(record, this.there(), false)
    const changes = this.changes.seen()
    return {
      ...justMade(record), layout: steps.length === 0 ? record.layout : 0, state: steps.some((step) => step.do === 'create') ? 'partial' : 'up',
      waiting: (['top', 'meta-top'] as const).some((part) => this.devices.get(part)?.failed), ...(changes ? { changes } : {}),
      segments: record.segments.map(({ index, generation, copy }) => {
        const seen = { ...wholeSegmentSeen(record, index, (part) => ({ legs: this.#legs(part), status: this.#status(part) })), generation }
        return copy === 'none' ? seen : this.#ending(seen, `${index} ${record.layout}`)
      }),
    }
  }

  /** A copy is told as ended when no power failure can undo it (agent/head/flush.ts). */
  #ending(seen: SegmentSeen, key: string): SegmentSeen {
    if (seen.inSync < seen.regions || this.#ended.has(key)) return seen
    const all = this.#leaves(`s${seen.index}`)
    if (!all.every((leg) => this.#world.reachable(this.name, leg))) return { ...seen, inSync: seen.regions - 1 }
    for (const extent of all) makeSafe(this.#leg(extent))
    this.#ended.add(key)
    return seen
  }

  #leg(extent: string): Leg { return must(this.#world.legs.get(extent), 'it was reached') }

  #legs(part: string): readonly string[] {
    const table = this.devices.get(part as Part)?.table
    return table?.kind === 'mirror' ? table.mirror.legs : []
  }

  #status(part: Part): MirrorStatus | undefined {
    const device = this.devices.get(part)
    if (device?.table.kind !== 'mirror') return undefined
    const { legs, copy } = device.table.mirror
    if (legs.length === 1) return { legs: [], inSync: 1, regions: 1 }
    const regions = part.startsWith('meta') ? 1 : BLOCKS
    return { legs: legs.map((leg) => ({ device: leg, health: device.letters.get(leg) ?? 'A' })), inSync: copy === 'none' ? regions : device.copied.size, regions }
  }

  /** The guest writes. `few`: it takes a while, and only these of the legs have it until then (a bit each); else it is carried out at once. */
  write(segment: number, block: number, few?: number): void {
    if (!this.devices.has('top')) return
    const landsMs = few === undefined ? 0 : this.#world.now + CHECKPOINT_MS / 2
    this.waiting.push({ segment, block, version: this.#world.nextVersion(), marked: false, landsMs, few: few ?? 0 })
    this.drain()
  }

  #underWay(write: Write): boolean { return write.marked && write.landsMs > this.#world.now }

  /** The guest flushes: true when all that it wrote before is safe. What is under way meanwhile does not hold it up. */
  flush(): boolean {
    this.drain()
    if (this.waiting.some((write) => !this.#underWay(write)) || !this.devices.has('top')) return false
    for (const [segment, acked] of this.#world.acked.entries()) {
      const all = this.#leaves(`s${segment}`)
      if (all.length === 0 || !all.every((leg) => this.#world.reachable(this.name, leg))) return false
      for (const extent of all) makeSafe(this.#leg(extent))
      // What every leg that is read has lost before, nobody can promise any more.
      const legs = this.readers(segment).map((extent) => this.#leg(extent).blocks)
      const whole = legs.some((blocks) => blocks.every((version, block) => version >= (acked[block] ?? 0)))
      must(this.#world.flushed[segment], 'one a segment').splice(0, BLOCKS, ...acked.map((version, block) => (whole ? version : Math.min(version, ...legs.map((blocks) => blocks[block] ?? 0)))))
    }
    return true
  }

  /** A minute of its own has passed. */
  checkpoint(): void {
    this.drain()
    this.changes.look(this.#world.now, `${this.#done} ${this.waiting.length}`, {
      flushed: () => [...this.devices.values()].every(({ letters, failed }) => letters.size === 0 && !failed) && this.flush(),
      checkpoint: () => (this.#memory && this.#commit(nextEra(this.#memory)) ? this.#memory.era : undefined),
    })
  }

  /** It has waited too long for what is to be remembered: from here on that is not written down any more, if nobody relies on it. */
  giveUpRemembering(): void {
    if (this.changes.spoil() && this.#memory) this.#spoiled = true
  }

  /** What waits is tried; a write waits for an older one to the same block. `all`: what is under way ends now. */
  drain(all = false): void {
    const held = new Set<string>()
    this.waiting = this.waiting.filter((write) => {
      const { segment, block, version } = write
      const [top, key] = [this.devices.get('top'), `${segment} ${block}`]
      if (!top || top.failed || held.has(key)) return true
      const result = this.#carryOut(write, all)
      if (result === 'error') {
        top.failed = true
        write.marked = false // it comes by again
      }
      if (result !== 'ok') {
        held.add(key)
        return true
      }
      const acked = must(this.#world.acked[segment], 'one a segment')
      acked[block] = Math.max(version, acked[block] ?? 0) // an older write that is carried out later destroys a newer one
      this.#done += 1
      this.onAck(segment)
      return false
    })
  }

  #carryOut(write: Write, all: boolean): Result {
    const { segment, block, version } = write
    const apply = (leg: Leg): void => { leg.blocks[block] = version }
    if (!write.marked) {
      if (!this.#remember(segment * BLOCKS + block)) return 'held'
      write.marked = true
      const way = this.#underWay(write) ? this.#route(`s${segment}`, block).filter((extent, at) => (write.few >> at & 1) === 1 && this.#world.reachable(this.name, extent)) : []
      for (const extent of way) apply(this.#leg(extent))
    }
    return !all && this.#underWay(write) ? 'held' : this.#put(`s${segment}`, block, apply)
  }

  /** True when it is written down that this block was written in this era. */
  #remember(block: number): boolean {
    const memory = this.#memory
    if (!memory || isMarked(memory, block)) return true
    return this.#commit(withMark(memory, block))
  }

  /** On all legs of segment 0, and out of their disks' caches: only then it counts in core as well. */
  #commit(memory: Memory): boolean {
    const queue = this.devices.get('meta-top')
    if (!this.#spoiled) {
      const result = queue?.failed ? 'held' : this.#put('meta', 0, (leg) => { leg.memory = leg.safeMemory = memory })
      if (queue && result === 'error') queue.failed = true
      this.#holds = result !== 'ok'
      if (this.#holds) return false
    }
    this.#memory = memory
    return true
  }

  #copies({ table, copied }: Device, block: number): boolean { return table.kind === 'mirror' && table.mirror.copy !== 'none' && !copied.has(block) }

  #put(name: string, block: number, apply: (leg: Leg) => void): Result {
    const device = this.devices.get(name as Part)
    if (!device) {
      if (!this.#world.reachable(this.name, name)) return 'error'
      apply(this.#leg(name))
      return 'ok'
    }
    const legs = this.#legs(name)
    if (legs.length === 1 || this.#copies(device, block)) return this.#put(legs[0] ?? '', block, apply) // a region that is not copied yet is written below alone
    if (device.letters.size > 0) return 'held'
    const results = legs.map((leg) => ({ leg, result: this.#put(leg, block, apply) }))
    for (const { leg, result } of results) if (result === 'error') device.letters.set(leg, 'D')
    return results.every(({ result }) => result === 'ok') ? 'ok' : results.every(({ result }) => result === 'error') ? 'error' : 'held'
  }

  /** The extents that a write reaches, in a moment in which nothing below has failed. */
  #route(name: string, block: number): readonly string[] {
    const device = this.devices.get(name as Part)
    if (!device) return [name]
    const legs = this.#legs(name)
    return device.letters.size > 0 ? [] : (this.#copies(device, block) ? legs.slice(0, 1) : legs).flatMap((leg) => this.#route(leg, block))
  }

  /** The extents below a device that writes go to. */
  #leaves(name: string): readonly string[] {
    return this.devices.has(name as Part) ? this.#legs(name).flatMap((leg) => this.#leaves(leg)) : name === '' || /^s\d/.test(name) ? [] : [name]
  }

  /** The extents from which a read of this segment may come now. */
  readers(segment: number): readonly string[] { return this.#readersOf(`s${segment}`) }

  #readersOf(part: Part): readonly string[] {
    const below = this.devices.has(`${part}-low` as Part) ? `${part}-low` : part
    const letters = this.devices.get(below as Part)?.letters
    return this.#legs(below).filter((leg) => letters?.get(leg) === undefined && this.#world.reachable(this.name, leg))
  }

  /** Each copy under way copies one block. */
  copyStep(): void {
    for (const [part, device] of this.devices) {
      if (device.table.kind !== 'mirror' || device.table.mirror.copy === 'none' || device.letters.size > 0) continue
      const segment = segmentOf(part)
      const block = (part === 'meta' ? [0] : zeros()).findIndex((_, at) => !device.copied.has(at) && (part === 'meta' || !this.waiting.some((write) => write.segment === segment && write.block === at)))
      if (block < 0) continue
      const [low = '', ...targets] = device.table.mirror.legs
      const source = this.#readersOf(part)[0]
      if (source === undefined) {
        device.letters.set(low, 'S')
        continue
      }
      const { memory, blocks } = this.#leg(source)
      const version = must(blocks[block], 'a block of the source')
      const failed = targets.filter((target) => this.#put(target, block, (leg) => { if (part === 'meta') leg.memory = memory; else leg.blocks[block] = version }) !== 'ok')
      for (const target of failed) device.letters.set(target, 'S')
      if (failed.length === 0) device.copied.add(block)
    }
  }
}
