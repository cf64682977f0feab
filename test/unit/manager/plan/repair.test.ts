import { expect } from 'chai'
import fc from 'fast-check'
import { legStates } from '../../../../lib/model.js'
import { RETRY_MS, planRepair, retryIn } from '../../../../manager/plan/repair.js'
import type { LegPlace, RepairLeg, RepairPlan } from '../../../../manager/plan/repair.js'

type More = Partial<Omit<RepairLeg, 'extent' | 'state' | 'place'>>

const GRACE = 300_000
/** Leg `a` has slot 0 and server st-a, `b` slot 1 and st-b, and so on. */
const leg = (extent: string, state: RepairLeg['state'], place: LegPlace = 'here', more: More = {}): RepairLeg => ({
  extent, host: `st-${extent}`, slot: extent.charCodeAt(0) - 97, state, made: true, place,
  awayMs: place === 'away' ? 1000 : 0, reachable: place === 'here' || place === 'leaving' || place === 'moving', retryInMs: 0, ...more,
})
const gone = (extent: string, state: RepairLeg['state'] = 'insync'): RepairLeg => leg(extent, state, 'away', { awayMs: GRACE })
const plan = (redundancy: number, ...legs: readonly RepairLeg[]): RepairPlan => planRepair({ redundancy, graceMs: GRACE, legs })
const gist = (redundancy: number, ...legs: readonly RepairLeg[]): Partial<Record<'copy' | 'spares' | 'retire' | 'release', unknown>> => {
  const { copy, spares, retire, release } = plan(redundancy, ...legs)
  return { ...(copy.length > 0 && { copy }), ...(spares > 0 && { spares }), ...(retire.length > 0 && { retire }), ...(release.length > 0 && { release }) }
}
const [a, b] = [leg('a', 'insync'), leg('b', 'insync')]

