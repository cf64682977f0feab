import { expect } from 'chai'
import fc from 'fast-check'
import { must } from '../../lib/assert.js'
import { legStates, limits } from '../../lib/model.js'
import type { Observation, VolumeSeen } from '../../lib/wire/agent.js'
import { lookAtAttached } from '../../manager/plan/attached.js'
import { compareHost } from '../../manager/plan/compare-host.js'
import { healthOf } from '../../manager/plan/health.js'
import { placeLegs } from '../../manager/plan/place-legs.js'
import type { PlaceDisk, Placement } from '../../manager/plan/place-legs.js'
import { chooseSource, decideLoss, decideShutOut, tableOrder } from '../../manager/plan/segment.js'
import type { LegFacts } from '../../manager/plan/segment.js'
import { layOutVolume, sizeProblem } from '../../manager/plan/volume-layout.js'

/** Up to 7 servers in up to 4 zones (some in none), each with up to 3 disks; sizes are small numbers, so that they meet. */
const anyDisks: fc.Arbitrary<readonly PlaceDisk[]> = fc.array(fc.record({
  zone: fc.constantFrom('', 'a', 'b', 'c', 'd'),
  online: fc.constantFrom(true, true, true, false),
  disks: fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 20 }), used: fc.nat(20), state: fc.constantFrom('ready', 'ready', 'ready', 'failed') }), { minLength: 1, maxLength: 3 }),
}), { maxLength: 7 }).map((hosts) => hosts.flatMap(({ zone, online, disks }, host) => disks.map(({ bytes, used, state }, number): PlaceDisk => ({
  id: `d${host}${number}`, host: `st${host}`, zone, online, state, duty: 'use', bytes: BigInt(bytes), freeBytes: BigInt(Math.max(0, bytes - used)), label: `st${host}:${number}`,
}))))
const anyWish = fc.record({ segments: fc.array(fc.bigInt({ min: 1n, max: 4n }), { minLength: 1, maxLength: 6 }), redundancy: fc.integer({ min: 1, max: 4 }) })

const anyEqualWish = fc.record({ size: fc.bigInt({ min: 1n, max: 4n }), segments: fc.integer({ min: 1, max: 8 }), redundancy: fc.integer({ min: 1, max: 4 }) })
  .map(({ size, segments, redundancy }) => ({ segments: Array.from({ length: segments }, () => size), redundancy }))

/** Servers of one disk each, most of them in one zone, hardly larger than what is wished for: here every choice may lead into a corner. */
const anyTightDisks: fc.Arbitrary<readonly PlaceDisk[]> = fc.array(fc.record({ zone: fc.constantFrom('a', 'a', 'b', 'c'), bytes: fc.bigInt({ min: 1n, max: 5n }) }), { minLength: 3, maxLength: 6 })
  .map((hosts) => hosts.map(({ zone, bytes }, host): PlaceDisk => ({ id: `d${host}`, host: `st${host}`, zone, online: true, state: 'ready', duty: 'use', bytes, freeBytes: bytes, label: `st${host}` })))
const anyTightWish = fc.record({ segments: fc.integer({ min: 2, max: 5 }), redundancy: fc.integer({ min: 2, max: 3 }) })
  .map(({ segments, redundancy }) => ({ segments: Array.from({ length: segments }, () => 1n), redundancy }))

const tightOrNot = [fc.oneof(anyDisks, anyTightDisks), fc.oneof(anyEqualWish, anyTightWish)] as const

const domain = (disk: PlaceDisk): string => (disk.zone === '' ? `host ${disk.host}` : `zone ${disk.zone}`)

/** Goes through a placement segment by segment, with what was free before each. */
function replay(placement: Placement, segments: readonly bigint[], disks: readonly PlaceDisk[], look: (legs: readonly PlaceDisk[], free: ReadonlyMap<string, bigint>, size: bigint, segment: number) => void): void {
  if (placement.kind === 'refused') return
  const free = new Map(disks.map((disk) => [disk.id, disk.freeBytes]))
  for (const [index, ids] of placement.legs.entries()) {
    const size = must(segments[index], 'a segment of the wish')
    const legs = ids.map((id) => must(disks.find((disk) => disk.id === id), 'a disk of the cluster'))
    look(legs, free, size, index)
    for (const { id } of legs) free.set(id, (free.get(id) ?? 0n) - size)
  }
}

