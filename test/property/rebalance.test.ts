/** What a rebalance comes to after much coming and going: whatever happened to a pool of disks, its moves end with all of them about equally full. */
import { expect } from 'chai'
import fc from 'fast-check'
import { must } from '../../lib/assert.js'
import { placeLegs } from '../../manager/plan/place-legs.js'
import type { PlaceDisk } from '../../manager/plan/place-legs.js'
import { BALANCED, Rebalancing } from '../../manager/plan/rebalance.js'
import type { Move } from '../../manager/plan/rebalance.js'
import type { MovableLeg } from '../../manager/state/leg.js'

const GIB = 1024n ** 3n
const FULL = 8n * GIB

interface Shape { readonly servers: number; readonly each: number; readonly zones: number; readonly redundancy: number; readonly seed: number }

/** No server and no zone holds more than one leg's share of all bytes, by a margin: else no moves could make all disks equally full. */
const anyShape: fc.Arbitrary<Shape> = fc.record({ servers: fc.constantFrom(12, 16, 20), each: fc.integer({ min: 2, max: 3 }), zones: fc.constantFrom(0, 4), redundancy: fc.integer({ min: 1, max: 2 }), seed: fc.nat(2 ** 31 - 1) })

interface Leg { readonly extent: string; disk: string; readonly bytes: bigint }
interface Segment { readonly volume: string; readonly segment: number; readonly legs: Leg[] }
interface Disk { readonly id: string; readonly host: string; readonly bytes: bigint; used: bigint }

class Pool {
  readonly disks = new Map<string, Disk>()
  readonly volumes: Segment[][] = []
  readonly shape: Shape
  #dice: number
  #made = 0

  constructor(shape: Shape) {
    this.shape = shape
    this.#dice = shape.seed
    for (let server = 0; server < shape.servers; server += 1) for (let each = 0; each < shape.each; each += 1) this.addDisk(`st${server}`)
  }

