/**
 * Which legs move so that disks become equally full. Pure: facts in, moves out, and the reason when there is none. The fullest disk gives a
 * leg to the emptiest one that may take it, again and again. Laws of each move, whatever is asked:
 *
 * - no two legs of a segment come to one server, and no zone gets more legs of it than the one that is left has;
 * - it improves: afterwards the disk that gave is still fuller than the other one was before, and that one less full than the first was. So the
 *   sum of all squared fill levels falls with each move, and it ends, however often it is planned anew in between;
 * - it is needed: one of the two is outside of the band around the mean in which all should be.
 *
 * n disks and m legs cost O((n + m) log n). It goes on in small pieces (`more`), so that nobody has to wait for the whole.
 */
import { must } from '../../lib/assert.js'
import type { MovableLeg } from '../state/leg.js'
import { Least } from './least.js'

/** The fullest and the emptiest disk should differ by no more than this part of their size. */
export const BALANCED = 0.05

export interface FillDisk {
  readonly id: string
  readonly host: string
  /** Up to 2^53, as the database keeps sizes. */
  readonly bytes: bigint
  /** Of the legs that will be on it when all that is under way has ended. */
  readonly usedBytes: bigint
  /** What can be given out now: neither used nor waiting to be overwritten. */
  readonly freeBytes: bigint
  /** Legs that it may be given for now. */
  readonly takes: number
  /** For people. */
  readonly label: string
}

export interface Move {
  readonly leg: MovableLeg
  readonly to: string
}

export interface Level {
  readonly label: string
  /** 0 to 1; more where a disk is overcommitted. */
  readonly fill: number
}

export interface Levels {
  readonly fullest: Level
  readonly emptiest: Level
}

/** Of disks that can be given legs and give some. `zones`: of every server; empty or absent: the server is its own failure domain. */
export interface RebalanceFacts {
  readonly disks: readonly FillDisk[]
  readonly zones: ReadonlyMap<string, string>
  /** Each segment has one leg move at most: for moves that are to be made at once. */
  readonly oncePerSegment: boolean
}

export interface More {
  readonly moves: readonly Move[]
  /** Nothing more is to be found among the legs that were offered. */
  readonly ended: boolean
}

interface Room {
  readonly disk: FillDisk
  readonly zone: string
  readonly capacity: number
  used: number
  free: number
  takes: number
  /** That it may give, the largest first. */
  readonly legs: MovableLeg[]
}

interface Range { readonly from: number; readonly to: number }

/** A leg that can go to the emptiest disk is the best there can be; after so many others the best until then is taken. */
const LOOKS_FOR_BEST = 64

export class Rebalancing {
  /** By zone, server and id: each zone and each server is a range. */
  readonly #rooms: readonly Room[]
  readonly #at: ReadonlyMap<string, number>
  readonly #zones: ReadonlyMap<string, string>
  readonly #hostRanges = new Map<string, Range>()
  readonly #zoneRanges = new Map<string, Range>()
  readonly #oncePerSegment: boolean
  /** All disks by fill, from both ends; those that may still take a leg; those that may still give one, the fullest first. */
  readonly #low: Least
  readonly #high: Least
  readonly #takers: Least
  readonly #givers: Least
  readonly #band: { readonly low: number; readonly high: number }
  /** By segment: where its legs have gone, server by server. */
  readonly #gone = new Map<string, Map<string, string>>()
  #cramped = false

