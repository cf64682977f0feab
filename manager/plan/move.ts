/** What an evacuation would do, before anybody does it. Pure. */
import { placeLegs } from './place-legs.js'
import type { PlaceDisk } from './place-legs.js'
import { SparePlacer } from './place-spares.js'

export interface MovingLeg {
  readonly volume: string
  readonly segment: number
  readonly bytes: bigint
  /** Servers of the segment's other legs, which stay. */
  readonly others: readonly string[]
  /** Good copies among those. */
  readonly goodElsewhere: number
  /** More than one copy was asked for. */
  readonly redundant: boolean
}

export interface MovePlan {
  readonly legs: number
  readonly bytes: bigint
  readonly volumes: readonly string[]
  readonly atRisk: readonly string[]
  readonly targets: readonly { readonly host: string; readonly legs: number; readonly bytes: bigint }[]
  readonly problems: readonly string[]
  readonly seconds: number
}

/** Problems that are told disk by disk: what stands in the way of one leg mostly does of all. */
const EXPLAINED_MAX = 20

/** Of one target disk, bytes per second: what a plan assumes when nobody has measured. */
const DISK_RATE = 100n * 1024n * 1024n

/** `disks`: all that may take legs; those that are being emptied are not among them. `rate`: bytes per second of all copies together. */
export function planMove(legs: readonly MovingLeg[], disks: readonly PlaceDisk[], rate: bigint): MovePlan {
  const taken = new Map<string, bigint>()
  const hostOf = new Map(disks.map((disk) => [disk.id, disk.host]))
  const byHost = new Map<string, { legs: number; bytes: bigint }>()
  const problems: string[] = []
  const placer = new SparePlacer(disks)
  for (const leg of legs) {
    const others = new Set(leg.others)
    const [target] = placer.place(leg.bytes, 1, others) ?? []
    if (target === undefined) {
      problems.push(`segment ${leg.segment} of ${leg.volume}: ${problems.length < EXPLAINED_MAX ? whyNot(leg.bytes, others, disks, taken) : 'no disk can take it, as of those before'}`)
      continue
    }
    taken.set(target, (taken.get(target) ?? 0n) + leg.bytes)
    const host = hostOf.get(target) ?? ''
    const before = byHost.get(host) ?? { legs: 0, bytes: 0n }
    byHost.set(host, { legs: before.legs + 1, bytes: before.bytes + leg.bytes })
  }
  const bytes = legs.reduce((sum, leg) => sum + leg.bytes, 0n)
  return {
    legs: legs.length, bytes, volumes: [...new Set(legs.map((leg) => leg.volume))].sort(),
    atRisk: [...new Set(legs.filter((leg) => leg.redundant && leg.goodElsewhere === 0).map((leg) => leg.volume))].sort(),
    targets: [...byHost].map(([host, each]) => ({ host, ...each })).sort((a, b) => (a.host < b.host ? -1 : 1)), problems, seconds: secondsOf(bytes, taken.values(), rate),
  }
}

/** What stands in the way of a leg on each disk; `taken`: bytes given out meanwhile. */
function whyNot(bytes: bigint, others: ReadonlySet<string>, disks: readonly PlaceDisk[], taken: ReadonlyMap<string, bigint>): string {
  const placement = placeLegs({ segments: [bytes], redundancy: 1 }, disks.map((disk) => ({ ...disk, freeBytes: disk.freeBytes - (taken.get(disk.id) ?? 0n) })), others)
  return placement.kind === 'refused' ? placement.reason : 'no place'
}

/** How long it takes to copy so many bytes in all; `taken`: by target disk; `rate`: bytes per second of all copies together. */
export function secondsOf(bytes: bigint, taken: Iterable<bigint>, rate: bigint): number {
  let slowest = bytes / (rate > 0n ? rate : 1n)
  for (const each of taken) if (each / DISK_RATE > slowest) slowest = each / DISK_RATE
  return Number(slowest) + (bytes > 0n ? 1 : 0)
}
