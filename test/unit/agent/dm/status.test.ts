import { expect } from 'chai'
import { legHealths, readInfo, readNamed, readStatus } from '../../../../agent/dm/status.js'
import { formatSegment, nameOf, readSegment } from '../../../../agent/dm/table.js'
import { sectors } from '../../../../lib/units.js'

describe('what a kernel said of a mirror', () => {
  it('that is well: all of it in sync, both legs alive', () => {
    expect(readStatus('0 1048576 mirror 2 8:0 8:32 1024/1024 1 AA 1 core')).to.deep.equal({
      legs: [{ device: '8:0', health: 'A' }, { device: '8:32', health: 'A' }], inSync: 1024, regions: 1024,
    })
  })

  it('with every letter that it may give a leg', () => {
    for (const health of legHealths) expect(readStatus(`0 65536 mirror 2 254:0 254:1 63/64 1 A${health} 1 core`)?.legs[1], health).to.deep.equal({ device: '254:1', health })
  })

  it('with a letter of a later kernel, or none: the leg is never taken for alive', () => {
    expect(readStatus('0 65536 mirror 2 254:0 254:1 63/64 1 AX 1 core')?.legs.map((leg) => leg.health)).to.deep.equal(['A', 'U'])
    expect(readStatus('0 65536 mirror 2 254:0 254:1 63/64 1 A')?.legs.map((leg) => leg.health)).to.deep.equal(['A', 'U'])
    expect(readStatus('0 65536 mirror 2 254:0 254:1')?.legs.map((leg) => leg.health)).to.deep.equal(['U', 'U'])
  })

  it('of nine legs', () => {
    const devices = Array.from({ length: 9 }, (_, index) => `8:${index * 16}`)
    const status = readStatus(`0 65536 mirror 9 ${devices.join(' ')} 64/64 1 AAAAAAAAD 1 core`)
    expect(status?.legs.map((leg) => leg.device)).to.deep.equal(devices)
    expect(status?.legs.filter((leg) => leg.health !== 'A')).to.deep.equal([{ device: '8:128', health: 'D' }])
    expect(status).to.include({ inSync: 64, regions: 64 })
  })

  it('is nothing for a target that is no segment\'s', () => {
    for (const line of ['', '0 8 error', '0 8 striped 2 8:0 8:16 1 AA', '0 8 raid raid1 2 AA 8/8 idle 0 0 -']) expect(readStatus(line), line).to.equal(undefined)
  })
})

describe('the table that a kernel gives back', () => {
  const line = '0 1048576 mirror core 2 8192 nosync 2 8:0 0 8:32 0 1 handle_errors'
  it('is the one that was given to it', () => {
    const table = readSegment(line)
    expect(table).to.deep.equal({ length: sectors(1048576n), legs: ['8:0', '8:32'], copy: 'none' })
    if (table) expect(formatSegment(table)).to.equal(line)
  })

  it('is not ours when the mirror would go on over a lost write, or has a log that is not for one copy alone', () => {
    expect(readSegment(line.replace(' 1 handle_errors', ' 0'))).to.equal(undefined)
    expect(readSegment(line.replace(' 1 handle_errors', ''))).to.equal(undefined)
    expect(readSegment(line.replace(' 1 handle_errors', ' 2 handle_errors keep_log'))).to.equal(undefined)
    expect(readSegment(line.replace('core 2 8192', 'disk 3 254:9 8192'))).to.equal(undefined)
  })

  it('is not ours when it says another number of legs than it has, or does not begin at the beginning', () => {
    expect(readSegment(line.replace('nosync 2 ', 'nosync 3 '))).to.equal(undefined)
    expect(readSegment(line.replace(/^0/, '8'))).to.equal(undefined)
    expect(readSegment(`${line}\n${line}`)).to.equal(undefined)
  })
})

describe('dmsetup\'s lists', () => {
  it('keep the lines of a device in their order, and skip what is no line of a device', () => {
    expect([...readNamed('No devices found\n')]).to.deep.equal([])
    expect([...readNamed('b: 0 8 linear 8:0 0\na: 0 8 error\nb: 8 8 linear 8:16 0\n')]).to.deep.equal([['b', ['0 8 linear 8:0 0', '8 8 linear 8:16 0']], ['a', ['0 8 error']]])
    expect([...readNamed('vsky-a: \nvsky-b: 0 8 error\n')], 'a device without a table has no lines').to.deep.equal([['vsky-b', ['0 8 error']]])
  })

  it('tell who is open and who is suspended', () => {
    expect(readInfo('No devices found\n')).to.deep.equal([])
    expect(readInfo('vsky-a|VSKY-x|0|Active|254|0\nvsky-b|VSKY-y|12|Suspended|254|1\n').map((each) => [each.name, each.opens, each.suspended])).to.deep.equal([['vsky-a', 0, false], ['vsky-b', 12, true]])
  })

  it('name a volume and its segments so that each is found again', () => {
    expect([nameOf('a', 'top'), nameOf('a', 'body'), nameOf('a', 's0'), nameOf('a', 's17-low')]).to.deep.equal(['vsky-a', 'vsky-a-body', 'vsky-a-s0', 'vsky-a-s17-low'])
  })
})
