/** What may go wrong with a volume whose changes are remembered, in the order in which it matters, with gaps: dice alone seldom meet it. */
import fc from 'fast-check'
import { Life } from './life.js'
import type { EventKind, LifeOptions } from './life.js'

type Step = EventKind | 'a round'
const era: readonly Step[] = ['ten seconds pass', 'write', 'heads make their checkpoints', 'manager looks']
const restarted: readonly Step[] = ['head down', 'head up', 'a round', 'write', 'a round']
const lost: readonly Step[] = ['manager looks', 'manager takes a turn', 'manager takes a turn']

const POWER = 'server loses its power, and what its disks had in their caches'
const back: readonly Step[] = ['server up', 'a round', 'a round', 'a round']
const again: readonly Step[] = ['detach', 'attach', 'manager takes a turn', 'manager takes a turn']
const switched: readonly Step[] = ['changes are remembered, or no longer', ...again]
const replaced: readonly Step[] = ['server down', 'write', ...lost, 'the grace passes', 'a round', 'a round', 'a round', 'a round']

const plots: readonly (readonly Step[])[] = [
  // Its head goes down with a write under way, at the end of an era.
  [...era, 'ten seconds pass', 'write that takes its time', 'heads make their checkpoints', 'manager looks', 'write that takes its time', 'manager started anew', ...restarted],
  // A server is away for some eras, or while eras end that it does not take part in.
  [...era, 'write', 'server down', 'write', ...lost, ...era, 'write', ...back],
  ['server down', 'write', 'ten seconds pass', 'heads make their checkpoints', 'write', 'ten seconds pass', 'heads make their checkpoints', ...lost, 'write', ...back],
  // What was in a disk's cache is lost: writes, some of them under way when an era ended, or what a copy wrote.
  [...era, 'write', POWER, 'write', ...lost, ...back],
  [...era, ...era, 'write', 'ten seconds pass', 'heads make their checkpoints', 'write', 'ten seconds pass', 'heads make their checkpoints', 'manager looks', POWER, 'write', ...lost, ...back],
  [...era, 'ten seconds pass', 'write that takes its time', 'heads make their checkpoints', 'slow writes end', POWER, 'server up', 'manager puts servers right', 'ten seconds pass', 'heads make their checkpoints', 'manager looks', 'manager takes a turn', 'a round'],
  ['server down', 'write', ...lost, ...era, ...era, ...era, 'server up', 'a round', 'a round', 'copy a block', 'copy a block', 'manager looks', 'manager takes a turn', POWER, 'write', ...lost, ...back],
  // It is attached without memory for a while, and a leg lacks what was written then.
  ['server down', 'write', ...lost, ...switched, 'a round', 'write', 'a round', ...switched, ...back],
  ['changes are remembered, or no longer', 'head down', 'head up', 'a round', 'write', 'server down', 'write', ...lost, 'changes are remembered, or no longer', 'head down', 'head up', 'a round', ...back],
  ['changes are remembered, or no longer', 'an answer is lost', ...again, 'write', 'changes are remembered, or no longer', 'a round', 'write', ...restarted],
  [...switched, 'write', ...switched, 'write', ...replaced, ...back],
  // It is moved, and its old head goes on.
  [...era, 'head not heard', 'server not heard', 'write that takes its time', 'ten seconds pass', 'move', 'write that takes its time', 'manager takes a turn', 'manager takes a turn', 'slow writes end', 'a round', 'write', 'server heard', 'head heard', 'a round', 'a round'],
  // What is remembered is given up.
  [...switched, ...switched, 'head gives up what waits to be remembered', 'write that takes its time', 'head down', 'head up', 'a round', 'a round'],
  ['head gives up what waits to be remembered', 'manager looks', 'manager takes a turn', 'manager takes a turn', 'head gives up what waits to be remembered', 'agent of a head started anew', 'write that takes its time', ...restarted],
  ['server down', 'write', ...lost, 'head gives up what waits to be remembered', 'manager looks', 'manager takes a turn', 'manager takes a turn', 'head gives up what waits to be remembered', 'write', ...back],
  // A leg is made anew elsewhere.
  replaced,
  [...replaced, ...back],
]
/** Its first attachment is never heard of. */
const stillborn: readonly Step[] = ['an answer is lost', 'attach', 'manager takes a turn', 'write', 'head down', 'head up', 'a round', 'a round', ...replaced, ...back]

type Told = readonly { readonly kind: Step; readonly n: number }[]
/** Some steps are left out. What a plot does to servers and heads, it mostly does to the same ones; it writes to two blocks or three. */
function told(plot: fc.Arbitrary<readonly Step[]>): fc.Arbitrary<Told> {
  return fc.tuple(plot, fc.nat(63), fc.nat(63)).chain(([steps, n, m]) => fc.tuple(
    fc.subarray([...steps.entries()], { minLength: Math.ceil(steps.length * 0.8) }), fc.array(fc.oneof({ weight: 8, arbitrary: fc.constant(n) }, { weight: 1, arbitrary: fc.nat(63) }), { minLength: steps.length, maxLength: steps.length, size: 'max' }), fc.array(fc.constantFrom(n, m), { minLength: steps.length, maxLength: steps.length, size: 'max' }),
  ).map(([chosen, numbers, blocks]) => chosen.map(([at, kind]) => ({ kind, n: (kind.startsWith('write') ? blocks : numbers)[at] ?? n }))))
}

const some = fc.array(told(fc.constantFrom(...plots)), { minLength: 1, maxLength: 3, size: 'max' }).map((all) => all.flat())
export const stories: fc.Arbitrary<Told> = fc.oneof({ weight: 16, arbitrary: some }, { weight: 1, arbitrary: told(fc.constant(stillborn)) })

/** So few legs that one is soon the only one. */
export const smallVolumes: fc.Arbitrary<Partial<LifeOptions>> = fc.record({
  segments: fc.integer({ min: 1, max: 2 }), redundancy: fc.integer({ min: 2, max: 3 }), storage: fc.constant(3), disks: fc.constant(1), graceMs: fc.constantFrom(5000, 600_000), changes: fc.constantFrom(true, true, true, false),
})

export function liveThrough(cached: boolean, options: Partial<LifeOptions>, events: Told): void {
  const life = new Life(options)
  life.cached = cached
  if (events[0]?.kind !== 'an answer is lost') life.do('attach').round()
  for (const { kind, n } of events) {
    if (kind === 'a round') life.round()
    else if (cached || kind !== POWER) life.do(kind, n)
    else life.do('server down', n)
  }
  life.heal()
}