/** Legs of a size that each server has room for; servers without room are left out. */
function seats(disks: readonly PlaceDisk[], free: ReadonlyMap<string, bigint>, size: bigint): ReadonlyMap<string, number> {
  const left = new Map<string, number>()
  for (const { id, host, online, state } of disks) {
    const count = online && state === 'ready' ? Number((free.get(id) ?? 0n) / size) : 0
    if (count > 0) left.set(host, (left.get(host) ?? 0) + count)
  }
  return left
}

/** Whether so many segments find room when only servers count: the servers with the most room are taken each time, which leaves the most for later. */
function fits(left: ReadonlyMap<string, number>, segments: number, redundancy: number): boolean {
  const counts = [...left.values()]
  for (let segment = 0; segment < segments; segment += 1) {
    counts.sort((a, b) => b - a)
    for (let leg = 0; leg < redundancy; leg += 1) {
      if ((counts[leg] ?? 0) < 1) return false
      counts[leg] = (counts[leg] ?? 0) - 1
    }
  }
  return true
}

function groups(hosts: readonly string[], count: number): readonly (readonly string[])[] {
  if (count === 0) return [[]]
  return hosts.flatMap((host, index) => groups(hosts.slice(index + 1), count - 1).map((rest) => [host, ...rest]))
}

const anyLegs: fc.Arbitrary<readonly LegFacts[]> = fc.array(fc.constantFrom(...legStates), { maxLength: 9 })
  .map((states) => states.map((state, slot) => ({ extent: `e${slot}`, host: `st${slot}`, disk: `d${slot}`, slot, state })))
const anySubset = fc.array(fc.boolean(), { minLength: 9, maxLength: 9 })

describe('for any cluster and any wish', () => {
  it('each segment gets as many legs as were asked for, no two on one server', () => {
    fc.assert(fc.property(anyDisks, anyWish, (disks, wish) => {
      const placement = placeLegs(wish, disks)
      if (placement.kind === 'placed') expect(placement.legs).to.have.length(wish.segments.length)
      replay(placement, wish.segments, disks, (legs) => expect(new Set(legs.map((disk) => disk.host)).size).to.equal(wish.redundancy))
    }), { numRuns: 500 })
  })

  it('no two legs of a segment are in one zone when enough zones have room, unless the volume would not fit then', () => {
    fc.assert(fc.property(...tightOrNot, (disks, wish) => {
      replay(placeLegs(wish, disks), wish.segments, disks, (legs, free, size, segment) => {
        const left = seats(disks, free, size)
        const zones = (hosts: readonly string[]): number => new Set(hosts.map((host) => domain(must(disks.find((disk) => disk.host === host), 'it has one')))).size
        const chosen = zones(legs.map((disk) => disk.host))
        const better = groups([...left.keys()], wish.redundancy).filter((hosts) => zones(hosts) > chosen)
        for (const hosts of better) {
          const rest = new Map([...left].map(([host, count]) => [host, hosts.includes(host) ? count - 1 : count]))
          expect(fits(rest, wish.segments.length - segment - 1, wish.redundancy)).to.equal(false)
        }
      })
    }), { numRuns: 500 })
  })

  it('legs of one size are placed exactly when there is a way to, whatever the zones', () => {
    fc.assert(fc.property(...tightOrNot, (disks, wish) => {
      const left = seats(disks, new Map(disks.map((disk) => [disk.id, disk.freeBytes])), wish.segments[0] ?? 1n)
      expect(placeLegs(wish, disks).kind).to.equal(fits(left, wish.segments.length, wish.redundancy) ? 'placed' : 'refused')
    }), { numRuns: 500 })
  })

  it('no disk gets more than was free on it, and none that is not ready and online gets anything', () => {
    fc.assert(fc.property(anyDisks, anyWish, (disks, wish) => {
      replay(placeLegs(wish, disks), wish.segments, disks, (legs, free, size) => {
        for (const disk of legs) expect(disk.online && disk.state === 'ready' && (free.get(disk.id) ?? 0n) >= size).to.equal(true)
      })
    }), { numRuns: 500 })
  })

  it('the same question gets the same answer, in whatever order the disks are listed, and changes nothing that was handed in', () => {
    fc.assert(fc.property(anyDisks.chain((disks) => fc.tuple(fc.constant(disks), fc.shuffledSubarray([...disks], { minLength: disks.length }))), anyWish, ([disks, shuffled], wish) => {
      const before = structuredClone(disks)
      const placement = placeLegs(wish, disks)
      expect(placeLegs(wish, disks)).to.deep.equal(placement)
      expect(disks).to.deep.equal(before)
      const again = placeLegs(wish, shuffled)
      expect(again.kind === 'placed' ? again.legs : again.why).to.deep.equal(placement.kind === 'placed' ? placement.legs : placement.why)
    }))
  })

  it('new legs avoid the servers that a segment is on already', () => {
    fc.assert(fc.property(anyDisks, anyWish, fc.uniqueArray(fc.nat(6), { maxLength: 3 }), (disks, wish, taken) => {
      const occupied = new Set(taken.map((host) => `st${host}`))
      replay(placeLegs(wish, disks, occupied), wish.segments, disks, (legs) => {
        for (const disk of legs) expect(occupied.has(disk.host)).to.equal(false)
      })
    }))
  })

  it('one segment is refused only when there are too few servers with room for a leg, and the reason is never empty', () => {
    fc.assert(fc.property(anyDisks, fc.bigInt({ min: 1n, max: 8n }), fc.integer({ min: 1, max: 4 }), (disks, size, redundancy) => {
      const placement = placeLegs({ segments: [size], redundancy }, disks)
      const servers = new Set(disks.filter((disk) => disk.online && disk.state === 'ready' && disk.freeBytes >= size).map((disk) => disk.host)).size
      expect(placement.kind).to.equal(servers >= redundancy ? 'placed' : 'refused')
      if (placement.kind === 'refused') expect(placement.reason.length).to.be.greaterThan(0)
    }), { numRuns: 300 })
  })
})

