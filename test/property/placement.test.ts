/** How well legs are spread after much coming and going: what an operator sees as fill levels, and what a rebuild can read from and write to. */
import { expect } from 'chai'
import fc from 'fast-check'
import { must } from '../../lib/assert.js'
import { Placer, placeLegs } from '../../manager/plan/place-legs.js'
import type { PlaceDisk } from '../../manager/plan/place-legs.js'

const GIB = 1024n ** 3n
const FULL = 8n * GIB

interface Leg { readonly disk: string; readonly size: bigint }
/** A volume: its segments, each with its legs. */
type Volume = readonly (readonly Leg[])[]

interface Shape { readonly servers: number; readonly each: number; readonly zones: number; readonly legs: number; readonly tebibytes: readonly number[]; readonly seed: number }

/** In each shape no server and no zone holds more than one leg's share of all bytes: only then can all disks fill alike. */
const anyShape: fc.Arbitrary<Shape> = fc.record({
  servers: fc.constantFrom(8, 12, 16), each: fc.integer({ min: 2, max: 4 }), zones: fc.constantFrom(0, 4), legs: fc.integer({ min: 2, max: 3 }),
  tebibytes: fc.uniqueArray(fc.integer({ min: 2, max: 4 }), { minLength: 1, maxLength: 3 }), seed: fc.nat(2 ** 31 - 1),
})

class Played {
  readonly disks = new Map<string, PlaceDisk>()
  readonly volumes: Volume[] = []
  readonly #shape: Shape
  #dice: number

  constructor(shape: Shape) {
    this.#shape = shape
    this.#dice = shape.seed
    for (let server = 0; server < shape.servers; server += 1) {
      for (let number = 0; number < shape.each; number += 1) {
        const bytes = BigInt(must(shape.tebibytes[number % shape.tebibytes.length], 'a size')) * 1024n * GIB
        const id = `st${server}-${number}`
        this.disks.set(id, { id, host: `st${server}`, zone: shape.zones === 0 ? '' : `z${server % shape.zones}`, state: 'ready', online: true, duty: 'use', bytes, freeBytes: bytes, label: id })
      }
    }
  }

  roll(sides: number): number {
    this.#dice = (Math.imul(this.#dice, 1664525) + 1013904223) >>> 0
    return (this.#dice >>> 8) % sides
  }

  disk(id: string): PlaceDisk { return must(this.disks.get(id), 'it is known') }

  change(id: string, bytes: bigint): void {
    const disk = this.disk(id)
    this.disks.set(id, { ...disk, freeBytes: disk.freeBytes + bytes })
    expect(this.disk(id).freeBytes >= 0n).to.equal(true)
  }

  /** Share of all bytes that are taken. */
  get taken(): number {
    const all = [...this.disks.values()]
    const bytes = all.reduce((sum, disk) => sum + disk.bytes, 0n)
    return Number(bytes - all.reduce((sum, disk) => sum + disk.freeBytes, 0n)) / Number(bytes)
  }

  create(segments: number): void {
    const sizes = Array.from({ length: segments }, (_, index) => (index < segments - 1 ? FULL : BigInt(1 + this.roll(8)) * GIB))
    const placement = placeLegs({ segments: sizes, redundancy: this.#shape.legs }, [...this.disks.values()])
    if (placement.kind === 'refused') throw new Error(placement.reason)
    const volume = placement.legs.map((ids, index) => ids.map((disk) => ({ disk, size: must(sizes[index], 'its size') })))
    for (const legs of volume) {
      expect(new Set(legs.map(({ disk }) => this.disk(disk).host)).size).to.equal(this.#shape.legs)
      if (this.#shape.zones > 0) expect(new Set(legs.map(({ disk }) => this.disk(disk).zone)).size).to.equal(this.#shape.legs)
    }
    for (const { disk, size } of volume.flat()) this.change(disk, -size)
    this.volumes.push(volume)
  }

  remove(): void {
    const [volume] = this.volumes.splice(this.roll(this.volumes.length), 1)
    for (const { disk, size } of must(volume, 'there is one').flat()) this.change(disk, size)
  }

  /** Volumes of mixed sizes come and go around so full a cluster, the last of them come. */
  churn(operations: number, full: number): void {
    const largest = Math.floor(this.disks.size * 8 / this.#shape.legs)
    for (let at = 0; at < operations || this.taken < full; at += 1) {
      if (this.taken > full && this.volumes.length > 0) this.remove()
      else this.create(1 + (this.roll(4) === 0 ? this.roll(largest) : this.roll(8)))
    }
  }

  /** Fill levels of the emptiest and the fullest disk, as parts of their size. */
  levels(): readonly [least: number, most: number] {
    const levels = [...this.disks.values()].map((disk) => 1 - Number(disk.freeBytes) / Number(disk.bytes))
    return [Math.min(...levels), Math.max(...levels)]
  }
}

function played(shape: Shape): Played {
  const cluster = new Played(shape)
  cluster.churn(150, 0.6)
  return cluster
}

describe('for any coming and going of volumes', () => {
  it('disks of unlike sizes are full to within 5 % of each other, and no segment has two legs on a server or in a zone', function levels() {
    this.timeout(60_000)
    fc.assert(fc.property(anyShape, (shape) => {
      const [least, most] = played(shape).levels()
      expect(most - least).to.be.at.most(0.05)
    }), { numRuns: 10 })
  })

  it('what a lost disk held is read from and written to four of five disks that may serve', function spares() {
    this.timeout(60_000)
    fc.assert(fc.property(anyShape, (shape) => {
      const cluster = played(shape)
      const lost = must([...cluster.disks.keys()][cluster.roll(cluster.disks.size)], 'one of them')
      const placer = new Placer([...cluster.disks.values()].map((disk) => (disk.id === lost ? { ...disk, state: 'failed' } : disk)))
      const [sources, targets] = [new Set<string>(), new Set<string>()]
      const segments = cluster.volumes.flat().filter((legs) => legs.some((leg) => leg.disk === lost))
      for (const legs of segments) {
        const rest = legs.filter((leg) => leg.disk !== lost)
        const placement = placer.place({ segments: [must(legs[0], 'a leg').size], redundancy: 1 }, new Set(rest.map((leg) => cluster.disk(leg.disk).host)))
        if (placement.kind === 'refused') throw new Error(placement.reason)
        sources.add(must(rest[0], 'another leg').disk)
        targets.add(must(placement.legs[0]?.[0], 'a spare'))
      }
      const others = [...cluster.disks.values()].filter((disk) => disk.host !== cluster.disk(lost).host && (shape.zones === 0 || disk.zone !== cluster.disk(lost).zone)).length
      expect(sources.size / others).to.be.at.least(0.8)
      expect(targets.size / (cluster.disks.size - 1)).to.be.at.least(0.8)
    }), { numRuns: 10 })
  })
})
