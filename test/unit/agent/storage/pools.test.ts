import { expect } from 'chai'
import fc from 'fast-check'
import { targetSteps } from '../../../../agent/lio/target.js'
import type { TargetStep, TargetTree, WantedExport } from '../../../../agent/lio/target.js'
import { complaintOf, lvmConfig } from '../../../../agent/lvm/lvm.js'
import { cleanRanges, countOf, readPool, take } from '../../../../agent/lvm/report.js'
import { planExtents, tagsOf } from '../../../../agent/storage/pools.js'

const extentId = 'e'.repeat(32)
const row = (start: number, size: number, lv: string): string => `  LVM2_VG_NAME='vsky_d'|LVM2_VG_TAGS='vsky,vsky.clean=100'|LVM2_VG_EXTENT_COUNT='510'|LVM2_PVSEG_START='${start}'|LVM2_PVSEG_SIZE='${size}'|${lv}`
const none = `LVM2_LV_NAME=''|LVM2_LV_SIZE='0'|LVM2_LV_TAGS=''|LVM2_LV_ACTIVE=''`
const some = `LVM2_LV_NAME='${extentId}'|LVM2_LV_SIZE='41943040'|LVM2_LV_TAGS='vsky.extent,vsky.generation=1'|LVM2_LV_ACTIVE='active'`
// As lvm2 2.03.16 prints it; a logical volume in two pieces stands there twice.
const report = [row(0, 5, none), row(5, 4, some), row(9, 6, some), row(15, 495, none), '  WARNING: something harmless'].join('\n')
const pool = readPool(report)
if (!pool) throw new Error('the report was not read')
const wanted = (more: object = {}): Parameters<typeof planExtents>[3][number] => ({ extent: 'f'.repeat(32), disk: 'd', volume: 'a'.repeat(32), segment: 2, generation: 1, bytes: 10n * 4194304n, lun: 0, initiators: [], ...more })

describe('LVM\'s report', () => {
  it('tells extents, tags, sizes and what is free', () => {
    expect(pool.physicalExtents).to.equal(510)
    expect(pool.volumes).to.deep.equal([{ name: extentId, bytes: 41943040n, tags: ['vsky.extent', 'vsky.generation=1'], active: true }])
  })

  it('of a volume group that is not there is nothing', () => {
    expect(readPool('  Volume group "vsky_d" not found')).to.equal(undefined)
  })

  it('gives out only what is free and below the clean mark', () => {
    expect(cleanRanges(pool)).to.deep.equal([{ start: 0, end: 4 }, { start: 15, end: 99 }])
  })
})

describe('the allocator', () => {
  it('takes one piece where there is one, and the rest stays', () => {
    expect(take(cleanRanges(pool), 10)).to.deep.equal({ taken: [{ start: 15, end: 24 }], left: [{ start: 0, end: 4 }, { start: 25, end: 99 }] })
  })

  it('never gives a physical extent twice, nor loses one', () => {
    const anyRanges = fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 })), { maxLength: 8 }).map((parts) => {
      let at = 0
      return parts.map(([gap, size]) => { const start = at + gap; at = start + size; return { start, end: at - 1 } })
    })
    const members = (ranges: readonly { start: number; end: number }[]): number[] => ranges.flatMap(({ start, end }) => Array.from({ length: end - start + 1 }, (_, index) => start + index))
    fc.assert(fc.property(anyRanges, fc.integer({ min: 1, max: 60 }), (ranges, count) => {
      const result = take(ranges, count)
      if (!result) {
        expect(countOf(ranges)).to.be.lessThan(count)
        return
      }
      expect(countOf(result.taken)).to.equal(count)
      expect([...members(result.taken), ...members(result.left)].sort((a, b) => a - b)).to.deep.equal(members(ranges))
    }))
  })
})

describe('making extents', () => {
  it('is one command each, on clean space, with their identity as tags', () => {
    expect(planExtents('d', '/dev/sdb', pool, [wanted()])).to.deep.equal({
      missing: [], commands: [`lvcreate -y -Zn -Wn -ay -n ${'f'.repeat(32)} -l 10 --addtag vsky.extent --addtag vsky.volume=${'a'.repeat(32)} --addtag vsky.segment=2 --addtag vsky.generation=1 vsky_d /dev/sdb:15-24`],
    })
  })

  it('waits for what is not clean yet', () => {
    const large = wanted({ bytes: 91n * 4194304n })
    expect(planExtents('d', '/dev/sdb', pool, [large])).to.deep.equal({ commands: [], missing: [large] })
  })

  it('asks nothing of LVM for an extent that is as it should be, and changes only the tags that differ', () => {
    const there = wanted({ extent: extentId })
    const tagged = { ...pool, volumes: [{ name: extentId, bytes: there.bytes, tags: [...tagsOf(there)], active: true }] }
    expect(planExtents('d', '/dev/sdb', tagged, [there]).commands).to.deep.equal([])
    expect(planExtents('d', '/dev/sdb', tagged, [{ ...there, generation: 2 }]).commands).to.deep.equal([`lvchange --deltag vsky.generation=1 --addtag vsky.generation=2 vsky_d/${extentId}`])
  })

  it('refuses an extent of another size', () => {
    expect(() => planExtents('d', '/dev/sdb', pool, [wanted({ extent: extentId, bytes: 4194304n })])).to.throw('has 41943040 bytes, not 4194304')
  })
})