describe('for any segment', () => {
  it('a loss drops exactly the lost legs in use, and never the last in-sync leg', () => {
    fc.assert(fc.property(anyLegs, anySubset, (legs, lost) => {
      const isLost = (leg: LegFacts): boolean => lost[leg.slot] === true
      const decision = decideLoss(legs, (leg) => (isLost(leg) ? 'lost' : undefined))
      const left = legs.filter((leg) => leg.state === 'insync' && !isLost(leg))
      const gone = legs.filter((leg) => (leg.state === 'insync' || leg.state === 'syncing') && isLost(leg)).map((leg) => leg.extent)
      if (left.length === 0) expect(decision.kind).to.equal('unavailable')
      else if (gone.length === 0) expect(decision).to.deep.equal({ kind: 'nothing lost' })
      else expect(decision).to.deep.equal({ kind: 'drop', extents: gone, remaining: left.length })
    }), { numRuns: 500 })
  })

  it('the source after a lost head is in sync, and in doubt only where all are; the others are all the other in-sync legs', () => {
    fc.assert(fc.property(anyLegs, anySubset, anySubset, (legs, online, doubted) => {
      const choice = chooseSource(legs, ({ host }) => online[Number(host.slice(2))] === true, ({ slot }) => doubted[slot] === true)
      const good = legs.filter((leg) => leg.state === 'insync').map((leg) => leg.extent)
      if (choice === undefined) expect(good.length).to.be.lessThan(2)
      else expect([choice.source, ...choice.others]).to.have.members(good)
      const sure = legs.filter((leg) => leg.state === 'insync' && doubted[leg.slot] !== true).map((leg) => leg.extent)
      if (choice && sure.length > 0) expect(sure).to.include(choice.source)
    }))
  })

  it('shutting a head out keeps no leg that was not confirmed, and one that is not in doubt where there is one', () => {
    fc.assert(fc.property(anyLegs, anySubset, anySubset, (legs, refused, doubted) => {
      const decision = decideShutOut(legs, ({ slot }) => (refused[slot] === true ? 'offline' : undefined), ({ slot }) => doubted[slot] === true)
      if (decision.kind === 'unavailable') return
      const dropped = decision.kind === 'drop' ? decision.extents : []
      const left = legs.filter((leg) => (leg.state === 'insync' || leg.state === 'syncing') && !dropped.includes(leg.extent))
      const isSure = (leg: LegFacts): boolean => leg.state === 'insync' && doubted[leg.slot] !== true
      expect([left.some((leg) => refused[leg.slot] === true), left.some((leg) => leg.state === 'insync')]).to.deep.equal([false, true])
      if (legs.some(isSure)) expect(left.some(isSure)).to.equal(true)
    }), { numRuns: 500 })
  })

  it('the table begins with an in-sync leg, has the legs in use once each, and a copy\'s targets last', () => {
    fc.assert(fc.property(anyLegs, fc.nat(9), fc.nat(100), (legs, head, segment) => {
      const order = tableOrder(legs, { head: `st${head}`, segment })
      const good = legs.filter((leg) => leg.state === 'insync')
      if (good.length > 0) expect(order[0]?.state).to.equal('insync')
      expect(order.slice(0, good.length)).to.have.members(good)
      expect(order.slice(good.length)).to.deep.equal(legs.filter((leg) => leg.state === 'syncing'))
      if (good.some((leg) => leg.host === `st${head}`)) expect(order[0]?.host).to.equal(`st${head}`)
    }))
  })

  it('what a head reports never takes the last in-sync leg, and never makes a leg in sync that failed or was not copied to', () => {
    const anyHealth = fc.array(fc.constantFrom('A', 'D', 'F', 'S', 'R', 'U'), { minLength: 9, maxLength: 9 })
    fc.assert(fc.property(anyLegs, anyHealth, anySubset, fc.nat(2), fc.nat(2), fc.nat(3), (legs, health, there, layout, reported, inSync) => {
      const seen: VolumeSeen = {
        volume: 'c'.repeat(32), name: 'v', attachEpoch: 1, layout: reported, scope: 'whole', state: 'up', device: '/dev/vsky/v', opens: 1, waiting: false, unreachable: [],
        segments: [{ index: 0, generation: 1, inSync, regions: 3, legs: legs.filter((leg) => there[leg.slot]).map((leg) => ({ extent: leg.extent, health: must(health[leg.slot], 'one for each') })) }],
      }
      const decision = lookAtAttached(layout, [{ index: 0, generation: 1, legs }], seen)
      const dropped = new Set(decision.stale.flatMap((each) => each.extents))
      const risen = new Set(decision.insync.flatMap((each) => each.extents))
      if (reported !== layout) expect([dropped.size, risen.size, decision.reload]).to.deep.equal([0, 0, true])
      if (dropped.size > 0) expect(legs.some((leg) => leg.state === 'insync' && !dropped.has(leg.extent))).to.equal(true)
      if (risen.size > 0) expect(inSync).to.equal(3)
      for (const leg of legs) if (risen.has(leg.extent)) expect([leg.state, health[leg.slot], there[leg.slot]]).to.deep.equal(['syncing', 'A', true])
    }), { numRuns: 500 })
  })

  it('health never gets better when a server falls silent', () => {
    const rank = { full: 2, degraded: 1, unavailable: 0 }
    fc.assert(fc.property(fc.array(anyLegs, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 4 }), anySubset, fc.nat(8), (all, redundancy, online, silent) => {
      const segments = all.map((legs, index) => ({ index, legs }))
      const isOnline = ({ host }: LegFacts): boolean => online[Number(host.slice(2))] === true
      const before = healthOf(segments, redundancy, isOnline)
      const after = healthOf(segments, redundancy, (leg) => isOnline(leg) && leg.host !== `st${silent}`)
      expect(rank[after.health]).to.be.at.most(rank[before.health])
      expect(before.problem === '').to.equal(before.health === 'full')
    }))
  })
})