describe('the repair of a segment', () => {
  it('is nothing when enough good legs are here', () => {
    expect(plan(2, a, b)).to.deep.equal({ copy: [], spares: 0, occupied: [], retire: [], release: [], againInMs: undefined, why: '', whole: true, calm: false })
  })

  it('is not held up by a clock that was set back since a copy failed', () => {
    const failedAt = 1_000_000
    expect([0, 5000, RETRY_MS, RETRY_MS + 1, -3_600_000].map((later) => retryIn(failedAt + RETRY_MS, failedAt + later))).to.deep.equal([RETRY_MS, RETRY_MS - 5000, 0, 0, 0])
  })

  const table: readonly (readonly [claim: string, redundancy: number, legs: readonly RepairLeg[], expected: ReturnType<typeof gist>])[] = [
    ['copies to a leg that is behind', 2, [a, leg('b', 'stale')], { copy: ['b'] }],
    ['copies to a new leg once it is made', 2, [a, leg('b', 'allocated')], { copy: ['b'] }],
    ['waits for a new leg that is in the making, and asks for no other', 2, [a, leg('b', 'allocated', 'here', { made: false })], {}],
    ['prefers a leg that held the data before to a new one', 2, [a, leg('b', 'allocated'), leg('c', 'stale')], { copy: ['c'] }],
    ['copies to several legs at once, not to more than are missing', 3, [a, leg('b', 'stale'), leg('c', 'stale'), leg('d', 'stale')], { copy: ['b', 'c'] }],
    ['counts a copy that is under way', 2, [a, leg('b', 'syncing'), leg('c', 'stale')], {}],
    ['leaves a leg alone for a while after a failed copy', 2, [a, leg('b', 'stale', 'here', { retryInMs: 5000 })], {}],
    ['takes the next leg meanwhile', 2, [a, leg('b', 'stale', 'here', { retryInMs: 5000 }), leg('c', 'stale')], { copy: ['c'] }],
    ['waits for a silent server that may come back', 2, [a, leg('b', 'stale', 'away')], {}],
    ['makes a spare when the grace has passed', 2, [a, gone('b', 'stale')], { spares: 1 }],
    ['makes a spare at once for a lost disk', 2, [a, leg('b', 'stale', 'lost')], { spares: 1 }],
    ['makes a spare for a good leg that is to leave, which stays as long', 2, [a, leg('b', 'insync', 'leaving')], { spares: 1 }],
    ['copies from a leg that is to leave when it is the last one', 2, [leg('a', 'insync', 'leaving'), leg('b', 'allocated'), leg('c', 'allocated')], { copy: ['b', 'c'] }],
    ['never copies to a leg that is to leave', 2, [a, leg('b', 'stale', 'leaving'), leg('c', 'allocated', 'here', { made: false })], {}],
    ['never copies to a leg that is away', 2, [a, leg('b', 'stale', 'away'), leg('c', 'allocated', 'here', { made: false })], {}],
    ['makes as many spares as are missing', 3, [a, leg('b', 'stale', 'lost'), gone('c')], { spares: 2 }],
    ['makes one spare for one leg, however many others were lost before', 2, [a, leg('b', 'stale', 'lost'), leg('c', 'stale', 'lost'), leg('d', 'allocated')], { copy: ['d'] }],
    ['does nothing without a source: nothing can be copied', 2, [leg('a', 'insync', 'away', { reachable: false }), leg('b', 'stale')], {}],
    ['does nothing when no leg is in sync', 2, [leg('a', 'stale'), leg('b', 'stale', 'lost')], {}],
    ['takes a silent server\'s leg as source of none', 2, [gone('a'), leg('b', 'stale')], {}],
    ['releases a stale leg that is no longer needed', 2, [a, b, leg('c', 'stale')], { release: ['c'] }],
    ['releases a spare that is no longer needed', 2, [a, b, leg('c', 'allocated')], { release: ['c'] }],
    ['retires a good leg too many before it is released', 2, [a, b, leg('c', 'insync')], { retire: ['c'] }],
    ['ends a copy that is no longer needed', 2, [a, b, leg('c', 'syncing')], { retire: ['c'] }],
    ['retires the leg that was to leave, now that another one is good', 2, [a, leg('b', 'insync', 'leaving'), leg('c', 'insync')], { retire: ['b'] }],
    ['keeps the old leg of a silent server until enough good ones stand without it', 2, [a, gone('b'), leg('c', 'syncing')], {}],
    ['gives up the silent server\'s leg then', 2, [a, gone('b'), leg('c', 'insync')], { retire: ['b'] }],
    ['copies to the leg that replaces one that moves', 2, [a, leg('b', 'insync', 'moving'), leg('c', 'allocated')], { copy: ['c'] }],
    ['gives up the one that moves when the other is good', 2, [a, leg('b', 'insync', 'moving'), leg('c', 'insync')], { retire: ['b'] }],
    ['keeps the one that moves where the other could not be made', 2, [a, leg('b', 'insync', 'moving')], {}],
    ['lets nothing move any more when another leg is behind: what was to replace it is not needed', 2, [leg('a', 'stale'), leg('b', 'insync', 'moving'), leg('c', 'allocated')], { copy: ['a'] }],
    ['nor when another server is silent: what is being copied stays for it', 2, [leg('a', 'insync', 'away'), leg('b', 'insync', 'moving'), leg('c', 'syncing')], {}],
    ['ends the copy beside a leg of the same server that stays after all', 2, [leg('a', 'stale'), leg('b', 'insync', 'moving'), leg('c', 'syncing', 'here', { host: 'st-b' })], { copy: ['a'], retire: ['c'] }],
    ['of good legs too many gives up the second one of a server, not the newest', 2, [a, leg('b', 'insync', 'here', { host: 'st-a' }), leg('c', 'insync')], { retire: ['b'] }],
    ['two good legs of one server count as one, and the second one goes: when the server falls silent both are away', 2, [a, leg('b', 'insync', 'here', { host: 'st-a' })], { spares: 1, retire: ['b'] }],
    ['never begins two copies to one server', 3, [a, leg('b', 'stale', 'here', { host: 'st-c' }), leg('c', 'allocated', 'here', { host: 'st-c' }), leg('d', 'allocated')], { copy: ['b', 'd'] }],
    ['copies to no second leg of a server that has a good one', 3, [a, leg('b', 'insync', 'here', { host: 'st-c' }), leg('c', 'stale', 'here', { host: 'st-c' })], { spares: 1 }],
  ]
  for (const [claim, redundancy, legs, expected] of table) it(claim, () => { expect(gist(redundancy, ...legs)).to.deep.equal(expected) })

  it('places a spare on none of the servers that keep a leg, and may use the server of a lost disk', () => {
    expect(plan(3, a, leg('b', 'stale', 'away'), leg('c', 'stale', 'lost')).occupied).to.deep.equal(['st-a', 'st-b'])
  })

  it('is looked at again when the first grace or the first pause ends', () => {
    const later = (...legs: readonly RepairLeg[]): number | undefined => plan(3, a, ...legs).againInMs
    expect(later(leg('b', 'stale', 'away', { awayMs: GRACE - 400 }))).to.equal(400)
    expect(later(leg('b', 'stale', 'away'), leg('c', 'stale', 'here', { retryInMs: 70 }))).to.equal(70)
    expect(later(leg('b', 'stale', 'lost'))).to.equal(undefined)
  })

  it('says whom it waits for, and how long', () => {
    expect(plan(2, a, leg('b', 'stale', 'away', { awayMs: 100_001 })).why).to.equal('waits 200 s more for st-b to come back')
  })

  it('says which servers have the only good legs', () => {
    expect(plan(2, leg('a', 'insync', 'away', { reachable: false }), leg('b', 'stale')).why).to.equal('no in-sync leg can be reached: st-a is away')
    expect(plan(2, leg('a', 'stale'), leg('b', 'stale')).why).to.equal('no leg is in sync')
  })
})

