/**
 * A leg's state machine: what the database says of its data. The table is the whole law; a move that is absent is illegal. Whether
 * a move is allowed for the *segment* (the last in-sync leg never leaves) is said in plan/segment.ts.
 */
import { assert } from '../../lib/assert.js'
import type { LegState } from '../../lib/model.js'

export type LegEvent =
  /** The volume was made: all its legs are zero, so all are equal. */
  | 'made'
  /** It missed a write, or may have. */
  | 'missed writes'
  /** A copy from an in-sync leg begins. */
  | 'copy begins'
  /** The copy reached its end with this leg alive. */
  | 'copy ended'
  /** Its head went down with writes in flight: it may differ from the leg that was chosen as source. */
  | 'head lost'

const moves = {
  allocated: { made: 'insync', 'copy begins': 'syncing' },
  insync: { 'missed writes': 'stale', 'head lost': 'syncing' },
  stale: { 'copy begins': 'syncing', 'missed writes': 'stale' },
  syncing: { 'copy ended': 'insync', 'missed writes': 'stale', 'head lost': 'syncing' },
} as const satisfies Record<LegState, Partial<Record<LegEvent, LegState>>>

export function legAfter(state: LegState, event: LegEvent): LegState {
  const next: LegState | undefined = (moves[state] as Partial<Record<LegEvent, LegState>>)[event]
  assert(next !== undefined, `a leg that is ${state} cannot have "${event}"`)
  return next
}

/** A good leg of a whole segment, which could as well be on another disk. */
export interface MovableLeg {
  readonly extent: string
  readonly disk: string
  /** Id of the volume. */
  readonly volume: string
  readonly segment: number
  readonly bytes: bigint
  /** Servers of the segment's other legs. */
  readonly others: readonly string[]
}
