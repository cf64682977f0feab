/**
 * One volume that a head has up, looked at: what the head reports against what the database says. Pure; gives the changes to commit and
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
  /** The kernel read around an error of these legs; they still take every write. */
  readonly readErrors: readonly { readonly segment: number; readonly extents: readonly string[] }[]
  /** The head has an older layout than the database (or is to get one by `stale`): it must be told. */
  readonly reload: boolean
}

const failures: Readonly<Record<string, string>> = {
  D: 'a write failed', F: 'a flush failed', S: 'the copy failed', U: 'the kernel reports an unknown failure',
}

/** `layout` is the database's: a report about another one proves nothing of any leg, except that it couldn't be reached. */
export function lookAtAttached(layout: number, segments: readonly SegmentFacts[], seen: VolumeSeen): AttachedDecision {
  const decision = { stale: [] as AttachedDecision['stale'][number][], insync: [] as AttachedDecision['insync'][number][], unavailable: [] as AttachedDecision['unavailable'][number][], readErrors: [] as AttachedDecision['readErrors'][number][] }
  const unreachable = new Map(seen.unreachable.map((leg) => [leg.extent, leg.why]))
  const current = seen.layout === layout
  let reload = !current || seen.state !== 'up'
  const health = new Map(current ? seen.segments.flatMap((each) => each.legs.map((leg) => [leg.extent, leg.health] as const)) : [])
  for (const segment of segments) {
    const there = current ? seen.segments.find((each) => each.index === segment.index) : undefined
    const lost = (leg: LegFacts): string | undefined => unreachable.get(leg.extent) ?? failures[health.get(leg.extent) ?? '']
    const loss = decideLoss(segment.legs.filter((leg) => health.has(leg.extent) || unreachable.has(leg.extent) || !current), lost)
    if (loss.kind === 'unavailable') {
      decision.unavailable.push({ segment: segment.index, reason: loss.reason })
      continue
    }
    if (loss.kind === 'drop') {
      const why = segment.legs.filter((leg) => loss.extents.includes(leg.extent)).map((leg) => `${leg.host}: ${lost(leg) ?? ''}`).join('; ')
      decision.stale.push({ segment: segment.index, extents: loss.extents, why })
      reload = true
      continue
    }
    if (!there) continue
    const caughtUp = segment.legs.filter((leg) => leg.state === 'syncing' && health.get(leg.extent) === 'A').map((leg) => leg.extent)
    if (caughtUp.length > 0 && there.regions > 0 && there.inSync === there.regions) {
      decision.insync.push({ segment: segment.index, extents: caughtUp })
      reload = true // the table of the copy makes room for the plain one
    }
    const unread = segment.legs.filter((leg) => leg.state === 'insync' && health.get(leg.extent) === 'R').map((leg) => leg.extent)
    if (unread.length > 0) decision.readErrors.push({ segment: segment.index, extents: unread })
  }
  const beside = lossesBeside(segments, decision.stale.flatMap((each) => each.extents), health).filter((each) => !decision.stale.some((one) => one.segment === each.segment))
  const insync = decision.insync.filter((each) => !beside.some((one) => one.segment === each.segment)) // looked at again with the next layout
  return { ...decision, insync, stale: [...decision.stale, ...beside], reload: reload || beside.length > 0 }
}

/**
 * A disk that failed to write for one segment will most likely fail for the others: a hung one takes its time each time (some 13 s), and
 * the volume's writers would wait as often. So its other legs go with the first, wherever a good one remains.
 */
function lossesBeside(segments: readonly SegmentFacts[], gone: readonly string[], health: ReadonlyMap<string, string>): AttachedDecision['stale'] {
  const all = segments.flatMap((segment) => segment.legs)
  const disks = new Map(all.filter((leg) => gone.includes(leg.extent) && (health.get(leg.extent) === 'D' || health.get(leg.extent) === 'F')).map((leg) => [leg.disk, leg.host]))
  if (disks.size === 0) return []
  return segments.flatMap((segment) => {
    const loss = decideLoss(segment.legs, (leg) => (disks.has(leg.disk) ? 'its disk failed in another segment' : undefined))
    if (loss.kind !== 'drop') return []
    return [{ segment: segment.index, extents: loss.extents, why: `${[...new Set(segment.legs.filter((leg) => loss.extents.includes(leg.extent)).map((leg) => leg.host))].join(', ')}: its disk failed in another segment` }]
  })
}
