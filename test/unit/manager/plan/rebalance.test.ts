import { expect } from 'chai'
import { Rebalancing, sayLevels } from '../../../../manager/plan/rebalance.js'
import type { FillDisk } from '../../../../manager/plan/rebalance.js'
import type { MovableLeg } from '../../../../manager/state/leg.js'

const GIB = 1024n ** 3n

/** `st1/0` is a disk of st1, 100 GiB. */
const disk = (id: string, usedGib: bigint, more: Partial<FillDisk> = {}): FillDisk => {
  const bytes = more.bytes ?? 100n * GIB
  return { id, host: id.split('/')[0] ?? '', bytes, usedBytes: usedGib * GIB, freeBytes: bytes - usedGib * GIB, takes: Infinity, label: id, ...more }
}
/** `count` legs of `gib` GiB on a disk, each of a volume of its own, whose other legs are on these servers. */
const legs = (on: string, count: number, others: string, gib = 1n): readonly MovableLeg[] => Array.from({ length: count }, (_, at) => ({
  extent: `${on} ${others} ${at}`, disk: on, volume: `${on} ${others} ${at}`, segment: 0, bytes: gib * GIB, others: others === '' ? [] : others.split(' '),
}))

interface Asked { readonly disks: readonly FillDisk[]; readonly legs: readonly MovableLeg[]; readonly zones?: Readonly<Record<string, string>>; readonly oncePerSegment?: boolean; readonly most?: number }
function planned({ disks, legs: offered, zones = {}, oncePerSegment = false, most = 10_000 }: Asked): { readonly planner: Rebalancing; readonly pairs: Readonly<Record<string, number>>; readonly count: number } {
  const planner = new Rebalancing({ disks, zones: new Map(Object.entries(zones)), oncePerSegment })
  planner.offer(offered)
  const { moves } = planner.more(most, 1_000_000)
  const pairs: Record<string, number> = {}
  for (const { leg, to } of moves) pairs[`${leg.disk} ${to}`] = (pairs[`${leg.disk} ${to}`] ?? 0) + 1
  return { planner, pairs, count: moves.length }
}

