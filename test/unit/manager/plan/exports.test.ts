import { expect } from 'chai'
import { legStates } from '../../../../lib/model.js'
import { extentWanted, initiatorsOf } from '../../../../manager/plan/exports.js'
import { storedPhases } from '../../../../manager/state/rows.js'
import type { ExtentRow, SegmentRow, VolumeRow } from '../../../../manager/state/rows.js'

const MIB = 1024n ** 2n
const head = 'iqn.x:hd1'
const volume = (phase: VolumeRow['phase']): VolumeRow => ({
  id: 'c'.repeat(32), name: 'v', bytes: 5n * MIB, redundancy: 2, phase, head: 'hd1', attachEpoch: 1, attachBoot: 'b', device: '', problem: '', createdAt: 1,
  layout: 1, copyHead: '', copyBoot: '', nextHead: '', remembers: true, settled: 0, sinceBirth: true,
})
const segment: SegmentRow = { volume: 'c'.repeat(32), index: 0, offset: 0n, bytes: 5n * MIB, generation: 7 }
const extent = (leg: ExtentRow['leg']): ExtentRow => ({
  id: 'e'.repeat(32), disk: 'd'.repeat(32), host: 'st1', volume: 'c'.repeat(32), segment: 0, slot: 0, bytes: 8n * MIB, lun: 3, state: 'ready', leg, staleSince: 0, retryAt: 0, since: 0, doubt: false, moving: false,
})

describe('an export', () => {
  it('lets the head in at legs in use, from attaching until it has let go; nobody while it is made or its head is shut out; and when detached who copies it', () => {
    const open = storedPhases.flatMap((phase) => legStates.filter((leg) => initiatorsOf(volume(phase), extent(leg), head).length > 0).map((leg) => `${phase}, ${leg}`))
    expect(open).to.have.members(['attaching', 'attached', 'detaching', 'detached'].flatMap((phase) => [`${phase}, insync`, `${phase}, syncing`]))
  })

  it('lets in the head of the attachment and no one else', () => {
    expect(initiatorsOf(volume('attached'), extent('insync'), head)).to.deep.equal([head])
  })

  it('stays shut while the leg is in doubt: a reader might miss what its disk lost', () => {
    for (const phase of storedPhases) expect(initiatorsOf(volume(phase), { ...extent('insync'), doubt: true }, head), phase).to.deep.equal([])
  })

  it('stays shut while the initiator of the head is not known', () => {
    for (const phase of storedPhases) expect(initiatorsOf(volume(phase), extent('insync'), undefined)).to.deep.equal([])
  })

  it('carries the segment\'s generation only on a leg whose data can be trusted', () => {
    const tags = legStates.map((leg) => [leg, extentWanted(volume('attached'), segment, extent(leg), head).generation])
    expect(Object.fromEntries(tags)).to.deep.equal({ allocated: 7, insync: 7, stale: 0, syncing: 0 })
  })

  it('has the size of the extent, not of the segment, and the LUN that the extent was given', () => {
    expect(extentWanted(volume('attached'), segment, extent('insync'), head)).to.deep.include({ bytes: 8n * MIB, lun: 3, disk: 'd'.repeat(32), segment: 0, initiators: [head] })
  })
})
