import { expect } from 'chai'
import { planMove } from '../../../../manager/plan/move.js'
import type { MovingLeg } from '../../../../manager/plan/move.js'
import type { PlaceDisk } from '../../../../manager/plan/place-legs.js'

const MIB = 1024n * 1024n
const disk = (id: string, freeMib: bigint, more: Partial<PlaceDisk> = {}): PlaceDisk => ({
  id, host: id.split('/')[0] ?? '', zone: '', state: 'ready', online: true, duty: 'use', bytes: 1000n * MIB, freeBytes: freeMib * MIB, label: id, ...more,
})
const leg = (volume: string, mib: bigint, others: string, more: Partial<MovingLeg> = {}): MovingLeg => ({
  volume, segment: 0, bytes: mib * MIB, others: others.split(' '), goodElsewhere: 1, redundant: true, ...more,
})
const fast = 10_000n * MIB

describe('what an evacuation would do', () => {
  it('is nothing where nothing is', () => {
    expect(planMove([], [disk('s1/0', 100n)], fast)).to.deep.equal({ legs: 0, bytes: 0n, volumes: [], atRisk: [], targets: [], problems: [], seconds: 0 })
  })

  it('counts legs and bytes, and names each volume once, in order', () => {
    const { legs, bytes, volumes } = planMove([leg('w', 8n, 's1'), leg('v', 4n, 's1'), leg('w', 4n, 's1', { segment: 1 })], [disk('s2/0', 100n)], fast)
    expect([legs, bytes, volumes]).to.deep.equal([3, 16n * MIB, ['v', 'w']])
  })

  it('moves no leg to a server that has another leg of its segment', () => {
    const { targets, problems } = planMove([leg('v', 4n, 's1')], [disk('s1/0', 900n), disk('s2/0', 100n)], fast)
    expect(targets).to.deep.equal([{ host: 's2', legs: 1, bytes: 4n * MIB }])
    expect(problems).to.deep.equal([])
  })

  it('uses room once: what one leg takes the next does not find', () => {
    const { targets, problems } = planMove([leg('v', 60n, 's1'), leg('w', 60n, 's1', { segment: 3 })], [disk('s2/0', 100n)], fast)
    expect(targets).to.deep.equal([{ host: 's2', legs: 1, bytes: 60n * MIB }])
    expect(problems).to.have.length(1)
    expect(problems[0]).to.match(/^segment 3 of w: needed: 62914560 bytes/)
  })

  it('goes on after a leg that finds no place', () => {
    const { targets, problems } = planMove([leg('v', 500n, 's1'), leg('w', 4n, 's1')], [disk('s2/0', 100n)], fast)
    expect([targets.map((each) => each.legs), problems.length]).to.deep.equal([[1], 1])
  })

  it('spreads legs over servers, and adds up what each gets', () => {
    const { targets } = planMove([leg('v', 100n, 's9'), leg('w', 100n, 's9'), leg('x', 100n, 's9'), leg('y', 100n, 's9')], [disk('s2/0', 500n), disk('s1/0', 500n)], fast)
    expect(targets).to.deep.equal([{ host: 's1', legs: 2, bytes: 200n * MIB }, { host: 's2', legs: 2, bytes: 200n * MIB }])
  })

  it('tells every leg that finds no place, and of the first twenty disk by disk why', () => {
    const { problems } = planMove(Array.from({ length: 25 }, (_, segment) => leg('v', 500n, 's1', { segment })), [disk('s2/0', 100n)], fast)
    expect(problems.map((each) => each.includes('needed: 524288000 bytes'))).to.deep.equal([...Array.from({ length: 20 }, () => true), ...Array.from({ length: 5 }, () => false)])
    expect(problems[24]).to.equal('segment 24 of v: no disk can take it, as of those before')
  })

  it('says of each disk why it takes none', () => {
    const { problems } = planMove([leg('v', 4n, 's1')], [disk('s1/0', 100n), disk('s2/0', 100n, { online: false }), disk('s3/0', 100n, { duty: 'evacuate' }), disk('s4/0', 100n, { state: 'failed' })], fast)
    expect(problems[0]).to.contain('s1/0: its server has a leg already, s2/0: its server is offline, s3/0: evacuate, s4/0: failed')
  })

  const risks: readonly (readonly [claim: string, more: Partial<MovingLeg>, atRisk: readonly string[]])[] = [
    ['a volume with another good copy is not at risk', { goodElsewhere: 1 }, []],
    ['a volume whose only good copy moves is at risk', { goodElsewhere: 0 }, ['v']],
    ['a volume of which one copy was asked for is not told as at risk', { goodElsewhere: 0, redundant: false }, []],
  ]
  for (const [claim, more, atRisk] of risks) it(claim, () => { expect(planMove([leg('v', 4n, 's1', more), leg('v', 4n, 's1', { ...more, segment: 1 })], [disk('s2/0', 100n)], fast).atRisk).to.deep.equal(atRisk) })

  it('takes as long as the fullest target disk at 100 MiB a second, or the limit on all copies, whichever is longer', () => {
    const legs = [leg('v', 400n, 's9'), leg('w', 400n, 's9')]
    expect(planMove(legs, [disk('s1/0', 900n)], fast).seconds).to.equal(9)
    expect(planMove(legs, [disk('s1/0', 900n), disk('s2/0', 900n)], fast).seconds).to.equal(5)
    expect(planMove(legs, [disk('s1/0', 900n), disk('s2/0', 900n)], 10n * MIB).seconds).to.equal(81)
  })
})
