import { expect } from 'chai'
import fc from 'fast-check'
import { assertLeaseTimes, decide, DRIFT, leaseTimes, look, standing, untilRenewal, untilStanding } from '../../../../manager/lease/timeline.js'
import type { Candidate, LeaseRecord } from '../../../../manager/lease/timeline.js'

const record: LeaseRecord = { epoch: 7, holder: 'mgr1', incarnation: 'one', beat: 3, ttlMs: 6000, released: false, next: '', place: '', address: '' }
const me: Candidate = { name: 'mgr2', place: '', gaveUp: 0 }
const times = leaseTimes(6000)
/** What a candidate does that has seen this record not move for so long. */
const after = (seen: LeaseRecord | undefined, unchangedMs: number, who: Partial<Candidate> = {}): string => decide(times, { record: seen, sinceMs: 1000 }, { ...me, ...who }, 1000 + unchangedMs).kind

describe('the times of a lease', () => {
  it('are those of its story, with 6 s', () => {
    const { renewMs, callMs, softMs, freezeMs, hardMs, waitMs, pollMs, ioMs } = times
    expect({ renewMs, callMs, softMs, freezeMs, hardMs, waitMs, pollMs, ioMs }).to.deep.equal({ renewMs: 2000, callMs: 800, softMs: 3600, freezeMs: 4500, hardMs: 4800, waitMs: 6300, pollMs: 250, ioMs: 500 })
  })

  it('hold together for every ttl from 3 to 120 s, and no other is taken', () => {
    fc.assert(fc.property(fc.double({ min: 3000, max: 120_000, noNaN: true }), (ttl) => {
      const all = leaseTimes(ttl)
      // The old holder is silent, by the slowest of clocks, before the next begins, by the fastest.
      expect((all.hardMs + all.tickMs) / (1 - DRIFT)).to.be.lessThan(all.waitMs / (1 + DRIFT))
    }))
    for (const ttl of [0, 2999, 120_001, Number.NaN, -6000]) expect(() => leaseTimes(ttl), String(ttl)).to.throw(RangeError, 'from 3 to 120 s')
  })

  it('are refused where two could be at work at once, one lost renewal would stop a manager, or a device\'s lease would be old when it is taken', () => {
    expect(() => { assertLeaseTimes({ ...times, waitMs: times.hardMs }) }).to.throw('two managers')
    expect(() => { assertLeaseTimes({ ...times, callMs: 1000 }) }).to.throw('one lost renewal')
    expect(() => { assertLeaseTimes({ ...times, freezeMs: times.hardMs }) }).to.throw('freeze')
    expect(() => { assertLeaseTimes({ ...times, ioMs: times.softMs }) }).to.throw('old when it is taken')
  })
})

describe('a holder', () => {
  it('begins nothing new at the soft stop, and has no effect from the moment that it freezes', () => {
    expect([0, 3599, 3600, 4499, 4500, 99_999].map((age) => standing(times, 1000, 1000 + age))).to.deep.equal(['active', 'active', 'soft-stopped', 'soft-stopped', 'frozen', 'frozen'])
    expect([1000, 4600, 5500].map((now) => untilStanding(times, 1000, now))).to.deep.equal([3600, 900, Number.POSITIVE_INFINITY])
  })

  it('renews every third of the ttl, and after a renewal without an answer as soon as that had its time', () => {
    expect(untilRenewal(times, { renewedMs: 1000, sentMs: 1000, nowMs: 1500 })).to.equal(1500)
    expect(untilRenewal(times, { renewedMs: 1000, sentMs: 3000, nowMs: 3000 })).to.equal(800)
    expect(untilRenewal(times, { renewedMs: 1000, sentMs: 3000, nowMs: 9000 })).to.equal(0)
  })
})

describe('a candidate', () => {
  it('takes what nobody ever held', () => { expect(after(undefined, 0)).to.equal('take') })

  it('waits until nothing has moved for the ttl and a margin, by its own clock', () => {
    expect([0, 6000, 6299, 6300].map((ms) => after(record, ms))).to.deep.equal(['wait', 'wait', 'wait', 'take'])
  })

  it('waits by the holder\'s ttl, not by its own', () => {
    expect([6300, 31_499, 31_500].map((ms) => after({ ...record, ttlMs: 30_000 }, ms))).to.deep.equal(['wait', 'wait', 'take'])
  })

  it('begins its wait anew with every beat, epoch or incarnation that it sees', () => {
    const first = look(times, undefined, record, 1000)
    expect(look(times, first, { ...record }, 3000).sinceMs).to.equal(1000)
    for (const moved of [{ beat: 4 }, { epoch: 8 }, { incarnation: 'two' }, { released: true }]) expect(look(times, first, { ...record, ...moved }, 3000).sinceMs).to.equal(3000)
  })

  it('does not count for the holder\'s silence what it could not see: after 2.8 s without a look its wait begins anew', () => {
    const second = look(times, look(times, undefined, record, 1000), { ...record }, 3799)
    expect(second.sinceMs).to.equal(1000)
    expect(look(times, second, { ...record }, 6598).sinceMs).to.equal(1000)
    expect(look(times, second, { ...record }, 6599).sinceMs).to.equal(6599)
  })

  it('takes at once what was released, unless it is meant for another or was its own: then after 2 s', () => {
    const released = { ...record, released: true }
    expect(after(released, 0)).to.equal('take')
    expect(after({ ...released, next: 'mgr2' }, 0)).to.equal('take')
    expect([0, 1999, 2000].map((ms) => after({ ...released, next: 'mgr3' }, ms))).to.deep.equal(['wait', 'wait', 'take'])
    expect([0, 2000].map((ms) => after(released, ms, { name: 'mgr1', gaveUp: 7 }))).to.deep.equal(['wait', 'take'])
    expect(after(released, 0, { name: 'mgr1' })).to.equal('take') // started anew
  })

  it('takes at once what was held by a process whose lock it has now: that one is dead', () => {
    expect(after({ ...record, place: 'here' }, 0, { place: 'here' })).to.equal('take')
    expect(after({ ...record, place: 'here' }, 0, { place: 'there' })).to.equal('wait')
    expect(after(record, 0, { place: '' })).to.equal('wait') // two that hold no lock have none in common
  })
})
