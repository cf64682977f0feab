/**
 * What one segment needs to be whole again. Pure. Four answers, and often several at once: a copy to legs that are behind, spares for
 * legs that won't come back in time, good legs that are no longer needed (they are committed stale before they go), and stale ones
 * that can be released. Nothing is ever given up before enough good legs stand elsewhere, and never the last in-sync leg.
 */
import { assert } from '../../lib/assert.js'
import type { LegState } from '../../lib/model.js'

/**
 * Where a leg's data is. `here`: its server answers and its disk is well. `away`: its server is silent, and may come back. `leaving`:
 * it is here, and a person wants it elsewhere. `moving`: it is here, and would stand better elsewhere: it leaves when all others of its segment
 * are well, and stays else. `lost`: its disk or its server is gone for good.
 */
export type LegPlace = 'here' | 'away' | 'leaving' | 'moving' | 'lost'

export interface RepairLeg {
  readonly extent: string
  readonly host: string
  readonly slot: number
  readonly state: LegState
  /** Its logical volume exists: a spare takes a moment. */
  readonly made: boolean
  readonly place: LegPlace
  /** For how long its server has been silent, ms. */
  readonly awayMs: number
  /** A head can read it now. */
  readonly reachable: boolean
  /** Not before: it was lost a moment ago, or the last copy to it failed, ms from now. */
  readonly retryInMs: number
}

/** A leg whose copy failed is left alone for so long, ms: each attempt makes the volume's writers pause for a moment. */
export const RETRY_MS = 20_000

/**
 * A leg that a head has just lost is left alone for so long, ms: a disk that refused a write refuses the copy, too, and the volume's writers would pause
 * once more. Its server has looked at the disk by then.
 */
export const AFTER_LOSS_MS = 5000

/** How long a leg is still left alone, ms. A time further away than any pause says that the clock was set back: it must not hold the copy up. */
export function retryIn(retryAt: number, nowMs: number): number {
  const left = retryAt - nowMs
  return left > RETRY_MS ? 0 : Math.max(0, left)
}

export interface RepairCase {
  readonly redundancy: number
  readonly graceMs: number
  readonly legs: readonly RepairLeg[]
}

export interface RepairPlan {
  /** Legs to copy to, as soon as the scheduler lets them. */
  readonly copy: readonly string[]
  /** So many new legs are to be placed, on none of these servers. */
  readonly spares: number
  readonly occupied: readonly string[]
  /** In sync, and no longer needed: to be committed stale, which the next look releases. */
  readonly retire: readonly string[]
  /** Not in sync, and no longer needed: to become tombstones. */
  readonly release: readonly string[]
  /** Look again after so many ms, even if nothing happens. Undefined: no need. */
  readonly againInMs: number | undefined
  /** Why it isn't whole, for people; empty when it is, or when a repair is under way. */
  readonly why: string
  /** As many good legs stand as were asked for, where they are to be. */
  readonly whole: boolean
  /** A leg of it moves, and nothing is wrong with the others. */
  readonly calm: boolean
}

/** A leg may move as long as the others, the one that replaces it among them, are here, and no other copy is needed. */
function mayMove({ redundancy, legs }: RepairCase): boolean {
  const others = onePerServer(legs.filter((leg) => leg.place === 'here'))
  return legs.some((leg) => leg.place === 'moving') && others.length >= redundancy && others.filter((leg) => leg.state === 'insync').length >= redundancy - 1
}

export function planRepair(asked: RepairCase): RepairPlan {
  const calm = mayMove(asked)
  const place = calm ? 'leaving' : 'here'
  const plan = planLegs({ ...asked, legs: asked.legs.map((leg) => (leg.place === 'moving' ? { ...leg, place } : leg)) })
  return { ...plan, calm }
}

