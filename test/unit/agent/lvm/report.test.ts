import { expect } from 'chai'
import fc from 'fast-check'
import { cleanRanges, countOf, poolReportCommand, readPool, readReport, take } from '../../../../agent/lvm/report.js'

describe('LVM\'s rows', () => {
  it('are read field by field, whatever lines stand between them', () => {
    const output = [
      '  WARNING: Running as a non-root user.', `  LVM2_LV_NAME='x'|LVM2_LV_SIZE='4194304'|LVM2_LV_TAGS='vsky.extent,vsky.segment=1'|LVM2_LV_ACTIVE='active'`,
      '  Logical volume "x" created.', '', `  LVM2_LV_NAME=''|LVM2_LV_SIZE=''|LVM2_LV_TAGS=''|LVM2_LV_ACTIVE=''`, '',
    ].join('\n')
    expect(readReport(output)).to.deep.equal([
      { lv_name: 'x', lv_size: '4194304', lv_tags: 'vsky.extent,vsky.segment=1', lv_active: 'active' }, { lv_name: '', lv_size: '', lv_tags: '', lv_active: '' },
    ])
    expect(readReport('')).to.deep.equal([])
  })

  it('are asked for of one volume group, in bytes', () => {
    expect(poolReportCommand('vsky_d')).to.match(/^pvs .*--units b --nosuffix .*-S vg_name=vsky_d$/)
  })
})

const line = (start: number, size: number, lv = '', more = ''): string =>
  `  LVM2_VG_NAME='vsky_d'|LVM2_VG_TAGS='vsky${more}'|LVM2_VG_EXTENT_COUNT='100'|LVM2_PVSEG_START='${start}'|LVM2_PVSEG_SIZE='${size}'|LVM2_LV_NAME='${lv}'|LVM2_LV_SIZE='${lv === '' ? '0' : '4194304'}'|LVM2_LV_TAGS=''|LVM2_LV_ACTIVE=''`

describe('a pool', () => {
  it('that was never cleaned gives out nothing', () => {
    const pool = readPool(line(0, 100))
    expect(pool).to.include({ physicalExtents: 100, cleanMark: 0 })
    expect(pool && cleanRanges(pool)).to.deep.equal([])
  })

  it('has clean ranges below the mark alone, in the order of the disk, whatever the report\'s order', () => {
    const pool = readPool([line(60, 40, '', ',vsky.clean=70'), line(0, 10, '', ',vsky.clean=70'), line(10, 50, 'x', ',vsky.clean=70')].join('\n'))
    expect(pool && cleanRanges(pool)).to.deep.equal([{ start: 0, end: 9 }, { start: 60, end: 69 }])
  })

  it('is not clean for a tag that only looks like the mark', () => {
    for (const tag of ['vsky.clean=', 'vsky.clean=-1', 'xvsky.clean=9', 'vsky.clean=9x', 'vsky_clean=9']) expect(readPool(line(0, 100, '', `,${tag}`))?.cleanMark, tag).to.equal(0)
  })

  it('tells an inactive volume from an active one', () => {
    expect(readPool(line(0, 1, 'x'))?.volumes).to.deep.equal([{ name: 'x', bytes: 4194304n, tags: [], active: false }])
  })

  it('never counts as clean what a volume is on or what lies beyond the mark', () => {
    const anyPool = fc.tuple(fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.boolean()), { minLength: 1, maxLength: 10 }), fc.nat(120)).map(([parts, mark]) => {
      let start = 0
      return { mark, segments: parts.map(([size, used], index) => { const at = start; start += size; return { start: at, size, lv: used ? `v${index}` : '' } }) }
    })
    fc.assert(fc.property(anyPool, ({ mark, segments }) => {
      const ranges = cleanRanges({ physicalExtents: 200, cleanMark: mark, segments, volumes: [] })
      const clean = (each: number): boolean => ranges.some((range) => range.start <= each && each <= range.end)
      for (const { start, size, lv } of segments) for (let each = start; each < start + size; each += 1) expect(clean(each), String(each)).to.equal(lv === '' && each < mark)
    }))
  })
})

describe('first fit', () => {
  const ranges = [{ start: 0, end: 1 }, { start: 10, end: 14 }, { start: 20, end: 29 }]
  it('takes the first piece that is large enough', () => {
    expect(take(ranges, 5)).to.deep.equal({ taken: [{ start: 10, end: 14 }], left: [{ start: 0, end: 1 }, { start: 20, end: 29 }] })
    expect(take(ranges, 2)?.taken).to.deep.equal([{ start: 0, end: 1 }])
  })

  it('puts pieces together, from the first on, only where none is large enough', () => {
    expect(take(ranges, 12)).to.deep.equal({ taken: [{ start: 0, end: 1 }, { start: 10, end: 14 }, { start: 20, end: 24 }], left: [{ start: 25, end: 29 }] })
  })

  it('takes the last one there is, and nothing when one is missing', () => {
    expect(countOf(ranges)).to.equal(17)
    expect(take(ranges, 17)?.left).to.deep.equal([])
    expect(take(ranges, 18)).to.equal(undefined)
    expect(take([], 1)).to.equal(undefined)
  })
})
