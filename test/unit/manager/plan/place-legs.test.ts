import { expect } from 'chai'
import fc from 'fast-check'
import { must } from '../../../../lib/assert.js'
import { Placer, placeLegs } from '../../../../manager/plan/place-legs.js'
import type { PlaceDisk } from '../../../../manager/plan/place-legs.js'

const GIB = 1024n ** 3n
const disk = (host: string, number: number, more: Partial<PlaceDisk> = {}): PlaceDisk => ({
  id: `${host}-${number}`, host, zone: '', state: 'ready', online: true, duty: 'use', bytes: 10n * GIB, freeBytes: 10n * GIB, label: `${host}:/dev/sd${number}`, ...more,
})
const three = ['st1', 'st2', 'st3'].flatMap((host) => [disk(host, 1), disk(host, 2)])
const anyCluster = fc.array(fc.record({ host: fc.integer({ min: 1, max: 6 }), zone: fc.integer({ min: 0, max: 3 }), free: fc.integer({ min: 0, max: 40 }), online: fc.boolean() }), { minLength: 1, maxLength: 16 })
  .map((disks) => disks.map(({ host, zone, free, online }, index) => disk(`st${host}`, index, { zone: zone === 0 ? '' : `z${host % 3}`, freeBytes: BigInt(free) * GIB, bytes: 40n * GIB, online })))

