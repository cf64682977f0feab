/**
 * Which disk each leg goes to. Pure: the same disks and wish give the same answer, and a "no" says why, disk by disk. Rules: no two
 * legs of a segment on one storage server; where enough zones have room, no two in one zone; and among what is allowed, the
 * server and disk with the largest free share, so that all disks fill, and rebuild, together.
 */
import type { DiskState } from '../../lib/model.js'

export interface PlaceDisk {
  readonly id: string
  readonly host: string
  /** Empty: the host is its own failure domain. */
  readonly zone: string
  readonly state: DiskState
  readonly online: boolean
  /** Nothing new goes to a disk that is evacuated or failed, or whose server is. */
  readonly duty: string
  readonly bytes: bigint
  readonly freeBytes: bigint
  /** For people. */
  readonly label: string
}

export interface PlaceWish {
  /** Bytes of each leg, segment by segment. */
  readonly segments: readonly bigint[]
  /** Legs of each segment, 1 to 9. */
  readonly redundancy: number
}

export type Placement =
  /** The disk ids of each segment's legs. */
  | { readonly kind: 'placed'; readonly legs: readonly (readonly string[])[] }
  | { readonly kind: 'refused'; readonly why: 'too few servers' | 'no room'; readonly reason: string }

interface Room {
  readonly disk: PlaceDisk
  free: bigint
}

/** Chooses disks for all legs of a new volume, or for further legs of segments that have legs on the servers in `occupied` already. */
export function placeLegs(wish: PlaceWish, disks: readonly PlaceDisk[], occupied: ReadonlySet<string> = new Set()): Placement {
  const objections = disks.map((disk) => ({ disk, objection: unusable(disk) ?? (occupied.has(disk.host) ? 'its server has a leg already' : undefined) })).filter((each) => each.objection !== undefined)
  const usable = disks.filter((disk) => unusable(disk) === undefined && !occupied.has(disk.host))
  const servers = new Set(usable.map((disk) => disk.host))
  if (servers.size < wish.redundancy) {
    return { kind: 'refused', why: 'too few servers', reason: `${wish.redundancy} legs need as many storage servers with a usable disk; there ${
      servers.size === 1 ? 'is 1' : `are ${servers.size}`}${servers.size === 0 ? '' : ` (${[...servers].sort().join(', ')})`}${tell(objections)}` }
  }
  const zonesUsed = [...occupied].map((host) => zoneName(disks.find((disk) => disk.host === host) ?? { zone: '', host }))
  // The even spread can run into a corner that taking the server with the most room left avoids, so a "no" is only given after both.
  const tries = [evenly, roomiest].map((strategy) => attempt(wish, usable, zonesUsed, strategy))
  const placed = tries.find((each) => each.kind === 'placed')
  if (placed) return placed
  const failed = tries.find((each) => each.kind === 'failed')
  const room = usable.reduce((sum, disk) => sum + disk.freeBytes, 0n)
  const needed = wish.segments.reduce((sum, size) => sum + size, 0n) * BigInt(wish.redundancy)
  return { kind: 'refused', why: 'no room', reason: `needed: ${needed} bytes as ${wish.segments.length} × ${wish.redundancy} extents, each leg of a segment on another server; free: ${
    room} bytes on ${servers.size} servers; ${failed?.kind === 'failed' ? `segment ${failed.segment} finds ${failed.found} of ${wish.redundancy} servers with a disk that has ${failed.bytes} bytes free` : ''}${tell(objections)}` }
}

function unusable(disk: PlaceDisk): string | undefined {
  if (disk.state !== 'ready') return disk.state
  if (!disk.online) return 'its server is offline'
  if (disk.duty !== 'use') return disk.duty
  return undefined
}

function tell(objections: readonly { disk: PlaceDisk; objection: string | undefined }[]): string {
  if (objections.length === 0) return ''
  const shown = objections.slice(0, 8).map(({ disk, objection }) => `${disk.label}: ${objection}`)
  return `; not usable: ${shown.join(', ')}${objections.length > 8 ? ` and ${objections.length - 8} more` : ''}`
}

