import { expect } from 'chai'
import fc from 'fast-check'
import { nextThrottle } from '../../../../agent/head/throttle.js'

type Case = Parameters<typeof nextThrottle>[0]

describe('the share of time that copies get', () => {
  const table: readonly (readonly [claim: string, given: Case, percent: number])[] = [
    ['is all of it without a limit and without guests at work', { percent: 5, rate: 10, allowed: undefined, busy: false }, 100],
    ['falls at once when guests are at work', { percent: 100, rate: 10, allowed: undefined, busy: true }, 50],
    ['falls in the measure in which copies are too fast', { percent: 80, rate: 200, allowed: 100, busy: false }, 40],
    ['falls to no less than a tenth in one step: one measurement may be wrong', { percent: 100, rate: 1e9, allowed: 1, busy: false }, 10],
    ['is never nothing: a copy goes on', { percent: 1, rate: 1e9, allowed: 1, busy: false }, 1],
    ['rises by a third while copies are slower than allowed', { percent: 40, rate: 50, allowed: 100, busy: false }, 52],
    ['rises from the lowest setting too', { percent: 1, rate: 0, allowed: 100, busy: false }, 2],
    ['rises to no more than all of it', { percent: 90, rate: 0, allowed: 100, busy: false }, 100],
    ['rises to no more than what guests leave', { percent: 50, rate: 0, allowed: 100, busy: true }, 50],
    ['keeps to the limit below what guests leave', { percent: 4, rate: 200, allowed: 100, busy: true }, 2],
  ]
  for (const [claim, given, percent] of table) it(claim, () => { expect(nextThrottle(given)).to.equal(percent) })

  it('is a whole number from 1 to 100, whatever was measured', () => {
    const any = fc.record({ percent: fc.integer({ min: 1, max: 100 }), rate: fc.double({ min: 0, max: 1e12, noNaN: true }), allowed: fc.option(fc.integer({ min: 1, max: 2 ** 40 }), { nil: undefined }), busy: fc.boolean() })
    fc.assert(fc.property(any, (given) => {
      const next = nextThrottle(given)
      expect(Number.isInteger(next) && next >= 1 && next <= (given.busy ? 50 : 100)).to.equal(true)
    }))
  })

  it('brings a copy near its limit within twenty looks, from any setting, and keeps it there', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1000, max: 100_000 }), fc.integer({ min: 5, max: 90 }), (begin, full, share) => {
      const allowed = full * share / 100
      let percent = begin
      for (let look = 0; look < 40; look += 1) {
        percent = nextThrottle({ percent, rate: full * percent / 100, allowed, busy: false })
        if (look < 20) continue
        expect(full * percent / 100).to.be.within(allowed * 0.6, allowed * 1.5)
      }
    }))
  })
})
