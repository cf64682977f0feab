/**
 * Legs in use whose disks do not answer their own servers: they leave as soon as a server says so, wherever a good one stands. Nobody waits for the
 * disks of a detached volume: its legs are as good as they were.
 */
import { bySegment, decideSilent } from '../plan/segment.js'
import type { LegFacts } from '../plan/segment.js'
import type { SegmentFacts } from '../plan/attached.js'
import type { DiskRow, ExtentRow, SegmentRow } from '../state/rows.js'
import type { ChangeTx } from '../store/store.js'
import { heardSince, online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { segmentFacts } from './facts.js'
import type { VolumeFacts } from './facts.js'
import { commitStale } from './loss.js'

type Disks = ReadonlyMap<string, Pick<DiskRow, 'state'>>

export interface SilentLoss {
  readonly segment: SegmentFacts
  readonly extents: readonly string[]
  /** Servers of the good legs that are left. */
  readonly left: readonly string[]
}

/** One stands in their place if its server was heard since, in the start that is known: another one may have lost what its disk's cache held. */
export function silentLosses(
  cluster: Cluster, disks: Disks, of: readonly { readonly segment: SegmentRow; readonly extents: readonly ExtentRow[] }[], sinceMs = Number.NEGATIVE_INFINITY,
): readonly SilentLoss[] {
  const stateOf = (leg: LegFacts): string | undefined => disks.get(leg.disk)?.state
  const isThere = (host: string): boolean => online(cluster, host) && heardSince(cluster, host, sinceMs)
  const doubted = new Set(of.flatMap(({ extents }) => extents.filter((extent) => extent.doubt).map((extent) => extent.id)))
  return of.flatMap(({ segment, extents }) => segmentFacts({ segments: [segment], extents })).flatMap((segment) => {
    const loss = decideSilent(segment.legs, (leg) => stateOf(leg) === 'failed', (leg) => isThere(leg.host) && stateOf(leg) === 'ready' && !doubted.has(leg.extent))
    if (loss.kind !== 'drop') return []
    return [{ segment, extents: loss.extents, left: segment.legs.filter((leg) => leg.state === 'insync' && !loss.extents.includes(leg.extent)).map((leg) => leg.host) }]
  })
}

/** True when it left any behind. */
export async function leaveSilent(cluster: Cluster, tx: ChangeTx, disks: Disks, rows: Pick<VolumeFacts, 'volume' | 'segments' | 'extents'>, sinceMs: number): Promise<boolean> {
  const extentsIn = bySegment(rows.extents)
  const losses = silentLosses(cluster, disks, rows.segments.map((segment) => ({ segment, extents: extentsIn(segment.index) })), sinceMs)
  for (const { segment, extents } of losses) await commitStale(cluster, tx, rows, segment, extents, 'its disk does not answer its server')
  return losses.length > 0
}
