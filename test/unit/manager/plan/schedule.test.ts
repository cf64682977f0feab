import { expect } from 'chai'
import fc from 'fast-check'
import { scheduleCopies } from '../../../../manager/plan/schedule.js'
import type { CopyWish } from '../../../../manager/plan/schedule.js'
import type { CopyLimits } from '../../../../manager/state/settings.js'

const wide: CopyLimits = { perSourceDisk: 9, perServer: 9, perHead: 9, perCluster: 9 }
/** `s1/0` is a disk of server s1. */
const place = (disk: string): CopyWish['source'] => ({ disk, host: disk.split('/')[0] ?? '' })
const wish = (key: string, from: string, to: string, more: Partial<CopyWish> = {}): CopyWish => ({
  key, running: false, good: 1, since: 0, source: place(from), targets: to.split(' ').map(place), head: 'h1', paused: false, calm: false, ...more,
})
const start = (limits: Partial<CopyLimits>, ...wishes: readonly CopyWish[]): readonly string[] => scheduleCopies(wishes, { ...wide, ...limits }).start

describe('the order of copies', () => {
  const table: readonly (readonly [claim: string, limits: Partial<CopyLimits>, wishes: readonly CopyWish[], expected: readonly string[]])[] = [
    ['all that have room begin at once', {}, [wish('x', 's1/0', 's2/0'), wish('y', 's1/0', 's3/0')], ['x', 'y']],
    ['never two copies write to one disk', {}, [wish('x', 's1/0', 's2/0'), wish('y', 's3/0', 's2/0')], ['x']],
    ['one disk may be read and written at once', {}, [wish('x', 's1/0', 's2/0'), wish('y', 's2/0', 's3/0')], ['x', 'y']],
    ['two disks of one server may be written at once', {}, [wish('x', 's1/0', 's2/0'), wish('y', 's1/0', 's2/1')], ['x', 'y']],
    ['a copy to several legs needs all their disks', {}, [wish('x', 's1/0', 's2/0'), wish('y', 's1/0', 's3/0 s2/0'), wish('z', 's1/0', 's3/0')], ['x', 'z']],
    ['a disk is read by so many at once', { perSourceDisk: 1 }, [wish('x', 's1/0', 's2/0'), wish('y', 's1/0', 's3/0'), wish('z', 's1/1', 's4/0')], ['x', 'z']],
    ['a server takes part in so many, reading or writing', { perServer: 1 }, [wish('x', 's1/0', 's2/0'), wish('y', 's2/1', 's3/0'), wish('z', 's3/0', 's4/0')], ['x', 'z']],
    ['a server that reads and writes in one copy counts once', { perServer: 1 }, [wish('x', 's1/0', 's1/1')], ['x']],
    ['a head does so many', { perHead: 1 }, [wish('x', 's1/0', 's2/0'), wish('y', 's3/0', 's4/0'), wish('z', 's5/0', 's6/0', { head: 'h2' })], ['x', 'z']],
    ['the cluster does so many', { perCluster: 1 }, [wish('x', 's1/0', 's2/0'), wish('y', 's3/0', 's4/0', { head: 'h2' })], ['x']],
    ['what runs counts', { perCluster: 1 }, [wish('x', 's1/0', 's2/0'), wish('y', 's3/0', 's4/0', { running: true })], []],
    ['what runs keeps its place, though the limit was lowered', { perCluster: 1 }, [wish('x', 's1/0', 's2/0', { running: true }), wish('y', 's3/0', 's4/0', { running: true })], []],
    ['the one with the fewest good legs is first', { perCluster: 1 }, [wish('x', 's1/0', 's2/0', { good: 2 }), wish('y', 's3/0', 's4/0', { good: 1, since: 99 })], ['y']],
    ['then the one that waits longest', { perCluster: 1 }, [wish('x', 's1/0', 's2/0', { since: 5 }), wish('y', 's3/0', 's4/0', { since: 4 })], ['y']],
    ['then the order of their names, whatever order they are told in', { perCluster: 1 }, [wish('y', 's1/0', 's2/0'), wish('x', 's3/0', 's4/0')], ['x']],
    ['one that must wait does not hold up those behind it', {}, [wish('x', 's1/0', 's2/0', { running: true }), wish('y', 's1/0', 's2/0', { since: 1 }), wish('z', 's1/0', 's3/0', { since: 2 })], ['z']],
    ['a paused one waits, and takes nobody\'s place', { perCluster: 1 }, [wish('x', 's1/0', 's2/0', { paused: true }), wish('y', 's3/0', 's4/0')], ['y']],
    ['one that only evens disks out waits for all that are needed, even where there is room', {}, [wish('x', 's1/0', 's2/0', { calm: true }), wish('y', 's3/0', 's4/0', { good: 2, since: 9 })], ['y']],
    ['and for one that is needed and runs', {}, [wish('x', 's1/0', 's2/0', { calm: true }), wish('y', 's3/0', 's4/0', { running: true })], []],
    ['it does not wait for one that is paused or has no head', {}, [wish('x', 's1/0', 's2/0', { calm: true }), wish('y', 's3/0', 's4/0', { paused: true }), wish('z', 's5/0', 's6/0', { head: '' })], ['x']],
    ['without a head there is no copy', {}, [wish('x', 's1/0', 's2/0', { head: '' })], []],
  ]
  for (const [claim, limits, wishes, expected] of table) it(claim, () => { expect(start(limits, ...wishes)).to.deep.equal(expected) })

  it('one that only evens disks out gives way when a needed one finds no room, and not else', () => {
    const even = wish('x', 's1/0', 's2/0', { running: true, calm: true })
    const giveWay = (...wishes: readonly CopyWish[]): readonly string[] => scheduleCopies([even, ...wishes], wide).giveWay
    expect(giveWay(wish('y', 's3/0', 's2/0'))).to.deep.equal(['x'])
    expect(giveWay(wish('y', 's3/0', 's4/0'))).to.deep.equal([])
    expect(giveWay(wish('y', 's3/0', 's2/0', { paused: true }))).to.deep.equal([])
    expect(giveWay(wish('y', 's3/0', 's2/0', { calm: true }))).to.deep.equal([])
  })

  it('who waits is told why', () => {
    const why = (limits: Partial<CopyLimits>, ...wishes: readonly CopyWish[]): string => scheduleCopies(wishes, { ...wide, ...limits }).hold.map((each) => `${each.key}: ${each.why}`).join()
    const x = wish('x', 's1/0', 's2/0')
    expect(why({}, x, wish('y', 's3/0', 's2/0'))).to.equal('y: another copy writes to the same disk of s2')
    expect(why({ perSourceDisk: 1 }, x, wish('y', 's1/0', 's3/0'))).to.equal('y: 1 copies read from the same disk of s1')
    expect(why({ perServer: 1 }, x, wish('y', 's3/0', 's2/1'))).to.equal('y: 1 copies run on s2')
    expect(why({ perHead: 1 }, x, wish('y', 's3/0', 's4/0'))).to.equal('y: 1 copies run on head h1')
    expect(why({ perCluster: 1 }, x, wish('y', 's3/0', 's4/0', { head: 'h2' }))).to.equal('y: 1 copies run in the cluster')
    expect(why({}, wish('y', 's1/0', 's2/0', { paused: true }))).to.equal('y: paused')
    expect(why({}, x, wish('y', 's3/0', 's4/0', { calm: true }))).to.equal('y: repairs and evacuations come first')
    expect(why({}, wish('y', 's1/0', 's2/0', { head: '' }))).to.equal('y: no head can copy it now: none is online, or its own is being told a new layout')
  })
})

