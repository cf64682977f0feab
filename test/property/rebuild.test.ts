import { expect } from 'chai'
import fc from 'fast-check'
import { formatNote, noteStates, parseNote } from '../../manager/plan/leg-note.js'
import { planRebuild } from '../../manager/plan/rebuild.js'
import type { Rebuilt } from '../../manager/plan/rebuild.js'
import { Tags } from '../support/tags.js'

type Event = readonly [what: string, pick: number]
const kinds: readonly (readonly [string, (tags: Tags, pick: number) => void])[] = [
  ['attach', (tags, pick) => { tags.attach(pick % 2 === 0 ? 'h1' : 'h2') }], ['write', (tags) => { tags.write() }], ['down', (tags, pick) => { tags.down(`s${1 + pick % 5}`) }], ['back', (tags, pick) => { tags.back(`s${1 + pick % 5}`, false) }],
  ['power', (tags, pick) => { tags.down(`s${1 + pick % 5}`); tags.back(`s${1 + pick % 5}`, true) }], ['loss', (tags) => { tags.loss() }], ['detach', (tags) => { tags.detach() }], ['crash', (tags, pick) => { tags.crash(pick) }],
  ['copy', (tags, pick) => { tags.copy(pick) }], ['copied', (tags) => { tags.copied() }], ['spare', (tags, pick) => { tags.spare(pick) }], ['drop', (tags, pick) => { tags.drop(pick) }], ['removing', (tags) => { tags.removing() }],
  ['fence', (tags) => { tags.fence() }], ['takeAway', (tags) => { tags.takeAway() }], ['push', (tags, pick) => { tags.push(`s${1 + pick % 5}`) }], ['push', (tags, pick) => { tags.push(`s${1 + pick % 5}`) }],
  // The course of things that matters most comes by itself only rarely.
  ['lost', (tags, pick) => { tags.attach('h1'); tags.write(); tags.down(`s${1 + pick % 3}`); tags.loss(); tags.write(); tags.back(`s${1 + pick % 3}`, false) }],
]
const anyEvents = fc.array(fc.tuple(fc.constantFrom(...kinds.map(([name]) => name)), fc.nat(31)), { minLength: 1, maxLength: 30 })

function play(tags: Tags, events: readonly Event[]): void {
  for (const [what, pick] of events) kinds.find(([name]) => name === what)?.[1](tags, pick)
}

const goodIn = (plan: Rebuilt): readonly string[] => plan.extents.filter((each) => each.leg === 'insync').map((each) => each.id).sort()

