import { expect } from 'chai'
import { createSettled } from '../../../../manager/run/settled.js'
import type { Settled } from '../../../../manager/run/settled.js'
import type { VolumeSeen } from '../../../../lib/wire/agent.js'

const seen = (settled: number, more: Partial<VolumeSeen> = {}): VolumeSeen => ({
  volume: 'v', name: 'v', attachEpoch: 3, layout: 1, scope: 'whole', state: 'up', device: '', opens: 0, segments: [], waiting: false, unreachable: [], changes: { settled, broken: false }, ...more,
})
const told = (...reports: readonly (readonly [atMs: number, settled: number])[]): Settled => {
  const settled = createSettled(30_000)
  for (const [atMs, era] of reports) settled.note('boot', [seen(era)], atMs)
  return settled
}

describe('what was settled when a server was last heard', () => {
  it('is the latest era that was told a while before: the sign of life may have been under way for so long', () => {
    const settled = told([0, 1], [60_000, 4], [61_000, 4], [120_000, 5])
    expect([30_000, 30_001, 90_000, 90_001, 149_000, 200_000].map((heardMs) => settled.before('v', 3, 'boot', heardMs))).to.deep.equal([0, 1, 1, 4, 4, 5])
  })

  it('is nothing where nothing was told, of another attachment, or before its head was started anew', () => {
    const settled = told([0, 4])
    expect([settled.before('w', 3, 'boot', 99_000), settled.before('v', 2, 'boot', 99_000), settled.before('v', 3, 'another', 99_000)]).to.deep.equal([0, 0, 0])
    settled.note('another', [seen(1)], 50_000)
    expect([settled.before('v', 3, 'boot', 99_000), settled.before('v', 3, 'another', 99_000)]).to.deep.equal([0, 1])
  })

  it('is nothing any more once what is remembered is broken', () => {
    const settled = told([0, 4])
    settled.note('boot', [seen(0, { changes: { settled: 0, broken: true } })], 1000)
    expect(settled.before('v', 3, 'boot', 99_000)).to.equal(0)
  })

  it('is nothing when more has been told since than is kept: better all than too little', () => {
    const settled = told(...Array.from({ length: 40 }, (_, minute) => [minute * 60_000, minute + 1] as const))
    expect([settled.before('v', 3, 'boot', 100_000), settled.before('v', 3, 'boot', 40 * 60_000)]).to.deep.equal([0, 40])
  })
})
