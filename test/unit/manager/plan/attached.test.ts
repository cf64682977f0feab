import { expect } from 'chai'
import { lookAtAttached } from '../../../../manager/plan/attached.js'
import type { SegmentFacts } from '../../../../manager/plan/attached.js'
import { compareHost } from '../../../../manager/plan/compare-host.js'
import { layOutVolume, sizeProblem } from '../../../../manager/plan/volume-layout.js'
import { legAfter } from '../../../../manager/state/leg.js'
import { healthOf } from '../../../../manager/plan/health.js'
import type { Observation, VolumeSeen } from '../../../../lib/wire/agent.js'
import fc from 'fast-check'

const [one, two] = ['a'.repeat(32), 'b'.repeat(32)]
const facts = (generation: number, second: 'insync' | 'syncing' = 'insync'): readonly SegmentFacts[] => [{
  index: 0, generation, legs: [{ extent: one, host: 'st1', disk: 'd1', slot: 0, state: 'insync' }, { extent: two, host: 'st2', disk: 'd2', slot: 1, state: second }],
}]
const seen = (layout: number, health: readonly ['A' | 'D' | 'R', 'A' | 'D' | 'R'], inSync = 8): VolumeSeen => ({
  volume: 'c'.repeat(32), name: 'v', attachEpoch: 1, layout, scope: 'whole', state: 'up', device: '/dev/vsky/v', opens: 1, waiting: false, unreachable: [],
  segments: [{ index: 0, generation: 1, legs: [{ extent: one, health: health[0] }, { extent: two, health: health[1] }], inSync, regions: 8 }],
})

describe('an attached volume', () => {
  it('that is well needs nothing', () => {
    expect(lookAtAttached(1, facts(1), seen(1, ['A', 'A']))).to.deep.equal({ stale: [], insync: [], unavailable: [], readErrors: [], reload: false })
  })

  it('loses a leg whose write failed: committed stale with the reason, and the head gets a new layout', () => {
    const decision = lookAtAttached(1, facts(1), seen(1, ['A', 'D']))
    expect(decision.stale).to.deep.equal([{ segment: 0, extents: [two], why: 'st2: a write failed' }])
    expect(decision.reload).to.equal(true)
  })

  it('keeps a leg that only failed to read', () => {
    const decision = lookAtAttached(1, facts(1), seen(1, ['A', 'R']))
    expect([decision.stale, decision.readErrors]).to.deep.equal([[], [{ segment: 0, extents: [two] }]])
  })

  it('is not judged by the kernel\'s state of an older layout', () => {
    const decision = lookAtAttached(2, facts(1), seen(1, ['A', 'D']))
    expect(decision.stale).to.deep.equal([])
    expect(decision.reload).to.equal(true)
  })

  it('loses a leg that its head cannot reach, whatever layout that head has', () => {
    const decision = lookAtAttached(5, facts(1), { ...seen(0, ['A', 'A']), unreachable: [{ extent: two, why: 'st2: no login' }] })
    expect(decision.stale).to.deep.equal([{ segment: 0, extents: [two], why: 'st2: st2: no login' }])
  })

  it('loses all its legs on a disk that failed to write for one of its segments, but no last good one', () => {
    const leg = (segment: number, disk: string, state: 'insync' | 'syncing' = 'insync'): SegmentFacts['legs'][number] => ({ extent: `${segment}${disk}`.padStart(32, '0'), host: `server of ${disk}`, disk, slot: 0, state })
    const all: readonly SegmentFacts[] = [
      { index: 0, generation: 1, legs: [leg(0, 'a'), leg(0, 'b')] }, { index: 1, generation: 1, legs: [leg(1, 'b'), leg(1, 'c')] },
      { index: 2, generation: 1, legs: [leg(2, 'b')] }, { index: 3, generation: 1, legs: [leg(3, 'c'), leg(3, 'b', 'syncing')] },
    ]
    const told: VolumeSeen = { ...seen(1, ['A', 'A']), segments: all.map(({ index, legs }) => ({ index, generation: 1, inSync: 8, regions: 8, legs: legs.map((each) => ({ extent: each.extent, health: index === 0 && each.disk === 'b' ? 'D' as const : 'A' as const })) })) }
    const decision = lookAtAttached(1, all, told)
    expect(decision.stale.map((each) => [each.segment, each.extents])).to.deep.equal([[0, [leg(0, 'b').extent]], [1, [leg(1, 'b').extent]], [3, [leg(3, 'b').extent]]])
    expect([decision.insync, decision.unavailable]).to.deep.equal([[], []])
  })

  it('waits when its last good leg failed', () => {
    expect(lookAtAttached(1, facts(1, 'syncing'), seen(1, ['D', 'A'])).unavailable).to.deep.equal([{ segment: 0, reason: 'st1: a write failed' }])
  })

  it('counts a copied leg as in sync only when every region is', () => {
    expect(lookAtAttached(1, facts(1, 'syncing'), seen(1, ['A', 'A'], 7)).insync).to.deep.equal([])
    expect(lookAtAttached(1, facts(1, 'syncing'), seen(1, ['A', 'A'], 8)).insync).to.deep.equal([{ segment: 0, extents: [two] }])
  })
})

