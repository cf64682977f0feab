/** The rows of the small world's manager (keeper.ts), in memory, and its way to servers: what manager/store, manager/api/hosts and the host's turn do. */
import { assert, must } from '../../lib/assert.js'
import { limits } from '../../lib/model.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { OFFLINE_AFTER_MS } from '../../manager/health/presence.js'
import { settledEra } from '../../manager/plan/changed.js'
import { headOf, initiatorsOf } from '../../manager/plan/exports.js'
import type { PlaceDisk } from '../../manager/plan/place-legs.js'
import type { CopyLimits } from '../../manager/state/settings.js'
import type { VolumeFacts } from '../../manager/run/facts.js'
import { createSettled } from '../../manager/run/settled.js'
import { legAfter } from '../../manager/state/leg.js'
import type { LegEvent } from '../../manager/state/leg.js'
import type { DiskRow, ExtentRow, HostRow, SegmentRow, VolumeRow } from '../../manager/state/rows.js'
import { zeros } from './head.js'
import { emptyMemory } from './memory.js'
import type { World } from './world.js'

type Writable<T> = { -readonly [K in keyof T]: T[K] }

export const BYTES = 4n * 1024n * 1024n
/** Of an extent: each has room for what is remembered, though only those of segment 0 hold it. */
export const EXTENT_BYTES = BYTES + limits.changesBytes

export interface KeeperOptions { readonly redundancy: number; readonly graceMs: number; readonly limits: CopyLimits; /** Changes are remembered. */ readonly changes: boolean; /** Extents that a disk has room for. */ readonly room: number }

export class Records {
  readonly world: World
  readonly options: KeeperOptions
  readonly volume: Writable<VolumeRow>
  readonly segments: Writable<SegmentRow>[]
  extents: Writable<ExtentRow>[] = []
  readonly hosts = new Map<string, Writable<HostRow>>()
  readonly disks = new Map<string, Writable<DiskRow>>()
  /** Where nothing more fits, whatever the table says. */
  readonly full = new Set<string>()
  /** What a manager forgets when it is started anew. */
  protected seen = new Map<string, { readonly boot: string; readonly volume: VolumeSeen | undefined }>()
  /** Signs of life take no time here. */
  protected settled = createSettled(0)
  protected tell = false
  protected bans: ReadonlyMap<string, string> | undefined
  protected asked = false
  protected ids = 0
  /** The setting volume.changes. */
  remembering: boolean

  constructor(world: World, options: KeeperOptions) {
    this.world = world
    this.options = options
    this.remembering = options.changes
    for (const { name } of world.hosts.values()) {
      this.hosts.set(name, {
        name, roles: [name.startsWith('hd') ? 'head' : 'storage'], zone: '', address: '10.0.0.1', dataAddresses: ['10.0.0.1'], initiator: name, version: '', bootId: '1', incarnation: '1', chapUser: name, chapPassword: 'secretsecret', duty: 'use',
      })
    }
    for (const { id, host } of world.disks.values()) {
      this.disks.set(id, { id, host, device: id, state: 'ready', problem: '', bytes: EXTENT_BYTES * BigInt(options.room), cleanBytes: 0n, force: false, usedBytes: 0n, extents: 0, duty: 'use', readErrors: 0 })
    }
    this.segments = world.acked.map((_, index) => ({ volume: 'v', index, offset: BYTES * BigInt(index), bytes: BYTES, generation: 1 }))
    this.volume = {
      id: 'v', name: 'v', bytes: BYTES * BigInt(this.segments.length), redundancy: options.redundancy, phase: 'detached', head: '', attachEpoch: 0, attachBoot: '', device: '', problem: '', createdAt: 0, layout: 1, copyHead: '', copyBoot: '', nextHead: '', remembers: false, settled: 0, sinceBirth: true,
    }
    for (const segment of this.segments.keys()) for (const disk of this.#emptiest(options.redundancy)) this.addExtent(segment, disk)
    for (const extent of this.extents) {
      this.make(extent)
      extent.leg = legAfter(extent.leg, 'made')
    }
  }

  /** Where the first legs go, by name where disks are equal, so that a story knows its servers; where spares go is the product's choice. */
  #emptiest(count: number): readonly string[] {
    const chosen: PlaceDisk[] = []
    const order = [...this.places()].sort((a, b) => Number(b.freeBytes - a.freeBytes) || (a.id < b.id ? -1 : 1))
    for (const disk of order) if (chosen.length < count && disk.freeBytes >= EXTENT_BYTES && !chosen.some((other) => other.host === disk.host)) chosen.push(disk)
    assert(chosen.length === count, 'there is room for the volume')
    return chosen.map((disk) => disk.id)
  }