describe('LVM\'s configuration', () => {
  it('lets it see one device and no other', () => {
    const text = lvmConfig({ device: '/dev/mapper/a.b', locks: '/x', udev: false, types: ['ubd:16'] })
    expect(text).to.contain('filter = ["a|^/dev/mapper/a\\\\.b$|", "r|.*|"]').and.to.contain('use_devicesfile = 0').and.to.contain('types = ["ubd", 16]').and.to.contain('monitoring = 0')
  })

  it('warnings are no complaints', () => {
    expect(complaintOf('  WARNING: not zeroed\n  Insufficient free space\n')).to.equal('Insufficient free space')
  })
})

function applied(tree: TargetTree, steps: readonly TargetStep[]): TargetTree {
  const backstores = new Set(tree.backstores)
  const luns = new Map(tree.luns)
  const acls = new Map([...tree.acls].map(([initiator, mapped]) => [initiator, new Set(mapped)]))
  for (const step of steps) {
    switch (step.do) {
      case 'unmap': acls.get(step.initiator)?.delete(step.lun); break
      case 'remove acl': expect(acls.get(step.initiator)?.size, 'an ACL is emptied before it goes').to.equal(0); acls.delete(step.initiator); break
      case 'remove lun': expect([...acls.values()].some((mapped) => mapped.has(step.lun)), 'a LUN that goes is mapped nowhere').to.equal(false); luns.delete(step.lun); break
      case 'remove backstore': expect([...luns.values()], 'a backstore that goes is behind no LUN').not.to.include(step.extent); backstores.delete(step.extent); break
      case 'add backstore': backstores.add(step.extent); break
      case 'add lun': expect(backstores.has(step.extent) && !luns.has(step.lun), 'a LUN stands on a backstore').to.equal(true); luns.set(step.lun, step.extent); break
      case 'add acl': acls.set(step.initiator, new Set()); break
      case 'map': expect(luns.has(step.lun) && acls.has(step.initiator), 'what is mapped is there').to.equal(true); acls.get(step.initiator)?.add(step.lun); break
    }
  }
  return { backstores, luns, acls }
}

const anyWanted = fc.uniqueArray(fc.record({ extent: fc.constantFrom('a', 'b', 'c', 'd'), lun: fc.integer({ min: 0, max: 5 }), initiators: fc.uniqueArray(fc.constantFrom('h1', 'h2', 'h3'), { maxLength: 2 }) }), { selector: (each) => each.extent })
  .filter((all) => new Set(all.map((each) => each.lun)).size === all.length).map((all): readonly WantedExport[] => all.map((each) => ({ ...each, device: `/dev/${each.extent}` })))
const empty: TargetTree = { backstores: new Set(), luns: new Map(), acls: new Map() }
const all = (): boolean => true

describe('the export tree', () => {
  it('becomes what is wanted, in steps that are each possible, from any tree before', () => {
    fc.assert(fc.property(anyWanted, anyWanted, (before, after) => {
      const tree = applied(applied(empty, targetSteps(empty, before, all)), [])
      const now = applied(tree, targetSteps(tree, after, all))
      expect([...now.luns].sort()).to.deep.equal(after.map((each) => [each.lun, each.extent]).sort())
      const mapped = new Map<string, number[]>()
      for (const each of after) for (const initiator of each.initiators) mapped.set(initiator, [...mapped.get(initiator) ?? [], each.lun].sort())
      expect([...now.acls].map(([initiator, luns]) => [initiator, [...luns].sort()]).sort()).to.deep.equal([...mapped].sort())
      expect(targetSteps(now, after, all)).to.deep.equal([])
    }))
  })

  it('shuts out before it lets in', () => {
    const steps = targetSteps(applied(empty, targetSteps(empty, [{ extent: 'a', lun: 0, device: '/dev/a', initiators: ['h1'] }], all)), [{ extent: 'a', lun: 0, device: '/dev/a', initiators: ['h2'] }], all)
    expect(steps.map((step) => step.do)).to.deep.equal(['unmap', 'remove acl', 'remove lun', 'add lun', 'add acl', 'map'])
  })

  it('leaves the extents alone that an order is not about', () => {
    const tree = applied(empty, targetSteps(empty, [{ extent: 'a', lun: 0, device: '/dev/a', initiators: ['h1'] }], all))
    expect(targetSteps(tree, [], (extent) => extent === 'b')).to.deep.equal([])
  })
})
