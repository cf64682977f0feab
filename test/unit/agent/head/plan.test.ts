import { expect } from 'chai'
import { checkWish, devicesWanted, isLastGood, planVolume } from '../../../../agent/head/plan.js'
import type { DeviceThere, HeadStep } from '../../../../agent/head/plan.js'
import type { LegWanted, VolumeWanted } from '../../../../lib/wire/agent.js'
import { sectors } from '../../../../lib/units.js'

const [one, two, three] = ['1', '2', '3'].map((digit) => digit.repeat(32))
const leg = (extent = '', host = '', state: LegWanted['state'] = 'insync'): LegWanted => ({ extent, disk: 'd'.repeat(32), host, target: 'iqn.x', addresses: ['10.0.0.1'], lun: 0, bytes: 4194304n, state })
const chap = { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' }
const volume = (more: Partial<VolumeWanted['segments'][number]> = {}, bytes = 1048576n): VolumeWanted => ({
  volume: 'a'.repeat(32), name: 'v', attachEpoch: 1, layout: 1, scope: 'whole', waitSeconds: 0, bytes, chap,
  segments: [{ index: 0, generation: 1, bytes: 1048576n, copy: 'none', legs: [leg(one, 'st1'), leg(two, 'st2')], ...more }],
})
const copying = (): VolumeWanted => volume({ copy: 'all', legs: [leg(one, 'st1'), leg(two, 'st2', 'syncing')] })
/** Everything of a volume as it should be, with changes to some parts. */
const there = (wanted: VolumeWanted, changes: Readonly<Record<string, Partial<DeviceThere>>> = {}): readonly DeviceThere[] =>
  devicesWanted(wanted).map(({ part, table }) => ({ part, table, suspended: false, failed: false, ...changes[part] }))
const brief = (steps: readonly HeadStep[]): readonly string[] => steps.map((step) => `${step.do} ${step.part}`)
const plan = (wanted: VolumeWanted, has: readonly DeviceThere[], fresh = false): readonly string[] => brief(planVolume(wanted, has, fresh))
const mirror = (legs: readonly (string | undefined)[], length = 2048n): Partial<DeviceThere> => {
  const [primary = '', ...others] = legs.map((each) => each ?? '')
  return { table: { kind: 'mirror', mirror: { length: sectors(length), legs: [primary, ...others], copy: 'none' } } }
}

describe('what a head does for a volume', () => {
  it('makes all of it where nothing is, from below to above', () => {
    expect(plan(volume(), [])).to.deep.equal(['create s0', 'create body', 'create top'])
    expect(plan(copying(), [])).to.deep.equal(['create s0-low', 'create s0', 'create body', 'create top'])
  })

  it('does nothing where it is as it should be, a copy under way included', () => {
    expect(plan(volume(), there(volume()))).to.deep.equal([])
    expect(plan(copying(), there(copying()))).to.deep.equal([])
  })

  it('completes what was begun', () => {
    expect(plan(volume(), there(volume()).filter(({ part }) => part === 's0'))).to.deep.equal(['create body', 'create top'])
  })

  it('reloads a mirror that has a leg too many, too few, or another order', () => {
    for (const legs of [[one, two, three], [one], [two, one]]) expect(plan(volume(), there(volume(), { s0: mirror(legs) })), String(legs)).to.deep.equal(['reload s0'])
  })

  it('reloads a mirror whose table is none that Vsky writes, or of another size', () => {
    expect(plan(volume(), there(volume(), { s0: { table: undefined } }))).to.deep.equal(['reload s0'])
    expect(plan(volume(), there(volume(), { s0: mirror([one, two], 4096n) }))).to.deep.equal(['reload s0'])
  })

  it('puts the good legs under a mirror of their own while another is copied to, and takes it away afterwards', () => {
    expect(plan(copying(), there(volume()))).to.deep.equal(['create s0-low', 'reload s0'])
    expect(plan(volume(), there(copying()))).to.deep.equal(['reload s0', 'remove s0-low'])
  })

  it('tries a leg again that the kernel gave up only for an order that is newer', () => {
    expect(plan(volume(), there(volume(), { s0: { failed: true } }))).to.deep.equal([])
    expect(plan(volume(), there(volume(), { s0: { failed: true } }), true)).to.deep.equal(['reload s0'])
  })

  it('lets waiting I/O go by a message, for to suspend its queue would wait for what is held below', () => {
    expect(plan(volume(), there(volume(), { top: { failed: true }, s0: { failed: true } }), true)).to.deep.equal(['reload s0', 'reinstate top'])
    expect(plan(volume(), there(volume(), { top: { failed: true } }))).to.deep.equal([])
  })

  it('resumes what a crash left suspended', () => {
    expect(plan(volume(), there(volume(), { s0: { suspended: true } }))).to.deep.equal(['reload s0'])
    expect(plan(volume(), there(volume(), { top: { suspended: true } }))).to.deep.equal(['reload top'])
  })

  it('reloads a concatenation that is not of exactly these segments', () => {
    for (const pieces of [[{ part: 's0', length: 1024n }], [{ part: 'foreign', length: 2048n }], [{ part: 's0', length: 2048n }, { part: 's1', length: 8n }]]) {
      expect(plan(volume(), there(volume(), { body: { table: { kind: 'concatenation', pieces } } })), String(pieces.length)).to.deep.equal(['reload body'])
    }
    expect(plan(volume(), there(volume(), { body: { table: undefined } }))).to.deep.equal(['reload body'])
  })
})

describe('the last good leg of a segment', () => {
  it('is the one in sync beside which no other is, whatever stands beside it otherwise', () => {
    const good = (second: LegWanted['state']): readonly boolean[] => {
      const wanted = volume({ legs: [leg(one, 'st1'), leg(two, 'st2', second)] })
      return wanted.segments.flatMap((segment) => segment.legs.map((each) => isLastGood(wanted, each)))
    }
    expect([good('insync'), good('syncing')]).to.deep.equal([[false, false], [true, false]])
  })
})

describe('an order that would be unsafe', () => {
  const refused: readonly (readonly [why: string, wish: VolumeWanted, text: string])[] = [
    ['reads would come from a leg that is being copied to', volume({ copy: 'all', legs: [leg(one, 'st1', 'syncing'), leg(two, 'st2')] }), 'the first leg'],
    ['a stale leg would be in use', volume({ legs: [leg(one, 'st1'), leg(two, 'st2', 'stale')] }), 'without current data'],
    ['a leg that needs a copy would count as equal', volume({ legs: [leg(one, 'st1'), leg(two, 'st2', 'syncing')] }), 'no copy is asked for'],
    ['two legs on one server', volume({ legs: [leg(one, 'st1'), leg(two, 'st1')] }), 'on one server'],
    ['a leg smaller than its segment', volume({ bytes: 8388608n }, 8388608n), 'smaller than the segment'],
    ['segments that do not add up', volume({}, 2097152n), 'its segments have'],
    ['no legs', volume({ legs: [] }), 'no legs'],
  ]
  for (const [why, wish, text] of refused) it(`is refused: ${why}`, () => { expect(() => { checkWish(wish) }).to.throw(text) })

  it('is not confused with a good one', () => {
    expect(() => { checkWish(volume()) }).not.to.throw()
  })
})
