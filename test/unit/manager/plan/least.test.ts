import { expect } from 'chai'
import fc from 'fast-check'
import { Least } from '../../../../manager/plan/least.js'

describe('the least of a row', () => {
  const anyKey = fc.oneof(fc.integer({ min: -4, max: 4 }), fc.constant(Infinity))
  it('is the one that a look at all of them finds, in every part, after every change', () => {
    fc.assert(fc.property(fc.array(anyKey, { minLength: 1, maxLength: 20 }), fc.array(fc.tuple(fc.nat(19), anyKey), { maxLength: 10 }), (row, changes) => {
      const least = new Least(Float64Array.from(row))
      const check = (): void => {
        for (let from = 0; from <= row.length; from += 1) {
          for (let to = from; to <= row.length; to += 1) {
            const part = row.slice(from, to)
            const value = Math.min(Infinity, ...part)
            expect(least.least(from, to)).to.equal(value === Infinity ? -1 : from + part.indexOf(value))
          }
        }
      }
      check()
      for (const [place, key] of changes.filter(([at]) => at < row.length)) {
        row[place] = key
        least.set(place, key)
        check()
      }
    }), { numRuns: 100 })
  })

  it('is nothing where nothing is', () => {
    expect(new Least(new Float64Array(0)).least()).to.equal(-1)
    expect(new Least(Float64Array.from([Infinity])).least()).to.equal(-1)
  })
})
