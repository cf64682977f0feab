/**
 * One attached volume, looked at: what its head reports against what the database says. Pure; gives the changes to commit and
 * whether the head must be given a new layout. A leg that failed is committed stale before the head may go on without it: until
 * then the kernel holds the writes.
 */
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { decideLoss } from './segment.js'
import type { LegFacts } from './segment.js'

export interface SegmentFacts {
  readonly index: number
  readonly generation: number
  readonly legs: readonly LegFacts[]
}

export interface AttachedDecision {
  readonly stale: readonly { readonly segment: number; readonly extents: readonly string[]; readonly why: string }[]
  readonly insync: readonly { readonly segment: number; readonly extents: readonly string[] }[]
  readonly unavailable: readonly { readonly segment: number; readonly reason: string }[]
  /** The head has an older layout than the database (or is to get one by `stale`): it must be told. */
  readonly reload: boolean
}

const failures: Readonly<Record<string, string>> = {
  D: 'a write failed', F: 'a flush failed', S: 'the copy failed', U: 'the kernel reports an unknown failure',
}

export function lookAtAttached(segments: readonly SegmentFacts[], seen: VolumeSeen): AttachedDecision {
  const stale: AttachedDecision['stale'][number][] = []
  const insync: AttachedDecision['insync'][number][] = []
  const unavailable: AttachedDecision['unavailable'][number][] = []
  let reload = seen.state !== 'up'
  for (const segment of segments) {
    const there = seen.segments.find((each) => each.index === segment.index)
    if (!there || there.generation < segment.generation) {
      reload = true // the kernel's state belongs to an older layout: nothing can be concluded from it
      continue
    }
    const health = new Map(there.legs.map((leg) => [leg.extent, leg.health]))
    const loss = decideLoss(segment.legs.filter((leg) => health.has(leg.extent)), (leg) => failures[health.get(leg.extent) ?? ''])
    if (loss.kind === 'unavailable') {
      unavailable.push({ segment: segment.index, reason: loss.reason })
      continue
    }
    if (loss.kind === 'drop') {
      const why = segment.legs.filter((leg) => loss.extents.includes(leg.extent)).map((leg) => `${leg.host}: ${failures[health.get(leg.extent) ?? ''] ?? ''}`).join('; ')
      stale.push({ segment: segment.index, extents: loss.extents, why })
      reload = true
      continue
    }
    const caughtUp = segment.legs.filter((leg) => leg.state === 'syncing' && health.get(leg.extent) === 'A').map((leg) => leg.extent)
    if (caughtUp.length > 0 && there.regions > 0 && there.inSync === there.regions) insync.push({ segment: segment.index, extents: caughtUp })
  }
  return { stale, insync, unavailable, reload }
}
