import { expect } from 'chai'
import { targetSteps } from '../../../../agent/lio/target.js'
import type { TargetStep, TargetTree, WantedExport } from '../../../../agent/lio/target.js'

const all = (): boolean => true
const tree = (luns: Readonly<Record<number, string>>, acls: Readonly<Record<string, readonly number[]>> = {}): TargetTree => ({
  backstores: new Set(Object.values(luns)), luns: new Map(Object.entries(luns).map(([lun, extent]) => [Number(lun), extent])),
  acls: new Map(Object.entries(acls).map(([initiator, mapped]) => [initiator, new Set(mapped)])),
})
const wish = (extent: string, lun: number, ...initiators: readonly string[]): WantedExport => ({ extent, lun, device: `/dev/${extent}`, initiators })
/** `map h1 0` for a step, to be read at a glance. */
const told = (steps: readonly TargetStep[]): readonly string[] => steps.map(({ do: what, ...more }) => [what, ...Object.values<string | number>(more)].join(' '))

describe('an export', () => {
  it('is made from the device up to the initiator', () => {
    expect(told(targetSteps(tree({}), [wish('a', 3, 'h1')], all))).to.deep.equal(['add backstore a /dev/a', 'add lun 3 a', 'add acl h1', 'map h1 3'])
  })

  it('of a detached volume has a LUN and lets nobody in', () => {
    expect(told(targetSteps(tree({}), [wish('a', 3)], all))).to.deep.equal(['add backstore a /dev/a', 'add lun 3 a'])
  })

  it('is taken away from the initiator down to the device', () => {
    expect(told(targetSteps(tree({ 3: 'a' }, { h1: [3] }), [], all))).to.deep.equal(['unmap h1 3', 'remove acl h1', 'remove lun 3', 'remove backstore a'])
  })

  it('that is as it should be needs no step', () => {
    expect(targetSteps(tree({ 3: 'a' }, { h1: [3] }), [wish('a', 3, 'h1')], all)).to.deep.equal([])
  })

  it('to a head with a new secret gives it that, and takes nothing away', () => {
    expect(told(targetSteps(tree({ 3: 'a', 4: 'b' }, { h1: [3], h2: [4] }), [wish('a', 3, 'h1'), wish('b', 4)], all, new Set(['h1', 'h2'])))).to.deep.equal(['unmap h2 4', 'remove acl h2', 'remove lun 4', 'add lun 4 b', 'add acl h1'])
  })

  it('that a crash left half made is completed', () => {
    expect(told(targetSteps({ backstores: new Set(['a']), luns: new Map(), acls: new Map([['h1', new Set<number>()]]) }, [wish('a', 3, 'h1')], all))).to.deep.equal(['add lun 3 a', 'map h1 3'])
  })

  it('that a crash left without its extent goes with whatever is done next, or is completed where it is wanted', () => {
    const half = { backstores: new Set(['a', 'b']), luns: new Map([[3, ''], [4, 'b']]), acls: new Map() }
    expect(told(targetSteps(half, [wish('b', 4)], (extent) => extent === 'b'))).to.deep.equal(['remove lun 3'])
    expect(told(targetSteps(half, [], (extent) => extent === 'a'))).to.deep.equal(['remove lun 3', 'remove backstore a'])
    expect(told(targetSteps(half, [wish('a', 3)], (extent) => extent === 'a'))).to.deep.equal(['add lun 3 a'])
  })

  it('moves to another LUN over its own removal, and keeps its backstore', () => {
    expect(told(targetSteps(tree({ 3: 'a' }, { h1: [3] }), [wish('a', 4, 'h1')], all))).to.deep.equal(['unmap h1 3', 'remove lun 3', 'add lun 4 a', 'map h1 4'])
  })

  it('trades its LUN with another', () => {
    expect(told(targetSteps(tree({ 1: 'a', 2: 'b' }), [wish('a', 2), wish('b', 1)], all))).to.deep.equal(['remove lun 1', 'remove lun 2', 'add lun 2 a', 'add lun 1 b'])
  })
})

describe('an initiator', () => {
  it('without a LUN loses its whole ACL, and its session with it', () => {
    expect(told(targetSteps(tree({ 3: 'a' }, { h1: [3] }), [wish('a', 3)], all))).to.deep.equal(['unmap h1 3', 'remove acl h1', 'remove lun 3', 'add lun 3 a'])
    expect(told(targetSteps(tree({}, { h1: [] }), [], all))).to.deep.equal(['remove acl h1'])
  })

  it('that loses one of its LUNs keeps its session for the others, and that LUN is made anew, so that no late write reaches it', () => {
    expect(told(targetSteps(tree({ 1: 'a', 2: 'b' }, { h1: [1, 2] }), [wish('a', 1, 'h1'), wish('b', 2)], all))).to.deep.equal(['unmap h1 2', 'remove lun 2', 'add lun 2 b'])
  })

  it('keeps its ACL for an extent that the order is not about', () => {
    expect(told(targetSteps(tree({ 1: 'a', 2: 'b' }, { h1: [1, 2] }), [wish('b', 2)], (extent) => extent === 'b'))).to.deep.equal(['unmap h1 2', 'remove lun 2', 'add lun 2 b'])
  })

  it('shares a LUN with another in a live migration', () => {
    expect(told(targetSteps(tree({ 3: 'a' }, { h1: [3] }), [wish('a', 3, 'h1', 'h2')], all))).to.deep.equal(['add acl h2', 'map h2 3'])
  })

  it('that takes over is let in only when the other is out', () => {
    expect(told(targetSteps(tree({ 3: 'a' }, { h1: [3] }), [wish('a', 3, 'h2')], all))).to.deep.equal(['unmap h1 3', 'remove acl h1', 'remove lun 3', 'add lun 3 a', 'add acl h2', 'map h2 3'])
  })
})
