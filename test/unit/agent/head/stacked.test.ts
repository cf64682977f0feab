import { expect } from 'chai'
import fc from 'fast-check'
import { devicesWanted, layer, planVolume } from '../../../../agent/head/plan.js'
import type { DeviceTable, DeviceThere, HeadStep } from '../../../../agent/head/plan.js'
import { segmentSeen } from '../../../../agent/head/look.js'
import type { Part } from '../../../../agent/dm/table.js'
import type { LegHealth, MirrorStatus } from '../../../../agent/dm/status.js'
import type { LegWanted, VolumeWanted } from '../../../../lib/wire/agent.js'

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((digit) => digit.repeat(32)) as [string, string, string, string]
const leg = (extent: string, state: LegWanted['state']): LegWanted => ({ extent, disk: 'd'.repeat(32), host: `st-${extent[0] ?? ''}`, target: 'iqn.x', addresses: ['10.0.0.1'], lun: 0, bytes: 1048576n, state })
const segment = (index: number, good: readonly string[], targets: readonly string[] = []): VolumeWanted['segments'][number] => ({
  index, generation: 1, bytes: 1048576n, copy: targets.length > 0 ? 'all' : 'none', legs: [...good.map((each) => leg(each, 'insync')), ...targets.map((each) => leg(each, 'syncing'))],
})
const volume = (...segments: VolumeWanted['segments']): VolumeWanted => ({
  volume: 'f'.repeat(32), name: 'v', attachEpoch: 1, layout: 1, scope: 'whole', bytes: 1048576n * BigInt(segments.length), waitSeconds: 0, segments, chap: { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' },
})
const copies = (...segments: VolumeWanted['segments']): VolumeWanted => ({ ...volume(...segments), scope: 'copies' })
/** All devices of a wish, well; `more` changes some. */
const there = (wanted: VolumeWanted, more: Partial<Record<Part, Partial<DeviceThere>>> = {}): readonly DeviceThere[] =>
  devicesWanted(wanted).map(({ part, table }) => ({ part, table, suspended: false, failed: false, ...more[part] }))
const legsOf = (table: DeviceTable): string => (table.kind === 'mirror' ? ` ${table.mirror.legs.map((each) => each.replace(/^(\w)\1+$/, '$1')).join('+')}${table.mirror.copy === 'all' ? ' copy' : ''}` : '')
const told = (steps: readonly HeadStep[]): readonly string[] => steps.map((step) => `${step.do} ${step.part}${step.do === 'create' || step.do === 'reload' ? legsOf(step.table) : ''}`)
const plan = (wanted: VolumeWanted, now: readonly DeviceThere[], fresh = true): readonly string[] => told(planVolume(wanted, now, fresh))

const plain = volume(segment(0, [a, b]))
const copying = volume(segment(0, [a, b], [c]))
const well = volume(segment(0, [a, b, c]))

describe('the devices of a volume', () => {
  const table: readonly (readonly [claim: string, wanted: VolumeWanted, there: readonly DeviceThere[], steps: readonly string[]])[] = [
    ['are made from below to above', plain, [], ['create s0 a+b', 'create body', 'create top']],
    ['have a mirror of the good legs below each segment that is copied', copying, [], ['create s0-low a+b', 'create s0 s0-low+c copy', 'create body', 'create top']],
    ['have it for one good leg too', volume(segment(0, [a], [b])), [], ['create s0-low a', 'create s0 s0-low+b copy', 'create body', 'create top']],
    ['are all below the body, whatever segment is copied', volume(segment(0, [a]), segment(1, [b], [c])), [], ['create s1-low b', 'create s0 a', 'create s1 s1-low+c copy', 'create body', 'create top']],
    ['are those of the copies alone for a detached volume', copies(segment(3, [a], [b])), [], ['create s3-low a', 'create s3 s3-low+b copy']],
    ['stay as they are where they are right', copying, there(copying), []],
    ['get the mirror below before the copy stands on it', copying, there(plain), ['create s0-low a+b', 'reload s0 s0-low+c copy']],
    ['lose it after the segment stands on its legs again', well, there(copying), ['reload s0 a+b+c', 'remove s0-low']],
    ['are completed after a crash', copying, there(copying).filter(({ part }) => part !== 's0-low' && part !== 'top'), ['create s0-low a+b', 'create top']],
    ['lose a failed leg of the mirror below in place, the copy goes on', volume(segment(0, [a], [c])), there(copying, { 's0-low': { failed: true } }), ['reload s0-low a']],
    ['go on below before they are replaced above, when writes are held below', plain, there(copying, { 's0-low': { failed: true } }), ['reload s0-low a+b', 'reload s0 a+b', 'remove s0-low']],
    ['go on below with those good legs that are still wanted', volume(segment(0, [b])), there(copying, { 's0-low': { failed: true } }), ['reload s0-low b', 'reload s0 b', 'remove s0-low']],
    ['do not go on below when none of its legs is wanted', volume(segment(0, [d])), there(copying, { 's0-low': { failed: true } }), ['reload s0 d', 'remove s0-low']],
    ['lose a failed target without a touch of what is below', volume(segment(0, [a, b], [d])), there(copying, { s0: { failed: true } }), ['reload s0 s0-low+d copy']],
    ['are taken up again where they were left suspended, from below to above', copying, there(copying, { s0: { suspended: true }, 's0-low': { suspended: true }, top: { suspended: true } }), ['reload s0-low a+b', 'reload s0 s0-low+c copy', 'reload top']],
    ['are loaded anew where the kernel has another\'s table', plain, there(plain, { s0: { table: undefined } }), ['reload s0 a+b']],
    ['are given up from above to below', copies(segment(0, [a], [b])), there(volume(segment(0, [a], [b]), segment(1, [c], [d]))), ['remove top', 'remove body', 'remove s1', 'remove s1-low']],
    ['let a waiting queue try again by a message, without a new table', plain, there(plain, { top: { failed: true } }), ['reinstate top']],
    ['let the queue try after the legs are there again', plain, there(volume(segment(0, [a])), { top: { failed: true } }), ['reload s0 a+b', 'reinstate top']],
    ['let a queue wait again that answered errors', plain, there(plain).map((each) => (each.table?.kind === 'queue' ? { ...each, table: { ...each.table, waits: false } } : each)), ['reinstate top']],
    ['get a new queue table when it stands on something else', plain, there(plain).map((each) => (each.table?.kind === 'queue' ? { ...each, table: { ...each.table, part: 's0' } } : each)), ['reload top']],
  ]
  for (const [claim, wanted, now, steps] of table) it(claim, () => { expect(plan(wanted, now)).to.deep.equal(steps) })

  it('that failed are tried again only by a new order', () => {
    const failed = there(copying, { s0: { failed: true }, 's0-low': { failed: true }, top: { failed: true } })
    expect(plan(copying, failed, false)).to.deep.equal([])
    expect(plan(copying, failed, true)).to.deep.equal(['reload s0-low a+b', 'reload s0 s0-low+c copy', 'reinstate top'])
  })
})

describe('for any two wishes, what leads from one to the other', () => {
  const anySegment = fc.record({ good: fc.subarray([a, b], { minLength: 1 }), targets: fc.subarray([c, d]) })
  const anyVolume = fc.record({ whole: fc.boolean(), segments: fc.array(anySegment, { minLength: 1, maxLength: 3 }) })
    .map(({ whole, segments }) => (whole ? volume : copies)(...segments.map(({ good, targets }, index) => segment(index, good, targets))))
  const anyFault = fc.array(fc.record({ missing: fc.boolean(), suspended: fc.boolean(), failed: fc.boolean() }), { minLength: 12, maxLength: 12 })
  const each = (look: (steps: readonly HeadStep[], wanted: VolumeWanted, now: readonly DeviceThere[]) => void): void => {
    fc.assert(fc.property(anyVolume, anyVolume, anyFault, fc.boolean(), (before, wanted, faults, fresh) => {
      const now = there(before).flatMap((device, at) => (faults[at]?.missing ? [] : [{ ...device, suspended: faults[at]?.suspended ?? false, failed: faults[at]?.failed ?? false }]))
      look(planVolume(wanted, now, fresh), wanted, now)
    }), { numRuns: 500 })
  }

  it('comes to exactly what is wanted: then nothing is left to do', () => {
    each((steps, wanted, now) => {
      const devices = new Map(now.map((device) => [device.part, device]))
      for (const step of steps) {
        if (step.do === 'create') expect(devices.has(step.part), step.part).to.equal(false)
        else expect(devices.has(step.part), step.part).to.equal(true)
        if (step.do === 'remove') devices.delete(step.part)
        else if ('table' in step) devices.set(step.part, { part: step.part, table: step.table, suspended: false, failed: false })
      }
      expect(planVolume(wanted, [...devices.values()], false)).to.deep.equal([])
      expect([...devices.keys()]).to.have.members(devicesWanted(wanted).map(({ part }) => part))
    })
  })

  it('changes no device twice, but for a mirror that goes on before it goes', () => {
    each((steps) => {
      const kinds = new Map<Part, string>()
      for (const step of steps) kinds.set(step.part, `${kinds.get(step.part) ?? ''} ${step.do}`)
      for (const [part, done] of kinds) expect(done).to.be.oneOf([' create', ' reload', ' remove', ' reinstate', ...(part.endsWith('-low') ? [' reload remove'] : [])])
    })
  })

  it('is told from below to above, and what goes from above to below', () => {
    each((steps, wanted) => {
      const kept = new Set(devicesWanted(wanted).map(({ part }) => part))
      const rising = steps.filter(({ part }) => kept.has(part)).map(({ part }) => layer(part))
      const falling = steps.filter((step) => step.do === 'remove').map(({ part }) => layer(part))
      expect(rising).to.deep.equal([...rising].sort((x, y) => x - y))
      expect(falling).to.deep.equal([...falling].sort((x, y) => y - x))
    })
  })

  it('never gives a mirror a table without a good leg first', () => {
    each((steps) => {
      for (const step of steps) {
        if ((step.do !== 'create' && step.do !== 'reload') || step.table.kind !== 'mirror') continue
        expect(step.table.mirror.legs[0]).to.be.oneOf([a, b, `s${/\d+/.exec(step.part)?.[0] ?? ''}-low`])
      }
    })
  })
})

describe('what a head tells of a segment that is being copied', () => {
  const status = (letters: string, inSync = 3): MirrorStatus => ({ inSync, regions: 8, legs: [...letters].map((health) => ({ device: '', health: health as LegHealth })) })
  const tell = (upper: string, good: readonly string[], low?: string): string => segmentSeen(0, ['s0-low', c, d].slice(0, upper.length), status(upper), good, low === undefined ? { legs: [], inSync: 1, regions: 1 } : status(low, 8))
    .legs.map((each) => `${each.extent[0] ?? ''}:${each.health}`).join(' ')
  const table: readonly (readonly [claim: string, upper: string, good: readonly string[], low: string | undefined, told: string])[] = [
    ['every leg is told once, those below first', 'AA', [a, b], 'AA', 'a:A b:A c:A'],
    ['a good leg that failed below is told by its own letter', 'AA', [a, b], 'AD', 'a:A b:D c:A'],
    ['a target that failed is told as that', 'AD', [a, b], 'AA', 'a:A b:A c:D'],
    ['of two targets the failed one alone', 'ADA', [a, b], 'AA', 'a:A b:A c:D d:A'],
    ['the copy could not read its source: the targets are told as failed, the source is not', 'SA', [a, b], 'AA', 'a:A b:A c:S'],
    ['the same with one good leg', 'SA', [a], undefined, 'a:A c:S'],
    ['the only good leg failed a write: it is the one', 'DA', [a], undefined, 'a:D c:A'],
    ['a write failed below in all good legs', 'DA', [a, b], 'DD', 'a:D b:D c:A'],
    ['a write failed above, and nothing below tells of it: the copy is not trusted', 'DA', [a, b], 'AA', 'a:A b:A c:S'],
    ['a target\'s own failure is told rather than the copy\'s', 'SD', [a, b], 'AA', 'a:A b:A c:D'],
  ]
  for (const [claim, upper, good, low, expected] of table) it(claim, () => { expect(tell(upper, good, low)).to.equal(expected) })

  it('its progress is that of the copy, not of the mirror below', () => {
    const { inSync, regions } = segmentSeen(0, ['s0-low', c], status('AA', 3), [a, b], status('AA', 8))
    expect([inSync, regions]).to.deep.equal([3, 8])
  })

  it('a device below that is no extent of ours is told as none', () => {
    expect(segmentSeen(0, ['8:0', b], status('AA'), [], undefined).legs.map((each) => each.extent)).to.deep.equal(['0'.repeat(32), b])
  })

  it('a copy of which no status is known has not got anywhere', () => {
    const { inSync, regions } = segmentSeen(0, ['s0-low', c], undefined, [a], undefined)
    expect(inSync).to.be.lessThan(regions)
  })
})
