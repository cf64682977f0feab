/**
 * Which disk each leg goes to. Pure: the same disks and wish give the same answer, and a "no" says why, disk by disk. Rules: no two
 * legs of a segment on one storage server, ever; no two in one zone, unless too few zones have room, or the volume would not fit
 * otherwise; and among what is allowed, the disks with the largest free share, so that all fill, and rebuild, together.
 *
 * Disks that are about equally full are taken in an order that is drawn anew for each wish. Were it by name, the same disks would be
 * each other's partners in segment after segment, and the loss of one would be read from those few alone.
 */
import type { DiskState } from '../../lib/model.js'
import { blend, draw, hashOf } from './draw.js'

export interface PlaceDisk {
  readonly id: string
  readonly host: string
  /** Empty: the host is its own failure domain. */
  readonly zone: string
  readonly state: DiskState
  readonly online: boolean
  /** Nothing new goes to a disk that is evacuated or failed, or whose server is. */
  readonly duty: string
  /** Up to 2^53, as the database keeps sizes; so are `freeBytes` and what is wished for. */
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

/** Chooses disks for all legs of a new volume, or for further legs of segments that have legs on the servers in `occupied` already. */
export function placeLegs(wish: PlaceWish, disks: readonly PlaceDisk[], occupied: ReadonlySet<string> = new Set()): Placement {
  return new Placer(disks).place(wish, occupied)
}

/**
 * Disks that differ by less than this part of the smallest one count as equally full. More: new legs, and spares above all, come to more
 * disks at once; less: the disks are more alike.
 */
const ALIKE = 1 / 100

interface Zone {
  /** Legs that the segment at hand has there. */
  used: number
}

interface Room {
  readonly id: string
  readonly bytes: number
  readonly hash: number
  free: number
  /** What was free when the wish came, and the legs of the wish that it got since. */
  before: number
  legs: number
  /** Free share, as the even spread sees it. */
  share: number
}

interface Server {
  readonly host: string
  zoneName: string
  zone: Zone
  readonly rooms: Room[]
  /** The disk that would get the next leg, if one has room. */
  best: Room | undefined
  /** Legs of the size at hand that it has room for, on all its disks. */
  left: number
  /** Which server comes first: more is better. `second` decides between equal ones. */
  first: number
  second: number
  chosen: boolean
}

interface Strategy {
  readonly zones: boolean
  /** Which disk of a server: more is better. */
  readonly disk: (room: Room) => number
  readonly server: (server: Server, best: Room) => readonly [first: number, second: number]
}

const evenly: Strategy = { zones: true, disk: (room) => room.share, server: (_, best) => [best.share, 0] }
/** Leaves the most servers with room for what is still to come, so it may find a place for legs of unequal sizes where the even spread has none. */
const roomiest: Strategy = { zones: true, disk: (room) => room.free, server: (server, best) => [server.left, best.free] }

interface Wanted {
  readonly sizes: readonly number[]
  readonly redundancy: number
  readonly servers: readonly Server[]
}

type Attempt = Extract<Placement, { kind: 'placed' }> | { readonly kind: 'failed'; readonly why: string }

/** Answers one wish after the other; what it has placed is taken for all later ones. Made once for many: making it looks at every disk. */
export class Placer {
  readonly #disks: readonly PlaceDisk[]
  readonly #hosts = new Map<string, Server>()
  /** Those with a usable disk. */
  readonly #servers: readonly Server[]

  constructor(disks: readonly PlaceDisk[]) {
    this.#disks = disks
    for (const disk of disks) {
      let server = this.#hosts.get(disk.host)
      if (!server) this.#hosts.set(disk.host, server = { host: disk.host, zoneName: disk.zone, zone: { used: 0 }, rooms: [], best: undefined, left: 0, first: 0, second: 0, chosen: false })
      else if (disk.zone > server.zoneName) server.zoneName = disk.zone // one zone a server, whatever is said
      if (unusable(disk) !== undefined) continue
      const free = Number(disk.freeBytes)
      server.rooms.push({ id: disk.id, bytes: Math.max(1, Number(disk.bytes)), hash: hashOf(disk.id), free, before: free, legs: 0, share: 0 })
    }
    const zones = new Map<string, Zone>()
    for (const server of this.#hosts.values()) {
      if (server.zoneName === '') continue
      const known = zones.get(server.zoneName)
      if (known) server.zone = known
      else zones.set(server.zoneName, server.zone)
    }
    this.#servers = [...this.#hosts.values()].filter((server) => server.rooms.length > 0)
  }

