import fc from 'fast-check'
import { Life, eventKinds } from '../support/life.js'
import type { Event, EventKind, LifeOptions } from '../support/life.js'
import { liveThrough, smallVolumes, stories } from '../support/stories.js'

const POWER: EventKind = 'server loses its power, and what its disks had in their caches'
/** What happens most of the time. */
const daily: readonly EventKind[] = ['write', 'write that takes its time', 'slow writes end', 'flush', 'copy a block', 'heads make their checkpoints', 'manager looks', 'manager takes a turn', 'manager takes a turn', 'manager repairs', 'manager makes spares', 'manager puts servers right', 'a second passes', 'ten seconds pass', 'attach', 'server up', 'disk works again', 'head up', 'head heard', 'server heard']
const anyOf = (...kinds: readonly EventKind[]): fc.Arbitrary<Event> => fc.record({ kind: fc.constantFrom(...kinds), n: fc.nat(63) })
const without = (...kinds: readonly EventKind[]): readonly EventKind[] => eventKinds.filter((kind) => !kinds.includes(kind))
const one = fc.integer({ min: 1, max: 3 })
const anyOptions: fc.Arbitrary<Partial<LifeOptions>> = fc.record({
  changes: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }), segments: one, redundancy: one, storage: fc.integer({ min: 3, max: 5 }), disks: fc.integer({ min: 1, max: 2 }), room: fc.integer({ min: 3, max: 6 }),
  limits: fc.record({ perSourceDisk: one, perServer: one, perHead: one, perCluster: one }),
})
/** A hundred events of any kind between rounds of the manager's work; then all is repaired. */
function lives(kinds: readonly EventKind[], cached: boolean, numRuns: number): void {
  const events = fc.array(fc.oneof({ weight: 3, arbitrary: anyOf(...daily) }, { weight: 2, arbitrary: anyOf(...kinds) }, { weight: 1, arbitrary: fc.constant(undefined) }), { minLength: 20, maxLength: 90, size: 'max' })
  fc.assert(fc.property(anyOptions, events, (options, all) => {
    const life = new Life(options)
    life.cached = cached
    life.do('attach')
    for (const event of all) event ? life.do(event.kind, event.n) : life.round()
    life.heal()
  }), { numRuns, seed: 1 })
}

describe('whatever happens, the laws hold after each event, and when all is repaired the volume is whole again', () => {
  it('with servers, disks and heads that fail, are not heard and come back', () => {
    lives(without(POWER), false, 200)
  }).timeout(60_000)

  it('with losses at all moments in the course of eras, after which only what changed is copied', () => {
    fc.assert(fc.property(fc.boolean(), smallVolumes, stories, liveThrough), { numRuns: 400, seed: 1 })
  }).timeout(60_000)

  it('with servers that lose what their disks had in their caches', () => {
    lives(eventKinds, true, 100)
  }).timeout(60_000)
})
