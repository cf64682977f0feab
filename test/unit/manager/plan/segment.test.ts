import { expect } from 'chai'
import fc from 'fast-check'
import { chooseSource, decideLoss, decideShutOut, decideSilent, tableOrder } from '../../../../manager/plan/segment.js'
import type { LegFacts } from '../../../../manager/plan/segment.js'
import { legStates } from '../../../../lib/model.js'

const leg = (host: string, state: LegFacts['state'], slot = Number(host.slice(2)) - 1): LegFacts => ({ extent: `extent of ${host}`, host, disk: `disk of ${host}`, slot, state })
const anyLegs = fc.array(fc.constantFrom(...legStates), { minLength: 1, maxLength: 9 }).map((states) => states.map((state, index) => leg(`st${index + 1}`, state)))

describe('a lost leg', () => {
  it('is dropped when another leg is in sync', () => {
    const decision = decideLoss([leg('st1', 'insync'), leg('st2', 'insync')], (each) => (each.host === 'st1' ? 'a write failed' : undefined))
    expect(decision).to.deep.equal({ kind: 'drop', extents: ['extent of st1'], remaining: 1 })
  })

  it('is kept when it is the last one in sync: the segment waits, and says for whom', () => {
    const decision = decideLoss([leg('st1', 'insync'), leg('st2', 'stale')], () => 'offline')
    expect(decision).to.deep.equal({ kind: 'unavailable', reason: 'st1: offline' })
  })

  it('is not replaced as the last good one by a leg that is still being copied to', () => {
    expect(decideLoss([leg('st1', 'insync'), leg('st2', 'syncing')], (each) => (each.host === 'st1' ? 'offline' : undefined)).kind).to.equal('unavailable')
  })

  it('does not matter when it was stale already', () => {
    expect(decideLoss([leg('st1', 'insync'), leg('st2', 'stale')], (each) => (each.host === 'st2' ? 'offline' : undefined)).kind).to.equal('nothing lost')
  })

  it('never leaves a segment without an in-sync leg, whatever is lost', () => {
    fc.assert(fc.property(anyLegs, fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }), (legs, lost) => {
      const decision = decideLoss(legs, (each) => (lost[each.slot] === true ? 'lost' : undefined))
      if (decision.kind !== 'drop') return
      const left = legs.filter((each) => each.state === 'insync' && !decision.extents.includes(each.extent))
      expect(left.length).to.equal(decision.remaining).and.to.be.greaterThan(0)
    }))
  })
})

describe('when a head is shut out', () => {
  const both = [leg('st1', 'insync'), leg('st2', 'insync')]
  const of = (...hosts: readonly string[]) => (each: LegFacts): boolean => hosts.includes(each.host)
  const refused = (...hosts: readonly string[]) => (each: LegFacts): string | undefined => (hosts.includes(each.host) ? 'offline' : undefined)
  it('legs leave whose servers do not confirm it', () => {
    expect(decideShutOut(both, refused('st2'), of())).to.deep.equal({ kind: 'drop', extents: ['extent of st2'], remaining: 1 })
    expect(decideShutOut(both, refused(), of('st1')).kind).to.equal('nothing lost')
  })

  it('one in doubt takes nobody\'s place who is not: another is waited for that may have what it lost', () => {
    expect(decideShutOut(both, refused('st2'), of('st1'))).to.deep.equal({ kind: 'unavailable', reason: 'st1: it was started anew, and its disks may have lost what others have; st2: offline' })
    expect(decideShutOut([...both, leg('st3', 'insync')], refused('st2'), of('st1'))).to.deep.equal({ kind: 'drop', extents: ['extent of st2'], remaining: 2 })
  })

  it('where all are in doubt those stay that confirm it', () => {
    expect(decideShutOut(both, refused('st2'), of('st1', 'st2'))).to.deep.equal({ kind: 'drop', extents: ['extent of st2'], remaining: 1 })
  })
})

describe('a leg whose disk does not answer its server', () => {
  const silent = (host: string) => (each: LegFacts): boolean => each.host === host
  it('leaves at once when a good one can be reached, also one that is being copied to', () => {
    expect(decideSilent([leg('st1', 'insync'), leg('st2', 'insync')], silent('st1'), () => true)).to.deep.equal({ kind: 'drop', extents: ['extent of st1'], remaining: 1 })
    expect(decideSilent([leg('st1', 'insync'), leg('st2', 'syncing')], silent('st2'), () => true)).to.deep.equal({ kind: 'drop', extents: ['extent of st2'], remaining: 1 })
  })

  it('stays when no other good one can be reached: it may answer again before that one', () => {
    expect(decideSilent([leg('st1', 'insync'), leg('st2', 'insync')], silent('st1'), (each) => each.host !== 'st2').kind).to.equal('nothing lost')
    expect(decideSilent([leg('st1', 'insync'), leg('st2', 'syncing')], silent('st1'), () => true).kind).to.equal('nothing lost')
    expect(decideSilent([leg('st1', 'insync'), leg('st2', 'insync')], () => true, () => true).kind).to.equal('nothing lost')
  })
})

describe('after a head went down without detaching', () => {
  it('one in-sync leg is the source and the others are copied to', () => {
    expect(chooseSource([leg('st1', 'insync'), leg('st2', 'insync'), leg('st3', 'stale')], () => true, () => false)).to.deep.equal({ source: 'extent of st1', others: ['extent of st2'] })
  })

  it('the source is on a server that answers', () => {
    expect(chooseSource([leg('st1', 'insync'), leg('st2', 'insync')], (each) => each.host === 'st2', () => false)?.source).to.equal('extent of st2')
  })

  it('the source is not in doubt where another is not, though that can\'t be reached; where all are, it is on a server that answers', () => {
    const both = [leg('st1', 'insync'), leg('st2', 'insync')]
    expect(chooseSource(both, () => true, (each) => each.host === 'st1')).to.deep.equal({ source: 'extent of st2', others: ['extent of st1'] })
    expect(chooseSource(both, (each) => each.host === 'st1', (each) => each.host === 'st1')?.source).to.equal('extent of st2')
    expect(chooseSource(both, (each) => each.host === 'st2', () => true)?.source).to.equal('extent of st2')
  })

  it('a single in-sync leg has nothing to be equalised with', () => {
    expect(chooseSource([leg('st1', 'insync'), leg('st2', 'syncing')], () => true, () => false)).to.equal(undefined)
  })
})

describe('the order of a table', () => {
  it('begins with an in-sync leg whenever there is one', () => {
    fc.assert(fc.property(anyLegs, fc.nat(20), (legs, segment) => {
      const [first] = tableOrder(legs, { head: 'st2', segment })
      if (legs.some((each) => each.state === 'insync')) expect(first?.state).to.equal('insync')
    }))
  })

  it('has no stale leg', () => {
    fc.assert(fc.property(anyLegs, (legs) => {
      expect(tableOrder(legs, { head: 'x', segment: 0 }).some((each) => each.state === 'stale' || each.state === 'allocated')).to.equal(false)
    }))
  })

  it('prefers the head\'s own leg for reading', () => {
    expect(tableOrder([leg('st1', 'insync'), leg('st2', 'insync')], { head: 'st2', segment: 0 })[0]?.host).to.equal('st2')
  })

  it('spreads the reads of a volume over its servers', () => {
    const first = [0, 1, 2].map((segment) => tableOrder([leg('st1', 'insync'), leg('st2', 'insync'), leg('st3', 'insync')], { head: 'hd1', segment })[0]?.host)
    expect(new Set(first).size).to.equal(3)
  })
})