  roll(sides: number): number {
    this.#dice = (Math.imul(this.#dice, 1664525) + 1013904223) >>> 0
    return (this.#dice >>> 8) % sides
  }

  zoneOf(host: string): string {
    return this.shape.zones === 0 ? '' : `z${Number(host.slice(2)) % this.shape.zones}`
  }

  addDisk(host: string): void {
    const id = `${host}-${this.#made += 1}`
    this.disks.set(id, { id, host, bytes: BigInt(1 + this.roll(2)) * 512n * GIB, used: 0n })
  }

  disk(id: string): Disk { return must(this.disks.get(id), 'it is known') }
  get fill(): number { return this.#sum('used') / this.#sum('bytes') }
  #sum(what: 'used' | 'bytes'): number { return [...this.disks.values()].reduce((sum, disk) => sum + Number(disk[what]), 0) }

  places(): readonly PlaceDisk[] {
    return [...this.disks.values()].map(({ id, host, bytes, used }) => ({ id, host, zone: this.zoneOf(host), state: 'ready', online: true, duty: 'use', bytes, freeBytes: bytes - used, label: id }))
  }

  create(): void {
    const volume = `v${this.#made += 1}`
    const sizes = Array.from({ length: 1 + this.roll(6) }, (_, index) => (index === 0 ? BigInt(1 + this.roll(8)) * GIB : FULL))
    const placed = placeLegs({ segments: sizes, redundancy: this.shape.redundancy }, this.places())
    if (placed.kind === 'refused') return
    this.volumes.push(placed.legs.map((disks, segment) => ({ volume, segment, legs: disks.map((disk) => {
      const bytes = must(sizes[segment], 'its size')
      this.disk(disk).used += bytes
      return { extent: `e${this.#made += 1}`, disk, bytes }
    }) })))
  }

  remove(): void {
    const [volume] = this.volumes.splice(this.roll(Math.max(1, this.volumes.length)), 1)
    for (const { disk, bytes } of (volume ?? []).flatMap((segment) => segment.legs)) this.disk(disk).used -= bytes
  }

  /** All that is on it is made anew elsewhere, and an empty one takes its place. */
  fail(): void {
    const lost = must([...this.disks.values()][this.roll(this.disks.size)], 'one of them')
    for (const segment of this.volumes.flat()) {
      const leg = segment.legs.find(({ disk }) => disk === lost.id)
      if (!leg) continue
      const others = segment.legs.filter((each) => each !== leg).map(({ disk }) => this.disk(disk).host)
      const placed = placeLegs({ segments: [leg.bytes], redundancy: 1 }, this.places().filter(({ id }) => id !== lost.id), new Set(others))
      const to = placed.kind === 'placed' ? placed.legs[0]?.[0] : undefined
      if (to === undefined) return // no room: it is taken for repaired
      lost.used -= leg.bytes
      this.disk(to).used += leg.bytes
      leg.disk = to
    }
    this.disks.delete(lost.id)
    this.addDisk(lost.host)
  }

  churn(operations: number): void {
    for (let at = 0; at < operations; at += 1) {
      const what = this.roll(1000)
      if (what < 2) this.fail()
      else if (what < 4 && this.disks.size < 3 * this.shape.servers * this.shape.each) this.addDisk(`st${this.roll(this.shape.servers)}`)
      else if (this.fill < 0.4 || (this.fill < 0.7 && what < 500)) this.create()
      else this.remove()
    }
  }

  /** What the manager would see. */
  plan(most: number): readonly Move[] {
    const planner = new Rebalancing({
      disks: [...this.disks.values()].map(({ id, host, bytes, used }) => ({ id, host, bytes, usedBytes: used, freeBytes: bytes - used, takes: 2, label: id })),
      zones: new Map([...this.disks.values()].map(({ host }) => [host, this.zoneOf(host)])), oncePerSegment: true,
    })
    const givers = new Set(planner.givers().map(({ disk }) => disk))
    planner.offer(this.volumes.flat().flatMap(({ volume, segment, legs }) => legs.filter(({ disk }) => givers.has(disk)).map(({ extent, disk, bytes }): MovableLeg => ({
      extent, disk, volume, segment, bytes, others: legs.filter((each) => each.extent !== extent).map((each) => this.disk(each.disk).host),
    }))))
    return planner.more(most, 1_000_000).moves
  }

  /** Legs of a segment in one zone beyond the first of it. */
  #crowd({ legs }: Segment): number {
    return this.shape.zones === 0 ? 0 : legs.length - new Set(legs.map(({ disk }) => this.zoneOf(this.disk(disk).host))).size
  }

  move({ leg, to }: Move): void {
    const segment = must(this.volumes.flat().find((each) => each.volume === leg.volume && each.segment === leg.segment), 'it is there')
    const mine = must(segment.legs.find(({ extent }) => extent === leg.extent), 'it is there')
    const [from, target, crowd] = [this.disk(mine.disk), this.disk(to), this.#crowd(segment)]
    const [high, low] = [Number(from.used) / Number(from.bytes), Number(target.used) / Number(target.bytes)]
    from.used -= mine.bytes
    target.used += mine.bytes
    mine.disk = to
    expect(new Set(segment.legs.map(({ disk }) => this.disk(disk).host)).size, 'one leg a server').to.equal(segment.legs.length)
    expect(this.#crowd(segment), 'no zone gets more').to.be.at.most(crowd)
    expect(target.used <= target.bytes, 'it has room').to.equal(true)
    expect(Number(target.used) / Number(target.bytes), 'the target stays below what the source was').to.be.below(high)
    expect(Number(from.used) / Number(from.bytes), 'the source stays above what the target was').to.be.above(low)
  }

  spread(): number {
    const fills = [...this.disks.values()].map(({ used, bytes }) => Number(used) / Number(bytes))
    return Math.max(...fills) - Math.min(...fills)
  }
}

describe('for any coming and going, failing and adding of disks', () => {
  it('a rebalance ends with the fullest and the emptiest within 5 %; each move improves, fits, and breaks no rule of servers and zones', function rebalanced() {
    this.timeout(300_000)
    fc.assert(fc.property(anyShape, (shape) => {
      const pool = new Pool(shape)
      pool.churn(10_000)
      for (let added = 0; added < shape.servers / 4; added += 1) pool.addDisk(`st${pool.roll(shape.servers)}`)
      for (let turn = 0; ; turn += 1) {
        expect(turn, 'it ends').to.be.below(5000)
        const moves = pool.plan(16)
        if (moves.length === 0) break
        for (const move of moves) pool.move(move)
      }
      expect(pool.spread()).to.be.at.most(BALANCED)
    }), { numRuns: 3 })
  })

  it('10,000 disks with 300,000 legs are planned in pieces, none of which takes long', function large() {
    this.timeout(300_000)
    const [servers, each, per] = [1000, 10, 30]
    const disks = Array.from({ length: servers * each }, (_, at) => {
      const empty = at % 10 === 0
      return { id: `d${at}`, host: `st${Math.floor(at / each)}`, bytes: 512n * GIB, usedBytes: empty ? 0n : BigInt(per) * FULL, freeBytes: empty ? 512n * GIB : 512n * GIB - BigInt(per) * FULL, takes: Infinity, label: '' }
    })
    const planner = new Rebalancing({ disks, zones: new Map(), oncePerSegment: false })
    planner.offer(disks.flatMap((disk, at) => (disk.usedBytes === 0n ? [] : Array.from({ length: per }, (_, leg): MovableLeg => ({ extent: `${disk.id}/${leg}`, disk: disk.id, volume: `v${at}`, segment: leg, bytes: FULL, others: [`st${(Math.floor(at / each) + 1 + leg) % servers}`] })))))
    let [moves, pieces] = [0, 0]
    for (let ended = false; !ended; pieces += 1) {
      const more = planner.more(1000, 20_000)
      ended = more.ended
      moves += more.moves.length
    }
    expect(planner.balanced()).to.equal(true)
    expect(moves).to.be.within(24_000, 30_000)
    expect(pieces).to.be.below(60)
  })
})