describe('for any wishes', () => {
  const anyDisk = fc.tuple(fc.nat(3), fc.nat(1)).map(([host, disk]) => `s${host}/${disk}`)
  const anyWish = fc.record({ running: fc.boolean(), good: fc.integer({ min: 1, max: 3 }), since: fc.nat(3), from: anyDisk, to: fc.uniqueArray(anyDisk, { minLength: 1, maxLength: 2 }), head: fc.constantFrom('', 'h1', 'h2'), paused: fc.boolean(), calm: fc.boolean() })
  const anyWishes = fc.array(anyWish, { maxLength: 10 }).map((all) => all.map(({ from, to, ...more }, at) => wish(`k${at}`, from, to.join(' '), more)))
  const one = fc.integer({ min: 1, max: 3 })
  const anyLimits = fc.record({ perSourceDisk: one, perServer: one, perHead: one, perCluster: one })
  const count = (all: readonly string[]): number => Math.max(0, ...all.map((each) => all.filter((other) => other === each).length))

  it('with nothing running, what begins keeps every limit', () => {
    fc.assert(fc.property(anyWishes, anyLimits, (all, limits) => {
      const wishes = all.map((each) => ({ ...each, running: false }))
      const chosen = scheduleCopies(wishes, limits).start.flatMap((key) => wishes.filter((each) => each.key === key))
      expect(chosen.length).to.be.at.most(limits.perCluster)
      expect(count(chosen.flatMap((each) => each.targets.map((target) => target.disk)))).to.be.at.most(1)
      expect(count(chosen.map((each) => each.source.disk))).to.be.at.most(limits.perSourceDisk)
      expect(count(chosen.map((each) => each.head))).to.be.at.most(limits.perHead)
      expect(count(chosen.flatMap((each) => [...new Set([each.source, ...each.targets].map((end) => end.host))]))).to.be.at.most(limits.perServer)
    }), { numRuns: 500 })
  })

  it('each that does not run either begins or is told why it waits', () => {
    fc.assert(fc.property(anyWishes, anyLimits, (wishes, limits) => {
      const { start: begun, hold } = scheduleCopies(wishes, limits)
      expect([...begun, ...hold.map((each) => each.key)]).to.have.members(wishes.filter((each) => !each.running).map((each) => each.key))
      for (const { why } of hold) expect(why).to.not.equal('')
    }))
  })

  it('asked again with what was begun as running, nothing more begins: no room is left unused', () => {
    fc.assert(fc.property(anyWishes, anyLimits, (wishes, limits) => {
      const first = new Set(scheduleCopies(wishes, limits).start)
      expect(start(limits, ...wishes.map((each) => ({ ...each, running: each.running || first.has(each.key) })))).to.deep.equal([])
    }))
  })

  it('something begins whenever nothing runs and one is ready', () => {
    fc.assert(fc.property(anyWishes, anyLimits, (all, limits) => {
      const wishes = all.map((each) => ({ ...each, running: false }))
      expect(scheduleCopies(wishes, limits).start.length > 0).to.equal(wishes.some((each) => !each.paused && each.head !== ''))
    }))
  })
})
