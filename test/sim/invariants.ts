/**
 * The laws, looked at from outside: rows of the database as they were committed, and what disks, kernels and guests really have. Nothing
 * of the product's planners is used here; where they and this disagree, one of them is wrong.
 */
import type { Content } from './block.js'
import type { Disk } from './disk.js'
import { ScsiDisk } from './iscsi.js'
import { Lvm } from './lvm.js'
import type { Host } from './host.js'
import type { Guest } from './guest.js'
import type { Volume, World } from './world.js'

interface ExtentRow {
  readonly id: string
  readonly disk: string
  readonly host: string
  readonly volume: string
  readonly segment: number
  readonly leg: string
  readonly state: string
  readonly doubt: number
}

export interface SegmentRow { readonly volume: string; readonly idx: number; readonly first_byte: number; readonly bytes: number }
export interface VolumeRow { readonly id: string; readonly name: string; readonly phase: string; readonly head: string; readonly copy_head: string; readonly next_head: string; readonly redundancy: number }

const rows = <T>(world: World, sql: string, ...params: readonly (string | number)[]): readonly T[] => world.store.read(sql, params) as unknown as readonly T[]

export const extentRows = (world: World): readonly ExtentRow[] => rows(world, 'select id, disk, host, volume, segment, leg, state, doubt from extents order by volume, segment, slot')
export const volumeRows = (world: World): readonly VolumeRow[] => rows(world, 'select id, name, phase, head, copy_head, next_head, redundancy from volumes order by id')
export const segmentRows = (world: World, volume: string): readonly SegmentRow[] => rows(world, 'select volume, idx, first_byte, bytes from segments where volume = ? order by idx', volume)

/** The disk of an extent, and its logical volume on it. */
export function placeOf(world: World, extent: Pick<ExtentRow, 'id' | 'host' | 'disk'>): { readonly disk: Disk; readonly at: (slot: number) => number } | undefined {
  const disk = world.hosts.get(extent.host)?.disks.find((each) => each.vg?.name === `vsky_${extent.disk}`)
  const volume = disk?.vg?.volumes.get(extent.id)
  return disk && volume ? { disk, at: (slot) => Lvm.place(volume, slot) } : undefined
}

/** For so long after its disks lost their caches a server may not have been heard: then its legs are in doubt, or stale. */
const UNHEARD_MS = 30_000

export class Laws {
  readonly #world: World
  #legs = new Map<string, ExtentRow>()
  #phases = new Map<string, VolumeRow>()
  readonly #epochs = new Map<string, number>()
  readonly #watched = new WeakSet<object>()
  acked = 0