type Order = (a: Room, b: Room) => number

interface Strategy {
  /** Which disk of a server. */
  readonly disks: Order
  /** Which servers, given how many legs of this size each still has room for. */
  readonly servers: (legsLeft: (host: string) => bigint) => Order
}

const evenly: Strategy = { disks: freeShare, servers: () => freeShare }
/** Always taking the servers with the most room left finds a placement whenever there is one (equal legs, no zones). */
const roomiest: Strategy = {
  disks: freeBytes,
  servers: (legsLeft) => (a, b) => {
    const [left, right] = [legsLeft(a.disk.host), legsLeft(b.disk.host)]
    return left === right ? freeBytes(a, b) : left > right ? -1 : 1
  },
}
type Attempt = Extract<Placement, { kind: 'placed' }> | { readonly kind: 'failed'; readonly segment: number; readonly found: number; readonly bytes: bigint }

function attempt(wish: PlaceWish, usable: readonly PlaceDisk[], zonesUsed: readonly string[], strategy: Strategy): Attempt {
  const rooms: readonly Room[] = usable.map((disk) => ({ disk, free: disk.freeBytes }))
  const legs: (readonly string[])[] = []
  for (const [segment, size] of wish.segments.entries()) {
    const best = bestPerServer(rooms, size, strategy)
    const chosen = spreadOverZones(best, wish.redundancy, zonesUsed)
    if (chosen.length < wish.redundancy) return { kind: 'failed', segment, found: chosen.length, bytes: size }
    for (const room of chosen) room.free -= size
    legs.push(chosen.map((room) => room.disk.id))
  }
  return { kind: 'placed', legs }
}

function bestPerServer(rooms: readonly Room[], size: bigint, strategy: Strategy): readonly Room[] {
  const best = new Map<string, Room>()
  const legsLeft = new Map<string, bigint>()
  for (const room of rooms) {
    if (room.free < size) continue
    legsLeft.set(room.disk.host, (legsLeft.get(room.disk.host) ?? 0n) + room.free / size)
    const known = best.get(room.disk.host)
    if (!known || strategy.disks(room, known) < 0) best.set(room.disk.host, room)
  }
  return [...best.values()].sort(strategy.servers((host) => legsLeft.get(host) ?? 0n))
}

function zoneName({ zone, host }: Pick<PlaceDisk, 'zone' | 'host'>): string {
  return zone === '' ? `host ${host}` : `zone ${zone}`
}

/** Takes zone by zone, the best server of each, until there are enough: zones repeat only when all have been used equally often. */
function spreadOverZones(candidates: readonly Room[], count: number, zonesUsed: readonly string[]): readonly Room[] {
  const used = new Map<string, number>()
  for (const zone of zonesUsed) used.set(zone, (used.get(zone) ?? 0) + 1)
  const zoneOf = (room: Room): string => zoneName(room.disk)
  const rest = [...candidates]
  const chosen: Room[] = []
  while (chosen.length < count && rest.length > 0) {
    const least = Math.min(...rest.map((room) => used.get(zoneOf(room)) ?? 0))
    const at = rest.findIndex((room) => (used.get(zoneOf(room)) ?? 0) === least)
    const [room] = rest.splice(at, 1)
    if (!room) break
    used.set(zoneOf(room), least + 1)
    chosen.push(room)
  }
  return chosen
}

/** Largest free share first; ties by most bytes, then by id. Shares are compared without division, so without rounding. */
function freeShare(a: Room, b: Room): number {
  const left = a.free * b.disk.bytes
  const right = b.free * a.disk.bytes
  return left === right ? freeBytes(a, b) : left > right ? -1 : 1
}

function freeBytes(a: Room, b: Room): number {
  if (a.free !== b.free) return a.free > b.free ? -1 : 1
  return a.disk.id < b.disk.id ? -1 : 1
}