describe('a rebalance', () => {
  it('moves nothing where the fullest and the emptiest disk differ by 5 % of their size or less', () => {
    expect(planned({ disks: [disk('st1/0', 55n), disk('st2/0', 50n)], legs: legs('st1/0', 55, '') }).pairs).to.deep.equal({})
    expect(planned({ disks: [], legs: [] }).planner.levels()).to.equal(undefined)
  })

  it('fills an added disk from the others until all are within 5 %, with no more moves than that takes', () => {
    const { pairs, count, planner } = planned({ disks: [disk('st1/0', 40n), disk('st2/0', 40n), disk('st3/0', 0n)], legs: [...legs('st1/0', 40, 'st2'), ...legs('st2/0', 40, 'st1')] })
    expect(Object.keys(pairs)).to.have.members(['st1/0 st3/0', 'st2/0 st3/0'])
    expect(planner.balanced()).to.equal(true)
    expect(count).to.be.within(24, 27)
  })

  it('counts in parts of a disk\'s size: a large disk gets more', () => {
    const { planner, count } = planned({ disks: [disk('st1/0', 60n), disk('st2/0', 0n, { bytes: 300n * GIB, freeBytes: 300n * GIB })], legs: legs('st1/0', 60, '') })
    expect(planner.balanced()).to.equal(true)
    expect(count).to.be.within(42, 45)
  })

  it('never puts a leg on a server that has another leg of its segment', () => {
    expect(planned({ disks: [disk('st1/0', 60n), disk('st2/0', 0n)], legs: legs('st1/0', 60, 'st2') }).pairs).to.deep.equal({})
  })

  it('may move a leg to another disk of its own server', () => {
    expect(Object.keys(planned({ disks: [disk('st1/0', 60n), disk('st1/1', 0n), disk('st2/0', 30n)], legs: legs('st1/0', 60, 'st2') }).pairs)).to.deep.equal(['st1/0 st1/1'])
  })

  const zones = { st1: 'a', st2: 'b', st3: 'b', st4: 'a' }
  it('never puts a leg into a zone that has another leg of its segment', () => {
    const disks = [disk('st1/0', 60n), disk('st2/0', 60n), disk('st3/0', 0n), disk('st4/0', 30n)]
    expect(Object.keys(planned({ disks, zones, legs: legs('st1/0', 60, 'st2') }).pairs)).to.deep.equal(['st1/0 st4/0'])
  })

  it('may, where the leg stands in such a zone already: that makes nothing worse', () => {
    const disks = [disk('st1/0', 60n), disk('st3/0', 0n)]
    expect(Object.keys(planned({ disks, zones, legs: legs('st1/0', 60, 'st2 st4') }).pairs)).to.deep.equal(['st1/0 st3/0'])
  })

  it('asks no zone of a server that has none', () => {
    expect(Object.keys(planned({ disks: [disk('st1/0', 60n), disk('st9/0', 0n)], zones, legs: legs('st1/0', 60, 'st2') }).pairs)).to.deep.equal(['st1/0 st9/0'])
  })

  it('knows where legs of the same segment have gone meanwhile', () => {
    const disks = [disk('st1/0', 60n), disk('st2/0', 60n), disk('st3/0', 0n), disk('st4/0', 0n)]
    const pair = (at: number): readonly MovableLeg[] => [['st1', 'st2'], ['st2', 'st1']].map(([host = '', other = '']) => ({ extent: `${host} ${at}`, disk: `${host}/0`, volume: `v${at}`, segment: 0, bytes: GIB, others: [other] }))
    const planner = new Rebalancing({ disks, zones: new Map(), oncePerSegment: false })
    planner.offer(Array.from({ length: 60 }, (_, at) => pair(at)).flat())
    const { moves } = planner.more(1000, 100_000)
    expect(planner.balanced()).to.equal(true)
    for (const { leg, to } of moves) expect(moves.filter((other) => other.leg.volume === leg.volume && other.to.slice(0, 3) === to.slice(0, 3))).to.have.length(1)
  })

  it('moves one leg of a segment at a time where it is to be done at once', () => {
    const segment = (['st1', 'st2'] as const).map((host): MovableLeg => ({ extent: host, disk: `${host}/0`, volume: 'v', segment: 0, bytes: 10n * GIB, others: [host === 'st1' ? 'st2' : 'st1'] }))
    const disks = [disk('st1/0', 60n), disk('st2/0', 60n), disk('st3/0', 0n), disk('st4/0', 0n)]
    expect([planned({ disks, legs: segment }).count, planned({ disks, legs: segment, oncePerSegment: true }).count]).to.deep.equal([2, 1])
  })

  it('makes no move that only exchanges the fullest and the emptiest', () => {
    expect(planned({ disks: [disk('st1/0', 40n), disk('st2/0', 0n)], legs: legs('st1/0', 1, '', 40n) }).count).to.equal(0)
    expect(planned({ disks: [disk('st1/0', 40n), disk('st2/0', 0n)], legs: legs('st1/0', 2, '', 20n) }).count).to.equal(1)
  })

  it('does not fill a small disk for the good of a large one', () => {
    expect(planned({ disks: [disk('st1/0', 600n, { bytes: 1000n * GIB, freeBytes: 400n * GIB }), disk('st2/0', 0n, { bytes: 10n * GIB, freeBytes: 10n * GIB })], legs: legs('st1/0', 60, '', 8n) }).count).to.equal(0)
  })

  it('prefers a leg that makes the two equal to one that is larger', () => {
    const { planner } = planned({ disks: [disk('st1/0', 40n), disk('st2/0', 20n)], legs: [...legs('st1/0', 1, '', 19n), ...legs('st1/0', 1, 'st9', 10n)], most: 1 })
    expect(planner.levels()).to.deep.equal({ fullest: { label: 'st1/0', fill: 0.3 }, emptiest: { label: 'st1/0', fill: 0.3 } })
  })

  it('gives to the next emptiest disk where the emptiest may not take it', () => {
    expect(Object.keys(planned({ disks: [disk('st1/0', 60n), disk('st2/0', 0n), disk('st3/0', 10n)], legs: legs('st1/0', 60, 'st2') }).pairs)).to.deep.equal(['st1/0 st3/0'])
  })

  it('goes on beside disks that can neither give nor take', () => {
    const disks = [disk('st1/0', 90n), disk('st2/0', 50n), disk('st3/0', 20n)]
    expect(Object.keys(planned({ disks, legs: [...legs('st1/0', 90, 'st2 st3'), ...legs('st2/0', 50, '')] }).pairs)).to.deep.equal(['st2/0 st3/0'])
  })

  it('gives a disk no more legs than it takes now, and asks for no legs when none takes any', () => {
    const disks = [disk('st1/0', 60n), disk('st2/0', 0n, { takes: 2 })]
    expect(planned({ disks, legs: legs('st1/0', 60, '') }).count).to.equal(2)
    const { planner } = planned({ disks: [disk('st1/0', 60n), disk('st2/0', 0n, { takes: 0 })], legs: [] })
    expect(planner.givers()).to.deep.equal([])
  })

  it('waits for room where what was deleted still takes it', () => {
    const { planner, count } = planned({ disks: [disk('st1/0', 60n), disk('st2/0', 0n, { freeBytes: 3n * GIB })], legs: legs('st1/0', 60, '') })
    expect([count, planner.cramped]).to.deep.equal([3, true])
  })

  it('names the disks that are to give, the fullest first, and how much', () => {
    const { planner } = planned({ disks: [disk('st1/0', 50n), disk('st2/0', 60n), disk('st3/0', 0n)], legs: [] })
    expect(planner.givers().map(({ disk: id, bytes }) => [id, Number(bytes / GIB)])).to.deep.equal([['st2/0', 25], ['st1/0', 15]])
  })

  it('goes on in pieces: one after the other comes to the same', () => {
    const asked = { disks: [disk('st1/0', 40n), disk('st2/0', 40n), disk('st3/0', 0n)], zones: new Map<string, string>(), oncePerSegment: false }
    const all = [...legs('st1/0', 40, 'st2'), ...legs('st2/0', 40, 'st1')]
    const [whole, pieces] = [new Rebalancing(asked), new Rebalancing(asked)]
    whole.offer(all)
    pieces.offer(all)
    const expected = whole.more(1000, 100_000)
    const found = []
    for (let ended = false; !ended;) {
      const more = pieces.more(3, 1)
      found.push(...more.moves)
      ended = more.ended
    }
    expect(found).to.deep.equal(expected.moves)
  })

  it('says how full disks are', () => {
    expect(sayLevels({ fullest: { label: 'st1:/dev/sdb', fill: 0.8125 }, emptiest: { label: 'st2:/dev/sdb', fill: 0 } })).to.equal('st1:/dev/sdb, the fullest, is 81.3 % full, st2:/dev/sdb, the emptiest, 0.0 %')
  })
})