  constructor(world: World) {
    this.#world = world
    world.onAck = (volume, guest, slot, version) => { this.#onAck(volume, guest, slot, version) }
    world.store.onCommit = () => { this.#onCommit() }
  }

  #violate(law: string, text: string): void {
    this.#world.transcript.violate(law, text)
  }

  /** I1: what is acknowledged is on every leg that counts as in sync. */
  #onAck(volume: Volume, guest: Guest, slot: number, version: number): void {
    this.acked += 1
    if (guest.shutOut) this.#violate('I3 one writer', `${guest.options.host.name} had a write of ${volume.name} acknowledged after the volume was taken from it`)
    const { now } = this.#world.timeline
    const segment = segmentRows(this.#world, volume.id).find((each) => slot * 4096 >= each.first_byte && slot * 4096 < each.first_byte + each.bytes)
    if (!segment) return
    for (const extent of rows<ExtentRow>(this.#world, 'select id, disk, host, volume, segment, leg, state, doubt from extents where volume = ? and segment = ?', volume.id, segment.idx)) {
      if (extent.leg !== 'insync' || extent.state === 'dropping' || extent.doubt === 1 || now < (this.#world.cachesLost.get(extent.host) ?? -UNHEARD_MS) + UNHEARD_MS) continue
      const place = placeOf(this.#world, extent)
      const found = place?.disk.at(place.at(slot - segment.first_byte / 4096))
      if (found !== version) this.#violate('I1 acknowledged on every good leg', `block ${slot} of ${volume.name}: ${version} was acknowledged, the leg on ${extent.host} counts as in sync and has ${typeof found === 'number' ? found : 'nothing'}`)
    }
  }

  /** I2, I7: after each commit. */
  #onCommit(): void {
    if (!this.#began()) return
    const [legs, phases] = [new Map(extentRows(this.#world).map((extent) => [extent.id, extent])), new Map(volumeRows(this.#world).map((volume) => [volume.id, volume]))]
    const good = new Set([...legs.values()].filter((extent) => extent.leg === 'insync' && extent.state === 'ready').map((extent) => `${extent.volume} ${extent.segment}`))
    for (const volume of phases.values()) {
      if (volume.phase === 'creating') continue
      for (const segment of segmentRows(this.#world, volume.id)) if (!good.has(`${volume.id} ${segment.idx}`)) this.#violate('I2 the last good leg stays', `segment ${segment.idx} of ${volume.name} has no leg in sync`)
      const before = this.#phases.get(volume.id)
      if (volume.phase !== 'detached' || before?.phase !== 'detached' || volume.copy_head !== '' || before.copy_head !== '') continue
      for (const extent of legs.values()) {
        const still = [...legs.values()].filter((each) => each.volume === volume.id && each.segment === extent.segment && each.leg === 'insync' && each.state === 'ready').length
        if (extent.volume === volume.id && extent.leg === 'stale' && still < volume.redundancy && this.#legs.get(extent.id)?.leg === 'insync') this.#violate('I7 a detached volume does not go stale', `${volume.name}: the leg on ${extent.host}`)
      }
    }
    for (const extent of legs.values()) {
      const name = phases.get(extent.volume)?.name
      if (extent.leg === 'insync' && this.#legs.get(extent.id)?.leg === 'syncing' && name !== undefined) this.#world.rebooted.delete(`${extent.host} ${name}`)
    }
    this.#legs = legs
    this.#phases = phases
  }

  /** The tables are there. */
  #began(): boolean {
    return this.#world.store.read('select 1 from sqlite_master where name = \'jobs\'').length > 0
  }

  /** What can be seen at any moment. */
  look(): void {
    if (!this.#began()) return
    this.#watchNewVolumes()
    this.#oneWriter()
    this.#oneCopyADisk()
    this.#epochsRise()
  }

  /** I9 */
  #watchNewVolumes(): void {
    for (const host of this.#world.servers) {
      const { boot } = host
      if (!boot || this.#watched.has(boot)) continue
      this.#watched.add(boot)
      boot.lvm.onCreate = (disk, volume) => {
        if (volume.name === 'vsky_wipe') return
        for (const extent of volume.extents) {
          const [slot] = disk.used(extent * 1024, (extent + 1) * 1024)
          if (slot === undefined) continue
          this.#violate('I9 what is given out is zero', `extent ${volume.name} on ${host.name} has ${told(disk.at(slot))} at ${slot}`)
          return
        }
      }
    }
  }

  /**
   * I3: legs that count as in sync are open to one head at most of those that have anything of the volume up. (A server that was away while
   * a volume was let go lets the old head in again until it is put right: that one has nothing any more that could write.)
   */
  #oneWriter(): void {
    const open = new Map<string, Set<string>>()
    for (const host of this.#world.servers) {
      const lio = host.boot?.lio
      if (!lio) continue
      for (const [initiator, acl] of lio.acls) {
        for (const mapped of acl.mapped.values()) {
          const extent = this.#legs.get(lio.luns.get(mapped.lun ?? -1)?.extent ?? '')
          if (extent?.leg !== 'insync' || extent.state !== 'ready' || !this.#hasUp(initiator, extent.volume)) continue
          const key = `${extent.volume} ${extent.segment}`
          open.set(key, (open.get(key) ?? new Set()).add(initiator))
        }
      }
    }
    for (const [key, initiators] of open) if (initiators.size > 1) this.#violate('I3 one writer', `good legs of segment ${key} are open to ${[...initiators].sort().join(', ')}`)
  }

  #hasUp(initiator: string, volume: string): boolean {
    const boot = this.#world.hosts.get(initiator.slice(initiator.lastIndexOf('.') + 1))?.boot
    return boot !== undefined && [...boot.dm.devices.keys()].some((name) => name.startsWith(`vsky-${volume}`))
  }

  /** I12, of copies that were begun by choice: those after a head's loss begin all at once, whatever disks they write to, also in a segment to which another is chosen. */
  #oneCopyADisk(): void {
    const jobs = rows<{ about: string; segment: number; note: string }>(this.#world, 'select about, segment, note from jobs where kind = \'resync\' and state = \'running\'')
    const chosen = new Map(jobs.map(({ about, segment, note }) => [`vsky-${about}-s${segment}`, / to (.*), on /.exec(note)?.[1]?.split(', ') ?? []]))
    const copies = new Map<string, Set<string>>()
    for (const head of this.#world.heads) {
      for (const device of head.boot?.dm.devices.values() ?? []) {
        const hosts = chosen.get(device.name)
        if (!hosts) continue
        for (const target of device.live.flatMap((line) => line.target.copyingTo?.() ?? [])) {
          const leg = target instanceof ScsiDisk ? this.#legs.get(target.serial) : undefined
          if (leg && hosts.includes(leg.host)) copies.set(leg.disk, (copies.get(leg.disk) ?? new Set()).add(device.name))
        }
      }
    }
    for (const [disk, devices] of copies) if (devices.size > 1) this.#violate('I12 one copy to a disk', `${[...devices].sort().join(' and ')} are copied to disk ${disk}`)
  }

  /** I4: the highest epoch that a host has seen is never forgotten. */
  #epochsRise(): void {
    for (const host of this.#world.hosts.values()) {
      const file = host.files.look('/var/lib/vsky/epoch')
      if (file?.kind !== 'file') continue
      const epoch = Number(String(file.text).trim())
      if (epoch < (this.#epochs.get(host.name) ?? 0)) this.#violate('I4 epochs rise', `${host.name} had seen ${this.#epochs.get(host.name) ?? 0} and now knows ${epoch}`)
      this.#epochs.set(host.name, epoch)
    }
  }
}

/** Why the cluster is not yet as it should be, when nothing stands in its way; undefined when it is. */
export function notYetWhole(world: World): string | undefined {
  const volumes = volumeRows(world)
  const extents = extentRows(world)
  if (rows(world, 'select id from requests where state = \'open\'').length > 0) return 'a request is open'
  for (const volume of volumes) {
    if (volume.phase !== 'attached' && volume.phase !== 'detached') return `${volume.name} is ${volume.phase}`
    if (volume.copy_head !== '') return `${volume.name} is being copied`
    for (const segment of segmentRows(world, volume.id)) {
      const legs = extents.filter((extent) => extent.volume === volume.id && extent.segment === segment.idx && extent.state !== 'dropping')
      if (legs.length !== volume.redundancy || legs.some((leg) => leg.leg !== 'insync' || leg.doubt === 1)) return `segment ${segment.idx} of ${volume.name}: ${legs.map((leg) => `${leg.host} ${leg.leg}`).join(', ')}`
    }
  }
  const dropping = extents.find((extent) => extent.state !== 'ready')
  if (dropping) return `extent ${dropping.id} on ${dropping.host} is ${dropping.state}`
  for (const volume of world.volumes.values()) {
    const row = volumes.find((each) => each.id === volume.id)
    if (row?.phase === 'attached' && volume.guest?.running !== true) return `${volume.name} is attached to ${row.head}, and its guest does not find it`
  }
  return undefined
}

/** I8: legs of a volume that nobody writes to are equal, byte for byte. */
export function legsDiffer(world: World): string | undefined {
  const extents = extentRows(world)
  for (const volume of volumeRows(world)) {
    for (const segment of segmentRows(world, volume.id)) {
      const legs = extents.filter((extent) => extent.volume === volume.id && extent.segment === segment.idx && extent.leg === 'insync' && extent.state === 'ready')
      const [first, ...others] = legs.map((leg) => ({ leg, place: placeOf(world, leg) }))
      for (const other of others) {
        if (!first?.place || !other.place) return `segment ${segment.idx} of ${volume.name}: a leg has no logical volume`
        for (let slot = 0; slot < segment.bytes / 4096; slot += 1) {
          const [a, b] = [first.place.disk.at(first.place.at(slot)), other.place.disk.at(other.place.at(slot))]
          if (a !== b) return `block ${slot} of segment ${segment.idx} of ${volume.name}: ${told(a)} on ${first.leg.host}, ${told(b)} on ${other.leg.host}`
        }
      }
    }
  }
  return undefined
}

function told(content: Content): string {
  return typeof content === 'number' ? String(content) : 'what dm-era keeps'
}

/** What is left on hosts though no volume exists any more. */
export function leftovers(world: World): readonly string[] {
  return [...world.hosts.values()].flatMap((host) => leftOn(host).map((what) => `${host.name}: ${what}`))
}

function leftOn({ boot, disks, files }: Host): readonly string[] {
  if (!boot) return ['has no power']
  return [
    ...[...boot.dm.devices.keys()].filter((name) => name.startsWith('vsky-')).map((name) => `device ${name}`),
    ...[...boot.initiator.sessions.values()].map((session) => `session to ${session.target}`),
    ...[...boot.kernel.devices.keys()].filter((name) => /^(sd|loop)/.test(name)).map((name) => `disk ${name}`),
    ...[...boot.lio.luns.keys()].map((lun) => `LUN ${lun}`), ...[...boot.lio.acls.keys()].map((acl) => `ACL of ${acl}`), ...[...boot.lio.stores.keys()].map((store) => `backstore ${store}`),
    ...disks.flatMap((disk) => [...disk.vg?.volumes.keys() ?? []].map((name) => `logical volume ${name}`)),
    ...disks.filter((disk) => disk.used(0, disk.slots).next().done !== true).map((disk) => `bytes on ${disk.kernel}`),
    ...['/etc/iscsi/nodes/', '/run/vsky/', '/dev/vsky/', '/var/lib/vsky/volumes/'].flatMap((path) => files.under(path)).map((path) => `file ${path}`),
  ]
}
