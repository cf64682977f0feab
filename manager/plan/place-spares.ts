/**
 * New legs for segments that lack some: one or two each, and for tens of thousands of segments at once when a server is lost. Pure. The rules
 * are those of place-legs.ts: never two legs of a segment on one server, the zones with the fewest legs of it first, and then the disks with
 * the largest free share. But what a leg costs does not grow with the cluster: disks stand in steps of free share, and of those in the highest
 * step that has one that fits, one is drawn.
 */
import { blend, hashOf } from './draw.js'
import { unusable } from './place-legs.js'
import type { PlaceDisk } from './place-legs.js'

/** Steps from empty to full: disks of one step count as equally full. */
const STEPS = 200

interface Zone {
  /** Legs that the segment at hand has there. */
  used: number
}

interface Server {
  zone: Zone
  zoneName: string
  /** It has a leg of the segment at hand. */
  taken: boolean
}

interface Room {
  readonly id: string
  readonly bytes: number
  readonly server: Server
  free: number
  /** Where it stands. */
  step: number
  at: number
}

/** Answers one segment after the other; what it has given out is taken for all later ones. */
export class SparePlacer {
  readonly #servers = new Map<string, Server>()
  readonly #rooms = new Map<string, Room>()
  /** By step of free share; within one in no order that means anything. */
  readonly #steps: Room[][] = Array.from({ length: STEPS + 1 }, () => [])
  readonly #seed: number
  #draws = 0

  constructor(disks: readonly PlaceDisk[]) {
    const zones = new Map<string, Zone>()
    let seed = 0
    for (const disk of disks) {
      let server = this.#servers.get(disk.host)
      if (!server) this.#servers.set(disk.host, server = { zone: { used: 0 }, zoneName: '', taken: false })
      if (disk.zone > server.zoneName) server.zoneName = disk.zone // one zone a server, whatever is said
      if (unusable(disk) !== undefined) continue
      const room: Room = { id: disk.id, bytes: Math.max(1, Number(disk.bytes)), server, free: Number(disk.freeBytes), step: 0, at: 0 }
      this.#rooms.set(disk.id, room)
      this.#stand(room)
      seed = (seed + blend(hashOf(disk.id), room.free)) >>> 0
    }
    for (const server of this.#servers.values()) {
      if (server.zoneName === '') continue
      const known = zones.get(server.zoneName)
      if (known) server.zone = known
      else zones.set(server.zoneName, server.zone)
    }
    this.#seed = seed
  }

  /** Disks for `count` more legs of a segment that has legs on the servers in `occupied`; undefined, and nothing taken, when there are not so many. */
  place(bytes: bigint, count: number, occupied: ReadonlySet<string>): readonly string[] | undefined {
    const size = Number(bytes)
    const chosen: Room[] = []
    const marked: Server[] = []
    const mark = (server: Server): void => {
      if (server.taken) return
      server.taken = true
      server.zone.used += 1
      marked.push(server)
    }
    for (const host of occupied) {
      const server = this.#servers.get(host)
      if (server) mark(server)
    }
    const most = marked.length + count
    while (chosen.length < count) {
      const room = this.#find(size, most)
      if (!room) break
      mark(room.server)
      chosen.push(room)
    }
    for (const server of marked) {
      server.taken = false
      server.zone.used -= 1
    }
    if (chosen.length < count) return undefined
    for (const room of chosen) this.#take(room, size)
    return chosen.map((room) => room.id)
  }

  /** Somebody else has given a leg out. */
  take(disk: string, bytes: bigint): void {
    const room = this.#rooms.get(disk)
    if (room) this.#take(room, Number(bytes))
  }

  #take(room: Room, size: number): void {
    room.free -= size
    this.#stand(room)
  }

  /** In the zones that are used the least, `most` being the most that one can be. */
  #find(size: number, most: number): Room | undefined {
    this.#draws += 1
    const lot = blend(this.#seed, this.#draws)
    let [best, uses] = [undefined as Room | undefined, most + 1]
    for (let step = STEPS; step >= 0; step -= 1) {
      const rooms = this.#steps[step] ?? []
      const from = rooms.length === 0 ? 0 : lot % rooms.length
      for (let turn = 0; turn < rooms.length; turn += 1) {
        const room = rooms[(from + turn) % rooms.length]
        if (!room || room.free < size || room.server.taken || room.server.zone.used >= uses) continue
        if (room.server.zone.used === 0) return room
        best = room
        uses = room.server.zone.used
      }
    }
    return best
  }

  /** Puts a room where its free share belongs. */
  #stand(room: Room): void {
    const step = Math.max(0, Math.min(STEPS, Math.floor(room.free / room.bytes * STEPS)))
    const before = this.#steps[room.step]
    if (before?.[room.at] === room) {
      if (step === room.step) return
      const last = before.pop()
      if (last && last !== room) {
        before[room.at] = last
        last.at = room.at
      }
    }
    const now = this.#steps[step] ?? []
    room.step = step
    room.at = now.length
    now.push(room)
  }
}