describe('placing legs', () => {
  it('puts the legs of a segment on different servers', () => {
    const placement = placeLegs({ segments: [GIB, GIB], redundancy: 3 }, three)
    expect(placement.kind).to.equal('placed')
    if (placement.kind === 'placed') for (const legs of placement.legs) expect(new Set(legs.map((id) => id.split('-')[0])).size).to.equal(3)
  })

  it('spreads the segments over the disks of a server', () => {
    const placement = placeLegs({ segments: [GIB, GIB], redundancy: 3 }, three)
    if (placement.kind === 'placed') expect(new Set(placement.legs.flat()).size).to.equal(6)
  })

  it('uses different zones where there are enough, even if a fuller one has to serve', () => {
    const disks = [disk('st1', 1, { zone: 'a' }), disk('st2', 1, { zone: 'a' }), disk('st3', 1, { zone: 'b', freeBytes: 2n * GIB })]
    const placement = placeLegs({ segments: [GIB], redundancy: 2 }, disks)
    expect(placement.kind === 'placed' && placement.legs[0]?.includes('st3-1')).to.equal(true)
  })

  it('uses one zone twice where the volume would not fit otherwise, and only there', () => {
    const rooms = [['st1', 'a', 4n], ['st2', 'a', 4n], ['st3', 'b', 2n], ['st4', 'c', 2n]] as const
    const placement = placeLegs({ segments: [GIB, GIB, GIB, GIB], redundancy: 3 }, rooms.map(([host, zone, free]) => disk(host, 1, { zone, freeBytes: free * GIB })))
    if (placement.kind === 'refused') throw new Error(placement.reason)
    for (const legs of placement.legs) expect(legs).to.include.members(['st1-1', 'st2-1'])
    const roomy = rooms.map(([host, zone]) => disk(host, 1, { zone }))
    const wide = placeLegs({ segments: [GIB, GIB, GIB, GIB], redundancy: 3 }, roomy)
    if (wide.kind === 'placed') for (const legs of wide.legs) expect(legs).to.include.members(['st3-1', 'st4-1'])
  })

  it('pairs each of many equal disks with many others', () => {
    const disks = Array.from({ length: 24 }, (_, index) => disk(`st${index}`, 1, { bytes: 1000n * GIB, freeBytes: 1000n * GIB }))
    const placement = placeLegs({ segments: Array.from({ length: 600 }, () => GIB), redundancy: 2 }, disks)
    if (placement.kind === 'refused') throw new Error(placement.reason)
    const partners = new Set(placement.legs.filter((legs) => legs.includes('st0-1')).flat())
    expect(partners.size - 1).to.be.at.least(18)
  })

  it('gives each of many equal disks a leg before any gets a second', () => {
    const disks = Array.from({ length: 12 }, (_, index) => disk(`st${index % 4}`, index, { bytes: 1000n * GIB, freeBytes: 1000n * GIB }))
    const placement = placeLegs({ segments: Array.from({ length: 6 }, () => GIB), redundancy: 2 }, disks)
    expect(placement.kind === 'placed' && new Set(placement.legs.flat()).size).to.equal(12)
  })

  it('keeps in mind what it has placed, and nothing of what it refused', () => {
    const placer = new Placer(three.map((each) => ({ ...each, freeBytes: 2n * GIB })))
    const fill = { segments: [GIB, GIB, GIB], redundancy: 3 }
    expect(placer.place({ segments: [GIB, 2n * GIB, 3n * GIB], redundancy: 3 }).kind).to.equal('refused')
    expect([placer.place(fill).kind, placer.place({ segments: [GIB], redundancy: 3 }).kind, placer.place({ segments: [GIB], redundancy: 1 }).kind]).to.deep.equal(['placed', 'placed', 'refused'])
  })

  it('says how many places there are when a server would have to take two legs of a segment', () => {
    const placement = placeLegs({ segments: [GIB, GIB], redundancy: 2 }, [disk('st1', 1), disk('st2', 1, { freeBytes: GIB })])
    expect(placement.kind === 'refused' && placement.reason).to.contain('segment 0 and those after it find 3 of 4 places, one of each segment on a server, that have 1073741824 bytes free')
  })

  it('says how many servers there are when more legs are asked for', () => {
    const placement = placeLegs({ segments: [GIB], redundancy: 4 }, [...three, disk('st4', 1, { online: false })])
    expect(placement).to.deep.include({ kind: 'refused', why: 'too few servers' })
    if (placement.kind === 'refused') expect(placement.reason).to.contain('there are 3 (st1, st2, st3)').and.to.contain('st4:/dev/sd1: its server is offline')
  })

  it('says what is needed and what is free when there is no room', () => {
    const placement = placeLegs({ segments: [11n * GIB], redundancy: 2 }, three)
    expect(placement).to.deep.include({ kind: 'refused', why: 'no room' })
    if (placement.kind === 'refused') expect(placement.reason).to.contain('segment 0 finds 0 of 2 servers')
  })

  it('fills a cluster of unequal servers to the last segment', () => {
    const disks = [disk('st1', 1, { freeBytes: 4n * GIB }), disk('st2', 1, { freeBytes: 2n * GIB }), disk('st3', 1, { freeBytes: 2n * GIB })]
    expect(placeLegs({ segments: [GIB, GIB, GIB, GIB], redundancy: 2 }, disks).kind).to.equal('placed')
  })

  it('counts all disks of a server as its room', () => {
    const disks = [disk('st0', 1, { freeBytes: 2n * GIB }), disk('st1', 1, { freeBytes: 3n * GIB }), disk('st2', 1, { freeBytes: 2n * GIB }), disk('st2', 2, { freeBytes: GIB })]
    expect(placeLegs({ segments: [GIB, GIB, GIB, GIB], redundancy: 2 }, disks).kind).to.equal('placed')
  })

  it('never puts two legs of a segment on one server, nor more on a disk than is free', () => {
    fc.assert(fc.property(anyCluster, fc.integer({ min: 1, max: 4 }), fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 8 }), (disks, redundancy, sizes) => {
      const segments = sizes.map((size) => BigInt(size) * GIB)
      const placement = placeLegs({ segments, redundancy }, disks)
      if (placement.kind === 'refused') return
      const used = new Map<string, bigint>()
      for (const [index, legs] of placement.legs.entries()) {
        const hosts = legs.map((id) => must(disks.find((each) => each.id === id), 'a placed leg is on a known disk').host)
        expect(new Set(hosts).size).to.equal(redundancy)
        for (const id of legs) used.set(id, (used.get(id) ?? 0n) + (segments[index] ?? 0n))
      }
      for (const [id, bytes] of used) {
        const chosen = must(disks.find((each) => each.id === id), 'known')
        expect(chosen.online && bytes <= chosen.freeBytes).to.equal(true)
      }
    }))
  })

  it('gives the same answer whatever order the disks come in', () => {
    fc.assert(fc.property(anyCluster, fc.integer({ min: 1, max: 3 }), (disks, redundancy) => {
      const wish = { segments: [GIB, 2n * GIB], redundancy }
      const forward = placeLegs(wish, disks)
      const backward = placeLegs(wish, [...disks].reverse())
      expect(backward.kind).to.equal(forward.kind)
      if (forward.kind === 'placed' && backward.kind === 'placed') expect(backward.legs).to.deep.equal(forward.legs)
    }))
  })
})