describe('a host against the database', () => {
  const extent = { extent: one, disk: two, volume: 'c'.repeat(32), segment: 0, generation: 1, bytes: 4194304n, lun: 0, initiators: ['iqn.x:hd1'] }
  const observation = (more: Partial<Observation>): Observation => ({
    host: 'st1', bootId: 'b', incarnation: 'i', epoch: 1, disks: [{ disk: two, device: '/dev/sdb', state: 'ready', problem: '', bytes: 0n, freeBytes: 0n, cleanBytes: 0n }], extents: [], volumes: [], foreign: [], ...more,
  })
  const wanted = { disks: [{ id: two, device: '/dev/sdb' }], extents: [extent], dropping: [], volumes: new Map() }

  it('gets what it lacks', () => {
    expect(compareHost(wanted, observation({})).ensure).to.deep.equal([extent])
  })

  it('is left alone when it has what it should', () => {
    expect(compareHost(wanted, observation({ extents: [extent] })).ensure).to.deep.equal([])
  })

  it('that lets in an initiator too many is put right', () => {
    expect(compareHost(wanted, observation({ extents: [{ ...extent, initiators: ['iqn.x:hd1', 'iqn.x:hd2'] }] })).ensure).to.have.length(1)
  })

  it('keeps an extent that the database does not know, and it is told', () => {
    const difference = compareHost({ ...wanted, extents: [] }, observation({ extents: [extent] }))
    expect(difference.remove).to.deep.equal([])
    expect(difference.foreign.map((each) => each.name)).to.deep.equal([one])
  })

  it('removes tombstones only where their disk is there', () => {
    const dropping = [{ extent: one, disk: two }, { extent: two, disk: 'd'.repeat(32) }]
    expect(compareHost({ ...wanted, extents: [], dropping }, observation({})).remove).to.deep.equal([dropping[0]])
  })

  it('is told to let go of an older attachment, never of a newer one', () => {
    const up = { ...seen(1, ['A', 'A']), attachEpoch: 3 }
    const volumes = (attachEpoch: number, attachedHere: boolean): typeof wanted => ({ ...wanted, volumes: new Map([[up.volume, { attachEpoch, attachedHere }]]) })
    expect(compareHost(volumes(4, true), observation({ volumes: [up] })).detach).to.deep.equal([{ volume: up.volume, attachEpoch: 3 }])
    expect(compareHost(volumes(3, true), observation({ volumes: [up] })).detach).to.deep.equal([])
    expect(compareHost(volumes(2, false), observation({ volumes: [up] })).detach).to.deep.equal([])
  })
})

describe('the layout of a volume', () => {
  it('is gapless, in order, and exactly as large as was asked for', () => {
    fc.assert(fc.property(fc.bigInt({ min: 2048n, max: 2n ** 31n }), fc.constantFrom(64n, 512n, 8192n), (sectors, mib) => {
      const size = sectors * 512n
      const segments = layOutVolume(size, mib * 1024n * 1024n)
      let at = 0n
      for (const segment of segments) {
        expect(segment.offset).to.equal(at)
        expect(segment.extentBytes >= segment.bytes && segment.extentBytes % 4194304n === 0n).to.equal(true)
        at += segment.bytes
      }
      expect(at).to.equal(size)
    }))
  })

  it('refuses 0, what is no multiple of 512, and what is too large, and says why', () => {
    expect(sizeProblem(0n)).to.contain('less than the smallest')
    expect(sizeProblem(1048577n)).to.contain('not a multiple of 512')
    expect(sizeProblem(2n ** 62n)).to.contain('more than the largest')
    expect(sizeProblem(1048576n)).to.equal(undefined)
  })
})

describe('a leg\'s state', () => {
  it('returns to in sync only through a copy', () => {
    expect(() => legAfter('stale', 'copy ended')).to.throw('cannot have')
    expect(() => legAfter('stale', 'made')).to.throw('cannot have')
    expect(legAfter('stale', 'copy begins')).to.equal('syncing')
    expect(legAfter('syncing', 'copy ended')).to.equal('insync')
  })
})

describe('the health of a volume', () => {
  const legs = (first: 'insync' | 'stale', second: 'insync' | 'stale'): readonly { index: number; legs: SegmentFacts['legs'] }[] => [{
    index: 0, legs: [{ extent: one, host: 'st1', disk: 'd1', slot: 0, state: first }, { extent: two, host: 'st2', disk: 'd2', slot: 1, state: second }],
  }]
  it('is full with all legs, degraded with one, unavailable when the good one does not answer', () => {
    expect(healthOf(legs('insync', 'insync'), 2, () => true).health).to.equal('full')
    expect(healthOf(legs('insync', 'stale'), 2, () => true).health).to.equal('degraded')
    expect(healthOf(legs('insync', 'stale'), 2, (leg) => leg.host === 'st2')).to.deep.equal({ health: 'unavailable', problem: 'segment 0: its in-sync legs are on st1, which can\'t be reached' })
  })
})