  // ---- rows

  live(segment?: number): Writable<ExtentRow>[] {
    return this.extents.filter((extent) => extent.state !== 'dropping' && (segment === undefined || extent.segment === segment))
  }

  extent(id: string): Writable<ExtentRow> { return must(this.extents.find((each) => each.id === id), 'it has a row') }
  online(name: string): boolean { return this.world.now - this.world.host(name).heardMs <= OFFLINE_AFTER_MS }
  facts(): VolumeFacts { return { volume: this.volume, segments: this.segments, extents: this.live(), hosts: this.hosts, waitSeconds: 0 } }
  protected head(): HostRow { return must(this.hosts.get(headOf(this.volume)), 'its head is known') }

  protected setLeg(id: string, event: LegEvent): void {
    const extent = this.extent(id)
    const was = extent.leg
    extent.leg = legAfter(was, event)
    extent.staleSince = extent.leg === 'stale' ? this.world.now : 0
    if (extent.leg === 'insync') extent.since = 0
    assert(was !== 'insync' || this.live(extent.segment).some((each) => each.leg === 'insync'), `the last in-sync leg of segment ${extent.segment} is never given up (${event})`)
  }

  protected raise(segment: number): void {
    must(this.segments[segment], 'it exists').generation += 1
    this.volume.layout += 1
  }

  /** What a leg lacks that is in sync until now (manager/run/loss.ts, sinceNow). */
  protected sinceNow(): number {
    const seen = this.seen.get(headOf(this.volume))
    const there = seen?.boot === this.volume.attachBoot && seen.volume?.attachEpoch === this.volume.attachEpoch ? seen.volume : undefined
    return settledEra(this.volume, there)
  }

  protected forgetChanges(): void {
    Object.assign(this.volume, { settled: 0, sinceBirth: false })
    for (const extent of this.extents) extent.since = 0
  }

  protected drop(id: string): void {
    const extent = this.extent(id)
    assert(extent.leg === 'stale' || extent.leg === 'allocated', `a leg that is ${extent.leg} is not dropped`)
    extent.state = 'dropping'
  }

  protected addExtent(segment: number, disk: string, since = 0): void {
    this.ids += 1
    this.extents.push({
      id: this.ids.toString(16).padStart(32, '0'), disk, host: this.world.disk(disk).host, volume: 'v', segment, slot: Math.max(-1, ...this.live(segment).map((each) => each.slot)) + 1, bytes: EXTENT_BYTES, lun: 0, state: 'planned', leg: 'allocated', staleSince: 0, retryAt: 0, since, doubt: false, moving: false,
    })
  }

  protected make(extent: Writable<ExtentRow>): void {
    extent.state = 'ready'
    this.world.legs.set(extent.id, { disk: extent.disk, blocks: zeros(), safe: zeros(), memory: emptyMemory, safeMemory: emptyMemory, admits: '' })
  }

