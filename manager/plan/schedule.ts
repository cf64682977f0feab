/**
 * Which copies may run now. Pure. Never two copies writing to one disk; limits for each source disk, server, head and the cluster;
 * those with the fewest good copies first, then the oldest. What runs keeps its place: a limit that was lowered is reached as copies end.
 * Copies that only make disks more equally full begin when there are no others, and give way to those that find no place.
 */
import type { CopyLimits } from '../state/settings.js'

export interface CopyWish {
  /** Names the segment. */
  readonly key: string
  readonly running: boolean
  /** Good copies now: with one, the next failure loses data. */
  readonly good: number
  /** Since when it has been waiting, epoch ms. */
  readonly since: number
  readonly source: { readonly disk: string; readonly host: string }
  readonly targets: readonly { readonly disk: string; readonly host: string }[]
  /** Which head copies; empty when none can. */
  readonly head: string
  /** Held by a person. */
  readonly paused: boolean
  /** Nothing is wrong with the segment: a leg of it would only stand better elsewhere. */
  readonly calm: boolean
}

export interface Schedule {
  readonly start: readonly string[]
  /** Why the others wait. */
  readonly hold: readonly { readonly key: string; readonly why: string }[]
  /** Calm ones that run and are to be taken back. */
  readonly giveWay: readonly string[]
}

const WRITERS_PER_DISK = 1

export function scheduleCopies(wishes: readonly CopyWish[], limits: CopyLimits): Schedule {
  const used = new Map<string, number>()
  const claims = (wish: CopyWish): readonly (readonly [key: string, limit: number, what: string])[] => [
    ...wish.targets.map((target) => [`to ${target.disk}`, WRITERS_PER_DISK, `another copy writes to the same disk of ${target.host}`] as const),
    [`from ${wish.source.disk}`, limits.perSourceDisk, `${limits.perSourceDisk} copies read from the same disk of ${wish.source.host}`],
    ...[...new Set([wish.source.host, ...wish.targets.map((target) => target.host)])].map((host) => [`server ${host}`, limits.perServer, `${limits.perServer} copies run on ${host}`] as const),
    [`head ${wish.head}`, limits.perHead, `${limits.perHead} copies run on head ${wish.head}`],
    ['cluster', limits.perCluster, `${limits.perCluster} copies run in the cluster`],
  ]
  const take = (wish: CopyWish): void => { for (const [key] of claims(wish)) used.set(key, (used.get(key) ?? 0) + 1) }
  for (const wish of wishes) if (wish.running) take(wish)
  const start: string[] = []
  const hold: { readonly key: string; readonly why: string }[] = []
  const urgent = wishes.some((wish) => !wish.calm && (wish.running || (!wish.paused && wish.head !== '')))
  let crowded = false
  for (const wish of wishes.filter((each) => !each.running).sort(urgency)) {
    const impossible = wish.paused ? 'paused' : wish.head === '' ? 'no head can copy it now: none is online, or its own is being told a new layout' : undefined
    const full = claims(wish).find(([key, limit]) => (used.get(key) ?? 0) >= limit)?.[2]
    const obstacle = impossible ?? (wish.calm && urgent ? 'repairs and evacuations come first' : full)
    if (obstacle !== undefined) {
      hold.push({ key: wish.key, why: obstacle })
      crowded ||= impossible === undefined && !wish.calm
    } else {
      take(wish)
      start.push(wish.key)
    }
  }
  return { start, hold, giveWay: crowded ? wishes.filter((wish) => wish.running && wish.calm).map((wish) => wish.key) : [] }
}

function urgency(a: CopyWish, b: CopyWish): number {
  return Number(a.calm) - Number(b.calm) || a.good - b.good || a.since - b.since || (a.key < b.key ? -1 : 1)
}
