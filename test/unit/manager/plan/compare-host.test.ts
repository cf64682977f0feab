import { expect } from 'chai'
import type { Observation } from '../../../../lib/wire/agent.js'
import { compareHost } from '../../../../manager/plan/compare-host.js'
import type { HostWanted } from '../../../../manager/plan/compare-host.js'

const [extentId, disk, volume, other] = ['a', 'b', 'c', 'd'].map((digit) => digit.repeat(32)) as [string, string, string, string]
const extent = { extent: extentId, disk, volume, segment: 0, generation: 1, bytes: 4194304n, lun: 0, initiators: ['iqn.x:hd1', 'iqn.x:hd2'] }
const diskSeen = (id: string, state: 'ready' | 'missing'): Observation['disks'][number] => ({ disk: id, device: '/dev/sdb', state, problem: '', bytes: 0n, freeBytes: 0n, cleanBytes: 0n })
const seen = (more: Partial<Observation> = {}): Observation => ({
  host: 'st1', bootId: 'b', incarnation: 'i', epoch: 1, disks: [diskSeen(disk, 'ready')], extents: [extent], volumes: [], foreign: [], ...more,
})
const wanted = (more: Partial<HostWanted> = {}): HostWanted => ({ disks: [{ id: disk, device: '/dev/sdb' }], extents: [extent], dropping: [], volumes: new Map(), ...more })
const up = (attachEpoch: number): Observation['volumes'][number] => ({ volume, name: 'v', attachEpoch, layout: 1, scope: 'whole', state: 'up', device: '/dev/vsky/v', opens: 0, waiting: false, unreachable: [], segments: [{ index: 0, generation: 1, legs: [], inSync: 1, regions: 1 }] })
const known = (attachEpoch: number, attachedHere: boolean): HostWanted['volumes'] => new Map([[volume, { attachEpoch, attachedHere }]])

describe('what a host has, against what it should have', () => {
  it('is equal whatever order its initiators are listed in', () => {
    expect(compareHost(wanted(), seen({ extents: [{ ...extent, initiators: [...extent.initiators].reverse() }] }))).to.deep.equal({ ensure: [], remove: [], detach: [], missingDisks: [], foreign: [] })
  })

  for (const [what, change] of Object.entries({
    LUN: { lun: 1 }, generation: { generation: 2 }, segment: { segment: 1 }, volume: { volume: other }, size: { bytes: 8388608n }, initiators: { initiators: [] },
  })) {
    it(`differs by an extent's ${what} alone`, () => {
      expect(compareHost(wanted(), seen({ extents: [{ ...extent, ...change }] })).ensure).to.deep.equal([extent])
    })
  }

  it('asks for no extent on a disk that is not ready', () => {
    expect(compareHost(wanted(), seen({ disks: [diskSeen(disk, 'missing')], extents: [] })).ensure).to.deep.equal([])
    expect(compareHost(wanted(), seen({ disks: [], extents: [] })).ensure).to.deep.equal([])
  })

  it('names a disk that has gone, and one that nobody knows', () => {
    const difference = compareHost(wanted(), seen({ disks: [diskSeen(other, 'ready')], extents: [] }))
    expect(difference.missingDisks).to.deep.equal([disk])
    expect(difference.foreign).to.deep.equal([{ what: 'disk', name: `${other} (/dev/sdb)`, why: 'the database does not know it' }])
  })

  it('does not call an extent foreign whose removal is decided', () => {
    const difference = compareHost(wanted({ extents: [], dropping: [{ extent: extentId, disk }] }), seen())
    expect(difference.foreign).to.deep.equal([])
    expect(difference.remove).to.deep.equal([{ extent: extentId, disk }])
  })

  it('passes on what the agent itself found foreign', () => {
    const foreign = [{ what: 'dm device', name: 'x', why: 'not ours' }]
    expect(compareHost(wanted(), seen({ foreign })).foreign).to.deep.equal(foreign)
  })

  it('has a volume to let go of that is attached elsewhere now', () => {
    expect(compareHost(wanted({ volumes: known(3, false) }), seen({ volumes: [up(3)] })).detach).to.deep.equal([{ volume, attachEpoch: 3 }])
  })

  it('keeps a volume that the database does not know, and one of a newer attachment, and tells', () => {
    for (const volumes of [new Map() as HostWanted['volumes'], known(2, true)]) {
      const difference = compareHost(wanted({ volumes }), seen({ volumes: [up(3)] }))
      expect(difference.detach).to.deep.equal([])
      expect(difference.foreign).to.deep.equal([{ what: 'volume', name: 'v', why: 'the database does not know this attachment' }])
    }
  })
})
