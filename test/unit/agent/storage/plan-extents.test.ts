import { expect } from 'chai'
import fc from 'fast-check'
import type { PoolReport } from '../../../../agent/lvm/report.js'
import { LEAVING, planExtents, tagsOf } from '../../../../agent/storage/pools.js'
import { Fault } from '../../../../lib/faults.js'
import type { ExtentWanted } from '../../../../lib/wire/agent.js'

const PE = 4194304n
const idOf = (number: number): string => number.toString(16).padStart(32, '0')
const extent = (number: number, count: number, more: Partial<ExtentWanted> = {}): ExtentWanted => ({
  extent: idOf(number), disk: 'd', volume: 'a'.repeat(32), segment: number, generation: 1, bytes: BigInt(count) * PE, lun: number, initiators: [], ...more,
})
const pool = (mark: number, segments: PoolReport['segments'], volumes: PoolReport['volumes'] = []): PoolReport => ({ physicalExtents: 1000, cleanMark: mark, segments, volumes })
const made = (wanted: ExtentWanted, more: Partial<PoolReport['volumes'][number]> = {}): PoolReport['volumes'][number] => ({ name: wanted.extent, bytes: wanted.bytes, tags: tagsOf(wanted), active: true, ...more })

/** What a command gives to a new logical volume, physical extent by physical extent. */
function placesOf(command: string): readonly number[] {
  const ranges = / \/dev\/sdb((?::\d+-\d+)+)$/.exec(command)?.[1] ?? ''
  return ranges.split(':').slice(1).flatMap((range) => {
    const [start = 0, end = -1] = range.split('-').map(Number)
    return Array.from({ length: end - start + 1 }, (_, index) => start + index)
  })
}

describe('the tags of an extent', () => {
  it('tell what a rebuild of the database needs: whose it is, which segment, as of when', () => {
    expect(tagsOf({ volume: 'v', segment: 3, generation: 7 })).to.deep.equal(['vsky.extent', 'vsky.volume=v', 'vsky.segment=3', 'vsky.generation=7'])
    expect(tagsOf({ volume: 'v', segment: 3, generation: 7, note: '1:a=b' }).at(-1)).to.equal('vsky.note=1:a=b')
  })
})

describe('the commands that make extents', () => {
  it('refuse an extent that is being overwritten: its tags would call it good again', () => {
    const wanted = extent(1, 5)
    expect(() => planExtents('d', '/dev/sdb', pool(0, [], [made(wanted, { tags: [...tagsOf(wanted), LEAVING] })]), [wanted])).to.throw(Fault, 'is being overwritten')
  })

  it('put several pieces together in one command where no piece is large enough', () => {
    const { commands, missing } = planExtents('d', '/dev/sdb', pool(1000, [{ start: 0, size: 3, lv: '' }, { start: 3, size: 4, lv: 'x' }, { start: 7, size: 3, lv: '' }]), [extent(1, 5)])
    expect(missing).to.deep.equal([])
    expect(commands).to.have.length(1)
    expect(commands[0]).to.match(/^lvcreate .* -l 5 .* vsky_d \/dev\/sdb:0-2:7-8$/)
  })

  it('never have LVM look for or wipe anything in what is clean already', () => {
    const [command] = planExtents('d', '/dev/sdb', pool(1000, [{ start: 0, size: 100, lv: '' }]), [extent(1, 5)]).commands
    expect(command).to.match(/^lvcreate -y -Zn -Wn -ay -n /)
  })

  it('wake an extent that sleeps', () => {
    const wanted = extent(1, 5)
    expect(planExtents('d', '/dev/sdb', pool(0, [], [made(wanted, { active: false })]), [wanted]).commands).to.deep.equal([`lvchange -ay vsky_d/${wanted.extent}`])
  })

  it('take away every tag that an extent should not have', () => {
    const wanted = extent(1, 5)
    expect(planExtents('d', '/dev/sdb', pool(0, [], [made(wanted, { tags: ['old', ...tagsOf(wanted).slice(1)] })]), [wanted]).commands).to.deep.equal([`lvchange --deltag old --addtag vsky.extent vsky_d/${wanted.extent}`])
  })

  it('make the others when one does not fit, and name that one', () => {
    const { commands, missing } = planExtents('d', '/dev/sdb', pool(10, [{ start: 0, size: 1000, lv: '' }]), [extent(1, 4), extent(2, 11), extent(3, 6)])
    expect(commands.map(placesOf)).to.deep.equal([[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]])
    expect(missing.map((each) => each.segment)).to.deep.equal([2])
  })

  it('are none when an extent is there in another size: nothing is resized', () => {
    const wanted = extent(1, 5)
    expect(() => planExtents('d', '/dev/sdb', pool(0, [], [made(wanted, { bytes: PE })]), [wanted])).to.throw(Fault, `extent ${wanted.extent} has ${PE} bytes, not ${wanted.bytes}`).with.property('fault', 'wrong device')
  })

  it('use no physical extent twice, none that is taken, none that is not clean, for any pool', () => {
    const anyPool = fc.tuple(fc.array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.boolean()), { minLength: 1, maxLength: 8 }), fc.nat(150)).map(([parts, mark]) => {
      let start = 0
      return pool(mark, parts.map(([size, used], index) => { const at = start; start += size; return { start: at, size, lv: used ? `v${index}` : '' } }))
    })
    fc.assert(fc.property(anyPool, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }), (report, sizes) => {
      const wanted = sizes.map((size, index) => extent(index, size))
      const { commands, missing } = planExtents('d', '/dev/sdb', report, wanted)
      const places = commands.map(placesOf)
      const used = places.flat()
      expect(new Set(used).size).to.equal(used.length)
      for (const place of used) expect(place < report.cleanMark && report.segments.some((each) => each.lv === '' && each.start <= place && place < each.start + each.size), String(place)).to.equal(true)
      expect(places.map((each) => each.length)).to.deep.equal(wanted.filter((each) => !missing.includes(each)).map((each) => Number(each.bytes / PE)))
    }))
  })
})