  /** A refusal leaves everything as it was. */
  place(wish: PlaceWish, occupied: ReadonlySet<string> = new Set()): Placement {
    const servers = occupied.size === 0 ? this.#servers : this.#servers.filter((server) => !occupied.has(server.host))
    if (servers.length < wish.redundancy) return { kind: 'refused', why: 'too few servers', reason: this.#tooFew(wish, servers, occupied) }
    const wanted: Wanted = { sizes: wish.segments.map(Number), redundancy: wish.redundancy, servers }
    for (const host of occupied) this.#use(host, 1)
    try {
      // Where all legs are of one size the first try finds a way if there is one; else the others may.
      const alike = new Set(wanted.sizes).size <= 1
      const tries = alike ? [evenly] : [evenly, roomiest, { ...evenly, zones: false }, { ...roomiest, zones: false }]
      let failed = ''
      for (const strategy of tries) {
        const tried = attempt(wanted, strategy)
        if (tried.kind === 'placed') return tried
        failed ||= tried.why
      }
      return { kind: 'refused', why: 'no room', reason: this.#noRoom(wish, servers, occupied, failed) }
    } finally {
      for (const host of occupied) this.#use(host, -1)
    }
  }

  #use(host: string, by: 1 | -1): void {
    const server = this.#hosts.get(host)
    if (server) server.zone.used += by
  }

  #tooFew(wish: PlaceWish, servers: readonly Server[], occupied: ReadonlySet<string>): string {
    const names = servers.map((server) => server.host).sort()
    return `${wish.redundancy} legs need as many storage servers with a usable disk; there ${
      names.length === 1 ? 'is 1' : `are ${names.length}`}${names.length === 0 ? '' : ` (${names.join(', ')})`}${this.#objections(occupied)}`
  }

  #noRoom(wish: PlaceWish, servers: readonly Server[], occupied: ReadonlySet<string>, why: string): string {
    let room = 0n
    for (const server of servers) for (const { free } of server.rooms) room += BigInt(free)
    const needed = wish.segments.reduce((sum, size) => sum + size, 0n) * BigInt(wish.redundancy)
    return `needed: ${needed} bytes as ${wish.segments.length} × ${wish.redundancy} extents, each leg of a segment on another server; free: ${
      room} bytes on ${servers.length} servers; ${why}${this.#objections(occupied)}`
  }

  #objections(occupied: ReadonlySet<string>): string {
    const said = this.#disks.map((disk) => ({ disk, objection: unusable(disk) ?? (occupied.has(disk.host) ? 'its server has a leg already' : undefined) })).filter(({ objection }) => objection !== undefined)
    if (said.length === 0) return ''
    const shown = said.slice(0, 8).map(({ disk, objection }) => `${disk.label}: ${objection}`)
    return `; not usable: ${shown.join(', ')}${said.length > 8 ? ` and ${said.length - 8} more` : ''}`
  }
}

/** Why nothing new goes to a disk; undefined: it may. */
export function unusable(disk: PlaceDisk): string | undefined {
  if (disk.state !== 'ready') return disk.state
  if (!disk.online) return 'its server is offline'
  if (disk.duty !== 'use') return disk.duty
  return undefined
}

/** Places segment by segment; when one finds no place, all that it took is given back. */
function attempt({ sizes, redundancy, servers }: Wanted, strategy: Strategy): Attempt {
  const drawn = shuffle(servers, sizes)
  const toCome = new Map<number, number>()
  for (const size of sizes) toCome.set(size, (toCome.get(size) ?? 0) + 1)
  const taken: { readonly room: Room; readonly size: number }[] = []
  const legs: (readonly string[])[] = []
  let fitted = -1
  for (const [segment, size] of sizes.entries()) {
    if (size !== fitted) for (const server of servers) fit(server, size, strategy)
    fitted = size
    const alike = toCome.get(size) ?? 1
    const chosen = choose({ servers, redundancy, alike, zones: strategy.zones })
    if (chosen.kind === 'failed') {
      for (const { room, size: bytes } of taken) room.free += bytes
      return { kind: 'failed', why: `segment ${segment} ${chosen.why} ${size} bytes free` }
    }
    toCome.set(size, alike - 1)
    legs.push(chosen.rooms.map(({ server, room }) => {
      take(room, size, drawn)
      server.left -= 1
      prefer(server, size, strategy)
      taken.push({ room, size })
      return room.id
    }))
  }
  return { kind: 'placed', legs }
}

