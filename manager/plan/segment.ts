/**
 * Where a lost leg is handled. Pure decisions about one segment: which legs leave when some can't be reached or have failed, which
 * leg becomes the source after a head was lost, which legs have caught up. The rule behind all of them: the last in-sync leg is
 * never given up; better no data than old data.
 */
import type { LegState } from '../../lib/model.js'

export interface LegFacts {
  readonly extent: string
  readonly host: string
  readonly disk: string
  readonly slot: number
  readonly state: LegState
}

/** Those of one segment, in their order: large volumes have thousands of segments, so each is not searched for among all. */
export function bySegment<T extends { readonly segment: number }>(all: readonly T[]): (segment: number) => readonly T[] {
  const groups = new Map<number, T[]>()
  for (const each of all) {
    const group = groups.get(each.segment)
    if (group) group.push(each)
    else groups.set(each.segment, [each])
  }
  return (segment) => groups.get(segment) ?? []
}

export type LossDecision =
  | { readonly kind: 'nothing lost' }
  /** These legs are to be committed stale, with generation + 1; what remains serves on. */
  | { readonly kind: 'drop'; readonly extents: readonly string[]; readonly remaining: number }
  /** No in-sync leg would remain: nothing is dropped, the segment waits. */
  | { readonly kind: 'unavailable'; readonly reason: string }

/** Legs for which `lost` gives a reason have failed, or can't be reached. Legs that are not in use (stale) don't matter here. */
export function decideLoss(legs: readonly LegFacts[], lost: (leg: LegFacts) => string | undefined): LossDecision {
  const used = legs.filter((leg) => leg.state === 'insync' || leg.state === 'syncing')
  const gone = used.filter((leg) => lost(leg) !== undefined)
  const good = used.filter((leg) => leg.state === 'insync' && lost(leg) === undefined)
  if (good.length === 0) {
    const reasons = used.filter((leg) => leg.state === 'insync').map((leg) => `${leg.host}: ${lost(leg) ?? 'in sync'}`)
    return { kind: 'unavailable', reason: reasons.length === 0 ? 'no leg is in sync' : reasons.join('; ') }
  }
  if (gone.length === 0) return { kind: 'nothing lost' }
  return { kind: 'drop', extents: gone.map((leg) => leg.extent), remaining: good.length }
}

/**
 * A head is shut out: legs leave whose servers did not confirm that. A leg in doubt takes nobody's place who is not: where none but such
 * legs are confirmed and another one may have what they lost, it is waited for.
 */
export function decideShutOut(legs: readonly LegFacts[], refusal: (leg: LegFacts) => string | undefined, doubted: (leg: LegFacts) => boolean): LossDecision {
  const sure = legs.filter((leg) => leg.state === 'insync' && !doubted(leg))
  if (sure.length > 0 && sure.every((leg) => refusal(leg) !== undefined)) return decideLoss(legs, (leg) => refusal(leg) ?? (doubted(leg) ? 'it was started anew, and its disks may have lost what others have' : undefined))
  return decideLoss(legs, refusal)
}

/**
 * A disk that does not answer its own server holds up every write to its legs, for some 11 s each time before the head can tell, and
 * whatever is copied from there. So its legs leave as soon as the server says so, wherever a good one stands that can be reached.
 */
export function decideSilent(legs: readonly LegFacts[], silent: (leg: LegFacts) => boolean, reachable: (leg: LegFacts) => boolean): LossDecision {
  if (!legs.some((leg) => leg.state === 'insync' && reachable(leg) && !silent(leg))) return { kind: 'nothing lost' }
  return decideLoss(legs, (leg) => (silent(leg) ? 'its disk does not answer' : undefined))
}

/**
 * After a head went down without detaching, in-sync legs may differ where writes were in flight. One of them becomes the source;
 * the others are copied to before they count again. The source is the first in-sync leg that can be reached (its server answers, its disk is well), else the first.
 * One in doubt (its server was started anew since, and acknowledged writes may have been in its disk's cache) is the source only where all are.
 * Gives undefined when there is nothing to equalise (one in-sync leg, or none).
 */
export function chooseSource(
  legs: readonly LegFacts[], reachable: (leg: LegFacts) => boolean, doubted: (leg: LegFacts) => boolean,
): { readonly source: string; readonly others: readonly string[] } | undefined {
  const good = legs.filter((leg) => leg.state === 'insync').sort((a, b) => a.slot - b.slot)
  if (good.length < 2) return undefined
  const sure = good.filter((leg) => !doubted(leg))
  const source = sure.find(reachable) ?? sure[0] ?? good.find(reachable) ?? good[0]
  if (!source) return undefined
  return { source: source.extent, others: good.filter((leg) => leg !== source).map((leg) => leg.extent) }
}

/** The order of the table: in-sync legs before all others (the kernel reads and copies from the first), the head's own first. */
export function tableOrder<L extends LegFacts>(legs: readonly L[], { head, segment }: { head: string; segment: number }): readonly L[] {
  const good = legs.filter((leg) => leg.state === 'insync').sort((a, b) => a.slot - b.slot)
  const turn = good.length === 0 ? 0 : segment % good.length
  const rotated = [...good.slice(turn), ...good.slice(0, turn)] // reads of one volume spread over all its servers
  const local = rotated.filter((leg) => leg.host === head)
  const targets = legs.filter((leg) => leg.state === 'syncing').sort((a, b) => a.slot - b.slot)
  return [...local, ...rotated.filter((leg) => leg.host !== head), ...targets]
}
