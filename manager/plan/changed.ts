/**
 * What a leg lacks that is not in sync, by era (agent/head/changes.ts says what those are). Pure. A leg that is lost lacks nothing of the
 * eras before the settled one; what is copied to it is what was written since. Where nothing reliable is remembered, all is copied.
 */
import type { VolumeSeen } from '../../lib/wire/agent.js'
import type { ExtentRow, VolumeRow } from '../state/rows.js'

/** Since when a leg lacks writes that is in sync until now. `seen`: the last report about this attachment. 0: it may lack anything. */
export function settledEra(volume: Pick<VolumeRow, 'settled'>, seen: Pick<VolumeSeen, 'changes'> | undefined): number {
  if (volume.settled === 0 || seen?.changes?.broken === true) return 0
  return Math.max(volume.settled, seen?.changes?.settled ?? 0)
}

/**
 * What a leg lacks that is lost. Of one in doubt (its server was started anew, and what its disk's cache held may be gone) it is what was
 * not settled when its server was last heard: between that loss and the moment in which it is heard of, eras may have been settled by
 * flushes that found its writes elsewhere.
 */
export function sinceOfLost({ leg, since, doubt }: Pick<ExtentRow, 'leg' | 'since' | 'doubt'>, settled: number): number {
  if (leg !== 'insync') return since // what it lacked before, and more
  return doubt ? Math.min(since, settled) : settled
}

/** What legs lack that are to become equal to one of them. Where a good one is in doubt they may have what the chosen one lost, and it would stay. */
export function sinceOfOthers(extents: readonly Pick<ExtentRow, 'segment' | 'leg' | 'doubt' | 'since'>[], segment: number, settled: number): number {
  return Math.min(settled, ...extents.filter((extent) => extent.segment === segment && extent.leg === 'insync' && extent.doubt).map((extent) => extent.since))
}

/** What a new leg lacks: all that was ever written, for it is as empty as the volume was. */
export function sinceOfSpare(volume: Pick<VolumeRow, 'settled' | 'sinceBirth'>): number {
  return volume.sinceBirth && volume.settled > 0 ? 1 : 0
}

/** How a segment is copied, given what its targets lack. */
export function copyWanted(volume: Pick<VolumeRow, 'settled'>, targets: readonly { readonly since: number }[]): { readonly copy: 'none' | 'all' } | { readonly copy: 'changed'; readonly since: number } {
  if (targets.length === 0) return { copy: 'none' }
  const known = volume.settled > 0 && targets.every((target) => target.since > 0)
  return known ? { copy: 'changed', since: Math.min(...targets.map((target) => target.since)) } : { copy: 'all' }
}

/** The order's word on it: which head remembers, and what of it counts already. */
export function changesWanted(volume: Pick<VolumeRow, 'settled' | 'remembers'>, whole: boolean): { readonly settled: number } | undefined {
  return (whole ? volume.remembers : volume.settled > 0) ? { settled: volume.settled } : undefined
}
