import { expect } from 'chai'
import { checkWish, planVolume } from '../../../../agent/head/plan.js'
import { nodeRecord } from '../../../../agent/iscsi/node-record.js'
import type { LegWanted, VolumeWanted } from '../../../../lib/wire/agent.js'
import { sectors } from '../../../../lib/units.js'

const [one, two, three] = ['1', '2', '3'].map((digit) => digit.repeat(32))
const leg = (extent = '', host = '', state: LegWanted['state'] = 'insync'): LegWanted => ({ extent, disk: 'd'.repeat(32), host, target: 'iqn.x', addresses: ['10.0.0.1'], lun: 0, bytes: 4194304n, state })
const chap = { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' }
const volume = (more: Partial<VolumeWanted['segments'][number]> = {}, bytes = 1048576n): VolumeWanted => ({
  volume: 'a'.repeat(32), name: 'v', attachEpoch: 1, bytes, chap, segments: [{ index: 0, generation: 1, bytes: 1048576n, copy: 'none', legs: [leg(one, 'st1'), leg(two, 'st2')], ...more }],
})
const table = (legs: [string, ...string[]], copy: 'none' | 'all' = 'none'): { index: number; table: { length: ReturnType<typeof sectors>; legs: [string, ...string[]]; copy: 'none' | 'all' }; suspended: boolean } => ({ index: 0, table: { length: sectors(2048n), legs, copy }, suspended: false })

describe('what a head does for a volume', () => {
  it('makes all of it where nothing is', () => {
    expect(planVolume(volume(), { segments: [], top: false })).to.deep.equal({ create: [0], reload: [], createTop: true })
  })

  it('does nothing where it is as it should be', () => {
    expect(planVolume(volume(), { segments: [table([one ?? '', two ?? ''])], top: true })).to.deep.equal({ create: [], reload: [], createTop: false })
  })

  it('completes what was begun', () => {
    expect(planVolume(volume(), { segments: [table([one ?? '', two ?? ''])], top: false })).to.deep.equal({ create: [], reload: [], createTop: true })
  })

  it('reloads a mirror that has a leg too many, too few, or another order', () => {
    for (const legs of [[one, two, three], [one], [two, one]]) {
      expect(planVolume(volume(), { segments: [table(legs as [string, ...string[]])], top: true }).reload, String(legs)).to.deep.equal([0])
    }
  })

  it('leaves a mirror alone whose copy has ended', () => {
    expect(planVolume(volume(), { segments: [table([one ?? '', two ?? ''], 'all')], top: true }).reload).to.deep.equal([])
  })

  it('reloads a mirror that claims equal legs when a copy is needed', () => {
    const wanted = volume({ copy: 'all', legs: [leg(one, 'st1'), leg(two, 'st2', 'syncing')] })
    expect(planVolume(wanted, { segments: [table([one ?? '', two ?? ''])], top: true }).reload).to.deep.equal([0])
  })

  it('resumes what a crash left suspended', () => {
    expect(planVolume(volume(), { segments: [{ ...table([one ?? '', two ?? '']), suspended: true }], top: true }).reload).to.deep.equal([0])
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

describe('the record of an iSCSI target', () => {
  const text = nodeRecord({ target: 'iqn.2026-11.io.vsky:storage.st1', address: '10.77.0.21', chap })
  it('carries our timers, our credentials, and no automatic scan', () => {
    for (const line of ['node.session.timeo.replacement_timeout = 1', 'node.conn[0].timeo.noop_out_interval = 1', 'node.conn[0].timeo.noop_out_timeout = 2', 'node.session.scan = manual', 'node.startup = manual', 'node.session.auth.authmethod = CHAP', 'node.session.auth.password = secretsecret']) {
      expect(text.split('\n')).to.include(line)
    }
  })
})
