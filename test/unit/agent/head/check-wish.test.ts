import { expect } from 'chai'
import fc from 'fast-check'
import { checkWish, devicesWanted, planVolume } from '../../../../agent/head/plan.js'
import type { DeviceThere } from '../../../../agent/head/plan.js'
import type { Part } from '../../../../agent/dm/table.js'
import { Fault } from '../../../../lib/faults.js'
import { legStates } from '../../../../lib/model.js'
import type { LegWanted, SegmentWanted, VolumeWanted } from '../../../../lib/wire/agent.js'

const MIB = 1048576n
const idOf = (number: number): string => number.toString(16).padStart(32, '0')
const leg = (number: number, state: LegWanted['state'] = 'insync', more: Partial<LegWanted> = {}): LegWanted => ({
  extent: idOf(number), disk: idOf(900), host: `st${number}`, target: 'iqn.x', addresses: ['10.0.0.1'], lun: 0, bytes: 4n * MIB, state, ...more,
})
const segment = (index: number, more: Partial<SegmentWanted> = {}): SegmentWanted => ({ index, generation: 1, bytes: 4n * MIB, copy: 'none', legs: [leg(index * 10 + 1), leg(index * 10 + 2)], ...more })
const volume = (segments: readonly SegmentWanted[], more: Partial<VolumeWanted> = {}): VolumeWanted => ({
  volume: idOf(1000), name: 'v', attachEpoch: 1, layout: 1, scope: 'whole', waitSeconds: 0, bytes: segments.reduce((sum, each) => sum + each.bytes, 0n), chap: { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' }, segments, ...more,
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
      const told = refusal(volume([segment(0, { copy: 'all', legs: [leg(1, state), leg(2), leg(3, 'syncing')] })]))
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

describe('the plan for a volume', () => {
  it('asks nothing of a head once it was carried out, and names no segment twice, for any volume', () => {
    const anySegment = (index: number): fc.Arbitrary<SegmentWanted> => fc.record({ count: fc.integer({ min: 1, max: 5 }), copy: fc.constantFrom('none', 'all'), size: fc.integer({ min: 1, max: 8192 }) })
      .map(({ count, copy, size }) => segment(index, { bytes: BigInt(size) * 512n, copy: count > 1 ? copy : 'none', legs: Array.from({ length: count }, (_, at) => leg(index * 10 + at, copy === 'all' && at > 0 ? 'syncing' : 'insync')) }))
    const anyVolume = fc.integer({ min: 1, max: 6 }).chain((count) => fc.tuple(...Array.from({ length: count }, (_, index) => anySegment(index)))).map((segments) => volume(segments))
    const anyCase = fc.tuple(anyVolume, fc.array(fc.constantFrom('none', 'right', 'suspended', 'foreign', 'turned', 'stray'), { minLength: 20, maxLength: 20 }), fc.boolean())
    fc.assert(fc.property(anyCase, ([wanted, kinds, fresh]) => {
      expect(refusal(wanted)).to.equal(undefined)
      const before = devicesWanted(wanted).flatMap(({ part, table }, index): readonly DeviceThere[] => {
        const right: DeviceThere = { part, table, suspended: false, failed: false }
        switch (kinds[index]) {
          case 'right': return [right]
          case 'suspended': return [{ ...right, suspended: true }]
          case 'foreign': return [{ ...right, table: undefined }]
          case 'turned': return [table.kind === 'mirror' && table.mirror.legs.length > 1 ? { ...right, table: { kind: 'mirror', mirror: { ...table.mirror, legs: [...table.mirror.legs].reverse() as [string, ...string[]] } } } : right]
          case 'stray': return part.endsWith('-low') || part === 'top' || part === 'body' ? [right] : [right, { ...right, part: `${part}-low` as Part }]
          default: return []
        }
      })
      const has = new Map(before.map((each) => [each.part, each]))
      for (const step of planVolume(wanted, before, fresh)) {
        if (step.do === 'create') expect(has.has(step.part), step.part).to.equal(false)
        if (step.do === 'remove') has.delete(step.part)
        else if ('table' in step) has.set(step.part, { part: step.part, table: step.table, suspended: false, failed: false })
      }
      expect(planVolume(wanted, [...has.values()], fresh)).to.deep.equal([])
    }))
  })
})
