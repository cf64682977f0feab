import { expect } from 'chai'
import fc from 'fast-check'
import { bytes, bytesOf, formatSize, formatSizeRounded, parseSize, roundDown, roundUp, sectors, sectorsExactly } from '../../../lib/units.js'

const anySize = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), fc.tuple(fc.bigInt({ min: 0n, max: 9999n }), fc.integer({ min: 0, max: 5 })).map(([count, power]) => count * 1024n ** BigInt(power)))
  .filter((size) => size < 2n ** 63n).map((size) => bytes(size))

describe('parseSize', () => {
  it('reads the units in either case, with or without i and B, after any blanks', () => {
    for (const unit of ['K', 'k', 'KB', 'kb', 'KiB', 'kib', ' K', '  KiB']) expect(parseSize(`3${unit}`), unit).to.equal(3072n)
    expect(['1K', '1M', '1G', '1T', '1P'].map(parseSize)).to.deep.equal([1n, 2n, 3n, 4n, 5n].map((power) => 1024n ** power))
    expect(['7', '7B', ' 7 b ', '0', '2s', '2S'].map(parseSize)).to.deep.equal([7n, 7n, 7n, 0n, 1024n, 1024n])
  })

  it('reads a fraction exactly, and refuses one that is no whole number of bytes', () => {
    expect(['0.5K', '1.25MiB', '0.000001M', '1.5', '1.0', '0.1K'].map(parseSize)).to.deep.equal([512n, 1310720n, undefined, undefined, 1n, undefined])
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 10n ** 9n }), fc.integer({ min: 0, max: 99 }), (whole, part) => {
      const exact = (whole * 100n + BigInt(part)) * 1024n ** 3n
      expect(parseSize(`${whole}.${String(part).padStart(2, '0')}G`)).to.equal(exact % 100n === 0n ? exact / 100n : undefined)
    }))
  })

  it('refuses everything else', () => {
    for (const each of ['', ' ', 'G', '1E', '1KK', '1 2', '0x10', '1e3', '+1', '-1', '.5G', '1.G', '1iB', '1bytes', '1sB', '1_000', '١', '1.1234567G', '12345678901234567890']) expect(parseSize(each), JSON.stringify(each)).to.equal(undefined)
  })
})

describe('formatSize', () => {
  it('is exact: what it shows is read back as the same size', () => {
    fc.assert(fc.property(anySize, (size) => { expect(parseSize(formatSize(size))).to.equal(size) }), { numRuns: 500 })
  })

  it('shows the largest unit that has at most two decimals', () => {
    expect([0n, 512n, 1023n, 1024n, 1536n, 1280n, 1025n, 1024n ** 2n, 3n * 1024n ** 3n / 2n, 2n * 1024n ** 4n, 1024n ** 5n].map(formatSize))
      .to.deep.equal(['0 B', '512 B', '1023 B', '1 KiB', '1.5 KiB', '1.25 KiB', '1025 B', '1 MiB', '1.5 GiB', '2 TiB', '1 PiB'])
  })
})

describe('formatSizeRounded', () => {
  it('is never further from the size than half a hundredth of its unit', () => {
    expect([2_097_152_001n, 1024n, 1023n, 1030n].map(formatSizeRounded)).to.deep.equal(['1.95 GiB', '1 KiB', '1023 B', '1.01 KiB'])
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 50n }), (size) => {
      const [number = '', unit = ''] = formatSizeRounded(size).split(' ')
      const factor = 1024 ** ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'].indexOf(unit)
      expect(Math.abs(Number(number) - Number(size) / factor)).to.be.at.most(0.005 + 1e-9)
    }))
  })
})

describe('bytes and sectors', () => {
  it('are never negative', () => {
    expect(() => bytes(-1n)).to.throw(RangeError, 'a size cannot be negative: -1')
    expect(() => sectors(-1n)).to.throw(RangeError, 'a sector count cannot be negative: -1')
  })

  it('become each other exactly or not at all', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 50n }), (count) => { expect(sectorsExactly(bytesOf(sectors(count)))).to.equal(count) }))
    for (const size of [1n, 511n, 513n]) expect(() => sectorsExactly(bytes(size)), String(size)).to.throw(RangeError, `${size} bytes is not a multiple of 512`)
  })

  it('are rounded to the nearest step that covers, or is within', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 50n }), fc.bigInt({ min: 1n, max: 2n ** 40n }), (size, step) => {
      const [up, down] = [roundUp(bytes(size), bytes(step)), roundDown(bytes(size), bytes(step))]
      expect([up % step, down % step]).to.deep.equal([0n, 0n])
      expect(up >= size && up - size < step && down <= size && size - down < step).to.equal(true)
    }))
  })
})