function planLegs({ redundancy, graceMs, legs }: RepairCase): Omit<RepairPlan, 'calm'> {
  const expected = (leg: RepairLeg): boolean => leg.place === 'here' || (leg.place === 'away' && leg.awayMs < graceMs)
  const solid = onePerServer(legs.filter((leg) => leg.state === 'insync' && leg.place === 'here'))
  if (solid.length >= redundancy) return surplus(legs, solid.slice(0, redundancy))
  const keepers = onePerServer(legs.filter(expected))
  const source = legs.some((leg) => leg.state === 'insync' && leg.reachable)
  const beside = legs.filter((leg) => leg.state === 'syncing' && solid.some((other) => other.host === leg.host)) // of a move that was called off
  const busy = legs.filter((leg) => leg.state === 'syncing').length - beside.length
  const room = Math.max(0, redundancy - solid.length - busy)
  const behind = keepers.filter((leg) => leg.place === 'here' && (leg.state === 'stale' || leg.state === 'allocated'))
  // One that held the data before has most of it still (stale before allocated).
  const order = onePerServer(behind.filter((leg) => leg.made && leg.retryInMs <= 0 && !legs.some((other) => other.host === leg.host && (other.state === 'syncing' || solid.includes(other)))))
  const copy = source ? order.slice(0, room) : []
  const spares = source ? Math.max(0, redundancy - keepers.length) : 0
  const moments = [
    ...legs.filter((leg) => leg.place === 'away' && leg.awayMs < graceMs).map((leg) => graceMs - leg.awayMs),
    ...behind.filter((leg) => leg.retryInMs > 0).map((leg) => leg.retryInMs),
  ]
  return {
    copy: copy.map((leg) => leg.extent), spares, occupied: keepers.map((leg) => leg.host), retire: [...doubles(legs), ...beside].map((leg) => leg.extent), release: [],
    againInMs: moments.length === 0 ? undefined : Math.max(1, Math.min(...moments)), why: reason(legs, source, graceMs), whole: false,
  }
}

const nearness: readonly LegPlace[] = ['here', 'leaving', 'away', 'lost']

/** Good legs beside a better placed good one on the same server: what replaced a leg there must not stand beside it. */
function doubles(legs: readonly RepairLeg[]): readonly RepairLeg[] {
  const good = legs.filter((leg) => leg.state === 'insync').sort((a, b) => nearness.indexOf(a.place) - nearness.indexOf(b.place) || a.slot - b.slot)
  return good.filter((leg, index) => good.findIndex((other) => other.host === leg.host) !== index)
}

/** Enough good legs stand: these serve, all others go. */
function surplus(legs: readonly RepairLeg[], kept: readonly RepairLeg[]): Omit<RepairPlan, 'calm'> {
  const others = legs.filter((leg) => !kept.includes(leg))
  assert(kept.length > 0, 'a segment keeps an in-sync leg')
  return {
    copy: [], spares: 0, occupied: [], againInMs: undefined, why: '', whole: true,
    retire: others.filter((leg) => leg.state === 'insync' || leg.state === 'syncing').map((leg) => leg.extent),
    release: others.filter((leg) => leg.state === 'stale' || leg.state === 'allocated').map((leg) => leg.extent),
  }
}

const preference: readonly LegState[] = ['insync', 'syncing', 'stale', 'allocated']

/** One leg of each server, for two of one server are lost together: the one that is nearest to being good, then the oldest. */
function onePerServer(legs: readonly RepairLeg[]): readonly RepairLeg[] {
  const ranked = [...legs].sort((a, b) => preference.indexOf(a.state) - preference.indexOf(b.state) || a.slot - b.slot)
  return ranked.filter((leg, index) => ranked.findIndex((other) => other.host === leg.host) === index)
}

function reason(legs: readonly RepairLeg[], source: boolean, graceMs: number): string {
  if (!source) {
    const holders = legs.filter((leg) => leg.state === 'insync').map((leg) => leg.host)
    return holders.length === 0 ? 'no leg is in sync' : `no in-sync leg can be reached: ${holders.join(', ')} ${holders.length === 1 ? 'is' : 'are'} away`
  }
  const waiting = legs.filter((leg) => leg.place === 'away' && leg.awayMs < graceMs)
  if (waiting.length > 0) return `waits ${Math.ceil(Math.max(...waiting.map((leg) => graceMs - leg.awayMs)) / 1000)} s more for ${waiting.map((leg) => leg.host).join(', ')} to come back`
  return ''
}
