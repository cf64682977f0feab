import { expect } from 'chai'
import { changesWanted, copyWanted, settledEra, sinceOfLost, sinceOfOthers, sinceOfSpare } from '../../../../manager/plan/changed.js'

describe('what a leg lacks', () => {
  it('that is lost now was written since the settled era: the latest that is known of', () => {
    expect(settledEra({ settled: 5 }, undefined)).to.equal(5)
    expect(settledEra({ settled: 5 }, { changes: { settled: 9, broken: false } })).to.equal(9)
    expect(settledEra({ settled: 5 }, { changes: { settled: 1, broken: false } })).to.equal(5)
  })

  it('is anything, when nothing reliable is remembered: whatever a head says of it', () => {
    expect(settledEra({ settled: 0 }, { changes: { settled: 9, broken: false } })).to.equal(0)
    expect(settledEra({ settled: 5 }, { changes: { settled: 9, broken: true } })).to.equal(0)
  })

  it('that was behind before is what it lacked then', () => {
    expect(sinceOfLost({ leg: 'insync', since: 0, doubt: false }, 7)).to.equal(7)
    expect([sinceOfLost({ leg: 'syncing', since: 3, doubt: false }, 7), sinceOfLost({ leg: 'syncing', since: 0, doubt: false }, 7)]).to.deep.equal([3, 0])
  })

  it('whose server was started anew is what was not settled when it was last heard: eras may have been settled between that and the word of it', () => {
    expect([sinceOfLost({ leg: 'insync', since: 0, doubt: true }, 7), sinceOfLost({ leg: 'insync', since: 5, doubt: true }, 7), sinceOfLost({ leg: 'insync', since: 5, doubt: true }, 0)]).to.deep.equal([0, 5, 0])
  })

  it('that is to become equal to another is what was written since, unless a good leg of the segment is in doubt', () => {
    const [good, doubted] = [{ segment: 1, leg: 'insync', doubt: false, since: 0 }, { segment: 1, leg: 'insync', doubt: true, since: 4 }] as const
    expect(sinceOfOthers([good, { ...doubted, segment: 0 }, { ...doubted, leg: 'syncing' }], 1, 7)).to.equal(7)
    expect([sinceOfOthers([good, doubted], 1, 7), sinceOfOthers([doubted, { ...doubted, since: 0 }], 1, 7)]).to.deep.equal([4, 0])
  })

  it('that is new is all that was ever written, if all of that is remembered', () => {
    expect([sinceOfSpare({ settled: 5, sinceBirth: true }), sinceOfSpare({ settled: 0, sinceBirth: true }), sinceOfSpare({ settled: 5, sinceBirth: false })]).to.deep.equal([1, 0, 0])
  })
})

describe('a copy', () => {
  const remembered = { settled: 5 }
  it('is of what changed since the earliest era that one of its targets lacks', () => {
    expect(copyWanted(remembered, [{ since: 7 }, { since: 3 }])).to.deep.equal({ copy: 'changed', since: 3 })
    expect(copyWanted(remembered, [])).to.deep.equal({ copy: 'none' })
  })

  it('is of everything when a target may lack anything, or when nothing is remembered', () => {
    expect(copyWanted(remembered, [{ since: 7 }, { since: 0 }])).to.deep.equal({ copy: 'all' })
    expect(copyWanted({ settled: 0 }, [{ since: 7 }])).to.deep.equal({ copy: 'all' })
  })
})

describe('an order', () => {
  it('has changes remembered where the attachment says so, and what is kept of them copied as long as it counts', () => {
    expect(changesWanted({ settled: 0, remembers: true }, true)).to.deep.equal({ settled: 0 })
    expect(changesWanted({ settled: 4, remembers: false }, true)).to.equal(undefined)
    expect(changesWanted({ settled: 4, remembers: false }, false)).to.deep.equal({ settled: 4 })
    expect(changesWanted({ settled: 0, remembers: true }, false)).to.equal(undefined)
  })
})
