import { expect } from 'chai'
import { formatConcatenation, formatConcise, formatSegment, readConcatenation, readSegment, readUuid, regionOf, uuidOf } from '../../../../agent/dm/table.js'
import { readInfo, readNamed, readStatus } from '../../../../agent/dm/status.js'
import { sectors } from '../../../../lib/units.js'

describe('a segment\'s table', () => {
  it('with one leg is a linear', () => {
    expect(formatSegment({ length: sectors(2048n), legs: ['/dev/sda'], copy: 'none' })).to.equal('0 2048 linear /dev/sda 0')
  })

  it('claims equal legs only when no copy is asked for', () => {
    const table = { length: sectors(2048n), legs: ['8:0', '8:16'] as const }
    expect(formatSegment({ ...table, copy: 'none' })).to.equal('0 2048 mirror core 2 1024 nosync 2 8:0 0 8:16 0 1 handle_errors')
    expect(formatSegment({ ...table, copy: 'all' })).to.equal('0 2048 mirror core 2 1024 sync 2 8:0 0 8:16 0 1 handle_errors')
  })

  it('has regions of 512 KiB to 4 MiB, a power of two, and 32 of them as soon as it is large enough', () => {
    const mib = 2048n
    expect([1n, 32n, 33n, 64n, 127n, 128n, 8192n, 1n << 30n].map((size) => [size, regionOf(size * mib)])).to.deep.equal(
      [[1n, 1024n], [32n, 2048n], [33n, 2048n], [64n, 4096n], [127n, 4096n], [128n, 8192n], [8192n, 8192n], [1n << 30n, 8192n]])
    expect(regionOf(32n * mib - 1n)).to.equal(1024n)
    expect(formatSegment({ length: sectors(64n * mib), legs: ['8:0', '8:16'], copy: 'none' })).to.equal('0 131072 mirror core 2 4096 nosync 2 8:0 0 8:16 0 1 handle_errors')
    expect(formatSegment({ length: sectors(128n * mib), legs: ['8:0', '8:16'], copy: 'changed' }, '/dev/loop7')).to.equal('0 262144 mirror disk 2 /dev/loop7 8192 2 8:0 0 8:16 0 1 handle_errors')
  })

  it('says where on its legs it begins, when that is not their start', () => {
    for (const [table, line] of [
      [{ length: sectors(8n), legs: ['8:0'], starts: [2048n], copy: 'none' }, '0 8 linear 8:0 2048'],
      [{ length: sectors(8n), legs: ['254:3', '8:16'], starts: [0n, 2048n], copy: 'all' }, '0 8 mirror core 2 1024 sync 2 254:3 0 8:16 2048 1 handle_errors'],
    ] as const) {
      expect(formatSegment(table)).to.equal(line)
      expect(readSegment(line)).to.deep.equal(table)
    }
  })

  it('names a log only for a copy of what changed, and copies all where there is none', () => {
    const table = { length: sectors(2048n), legs: ['8:0', '8:16'], copy: 'changed' } as const
    expect(formatSegment(table, '/dev/loop7')).to.equal('0 2048 mirror disk 2 /dev/loop7 1024 2 8:0 0 8:16 0 1 handle_errors')
    expect(readSegment('0 2048 mirror disk 2 7:7 1024 2 8:0 0 8:16 0 1 handle_errors')).to.deep.equal(table)
    expect(formatSegment(table)).to.equal('0 2048 mirror core 2 1024 sync 2 8:0 0 8:16 0 1 handle_errors')
    expect(formatSegment({ ...table, copy: 'none' }, '/dev/loop7')).to.include('core 2 1024 nosync')
  })

  it('of another maker is not taken for ours', () => {
    for (const line of ['0 8 mirror core 2 1024 nosync 2 8:0 0 8:16 0 0', '0 8 mirror core 2 1024 nosync 2 8:0 0 8:16 1 handle_errors', '0 8 mirror userspace 2 1024 nosync 2 8:0 0 8:16 0 1 handle_errors', '0 8 error', '']) {
      expect(readSegment(line), line).to.equal(undefined)
    }
  })
})

describe('a volume\'s concatenation', () => {
  it('puts segment after segment without a gap', () => {
    expect(formatConcatenation([{ device: '/dev/mapper/a', length: sectors(8n) }, { device: '/dev/mapper/b', length: sectors(3n) }])).to.deep.equal(['0 8 linear /dev/mapper/a 0', '8 3 linear /dev/mapper/b 0'])
  })

  it('with a gap, an overlap or a line of another kind is not taken for ours', () => {
    for (const lines of [[], ['8 8 linear a 0'], ['0 8 linear a 0', '9 8 linear b 0'], ['0 8 linear a 0', '4 8 linear b 0'], ['0 8 linear a 8'], ['0 8 error'], ['']]) {
      expect(readConcatenation(lines), String(lines)).to.equal(undefined)
    }
  })

  it('is made in one command with others', () => {
    expect(formatConcise([{ name: 'a', uuid: 'u', table: ['0 1 linear x 0', '1 1 linear y 0'] }, { name: 'b', uuid: 'v', table: ['0 1 error'] }]))
      .to.equal('a,u,,rw,0 1 linear x 0,1 1 linear y 0;b,v,,rw,0 1 error')
  })

  it('is known by its uuid, and nothing else is', () => {
    const volume = 'a'.repeat(32)
    expect(readUuid(uuidOf(volume, 'top'))).to.deep.equal({ volume, part: 'top' })
    for (const part of ['body', 's12', 's0-low', 'changes', 'meta', 'meta-low', 'meta-top'] as const) expect(readUuid(uuidOf(volume, part))).to.deep.equal({ volume, part })
    for (const uuid of ['', 'LVM-x', `VSKY-${volume}`, `VSKY-${volume}-s`, `xVSKY-${volume}-top`]) expect(readUuid(uuid), uuid).to.equal(undefined)
  })
})

describe('the kernel\'s status', () => {
  it('tells which leg failed and how far a copy is', () => {
    expect(readStatus('0 65536 mirror 2 254:0 254:1 63/64 1 AD 1 core')).to.deep.equal({ legs: [{ device: '254:0', health: 'A' }, { device: '254:1', health: 'D' }], inSync: 63, regions: 64 })
    expect(readStatus('0 1048576 mirror 3 8:0 8:32 8:64 1024/1024 1 ASR 1 core')?.legs.map((leg) => leg.health).join('')).to.equal('ASR')
  })

  it('of a linear is well', () => {
    expect(readStatus('0 8 linear')).to.deep.equal({ legs: [], inSync: 1, regions: 1 })
  })

  it('is read for all devices at once', () => {
    expect([...readNamed('a: 0 8 linear \na: 8 8 linear \nb: 0 8 error \n')]).to.deep.equal([['a', ['0 8 linear', '8 8 linear']], ['b', ['0 8 error']]])
    expect(readInfo('a|VSKY-x|2|Active|254|0\nb||0|Suspended|254|17\n')).to.deep.equal([
      { name: 'a', uuid: 'VSKY-x', opens: 2, suspended: false, devno: '254:0' }, { name: 'b', uuid: '', opens: 0, suspended: true, devno: '254:17' },
    ])
  })
})