describe('for any volume', () => {
  it('the segments are gapless, sum to the size, and only the last one is short', () => {
    fc.assert(fc.property(fc.bigInt({ min: 1n, max: 1n << 28n }), fc.bigInt({ min: 16n, max: 4096n }), (sectors, extents) => {
      const size = sectors * limits.volumeStep
      const full = extents * limits.physicalExtent
      const segments = layOutVolume(size, full)
      expect(segments.reduce((sum, segment) => sum + segment.bytes, 0n)).to.equal(size)
      for (const [index, segment] of segments.entries()) {
        expect([segment.index, segment.offset]).to.deep.equal([index, BigInt(index) * full])
        if (index < segments.length - 1) expect(segment.bytes).to.equal(full)
        const own = segment.extentBytes - (index === 0 ? limits.changesBytes : 0n) // beside the first is kept what is remembered of changes
        expect(segment.bytes > 0n && segment.bytes <= own && own - segment.bytes < limits.physicalExtent).to.equal(true)
        expect(own <= full && own % limits.physicalExtent === 0n).to.equal(true)
      }
    }), { numRuns: 60 })
  })

  it('a size is refused exactly when it is uneven, too small or too large', () => {
    fc.assert(fc.property(fc.oneof(fc.bigInt({ min: -1n, max: 1n << 50n }), fc.bigInt({ min: 0n, max: 1n << 38n }).map((sectors) => sectors * 512n), fc.constantFrom(limits.volumeMin, limits.volumeMax, limits.volumeMax + 512n)), (size) => {
      expect(sizeProblem(size) === undefined).to.equal(size % 512n === 0n && size >= limits.volumeMin && size <= limits.volumeMax)
    }))
  })
})

