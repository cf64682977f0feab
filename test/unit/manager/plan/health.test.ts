import { expect } from 'chai'
import { healthOf } from '../../../../manager/plan/health.js'
import type { LegFacts } from '../../../../manager/plan/segment.js'

const segment = (index: number, ...states: readonly LegFacts['state'][]): { readonly index: number; readonly legs: readonly LegFacts[] } => ({
  index, legs: states.map((state, slot) => ({ extent: `e${index}.${slot}`, host: `st${slot + 1}`, disk: `d${slot}`, slot, state })),
})
const all = (): boolean => true

describe('health', () => {
  it('counts a leg on a silent server as missing: degraded, though the database has all in sync', () => {
    expect(healthOf([segment(0, 'insync', 'insync')], 2, (leg) => leg.host === 'st1')).to.deep.equal({
      health: 'degraded', problem: '1 of 1 segments have fewer than 2 good legs',
    })
  })

  it('tells how many segments are thin, and that a copy is under way', () => {
    expect(healthOf([segment(0, 'insync', 'insync'), segment(1, 'insync', 'syncing'), segment(2, 'insync', 'stale')], 2, all)).to.deep.equal({
      health: 'degraded', problem: '2 of 3 segments have fewer than 2 good legs, a copy is under way',
    })
  })

  it('is that of the worst segment: one without a good leg makes the volume unavailable', () => {
    expect(healthOf([segment(0, 'insync', 'stale'), segment(1, 'stale', 'syncing')], 2, all)).to.deep.equal({ health: 'unavailable', problem: 'segment 1: no leg is in sync' })
  })

  it('names all servers whose return would help', () => {
    expect(healthOf([segment(4, 'insync', 'insync', 'stale')], 3, () => false).problem).to.equal('segment 4: its in-sync legs are on st1, st2, which can\'t be reached')
  })

  it('is full with one leg when one was asked for', () => {
    expect(healthOf([segment(0, 'insync')], 1, all)).to.deep.equal({ health: 'full', problem: '' })
  })
})
