import { expect } from 'chai'
import fc from 'fast-check'
import { checkWish, planVolume } from '../../../../agent/head/plan.js'
import type { SegmentThere, TopThere } from '../../../../agent/head/plan.js'
import { Fault } from '../../../../lib/faults.js'
import { legStates } from '../../../../lib/model.js'
import type { LegWanted, SegmentWanted, VolumeWanted } from '../../../../lib/wire/agent.js'
import { bytes, sectorsExactly } from '../../../../lib/units.js'

const MIB = 1048576n
const idOf = (number: number): string => number.toString(16).padStart(32, '0')
const leg = (number: number, state: LegWanted['state'] = 'insync', more: Partial<LegWanted> = {}): LegWanted => ({
  extent: idOf(number), disk: idOf(900), host: `st${number}`, target: 'iqn.x', addresses: ['10.0.0.1'], lun: 0, bytes: 4n * MIB, state, ...more,
})
const segment = (index: number, more: Partial<SegmentWanted> = {}): SegmentWanted => ({ index, generation: 1, bytes: 4n * MIB, copy: 'none', legs: [leg(index * 10 + 1), leg(index * 10 + 2)], ...more })
const volume = (segments: readonly SegmentWanted[], more: Partial<VolumeWanted> = {}): VolumeWanted => ({
  volume: idOf(1000), name: 'v', attachEpoch: 1, bytes: segments.reduce((sum, each) => sum + each.bytes, 0n), chap: { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' }, segments, ...more,
})

/** Why a wish is refused; undefined when it is taken. */
function refusal(wanted: VolumeWanted): string | undefined {
  try {
    checkWish(wanted)
    return undefined
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.fault !== 'bad parameter') throw thrown
    return thrown.message
  }
}

describe('a wish for a volume', () => {
  it('without segments is refused', () => {
    expect(refusal(volume([]))).to.equal('volume v: it has no segments')
  })

  it('whose segments are out of order, or leave one out, is refused', () => {
    expect(refusal(volume([segment(1), segment(0)]))).to.equal('volume v: segment 1 stands at place 0')
    expect(refusal(volume([segment(0), segment(2)]))).to.equal('volume v: segment 2 stands at place 1')
    expect(refusal(volume([segment(0), segment(0)]))).to.equal('volume v: segment 0 stands at place 1')
  })

  it('with a segment of no bytes, or of half a sector, is refused', () => {
    expect(refusal(volume([segment(0, { bytes: 0n })]))).to.equal('volume v: segment 0 has 0 bytes, no multiple of 512')
    expect(refusal(volume([segment(0), segment(1, { bytes: 256n })]))).to.equal('volume v: segment 1 has 256 bytes, no multiple of 512')
  })

  it('of a size that its segments do not have is refused', () => {
    expect(refusal(volume([segment(0)], { bytes: 5n * MIB }))).to.equal(`volume v: its segments have ${4n * MIB} bytes, not ${5n * MIB}`)
  })

  it('that reads from a leg without current data is refused, in whatever state it is', () => {
    for (const state of legStates) {
      const told = refusal(volume([segment(0, { copy: 'all', legs: [leg(1, state), leg(2)] })]))
      if (state === 'insync') expect(told).to.equal(undefined)
      else expect(told, state).to.equal(`volume v: the first leg of segment 0 is ${state}: reads and copies would come from it`)
    }
  })

  it('that uses a leg which was never filled or missed a write is refused, copy or not', () => {
    for (const state of ['stale', 'allocated'] as const) {
      for (const copy of ['none', 'all'] as const) expect(refusal(volume([segment(0, { copy, legs: [leg(1), leg(2, state)] })])), `${state} ${copy}`).to.equal('volume v: segment 0 has a leg without current data')
    }
  })

  it('with a leg to be copied to is taken only with a copy', () => {
    const legs = [leg(1), leg(2, 'syncing')]
    expect(refusal(volume([segment(0, { copy: 'all', legs })]))).to.equal(undefined)
    expect(refusal(volume([segment(0, { copy: 'none', legs })]))).to.equal('volume v: segment 0 has a leg that needs a copy, and no copy is asked for')
  })

  it('with two legs of a segment on one server is refused, and two segments may share a server', () => {
    expect(refusal(volume([segment(0, { legs: [leg(1), leg(2), leg(3, 'insync', { host: 'st1' })] })]))).to.equal('volume v: two legs of segment 0 are on one server')
    expect(refusal(volume([segment(0), segment(1, { legs: [leg(11, 'insync', { host: 'st1' })] })]))).to.equal(undefined)
  })

  it('with a leg that is smaller than its segment is refused, and a larger one is taken', () => {
    expect(refusal(volume([segment(0, { legs: [leg(1), leg(2, 'insync', { bytes: 4n * MIB - 512n })] })]))).to.equal('volume v: a leg of segment 0 is smaller than the segment')
    expect(refusal(volume([segment(0, { bytes: MIB })]))).to.equal(undefined)
  })

  it('is refused in any segment, not only in the first', () => {
    expect(refusal(volume([segment(0), segment(1), segment(2, { legs: [] })]))).to.equal('volume v: segment 2 has no legs')
  })
})

