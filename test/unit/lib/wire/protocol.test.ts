import { expect } from 'chai'
import fc from 'fast-check'
import { Fault } from '../../../../lib/faults.js'
import { commonProtocol, ourProtocols } from '../../../../lib/wire/protocol.js'

const range = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 3 })).map(([oldest, more]) => ({ oldest, newest: oldest + more }))

describe('two programs of different releases', () => {
  it('speak the newest protocol that both know, whoever asks, and none when there is none', () => {
    fc.assert(fc.property(range, range, (one, other) => {
      const all = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((each) => each >= one.oldest && each >= other.oldest && each <= one.newest && each <= other.newest)
      const found = [commonOrNone(one, other), commonOrNone(other, one)]
      expect(found).to.deep.equal([all.at(-1), all.at(-1)])
    }))
  })

  it('understand each other when they are neighbours, for each knows its own and the one before', () => {
    for (const release of [2, 3, 7]) expect(commonProtocol('x', { oldest: release - 1, newest: release }, { oldest: release, newest: release + 1 })).to.equal(release)
  })

  it('count one that says nothing of it as the first', () => {
    expect(commonProtocol('x', undefined)).to.equal(1)
    expect(ourProtocols.oldest).to.equal(1)
  })

  it('say what each speaks, and what to do', () => {
    expect(() => commonProtocol('the agent of st1 (release 3.0)', { oldest: 3, newest: 4 })).to.throw(Fault, 'the agent of st1 (release 3.0) speaks protocol 3 to 4, this side 1').with.property('fault', 'other release')
  })
})

function commonOrNone(one: { oldest: number; newest: number }, other: { oldest: number; newest: number }): number | undefined {
  try {
    return commonProtocol('x', one, other)
  } catch (thrown) {
    expect(thrown).to.have.property('fault', 'other release')
    return undefined
  }
}
