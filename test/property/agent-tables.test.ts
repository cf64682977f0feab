import { expect } from 'chai'
import fc from 'fast-check'
import { legHealths, readInfo, readNamed, readStatus } from '../../agent/dm/status.js'
import { formatConcatenation, formatConcise, formatSegment, readSegment, readUuid, uuidOf } from '../../agent/dm/table.js'
import type { MirrorTable } from '../../agent/dm/table.js'
import { sectors } from '../../lib/units.js'

const anyDevice = fc.oneof(fc.tuple(fc.nat(4095), fc.nat(1_048_575)).map(([major, minor]) => `${major}:${minor}`), fc.stringMatching(/^\/dev\/[A-Za-z0-9_./:+-]{1,30}$/))
const anyLength = fc.bigInt({ min: 1n, max: 2n ** 55n }).map((each) => sectors(each))
const anyMirror = fc.record({
  length: anyLength, copy: fc.constantFrom('none', 'all'),
  legs: fc.array(anyDevice, { minLength: 2, maxLength: 9 }).map(([first = '8:0', ...others]): MirrorTable['legs'] => [first, ...others]),
})

describe('device-mapper tables, whatever the segment', () => {
  it('of a mirror read back as they were written, legs in their order', () => {
    fc.assert(fc.property(anyMirror, (table) => { expect(readSegment(formatSegment(table))).to.deep.equal(table) }))
  })

  it('of a mirror hold a write that a leg did not take: handle_errors is always there', () => {
    fc.assert(fc.property(anyMirror, (table) => { expect(formatSegment(table).split(' ').slice(-2)).to.deep.equal(['1', 'handle_errors']) }))
  })

  it('of one leg are a linear, which has nothing to copy', () => {
    fc.assert(fc.property(anyDevice, anyLength, fc.constantFrom('none', 'all'), (device, length, copy) => {
      expect(formatSegment({ legs: [device], length, copy })).to.equal(`0 ${length} linear ${device} 0`)
      expect(readSegment(formatSegment({ legs: [device], length, copy }))).to.deep.equal({ legs: [device], length, copy: 'none' })
    }))
  })

  it('make a volume without gaps, as long as its segments together', () => {
    fc.assert(fc.property(fc.array(fc.record({ device: anyDevice, length: anyLength }), { minLength: 1, maxLength: 20 }), (parts) => {
      let end = 0n
      for (const [index, line] of formatConcatenation(parts).entries()) {
        const [start = '', length = '', target, device, offset] = line.split(' ')
        expect([start, target, device, offset]).to.deep.equal([String(end), 'linear', parts[index]?.device, '0'])
        end += BigInt(length)
      }
      expect(end).to.equal(parts.reduce((sum, each) => sum + each.length, 0n))
    }))
  })

  it('stand in one command so that each can be taken out again', () => {
    const anyOne = fc.record({ volume: fc.stringMatching(/^[0-9a-f]{32}$/), part: fc.oneof(fc.constantFrom('top' as const, 'body' as const), fc.nat(1_000_000).map((index) => `s${index}` as const), fc.nat(1_000_000).map((index) => `s${index}-low` as const)), tables: fc.array(anyMirror, { minLength: 1, maxLength: 4 }) })
    fc.assert(fc.property(fc.array(anyOne, { minLength: 1, maxLength: 5 }), (all) => {
      const concise = formatConcise(all.map(({ volume, part, tables }, index) => ({ name: `n${index}`, uuid: uuidOf(volume, part), table: tables.map((table) => formatSegment(table)) })))
      const read = concise.split(';').map((device) => device.split(','))
      expect(read.map(([name, uuid = '', minor, flags, ...lines]) => [name, readUuid(uuid), minor, flags, lines.map(readSegment)]))
        .to.deep.equal(all.map(({ volume, part, tables }, index) => [`n${index}`, { volume, part }, '', 'rw', tables]))
    }))
  })
})

describe('what dmsetup reports, whatever it is', () => {
  const anyStatus = fc.array(fc.record({ device: anyDevice.filter((each) => each.includes(':') && !each.startsWith('/')), health: fc.constantFrom(...legHealths) }), { minLength: 2, maxLength: 9 })
    .chain((legs) => fc.record({ legs: fc.constant(legs), regions: fc.integer({ min: 1, max: 2 ** 31 }), part: fc.double({ min: 0, max: 1, noNaN: true }) }))
    .map(({ legs, regions, part }) => ({ legs, regions, inSync: Math.floor(regions * part) }))

  it('of a mirror is read as the kernel writes it', () => {
    fc.assert(fc.property(anyStatus, (status) => {
      const { legs, inSync, regions } = status
      expect(readStatus(`0 65536 mirror ${legs.length} ${legs.map((leg) => leg.device).join(' ')} ${inSync}/${regions} 1 ${legs.map((leg) => leg.health).join('')} 1 core`)).to.deep.equal(status)
    }))
  })

  it('that is cut off at any place never throws, and never makes a failed leg a leg that is alive', () => {
    fc.assert(fc.property(anyStatus, fc.nat(200), ({ legs, inSync, regions }, at) => {
      const line = `0 65536 mirror ${legs.length} ${legs.map((leg) => leg.device).join(' ')} ${inSync}/${regions} 1 ${legs.map((leg) => leg.health).join('')} 1 core`
      for (const [index, leg] of (readStatus(line.slice(0, at))?.legs ?? []).entries()) expect(leg.health === 'A' && legs[index]?.health !== 'A').to.equal(false)
    }))
  })

  it('that is no report at all throws nothing', () => {
    const anyText = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('0', '8', ' ', 'mirror', 'linear', '/', ':', 'A', '\n', '|', 'core', 'handle_errors') }))
    fc.assert(fc.property(anyText, (text) => { for (const read of [readStatus, readSegment, readNamed, readInfo, readUuid]) read(text) }))
  })
})