const there = ({ index, bytes: size, copy, legs }: SegmentWanted, more: Partial<SegmentThere> = {}): SegmentThere => {
  const [first, ...others] = legs.map((each) => each.extent)
  return { index, suspended: false, failed: false, table: first === undefined ? undefined : { length: sectorsExactly(bytes(size)), legs: [first, ...others], copy }, ...more }
}

/** The concatenation as it should stand for this volume. */
const topOf = (wanted: VolumeWanted): TopThere => ({ suspended: false, parts: wanted.segments.map((each) => ({ index: each.index, length: sectorsExactly(bytes(each.bytes)) })) })

describe('the plan for a volume', () => {
  it('makes what is missing, reloads what differs, leaves what is right', () => {
    const wanted = volume([segment(0), segment(1), segment(2)])
    const other = there({ ...segment(1), legs: [leg(12), leg(11)] })
    expect(planVolume(wanted, { segments: [there(segment(0)), other], top: topOf(wanted) })).to.deep.equal({ create: [2], reload: [1], top: 'keep' })
  })

  it('reloads a mirror of another length, and a table that is none of ours', () => {
    for (const each of [there(segment(0, { bytes: MIB })), there(segment(0), { table: undefined })]) {
      expect(planVolume(volume([segment(0)]), { segments: [each], top: topOf(volume([segment(0)])) }).reload).to.deep.equal([0])
    }
  })

  it('does not begin a copy anew that is under way', () => {
    const wanted = volume([segment(0, { copy: 'all', legs: [leg(1), leg(2, 'syncing')] })])
    expect(planVolume(wanted, { segments: wanted.segments.map((each) => there(each)), top: topOf(wanted) })).to.deep.equal({ create: [], reload: [], top: 'keep' })
  })

  it('asks nothing of a head once it was carried out, and names no segment twice, for any volume', () => {
    const anySegment = (index: number): fc.Arbitrary<SegmentWanted> => fc.record({ count: fc.integer({ min: 1, max: 5 }), copy: fc.constantFrom('none', 'all'), size: fc.integer({ min: 1, max: 8192 }) })
      .map(({ count, copy, size }) => segment(index, { bytes: BigInt(size) * 512n, copy, legs: Array.from({ length: count }, (_, at) => leg(index * 10 + at, copy === 'all' && at > 0 ? 'syncing' : 'insync')) }))
    const anyVolume = fc.integer({ min: 1, max: 6 }).chain((count) => fc.tuple(...Array.from({ length: count }, (_, index) => anySegment(index)))).map((segments) => volume(segments))
    const anyCase = fc.tuple(anyVolume, fc.array(fc.constantFrom('none', 'right', 'suspended', 'foreign', 'turned'), { minLength: 6, maxLength: 6 }), fc.boolean())
    fc.assert(fc.property(anyCase, ([wanted, kinds, top]) => {
      expect(refusal(wanted)).to.equal(undefined)
      const before = wanted.segments.flatMap((each, index): readonly SegmentThere[] => {
        switch (kinds[index]) {
          case 'right': return [there(each)]
          case 'suspended': return [there(each, { suspended: true })]
          case 'foreign': return [there(each, { table: undefined })]
          case 'turned': return [there({ ...each, legs: [...each.legs].reverse() })]
          default: return []
        }
      })
      const plan = planVolume(wanted, { segments: before, top: top ? topOf(wanted) : undefined })
      const touched = [...plan.create, ...plan.reload]
      expect(new Set(touched).size).to.equal(touched.length)
      expect(plan.create.some((index) => before.some((each) => each.index === index))).to.equal(false)
      const after = wanted.segments.map((each) => (touched.includes(each.index) ? there(each) : before.find((old) => old.index === each.index) ?? there(each, { table: undefined })))
      expect(planVolume(wanted, { segments: after, top: topOf(wanted) })).to.deep.equal({ create: [], reload: [], top: 'keep' })
      expect(plan.top).to.equal(top ? 'keep' : 'create')
    }))
  })
})