  constructor({ disks, zones, oncePerSegment }: RebalanceFacts) {
    this.#zones = zones
    this.#oncePerSegment = oncePerSegment
    const zoneOf = (host: string): string => zones.get(host) ?? ''
    this.#rooms = disks.filter((disk) => disk.bytes > 0n).map((disk) => ({
      disk, zone: zoneOf(disk.host), capacity: Number(disk.bytes), used: Number(disk.usedBytes), free: Number(disk.freeBytes), takes: disk.takes, legs: [],
    })).sort((a, b) => order(a.zone, b.zone) || order(a.disk.host, b.disk.host) || order(a.disk.id, b.disk.id))
    this.#at = new Map(this.#rooms.map(({ disk }, at) => [disk.id, at]))
    for (const [at, { disk, zone }] of this.#rooms.entries()) {
      this.#hostRanges.set(disk.host, { from: this.#hostRanges.get(disk.host)?.from ?? at, to: at + 1 })
      if (zone !== '') this.#zoneRanges.set(zone, { from: this.#zoneRanges.get(zone)?.from ?? at, to: at + 1 })
    }
    const fills = this.#rooms.map(fillOf)
    this.#low = new Least(Float64Array.from(fills))
    this.#high = new Least(Float64Array.from(fills, (fill) => -fill))
    this.#takers = new Least(Float64Array.from(fills, (fill, at) => (this.#room(at).takes > 0 ? fill : Infinity)))
    this.#givers = new Least(Float64Array.from(fills, () => Infinity))
    const [used, capacity] = this.#rooms.reduce(([sum, all], room) => [sum + room.used, all + room.capacity], [0, 0])
    const mean = capacity === 0 ? 0 : used / capacity
    this.#band = { low: mean - BALANCED / 2, high: mean + BALANCED / 2 }
  }

  #room(at: number): Room {
    return must(this.#rooms[at], 'a disk of the row')
  }

  /** Undefined without any disk. */
  levels(): Levels | undefined {
    const level = (at: number): Level => ({ label: this.#room(at).disk.label, fill: fillOf(this.#room(at)) })
    return this.#rooms.length === 0 ? undefined : { fullest: level(this.#high.least()), emptiest: level(this.#low.least()) }
  }

  balanced(): boolean {
    return this.#rooms.length === 0 || fillOf(this.#room(this.#high.least())) - fillOf(this.#room(this.#low.least())) <= BALANCED
  }

  /** A disk that would be given a leg has no room for it as yet. */
  get cramped(): boolean {
    return this.#cramped
  }

  /** Disks whose legs are worth offering, the fullest first, and how much each may have to give, bytes. None when nothing can get better. */
  givers(): readonly { readonly disk: string; readonly bytes: bigint }[] {
    const emptiest = this.#takers.least()
    if (this.balanced() || emptiest < 0) return []
    const least = fillOf(this.#room(emptiest))
    return this.#rooms.filter((room) => this.#needed(fillOf(room), least)).sort((a, b) => fillOf(b) - fillOf(a) || order(a.disk.id, b.disk.id))
      .map((room) => ({ disk: room.disk.id, bytes: BigInt(Math.ceil((fillOf(room) - Math.max(least, this.#band.low)) * room.capacity)) }))
  }

  /** Legs that may move. Those of other disks than `givers` change nothing. */
  offer(legs: readonly MovableLeg[]): void {
    const touched = new Set<number>()
    for (const leg of legs) {
      const at = this.#at.get(leg.disk)
      if (at === undefined) continue
      this.#room(at).legs.push(leg)
      touched.add(at)
    }
    for (const at of touched) {
      const room = this.#room(at)
      room.legs.sort((a, b) => (a.bytes < b.bytes ? 1 : a.bytes > b.bytes ? -1 : order(a.extent, b.extent)))
      this.#givers.set(at, -fillOf(room))
    }
  }

  /** At most so many further moves, after looking at about `looks` legs. What they move counts as moved. */
  more(most: number, looks: number): More {
    const moves: Move[] = []
    let left = looks
    while (moves.length < most) {
      const at = this.balanced() ? -1 : this.#givers.least()
      if (at < 0) return { moves, ended: true }
      if (left <= 0) return { moves, ended: false }
      const found = this.#best(at)
      left -= found.looked
      if (found.move) moves.push(this.#make(at, found.move.index, found.move.to))
      else this.#givers.set(at, Infinity)
    }
    return { moves, ended: false }
  }

  #needed(from: number, to: number): boolean {
    return from - to > BALANCED / 2 && (from > this.#band.high || to < this.#band.low)
  }

  #improves(from: Room, to: Room, bytes: number): boolean {
    const gap = fillOf(from) - fillOf(to)
    return gap > bytes / from.capacity && gap > bytes / to.capacity
  }

  /** The leg of this disk that goes to the emptiest place: no larger than what makes the two equal, if there is one. */
  #best(at: number): { readonly looked: number; readonly move?: { readonly index: number; readonly to: number } } {
    const room = this.#room(at)
    const emptiest = this.#takerBut([{ from: at, to: at + 1 }])
    if (emptiest < 0 || !this.#needed(fillOf(room), fillOf(this.#room(emptiest)))) return { looked: 1 }
    const equal = (fillOf(room) - fillOf(this.#room(emptiest))) / (1 / room.capacity + 1 / this.#room(emptiest).capacity)
    let [first, looked] = [0, 0]
    while (first < room.legs.length && Number(must(room.legs[first], 'one of them').bytes) > equal) first += 1
    let best: { readonly index: number; readonly to: number } | undefined
    for (let step = 0; step < room.legs.length && !(best && looked >= LOOKS_FOR_BEST); step += 1) {
      const index = first + step < room.legs.length ? first + step : room.legs.length - 1 - step // the smaller ones, then the larger, from the smallest of them on
      looked += 1
      const to = this.#targetOf(at, must(room.legs[index], 'one of them'))
      if (to < 0 || (best && fillOf(this.#room(to)) >= fillOf(this.#room(best.to)))) continue
      best = { index, to }
      if (to === emptiest) break
    }
    return best ? { looked, move: best } : { looked: looked + 1 }
  }

  /** The emptiest disk that this leg may go to; -1 when there is none, or it would help nobody. */
  #targetOf(at: number, leg: MovableLeg): number {
    const gone = this.#gone.get(segmentOf(leg))
    if (gone && this.#oncePerSegment) return -1
    const room = this.#room(at)
    const others = gone ? leg.others.map((host) => gone.get(host) ?? host) : leg.others
    const barred: Range[] = [{ from: at, to: at + 1 }]
    const inZones = new Map<string, number>()
    for (const host of others) {
      const [range, zone] = [this.#hostRanges.get(host), this.#zones.get(host) ?? '']
      if (range) barred.push(range)
      if (zone !== '') inZones.set(zone, (inZones.get(zone) ?? 0) + 1)
    }
    const here = room.zone === '' ? 0 : inZones.get(room.zone) ?? 0
    for (const [zone, count] of inZones) {
      const range = this.#zoneRanges.get(zone)
      if (range && count > here) barred.push(range)
    }
    const bytes = Number(leg.bytes)
    for (;;) {
      const to = this.#takerBut(barred)
      if (to < 0) return -1
      const target = this.#room(to)
      if (!this.#needed(fillOf(room), fillOf(target)) || !this.#improves(room, target, bytes)) return -1
      if (target.free >= bytes) return to
      this.#cramped = true
      this.#takers.set(to, Infinity)
    }
  }

  /** The emptiest disk outside of these ranges. */
  #takerBut(barred: Range[]): number {
    barred.sort((a, b) => a.from - b.from)
    let [from, found] = [0, -1]
    for (const range of [...barred, { from: this.#rooms.length, to: this.#rooms.length }]) {
      if (range.from > from) {
        const here = this.#takers.least(from, range.from)
        if (here >= 0 && (found < 0 || fillOf(this.#room(here)) < fillOf(this.#room(found)))) found = here
      }
      from = Math.max(from, range.to)
    }
    return found
  }

  #make(at: number, index: number, to: number): Move {
    const [room, target] = [this.#room(at), this.#room(to)]
    const leg = must(room.legs[index], 'the leg that was chosen')
    room.legs.splice(index, 1)
    const bytes = Number(leg.bytes)
    room.used -= bytes // it is free only when it has been copied and overwritten
    target.used += bytes
    target.free -= bytes
    target.takes -= 1
    const gone = this.#gone.get(segmentOf(leg)) ?? new Map<string, string>()
    this.#gone.set(segmentOf(leg), gone.set(room.disk.host, target.disk.host))
    for (const [each, place] of [[room, at], [target, to]] as const) {
      const fill = fillOf(each)
      this.#low.set(place, fill)
      this.#high.set(place, -fill)
      if (each.takes <= 0) this.#takers.set(place, Infinity)
      else if (each === room || each.free > 0) this.#takers.set(place, fill)
      if (each.legs.length > 0) this.#givers.set(place, -fill)
    }
    if (room.legs.length === 0) this.#givers.set(at, Infinity)
    return { leg, to: target.disk.id }
  }
}

function fillOf(room: Room): number {
  return room.used / room.capacity
}

function segmentOf({ volume, segment }: MovableLeg): string {
  return `${volume} ${segment}`
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** For people: how full they are, and how far from each other. */
export function sayLevels({ fullest, emptiest }: Levels): string {
  const percent = (fill: number): string => `${(fill * 100).toFixed(1)} %`
  return `${fullest.label}, the fullest, is ${percent(fullest.fill)} full, ${emptiest.label}, the emptiest, ${percent(emptiest.fill)}`
}
