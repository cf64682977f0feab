/** Deliberate faults of the product, each a change of one module's text (hooks.ts): the simulation must find every one. */
import type { Change } from './hooks.js'

export interface Mutant {
  readonly name: string
  readonly changes: readonly Change[]
  /** What to run it with, where it needs something of its own. */
  readonly args?: readonly string[]
}

export const mutants: readonly Mutant[] = []
