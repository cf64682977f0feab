/** How well a volume is, from its legs and from who answers. Pure. */
import type { LegFacts } from './segment.js'

export interface Health {
  readonly health: 'full' | 'degraded' | 'unavailable'
  /** Why; empty when full. */
  readonly problem: string
}

export function healthOf(segments: readonly { readonly index: number; readonly legs: readonly LegFacts[] }[], redundancy: number, reachable: (leg: LegFacts) => boolean): Health {
  const dead = segments.find(({ legs }) => !legs.some((leg) => leg.state === 'insync' && reachable(leg)))
  if (dead) {
    const holders = dead.legs.filter((leg) => leg.state === 'insync').map((leg) => leg.host)
    return { health: 'unavailable', problem: `segment ${dead.index}: ${holders.length === 0 ? 'no leg is in sync' : `its in-sync legs are on ${holders.join(', ')}, which can't be reached`}` }
  }
  const thin = segments.filter(({ legs }) => legs.filter((leg) => leg.state === 'insync' && reachable(leg)).length < redundancy)
  if (thin.length === 0) return { health: 'full', problem: '' }
  const syncing = thin.some(({ legs }) => legs.some((leg) => leg.state === 'syncing'))
  return { health: 'degraded', problem: `${thin.length} of ${segments.length} segments have fewer than ${redundancy} good legs${syncing ? ', a copy is under way' : ''}` }
}
