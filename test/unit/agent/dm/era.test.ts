import { expect } from 'chai'
import fc from 'fast-check'
import { logBytes, makeLog, regionsOf, spansIn } from '../../../../agent/dm/copy-log.js'
import { blockSectors, readBlocks, readEra } from '../../../../agent/dm/era.js'
import { regionOf } from '../../../../agent/dm/table.js'
import { sectors } from '../../../../lib/units.js'

const TIB = 1024n ** 4n / 512n

describe('what dm-era remembers', () => {
  it('is kept in blocks of 4 MiB up to 1 TiB, and in larger ones beyond, so that its metadata always suffices', () => {
    expect([1n, 8192n, TIB, TIB + 1n, 3n * TIB, 64n * TIB].map((length) => blockSectors(sectors(length)) / 2048n)).to.deep.equal([4n, 4n, 4n, 8n, 16n, 256n])
  })

  it('is told with the era that it has come to, and as broken when the kernel gave it up', () => {
    expect(readEra('0 409600 era 8 9/1024 2 -')).to.equal(2)
    expect(readEra('0 409600 era 8 12/1024 4711 88')).to.equal(4711)
    expect(readEra('0 409600 era Error')).to.equal('broken')
    expect(readEra('0 8 linear')).to.equal(undefined)
  })

  it('is listed in single blocks and in ranges, the end of which is not in them', () => {
    const list = '<blocks>\n  <block block="10"/>\n  <block block="20"/>\n  <range begin="30" end = "34"/>\n</blocks>\n'
    expect(readBlocks(list)).to.deep.equal([{ begin: 10n, end: 11n }, { begin: 20n, end: 21n }, { begin: 30n, end: 34n }])
    expect(readBlocks('<blocks>\n</blocks>\n')).to.deep.equal([])
  })

  it('is not believed when its list is cut short or says something unknown', () => {
    for (const list of ['', '<blocks>\n  <block block="10"/>\n', '<block block="1"/>\n</blocks>', '<blocks>\n  <block block="-1"/>\n</blocks>', '<blocks>\n  <hole begin="1"/>\n</blocks>']) expect(() => readBlocks(list), list).to.throw('block')
  })
})

describe('the log of a copy', () => {
  it('begins as the kernel reads it, and takes whole pages', () => {
    const log = makeLog(3n * 1024n + 1n, [])
    expect(Buffer.from(log.subarray(0, 16)).toString('hex')).to.equal('7252694d' + '02000000' + '0400000000000000')
    expect([regionsOf(1n), regionsOf(1024n), regionsOf(1025n), logBytes(1), logBytes(24_576), logBytes(24_577)]).to.deep.equal([1, 1, 2, 4096, 4096, 8192])
  })

  const dirtyIn = (log: Uint8Array, regions: number): readonly number[] => Array.from({ length: regions }, (_, region) => region).filter((region) => (((log[1024 + (region >> 3)] ?? 0) >> (region & 7)) & 1) === 0)

  it('has exactly those regions to copy that something touches, and no bit beyond the last', () => {
    const log = makeLog(10n * 1024n, [{ begin: 1024n, end: 2048n }, { begin: 5000n, end: 6145n }])
    expect(dirtyIn(log, 10)).to.deep.equal([1, 4, 5, 6])
    expect(log.subarray(1026).every((byte) => byte === 0)).to.equal(true)
  })

  it('covers every sector of a segment that lies in a listed block, wherever the segment begins', () => {
    const any = fc.record({
      offset: fc.bigInt({ min: 0n, max: 40_000n }), length: fc.oneof(fc.bigInt({ min: 1n, max: 60_000n }), fc.bigInt({ min: 1n, max: 1_000_000n })),
      blocks: fc.array(fc.record({ begin: fc.bigInt({ min: 0n, max: 12n }), count: fc.bigInt({ min: 1n, max: 3n }) }), { maxLength: 4 }), probe: fc.bigInt({ min: 0n, max: 59_999n }),
    })
    fc.assert(fc.property(any, ({ offset, length, blocks, probe }) => {
      const ranges = blocks.map(({ begin, count }) => ({ begin, end: begin + count }))
      const log = makeLog(length, spansIn({ offset, length }, 8192n, ranges))
      const sector = probe % length
      const listed = ranges.some(({ begin, end }) => (offset + sector) / 8192n >= begin && (offset + sector) / 8192n < end)
      if (listed) expect(dirtyIn(log, regionsOf(length))).to.include(Number(sector / regionOf(length)))
      if (ranges.length === 0) expect(dirtyIn(log, regionsOf(length))).to.deep.equal([])
    }))
  })
})
