import { expect } from 'chai'
import { createProgress } from '../../../../manager/run/progress.js'
import type { VolumeSeen } from '../../../../lib/wire/agent.js'

const seen = (share: number, { layout = 1, index = 0 } = {}): VolumeSeen => ({
  volume: 'v', name: 'v', attachEpoch: 1, layout, scope: 'whole', state: 'up', device: '', opens: 0, waiting: false, unreachable: [],
  segments: [{ index, generation: 1, legs: [], inSync: share * 100, regions: 100 }],
})
type Report = readonly [atMs: number, share: number, layout?: number]
/** What is known of segment 0 after these reports. */
const after = (...reports: readonly Report[]): { share: number; perSecond: number } | undefined => {
  const progress = createProgress()
  for (const [atMs, share, layout = 1] of reports) progress.note(seen(share, { layout }), atMs)
  const { share, perSecond } = progress.of('v', 0) ?? { share: -1, perSecond: -1 }
  return share < 0 ? undefined : { share, perSecond: Math.round(perSecond * 1e6) / 1e6 }
}

describe('the progress of a copy', () => {
  it('is not known before a head reports it', () => {
    expect(createProgress().of('v', 0)).to.equal(undefined)
  })

  const table: readonly (readonly [claim: string, reports: readonly Report[], expected: ReturnType<typeof after>])[] = [
    ['has no speed after one report', [[0, 0.1]], { share: 0.1, perSecond: 0 }],
    ['has a speed after two', [[0, 0.1], [2000, 0.3]], { share: 0.3, perSecond: 0.1 }],
    ['is not measured over less than half a second', [[0, 0.1], [499, 0.2]], { share: 0.1, perSecond: 0 }],
    ['evens out: a new measurement counts for two fifths', [[0, 0.1], [1000, 0.2], [2000, 0.5]], { share: 0.5, perSecond: 0.18 }],
    ['slows down when it stands', [[0, 0.1], [1000, 0.2], [2000, 0.2]], { share: 0.2, perSecond: 0.06 }],
    ['begins anew with a new layout; its speed is a first guess', [[0, 0.1], [1000, 0.2], [2000, 0.15, 2]], { share: 0.15, perSecond: 0.1 }],
    ['is not measured across layouts', [[0, 0.1], [1000, 0.2], [2000, 0.9, 2]], { share: 0.9, perSecond: 0.1 }],
    ['begins anew when it falls back', [[0, 0.5], [1000, 0.6], [2000, 0.1]], { share: 0.1, perSecond: 0.1 }],
    ['is forgotten when it has ended', [[0, 0.1], [1000, 1]], undefined],
  ]
  for (const [claim, reports, expected] of table) it(claim, () => { expect(after(...reports)).to.deep.equal(expected) })

  it('is kept for each segment', () => {
    const progress = createProgress()
    progress.note(seen(0.1), 0)
    progress.note(seen(0.7, { index: 1 }), 0)
    expect([progress.of('v', 0)?.share, progress.of('v', 1)?.share, progress.of('w', 0)]).to.deep.equal([0.1, 0.7, undefined])
  })

  it('is forgotten when told so, for that segment alone', () => {
    const progress = createProgress()
    progress.note(seen(0.1), 0)
    progress.note(seen(0.7, { index: 1 }), 0)
    progress.forget('v', 0)
    expect([progress.of('v', 0), progress.of('v', 1)?.share]).to.deep.equal([undefined, 0.7])
  })

  it('of a segment without regions is none', () => {
    const progress = createProgress()
    progress.note({ ...seen(0), segments: [{ index: 0, generation: 1, legs: [], inSync: 0, regions: 0 }] }, 0)
    expect(progress.of('v', 0)).to.equal(undefined)
  })
})