  protected places(): readonly PlaceDisk[] {
    return [...this.disks.values()].map((disk) => ({
      id: disk.id, host: disk.host, zone: '', state: disk.state, online: this.online(disk.host), duty: this.hosts.get(disk.host)?.duty === 'drain' ? 'drain' : disk.duty, bytes: disk.bytes, label: disk.id,
      freeBytes: this.full.has(disk.id) ? 0n : disk.bytes - EXTENT_BYTES * BigInt(this.extents.filter((each) => each.disk === disk.id).length),
    }))
  }

  // ---- what comes in

  /** Heartbeats; one of a host that was started anew registers it (manager/api/hosts.ts). */
  hear(): void {
    for (const host of this.world.hosts.values()) {
      const row = must(this.hosts.get(host.name), 'it is known')
      if (!host.up || !host.control) continue
      const heardMs = host.heardMs
      host.heardMs = this.world.now
      if (row.bootId === String(host.boot)) continue
      row.bootId = String(host.boot)
      if (this.volume.phase !== 'detached' || this.volume.copyHead !== '') for (const each of this.live()) if (each.host === host.name && (each.leg === 'insync' || each.leg === 'syncing')) this.#doubt(each, heardMs)
    }
  }

  #doubt(extent: Writable<ExtentRow>, heardMs: number): void {
    const { settled, attachEpoch, attachBoot } = this.volume
    const since = settled === 0 ? 0 : this.settled.before('v', attachEpoch, attachBoot, heardMs)
    if (extent.leg === 'insync') extent.since = extent.doubt ? Math.min(extent.since, since) : since
    extent.doubt = true
  }

  protected clearDoubts(): void {
    for (const extent of this.live().filter((each) => each.doubt)) Object.assign(extent, { doubt: false, ...(extent.leg === 'insync' ? { since: 0 } : {}) })
  }

  /** Looks at the head (manager/run/host-turn.ts, headTurn). */
  look(): void {
    const name = headOf(this.volume)
    const head = this.world.heads.get(name)
    if (!head || !this.world.answers(name)) return
    const [boot, volume] = [String(this.world.host(name).boot), head.seen()]
    this.seen.set(name, { boot, volume })
    if (volume) this.settled.note(boot, [volume], this.world.now)
  }

  restart(): void {
    this.seen = new Map()
    this.settled = createSettled(0)
    this.tell = false
    this.bans = undefined
    for (const host of this.world.hosts.values()) host.heardMs = this.world.now // presumed alive for now
  }

  // ---- servers

  protected push(host: string): boolean {
    if (!this.world.answers(host)) return false
    for (const extent of this.live().filter((each) => each.host === host)) {
      const leg = this.world.legs.get(extent.id)
      if (leg) leg.admits = initiatorsOf(this.volume, extent, this.hosts.get(headOf(this.volume))?.initiator)[0] ?? ''
    }
    return true
  }

  protected pushAll(): void { for (const host of new Set(this.live().map((each) => each.host))) if (this.online(host)) this.push(host) }

  /** Puts servers right: disks, exports, tombstones (manager/run/host-turn.ts). */
  putRight(): void {
    for (const { name } of this.hosts.values()) {
      if (!this.online(name) || !this.push(name)) continue
      if (headOf(this.volume) !== name || this.volume.phase === 'fencing') this.world.heads.get(name)?.detach() // what is left of an attachment that is over
      for (const disk of [...this.disks.values()].filter((each) => each.host === name)) disk.state = this.world.disk(disk.id).working ? 'ready' : 'failed'
      for (const extent of this.extents.filter((each) => each.host === name && each.state === 'dropping' && this.disks.get(each.disk)?.state === 'ready')) {
        this.world.legs.delete(extent.id)
        this.extents = this.extents.filter((each) => each !== extent)
      }
    }
  }

  makeSpares(): void {
    for (const extent of this.live().filter((each) => each.state === 'planned' && this.world.answers(each.host))) {
      if (this.world.disk(extent.disk).working) this.make(extent)
      else this.drop(extent.id)
      this.push(extent.host)
    }
  }
}
