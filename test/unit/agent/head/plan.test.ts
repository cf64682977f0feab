import { expect } from 'chai'
import { checkWish, planVolume } from '../../../../agent/head/plan.js'
import type { SegmentThere, TopThere } from '../../../../agent/head/plan.js'
import type { LegWanted, VolumeWanted } from '../../../../lib/wire/agent.js'
import { sectors } from '../../../../lib/units.js'

const [one, two, three] = ['1', '2', '3'].map((digit) => digit.repeat(32))
const leg = (extent = '', host = '', state: LegWanted['state'] = 'insync'): LegWanted => ({ extent, disk: 'd'.repeat(32), host, target: 'iqn.x', addresses: ['10.0.0.1'], lun: 0, bytes: 4194304n, state })
const chap = { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' }
const volume = (more: Partial<VolumeWanted['segments'][number]> = {}, bytes = 1048576n): VolumeWanted => ({
  volume: 'a'.repeat(32), name: 'v', attachEpoch: 1, bytes, chap, segments: [{ index: 0, generation: 1, bytes: 1048576n, copy: 'none', legs: [leg(one, 'st1'), leg(two, 'st2')], ...more }],
})
const there = (legs: readonly (string | undefined)[], more: Partial<SegmentThere> = {}, copy: 'none' | 'all' = 'none'): SegmentThere => {
  const [primary = '', ...others] = legs.map((each) => each ?? '')
  return { index: 0, table: { length: sectors(2048n), legs: [primary, ...others], copy }, suspended: false, failed: false, ...more }
}
const top: TopThere = { parts: [{ index: 0, length: 2048n }], suspended: false }
const copying = (): VolumeWanted => volume({ copy: 'all', legs: [leg(one, 'st1'), leg(two, 'st2', 'syncing')] })

describe('what a head does for a volume', () => {
  it('makes all of it where nothing is', () => {
    expect(planVolume(volume(), { segments: [], top: undefined })).to.deep.equal({ create: [0], reload: [], top: 'create' })
  })

  it('does nothing where it is as it should be', () => {
    expect(planVolume(volume(), { segments: [there([one, two])], top })).to.deep.equal({ create: [], reload: [], top: 'keep' })
  })

  it('completes what was begun', () => {
    expect(planVolume(volume(), { segments: [there([one, two])], top: undefined })).to.deep.equal({ create: [], reload: [], top: 'create' })
  })

  it('reloads a mirror that has a leg too many, too few, or another order', () => {
    for (const legs of [[one, two, three], [one], [two, one]]) {
      expect(planVolume(volume(), { segments: [there(legs)], top }).reload, String(legs)).to.deep.equal([0])
    }
  })

  it('reloads a mirror whose table is none that Vsky writes, or of another size', () => {
    expect(planVolume(volume(), { segments: [there([one, two], { table: undefined })], top }).reload).to.deep.equal([0])
    expect(planVolume(volume(), { segments: [there([one, two], { table: { length: sectors(4096n), legs: [one ?? '', two ?? ''], copy: 'none' } })], top }).reload).to.deep.equal([0])
  })

  it('leaves a mirror alone whose copy has ended', () => {
    expect(planVolume(volume(), { segments: [there([one, two], {}, 'all')], top }).reload).to.deep.equal([])
  })

  it('leaves a copy alone that is under way', () => {
    expect(planVolume(copying(), { segments: [there([one, two], {}, 'all')], top }).reload).to.deep.equal([])
  })

  it('reloads a mirror that claims equal legs when a copy is needed', () => {
    expect(planVolume(copying(), { segments: [there([one, two])], top }).reload).to.deep.equal([0])
  })

  it('begins a copy again in which a leg failed', () => {
    expect(planVolume(copying(), { segments: [there([one, two], { failed: true }, 'all')], top }).reload).to.deep.equal([0])
  })

  it('does not make a failed leg look well by loading the same table again', () => {
    expect(planVolume(volume(), { segments: [there([one, two], { failed: true })], top }).reload).to.deep.equal([])
  })

  it('resumes what a crash left suspended', () => {
    expect(planVolume(volume(), { segments: [there([one, two], { suspended: true })], top }).reload).to.deep.equal([0])
    expect(planVolume(volume(), { segments: [there([one, two])], top: { ...top, suspended: true } }).top).to.equal('reload')
  })

  it('reloads a concatenation that is not of exactly these segments', () => {
    for (const parts of [undefined, [{ index: 0, length: 1024n }], [{ index: -1, length: 2048n }], [{ index: 0, length: 2048n }, { index: 1, length: 8n }]]) {
      expect(planVolume(volume(), { segments: [there([one, two])], top: { parts, suspended: false } }).top, String(parts?.length)).to.equal('reload')
    }
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