interface Drawn {
  readonly seed: number
  /** What a leg weighs in the even spread, bytes: no less than itself, and enough to mix disks that are about equally full. */
  readonly weight: number
}

/** Begins a wish: what is free now is what its legs are weighed against. The seed is the state of all disks, in whatever order they come. */
function shuffle(servers: readonly Server[], sizes: readonly number[]): Drawn {
  let [seed, smallest] = [0, Infinity]
  for (const server of servers) {
    for (const room of server.rooms) {
      seed = (seed + blend(room.hash, room.free)) >>> 0
      smallest = Math.min(smallest, room.bytes)
    }
  }
  const drawn = { seed, weight: Math.max(smallest * ALIKE, ...sizes) }
  for (const server of servers) {
    for (const room of server.rooms) {
      room.before = room.free
      room.legs = 0
      weigh(room, drawn)
    }
  }
  return drawn
}

/** The drawn part is less than a leg, so that no disk of equal ones gets a second leg before all have one. */
function weigh(room: Room, { seed, weight }: Drawn): void {
  room.share = (room.before - weight * (room.legs + draw(seed, room.hash, room.legs))) / room.bytes
}

function take(room: Room, size: number, drawn: Drawn): void {
  room.free -= size
  room.legs += 1
  weigh(room, drawn)
}

function fit(server: Server, size: number, strategy: Strategy): void {
  server.left = 0
  for (const { free } of server.rooms) server.left += (free - free % size) / size
  prefer(server, size, strategy)
}

function prefer(server: Server, size: number, strategy: Strategy): void {
  let best: Room | undefined
  let most = 0
  for (const room of server.rooms) {
    if (room.free < size) continue
    const good = strategy.disk(room)
    if (best && (good < most || (good === most && room.id > best.id))) continue
    best = room
    most = good
  }
  server.best = best
  if (best) [server.first, server.second] = strategy.server(server, best)
}

interface Choice {
  readonly servers: readonly Server[]
  readonly redundancy: number
  /** Segments of this size that are still to be placed, this one among them. */
  readonly alike: number
  readonly zones: boolean
}

/**
 * Servers for one segment, each from the zone that has the fewest legs of it. Not into a corner: n segments of r legs can be placed when the
 * servers, each counted with no more than n legs, have room for n·r. A server with room for n loses one of them in each segment whether it
 * is chosen or not, so at most as many of those may be left out as there is room to spare; where it comes to that, they are chosen first.
 */
function choose({ servers, redundancy, alike, zones }: Choice): { readonly kind: 'chosen'; readonly rooms: readonly { readonly server: Server; readonly room: Room }[] } | { readonly kind: 'failed'; readonly why: string } {
  let [seats, full, found] = [0, 0, 0]
  for (const { left } of servers) {
    if (left > 0) found += 1
    if (left >= alike) full += 1
    seats += Math.min(left, alike)
  }
  if (found < redundancy) return { kind: 'failed', why: `finds ${found} of ${redundancy} servers with a disk that has` }
  const spare = seats - alike * redundancy
  if (spare < 0) return { kind: 'failed', why: `and those after it find ${seats} of ${alike * redundancy} places, one of each segment on a server, that have` }
  const rooms: { readonly server: Server; readonly room: Room }[] = []
  while (rooms.length < redundancy) {
    const least = full - spare > rooms.length ? alike : 1
    let next: Server | undefined
    for (const server of servers) if (!server.chosen && server.left >= least && (next === undefined || isBetter(server, next, zones))) next = server
    if (!next?.best) break
    next.chosen = true
    next.zone.used += 1
    rooms.push({ server: next, room: next.best })
  }
  for (const { server } of rooms) {
    server.chosen = false
    server.zone.used -= 1
  }
  return { kind: 'chosen', rooms }
}

function isBetter(a: Server, b: Server, zones: boolean): boolean {
  if (zones && a.zone.used !== b.zone.used) return a.zone.used < b.zone.used
  if (a.first !== b.first) return a.first > b.first
  if (a.second !== b.second) return a.second > b.second
  return (a.best?.id ?? '') < (b.best?.id ?? '')
}