describe('a database that was lost and is made anew from the hosts, whatever happened before and however late the notes are', function rebuilding() {
  this.timeout(60_000)
  it('calls no leg good that lacks an acknowledged write, and no two that differ', () => {
    let [rebuilt, withGood] = [0, 0]
    fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), anyEvents, (legs, events) => {
      const tags: { now?: Tags } = {}
      const look = (): void => {
        const now = tags.now
        if (!now) return
        const plan = planRebuild({ told: now.told(() => true), nowMs: 1 })
        const [volume] = plan.volumes
        rebuilt += plan.volumes.length
        const good = goodIn(plan).map((id) => now.content(id))
        withGood += good.length > 0 ? 1 : 0
        if (now.good().every((each) => now.content(each.id).writes < now.acked)) return // power failures took it from all that counted
        for (const content of good) expect(content.writes, JSON.stringify(plan.unsure)).to.equal(now.acked)
        if (volume && (volume.phase === 'detached' || volume.attachBoot !== 'before the rebuild')) expect(new Set(good.map((each) => each.torn)).size, 'good legs are equal').to.be.at.most(1)
      }
      tags.now = new Tags(legs, look)
      play(tags.now, events)
      look()
    }), { numRuns: 1500 })
    expect(withGood / rebuilt, 'and it is no law of empty hands').to.be.greaterThan(0.8)
  })

  it('has the same volume, legs and good legs as before when all answer and the notes are up to date', () => {
    let compared = 0
    fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), anyEvents, (legs, events) => {
      const tags = new Tags(legs, () => undefined)
      play(tags, events)
      for (const name of tags.servers.keys()) tags.back(name, false)
      tags.takeAway()
      tags.removing()
      if ((tags.volume.phase !== 'attached' && tags.volume.phase !== 'detached') || tags.live().some((each) => each.leg === 'syncing' || each.doubt)) return
      if (tags.volume.phase === 'attached' && tags.heads.get(tags.volume.head)?.table.length === 0) return
      for (const name of tags.servers.keys()) tags.push(name)
      const plan = planRebuild({ told: tags.told(() => true), nowMs: 1 })
      const [volume] = plan.volumes
      compared += 1
      expect(volume).to.deep.include({ id: tags.volume.id, name: 'v', bytes: tags.volume.bytes, redundancy: 3, phase: tags.volume.phase, head: tags.volume.head, attachEpoch: tags.volume.attachEpoch, attachBoot: tags.volume.phase === 'attached' ? tags.volume.attachBoot : '' })
      expect(plan.segments.map(({ index, offset, bytes }) => ({ index, offset, bytes }))).to.deep.equal([{ index: 0, offset: 0n, bytes: tags.volume.bytes }])
      const rows = (extents: readonly { readonly id: string; readonly host: string; readonly slot: number; readonly lun: number; readonly bytes: bigint }[]): unknown => extents.map(({ id, host, slot, lun, bytes }) => ({ id, host, slot, lun, bytes })).sort((a, b) => (a.id < b.id ? -1 : 1))
      expect(rows(plan.extents)).to.deep.equal(rows(tags.live()))
      // While nobody has ever written, a spare is as good as the others.
      expect(goodIn(plan)).to.deep.equal((tags.volume.attachEpoch === 0 ? tags.live() : tags.good()).map((each) => each.id).sort())
      expect(plan.segments[0]?.generation).to.be.greaterThan(tags.segment.generation)
      expect(plan.volumes[0]?.layout).to.be.greaterThan(tags.heads.get(tags.volume.head)?.record?.layout ?? 0)
      expect(plan.unsure).to.deep.equal([])
    }), { numRuns: 1000 })
    expect(compared).to.be.greaterThan(300)
  })

  it('calls nothing good as long as a host is silent, or who holds it, or a peer that a note names', () => {
    fc.assert(fc.property(fc.integer({ min: 2, max: 4 }), anyEvents, (legs, events) => {
      const tags = new Tags(legs, () => undefined)
      play(tags, events)
      const told = tags.told(() => true)
      for (const host of told) expect(goodIn(planRebuild({ told: told.filter((each) => each !== host), silent: [host.seen.host], nowMs: 1 }))).to.deep.equal([])
      if (tags.volume.phase === 'attached' && tags.good().every((each) => tags.push(each.host))) expect(goodIn(planRebuild({ told: tags.told((host) => host !== tags.volume.head), nowMs: 1 }))).to.deep.equal([])
      const [first, second] = tags.good()
      if (tags.volume.phase === 'detached' && first && second && tags.push(first.host)) expect(goodIn(planRebuild({ told: tags.told((host) => host !== second.host), nowMs: 1 }))).to.not.include(first.id)
    }), { numRuns: 300 })
  })

  it('is the same in whatever order the hosts answered', () => {
    fc.assert(fc.property(anyEvents, (events) => {
      const tags = new Tags(3, () => undefined)
      play(tags, events)
      const told = tags.told(() => true)
      expect(planRebuild({ told: [...told].reverse(), nowMs: 1 })).to.deep.equal(planRebuild({ told, nowMs: 1 }))
    }), { numRuns: 200 })
  })
})

describe('a note on an extent', () => {
  const anyName = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)
  const anyNote = fc.record({
    name: anyName, bytes: fc.bigInt({ min: 0n, max: 64n * 1024n ** 4n }), redundancy: fc.integer({ min: 1, max: 9 }), segments: fc.nat(1 << 20), offset: fc.bigInt({ min: 0n, max: 64n * 1024n ** 4n }), length: fc.bigInt({ min: 0n, max: 64n * 1024n ** 4n }),
    slot: fc.nat(1000), lun: fc.nat(16383), attachEpoch: fc.nat(), generation: fc.nat(), state: fc.constantFrom(...noteStates), holder: fc.oneof(fc.constant(''), anyName), boot: fc.oneof(fc.constant(''), fc.uuid()),
    peers: fc.uniqueArray(fc.record({ extent: fc.stringMatching(/^[0-9a-f]{8}$/), host: anyName }), { maxLength: 8, selector: (each) => each.extent }).map((all) => all.sort((a, b) => (`${a.extent}=${a.host}` < `${b.extent}=${b.host}` ? -1 : 1))),
  })

  it('reads back as it was written, and stands within what LVM takes as a tag', () => {
    fc.assert(fc.property(anyNote, (note) => {
      const text = formatNote(note)
      expect(parseNote(text)).to.deep.equal(note)
      expect(text).to.match(/^[A-Za-z0-9_+.=:-]*$/)
      expect(text.length).to.be.at.most(960)
    }))
  })

  it('that is cut off, or is none, is read as nothing', () => {
    fc.assert(fc.property(anyNote, fc.nat(), (note, at) => {
      const text = formatNote(note)
      const cut = parseNote(text.slice(0, at % text.length))
      if (cut) expect(cut).to.deep.include({ name: note.name, attachEpoch: note.attachEpoch, generation: note.generation, state: note.state }) // only its peers
    }))
    for (const text of ['', '1', '2:v', ':'.repeat(14)]) expect(parseNote(text)).to.equal(undefined)
  })
})
