import { expect } from 'chai'
import fc from 'fast-check'
import { must } from '../../../../lib/assert.js'
import { placeLegs } from '../../../../manager/plan/place-legs.js'
import type { PlaceDisk } from '../../../../manager/plan/place-legs.js'
import { SparePlacer } from '../../../../manager/plan/place-spares.js'

const GIB = 1024n ** 3n
const disk = (host: string, number: number, more: Partial<PlaceDisk> = {}): PlaceDisk => ({
  id: `${host}-${number}`, host, zone: '', state: 'ready', online: true, duty: 'use', bytes: 40n * GIB, freeBytes: 40n * GIB, label: `${host}:/dev/sd${number}`, ...more,
})
const anyDisks = fc.array(fc.record({ host: fc.integer({ min: 1, max: 6 }), zoned: fc.boolean(), free: fc.integer({ min: 0, max: 40 }), online: fc.boolean() }), { minLength: 1, maxLength: 16 })
  .map((disks) => disks.map(({ host, zoned, free, online }, index) => disk(`st${host}`, index, { zone: zoned ? `z${host % 3}` : '', freeBytes: BigInt(free) * GIB, online })))
const anyWishes = fc.array(fc.record({ size: fc.integer({ min: 1, max: 12 }), count: fc.integer({ min: 1, max: 3 }), occupied: fc.subarray(['st1', 'st2', 'st3', 'st9']) }), { minLength: 1, maxLength: 12 })

describe('placing spares', () => {
  it('gives what the rules of a placement give: as many legs, as many zones, never two on one server, never more than is free, and refuses what they refuse', () => {
    fc.assert(fc.property(anyDisks, anyWishes, (disks, wishes) => {
      const placer = new SparePlacer(disks)
      const free = new Map(disks.map((each) => [each.id, each.freeBytes]))
      const zoneOf = new Map<string, string>()
      for (const { host, zone } of disks) zoneOf.set(host, zone > (zoneOf.get(host) ?? '') ? zone : zoneOf.get(host) ?? '')
      const zones = (hosts: readonly string[]): number => new Set(hosts.map((host) => zoneOf.get(host) || host)).size
      for (const { size, count, occupied } of wishes) {
        const bytes = BigInt(size) * GIB
        const now = disks.map((each) => ({ ...each, freeBytes: free.get(each.id) ?? 0n }))
        const expected = placeLegs({ segments: [bytes], redundancy: count }, now, new Set(occupied))
        const found = placer.place(bytes, count, new Set(occupied))
        expect(found === undefined).to.equal(expected.kind === 'refused')
        if (found === undefined || expected.kind === 'refused') continue
        const hosts = found.map((id) => must(now.find((each) => each.id === id && each.online && each.freeBytes >= bytes), 'a disk with room').host)
        expect(new Set([...hosts, ...occupied]).size).to.equal(count + occupied.length)
        expect(zones([...hosts, ...occupied])).to.equal(zones([...(expected.legs[0] ?? []).map((id) => now.find((each) => each.id === id)?.host ?? ''), ...occupied]))
        for (const id of found) free.set(id, (free.get(id) ?? 0n) - bytes)
      }
    }), { numRuns: 300 })
  })

  it('fills equal disks evenly, and reads the lost one\'s segments from nearly all', () => {
    const disks = Array.from({ length: 400 }, (_, index) => disk(`st${Math.floor(index / 4)}`, index, { bytes: 16_384n * GIB, freeBytes: 16_384n * GIB }))
    const placer = new SparePlacer(disks)
    const legs = new Map<string, number>()
    for (let at = 0; at < 40_000; at += 1) {
      const [id] = must(placer.place(8n * GIB, 1, new Set([`st${at % 100}`, `st${(at + 7) % 100}`])), 'there is room')
      legs.set(id ?? '', (legs.get(id ?? '') ?? 0) + 1)
    }
    const counts = [...legs.values()]
    expect(legs.size).to.equal(400)
    // A leg is 1/2048 of a disk.
    expect((Math.max(...counts) - Math.min(...counts)) / 2048).to.be.lessThan(0.02)
  })

  it('takes the emptiest disks first, and knows what others have given out', () => {
    const disks = [disk('st1', 1, { freeBytes: 10n * GIB }), disk('st2', 1, { freeBytes: 30n * GIB }), disk('st3', 1, { freeBytes: 20n * GIB })]
    const placer = new SparePlacer(disks)
    expect(placer.place(GIB, 1, new Set())).to.deep.equal(['st2-1'])
    placer.take('st2-1', 29n * GIB)
    expect(placer.place(GIB, 2, new Set())).to.deep.equal(['st3-1', 'st1-1'])
    expect(placer.place(GIB, 3, new Set())).to.equal(undefined)
    expect(placer.place(19n * GIB, 1, new Set())).to.deep.equal(['st3-1'])
  })
})
