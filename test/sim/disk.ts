/**
 * A disk: what is safe on it, what only its cache has, and what is wrong with it. LVM's metadata stands beside the data; LVM writes it
 * through the cache, and as a whole (its own checksums see to that), so it is never torn here.
 */
import type { Dice } from '../../tools/thrash/dice.js'
import type { Timeline } from './clock.js'
import { newCounts, nothing } from './block.js'
import type { Bio, BlockDevice, Content } from './block.js'

/** Slots in LVM's physical extent of 4 MiB. */
export const PE_SLOTS = 1024

export interface LogicalVolume {
  readonly name: string
  tags: string[]
  /** Physical extents, in order. */
  readonly extents: number[]
}

export interface VolumeGroup {
  readonly name: string
  tags: string[]
  readonly volumes: Map<string, LogicalVolume>
}

export interface DiskFaults {
  /** Nothing works any more. */
  dead: boolean
  /** Each request takes this much longer, ms. */
  slowMs: number
  /** Requests are kept until it is well again. */
  hung: boolean
  /** Writes and flushes fail; reads work. */
  readOnly: boolean
}

export class Disk implements BlockDevice {
  readonly kernel: string
  readonly devno: string
  readonly slots: number
  readonly counts = newCounts()
  readonly holders = new Set<string>()
  opens = 0
  vg: VolumeGroup | undefined
  readonly faults: DiskFaults = { dead: false, slowMs: 0, hung: false, readOnly: false }
  /** Slots that can't be read until they are written. */
  readonly bad = new Set<number>()
  /** Rises when its server loses power: what was under way then is gone. */
  life = 0
  readonly #timeline: Timeline
  readonly #dice: Dice
  readonly #safe = new Map<number, Content>()
  readonly #cache = new Map<number, Content>()
  #waiting: (() => void)[] = []

  constructor(timeline: Timeline, dice: Dice, { kernel, devno, bytes }: { readonly kernel: string; readonly devno: string; readonly bytes: number }) {
    this.#timeline = timeline
    this.#dice = dice
    this.kernel = kernel
    this.devno = devno
    this.slots = Math.floor(bytes / 4096)
  }

  get physicalExtents(): number { return Math.floor(this.slots / PE_SLOTS) - 1 }

  /** What a reader would get now. */
  at(slot: number): Content {
    return this.#cache.get(slot) ?? this.#safe.get(slot) ?? 0
  }

  isSafe(slot: number): boolean {
    return !this.#cache.has(slot)
  }

  /** Slots that hold something, from the first. */
  * used(from: number, to: number): Generator<number> {
    if (to - from <= this.#safe.size + this.#cache.size) {
      for (let slot = from; slot < to; slot += 1) if (this.at(slot) !== 0) yield slot
      return
    }
    const written = [...this.#safe.keys(), ...this.#cache.keys()].filter((slot) => slot >= from && slot < to)
    for (const slot of new Set(written.sort((a, b) => a - b))) if (this.at(slot) !== 0) yield slot
  }

  put(slot: number, content: Content): void {
    this.bad.delete(slot)
    this.#cache.set(slot, content)
  }

  /** Zeros, written and flushed. */
  zero(from: number, to: number): void {
    for (const slot of [...this.used(from, to)]) this.put(slot, 0)
    this.flush()
  }

  flush(): void {
    for (const [slot, content] of this.#cache) {
      if (content === 0) this.#safe.delete(slot)
      else this.#safe.set(slot, content)
    }
    this.#cache.clear()
  }

  /** Power is gone. `keeps`: its cache outlives that. Else any part of what it held is lost. Gives what was. */
  powerLoss(keeps: boolean): readonly { readonly slot: number; readonly lost: Content }[] {
    this.life += 1
    this.#waiting = []
    const lost: { slot: number; lost: Content }[] = []
    if (!keeps) {
      const share = this.#dice.next()
      for (const [slot, content] of [...this.#cache]) {
        if (this.#dice.next() < share) continue
        this.#cache.delete(slot)
        if ((this.#safe.get(slot) ?? 0) !== content) lost.push({ slot, lost: content })
      }
    }
    this.flush()
    return lost
  }

  /** What waited for a hung disk goes on. */
  wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const act of waiting) act()
  }

  submit(bio: Bio): void {
    const { life } = this
    const begin = (): void => {
      if (this.faults.hung) {
        this.#waiting.push(begin)
        return
      }
      this.#timeline.after(0.2 + this.#dice.next() * 2 + this.faults.slowMs * this.#dice.next(), () => {
        if (this.life !== life) return
        if (this.faults.hung) this.#waiting.push(begin)
        else this.#carryOut(bio)
      })
    }
    begin()
  }

  #carryOut({ op, slot, count, data, done }: Bio): void {
    if (this.faults.dead || (this.faults.readOnly && op !== 'read')) {
      done('io', nothing)
      return
    }
    if (op === 'flush') {
      this.flush()
      done('ok', nothing)
      return
    }
    if (op === 'write') {
      if (count === 1) this.put(slot, data.get(0) ?? 0)
      else {
        for (const each of [...this.used(slot, slot + count)]) if (!data.has(each - slot)) this.put(each, 0)
        for (const [at, content] of data) this.put(slot + at, content)
        for (const each of [...this.bad]) if (each >= slot && each < slot + count) this.bad.delete(each)
      }
      done('ok', nothing)
      return
    }
    if (this.bad.size > 0) {
      for (const each of this.bad) {
        if (each < slot || each >= slot + count) continue
        done('media', nothing)
        return
      }
    }
    const got = new Map<number, Content>()
    for (const each of this.used(slot, slot + count)) got.set(each - slot, this.at(each))
    done('ok', got)
  }
}