describe('for any host', () => {
  const ids = fc.constantFrom(...Array.from({ length: 6 }, (_, digit) => `${digit}`.repeat(32)))
  const anyExtent = fc.record({ extent: ids, disk: fc.constantFrom('a'.repeat(32), 'b'.repeat(32)), volume: ids, segment: fc.nat(1), generation: fc.nat(1), bytes: fc.constant(4194304n), lun: fc.nat(2), initiators: fc.subarray(['iqn.x:hd1', 'iqn.x:hd2']) })
  const anyExtents = fc.uniqueArray(anyExtent, { selector: (extent) => extent.extent, maxLength: 6 })
  const anySeen: fc.Arbitrary<Observation> = fc.record({ extents: anyExtents, ready: fc.subarray(['a'.repeat(32), 'b'.repeat(32)]) }).map(({ extents, ready }) => ({
    host: 'st1', bootId: 'b', incarnation: 'i', epoch: 1, volumes: [], foreign: [], extents,
    disks: ready.map((disk) => ({ disk, device: '/dev/sdb', state: 'ready', problem: '', bytes: 0n, freeBytes: 0n, cleanBytes: 0n })),
  }))
  const wanted = (extents: readonly Observation['extents'][number][], gone: readonly boolean[]): Parameters<typeof compareHost>[0] => ({
    disks: [], volumes: new Map(), extents: extents.filter((_, index) => gone[index] !== true), dropping: extents.filter((_, index) => gone[index] === true),
  })

  it('nothing is left to ensure once it was ensured', () => {
    fc.assert(fc.property(anyExtents, anySubset, anySeen, (extents, gone, seen) => {
      const { ensure } = compareHost(wanted(extents, gone), seen)
      const made = { ...seen, extents: [...seen.extents.filter((each) => !ensure.some((extent) => extent.extent === each.extent)), ...ensure] }
      expect(compareHost(wanted(extents, gone), made).ensure).to.deep.equal([])
    }))
  })

  it('only what the database gave up is removed; what it does not know is told', () => {
    fc.assert(fc.property(anyExtents, anySubset, anySeen, (extents, gone, seen) => {
      const want = wanted(extents, gone)
      const { remove, foreign } = compareHost(want, seen)
      for (const each of remove) expect(want.dropping.some((extent) => extent.extent === each.extent)).to.equal(true)
      const unknown = seen.extents.filter((each) => !extents.some((extent) => extent.extent === each.extent)).map((each) => each.extent)
      expect(foreign.filter((each) => each.what === 'extent').map((each) => each.name)).to.have.members(unknown)
    }))
  })
})