describe('for any segment, the repair', () => {
  const anyLeg = fc.record({
    state: fc.constantFrom(...legStates), place: fc.constantFrom<LegPlace>('here', 'here', 'away', 'leaving', 'moving', 'lost'), made: fc.boolean(),
    awayMs: fc.constantFrom(1000, GRACE), reachable: fc.boolean(), retryInMs: fc.constantFrom(0, 500), host: fc.nat(4),
  })
  const anyCase = fc.record({ redundancy: fc.integer({ min: 1, max: 4 }), legs: fc.array(anyLeg, { maxLength: 8 }) }).map(({ redundancy, legs }) => ({
    redundancy, graceMs: GRACE, legs: legs.map(({ host, ...each }, slot): RepairLeg => ({ ...each, host: `st${host}`, extent: `e${slot}`, slot, made: each.made || each.state !== 'allocated' })),
  }))
  const each = (look: (legs: readonly RepairLeg[], redundancy: number, plan: RepairPlan) => void): void => {
    fc.assert(fc.property(anyCase, (given) => { look(given.legs, given.redundancy, planRepair(given)) }), { numRuns: 1000 })
  }
  const of = (legs: readonly RepairLeg[], extents: readonly string[]): readonly RepairLeg[] => legs.filter((one) => extents.includes(one.extent))

  it('gives up a leg only where enough good ones stay here, or a better placed one of its own server', () => {
    each((legs, redundancy, { retire, release }) => {
      const good = legs.filter((one) => !retire.includes(one.extent) && one.state === 'insync')
      const stay = good.filter((one) => one.place === 'here' || one.place === 'moving')
      const others = of(legs, retire).filter((one) => !good.some((other) => other.host === one.host))
      if (others.length + release.length > 0) expect(stay.length).to.be.at.least(redundancy)
    })
  })

  it('never lets two good legs of one server stand', () => {
    each((legs, _, { retire }) => {
      const good = legs.filter((one) => one.state === 'insync' && !retire.includes(one.extent))
      for (const one of good) expect(good.filter((other) => other.host === one.host)).to.deep.equal([one])
    })
  })

  it('never releases a leg that is in use, nor retires one that is not', () => {
    each((legs, _, { retire, release }) => {
      for (const { state } of of(legs, release)) expect(state).to.be.oneOf(['stale', 'allocated'])
      for (const { state } of of(legs, retire)) expect(state).to.be.oneOf(['insync', 'syncing'])
    })
  })

  it('copies only to legs that are here, made, behind and not resting, and only from a good leg that a head can read', () => {
    each((legs, _, { copy }) => {
      for (const one of of(legs, copy)) expect([one.place, one.made, one.retryInMs, one.state === 'stale' || one.state === 'allocated']).to.deep.equal([one.place === 'moving' ? 'moving' : 'here', true, 0, true])
      if (copy.length > 0) expect(legs.some((one) => one.state === 'insync' && one.reachable)).to.equal(true)
    })
  })

  it('never asks for more legs than the redundancy', () => {
    each((legs, redundancy, { copy, spares, retire }) => {
      const good = new Set(legs.filter((one) => one.state === 'insync' && one.place === 'here').map((one) => one.host)).size
      const busy = legs.filter((one) => one.state === 'syncing' && !retire.includes(one.extent)).length
      if (copy.length > 0) expect(good + busy + copy.length).to.be.at.most(redundancy)
      expect(spares).to.be.at.most(redundancy)
    })
  })
})
