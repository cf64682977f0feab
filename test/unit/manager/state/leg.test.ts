import { expect } from 'chai'
import fc from 'fast-check'
import { legStates } from '../../../../lib/model.js'
import type { LegState } from '../../../../lib/model.js'
import { legAfter } from '../../../../manager/state/leg.js'
import type { LegEvent } from '../../../../manager/state/leg.js'

const events: readonly LegEvent[] = ['made', 'missed writes', 'copy begins', 'copy ended', 'head lost']

function tryMove(state: LegState, event: LegEvent): LegState | undefined {
  try {
    return legAfter(state, event)
  } catch {
    return undefined
  }
}

describe('the law of a leg', () => {
  it('has these moves and no others', () => {
    const moves = legStates.flatMap((state) => events.flatMap((event) => {
      const next = tryMove(state, event)
      return next === undefined ? [] : [`${state}, ${event}: ${next}`]
    }))
    expect(moves).to.have.members([
      'allocated, made: insync', 'allocated, copy begins: syncing',
      'insync, missed writes: stale', 'insync, head lost: syncing',
      'stale, copy begins: syncing', 'stale, missed writes: stale',
      'syncing, copy ended: insync', 'syncing, missed writes: stale', 'syncing, head lost: syncing',
    ])
  })

  it('says which move was illegal', () => {
    expect(() => legAfter('insync', 'copy begins')).to.throw('a leg that is insync cannot have "copy begins"')
  })

  it('lets nothing that missed a write be in sync again before a copy has begun and ended', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom(...events), { maxLength: 30 }), (history) => {
      let state: LegState = 'stale'
      let copied = false
      for (const event of history) {
        const next = tryMove(state, event)
        if (next === undefined) continue
        copied = event === 'copy begins' || (copied && event !== 'missed writes')
        state = next
        if (state === 'insync') expect(copied).to.equal(true)
      }
    }))
  })
})
