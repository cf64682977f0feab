import { expect } from 'chai'
import fc from 'fast-check'
import { batchesOf } from '../../agent/dm/dmsetup.js'
import { formatConcatenation, formatConcise, formatSegment, readConcatenation, readSegment } from '../../agent/dm/table.js'
import type { MirrorTable } from '../../agent/dm/table.js'
import { sectors } from '../../lib/units.js'

const anyLength = fc.bigInt({ min: 1n, max: 2n ** 40n }).map((each) => sectors(each))
const anyDevice = fc.tuple(fc.nat(259), fc.nat(999)).map(([major, minor]) => `${major}:${minor}`)
const anyTable: fc.Arbitrary<MirrorTable> = fc.record({
  length: anyLength,
  legs: fc.array(anyDevice, { minLength: 1, maxLength: 9 }).map(([first = '8:0', ...rest]): [string, ...string[]] => [first, ...rest]),
  copy: fc.constantFrom('none', 'all'),
}).map((table) => (table.legs.length === 1 ? { ...table, copy: 'none' } : table))

describe('device-mapper tables', () => {
  it('of a segment read back as they were written', () => {
    fc.assert(fc.property(anyTable, (table) => { expect(readSegment(formatSegment(table))).to.deep.equal(table) }))
  })

  it('of a mirror always make the kernel hold what a leg did not take', () => {
    fc.assert(fc.property(anyTable, (table) => {
      if (table.legs.length > 1) expect(formatSegment(table)).to.match(/ 1 handle_errors$/)
    }))
  })

  it('of a concatenation read back as they were written', () => {
    fc.assert(fc.property(fc.array(fc.record({ device: anyDevice, length: anyLength }), { minLength: 1, maxLength: 50 }), (parts) => {
      expect(readConcatenation(formatConcatenation(parts))).to.deep.equal(parts)
    }))
  })

  it('are loaded in batches that keep their order, lose none, and fit into an argument unless one alone does not', () => {
    const anyDevices = fc.array(fc.record({ name: fc.constantFrom('a', 'b'), uuid: fc.constant('u'), table: fc.nat(120_000).map((length) => ['x'.repeat(length)]) }), { maxLength: 12 })
    fc.assert(fc.property(anyDevices, (devices) => {
      const batches = batchesOf(devices)
      expect(batches.flat()).to.deep.equal(devices)
      for (const batch of batches) if (batch.length > 1) expect(formatConcise(batch).length).to.be.at.most(96 * 1024)
    }), { numRuns: 50 })
  })
})
