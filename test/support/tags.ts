/**
 * A small cluster for the rebuild: one volume of one segment, its rows as the manager writes them, the notes on its extents as late as they may
 * be, what heads remember, and, for the law alone, what is really on each leg. Each step of an event is followed by a look (`each`).
 */
import { must } from '../../lib/assert.js'
import type { Observation, Recollection } from '../../lib/wire/agent.js'
import { formatNote, noteOf } from '../../manager/plan/leg-note.js'
import type { HostTold } from '../../manager/plan/rebuild.js'
import type { ExtentRow, SegmentRow, VolumeRow } from '../../manager/state/rows.js'

type Writable<T> = { -readonly [K in keyof T]: T[K] }
type Memory = Recollection['volumes'][number]

interface Server { up: boolean; boot: number; readonly notes: Map<string, string>; readonly leaving: Set<string> }
interface Head { up: boolean; boot: number; record: Memory | undefined; table: readonly string[] }
/** What is on a leg: how many acknowledged writes, how many of them surely on the disk, and what of unacknowledged ones. */
interface Content { writes: number; safe: number; torn: string }

export const VOLUME = 'a'.repeat(32)
const BYTES = 64n * 1024n * 1024n

export class Tags {
  readonly volume: Writable<VolumeRow> = {
    id: VOLUME, name: 'v', bytes: BYTES, redundancy: 3, phase: 'detached', head: '', attachEpoch: 0, attachBoot: '', device: '', problem: '', createdAt: 0, layout: 1, copyHead: '', copyBoot: '', nextHead: '', remembers: false, settled: 0, sinceBirth: true,
  }
  readonly segment: Writable<SegmentRow> = { volume: VOLUME, index: 0, offset: 0n, bytes: BYTES, generation: 1 }
  extents: Writable<ExtentRow>[] = []
  readonly servers = new Map<string, Server>()
  readonly heads = new Map<string, Head>()
  readonly contents = new Map<string, Content>()
  acked = 0
  #made = 0
  readonly #each: () => void

  constructor(legs: number, each: () => void) {
    this.#each = each
    for (const name of ['s1', 's2', 's3', 's4', 's5']) this.servers.set(name, { up: true, boot: 1, notes: new Map(), leaving: new Set() })
    for (const name of ['h1', 'h2']) this.heads.set(name, { up: true, boot: 1, record: undefined, table: [] })
    for (const name of [...this.servers.keys()].slice(0, legs)) this.#add(name)
    for (const name of this.servers.keys()) this.push(name)
    for (const extent of this.extents) Object.assign(extent, { leg: 'insync', state: 'ready' })
  }

  #add(host: string): Writable<ExtentRow> {
    this.#made += 1
    const id = this.#made.toString(16).padStart(8, '0') + 'e'.repeat(24)
    const extent: Writable<ExtentRow> = { id, disk: host.padStart(32, '0').replaceAll('s', 'd'), host, volume: VOLUME, segment: 0, slot: this.#made, bytes: BYTES, lun: this.#made, state: 'planned', leg: 'allocated', staleSince: 0, retryAt: 0, since: 0, doubt: false, moving: false }
    this.extents.push(extent)
    this.contents.set(id, { writes: 0, safe: 0, torn: '' })
    return extent
  }

  server(name: string): Server { return must(this.servers.get(name), 'a server') }
  content(id: string): Content { return must(this.contents.get(id), 'a leg') }
  live(): Writable<ExtentRow>[] { return this.extents.filter((each) => each.state !== 'dropping') }
  good(): Writable<ExtentRow>[] { return this.live().filter((each) => each.leg === 'insync') }
  #holder(): Head | undefined { return this.heads.get(this.volume.head) }
  #up(extent: ExtentRow): boolean { return this.server(extent.host).up }

  /** As an order to a server: the tags of all its extents. */
  push(name: string): boolean {
    const server = this.server(name)
    if (!server.up) return false
    for (const extent of this.live().filter((each) => each.host === name)) {
      if (!server.leaving.has(extent.id)) server.notes.set(extent.id, formatNote(noteOf(this.volume, this.segment, extent, { segments: 1, legs: this.live(), bootId: String(server.boot) })))
    }
    return true
  }

  #stale(extents: readonly Writable<ExtentRow>[]): void {
    this.segment.generation += 1
    for (const extent of extents) Object.assign(extent, { leg: 'stale', doubt: false })
    this.volume.layout += 1
    this.#each()
  }

  /** The head gets the layout that the rows have: it is remembered before it is used. */
  #order(head: Head): void {
    const legs = this.live().filter((each) => each.leg === 'insync' || each.leg === 'syncing').map((each) => ({ extent: each.id, host: each.host, state: each.leg }))
    head.record = { volume: VOLUME, name: 'v', attachEpoch: this.volume.attachEpoch, layout: this.volume.layout, scope: 'whole', bytes: BYTES, remembers: false, segments: [{ index: 0, generation: this.segment.generation, bytes: BYTES, legs }] }
    this.#each()
    head.table = legs.map((each) => each.extent)
    this.#each()
  }

  // ---- what happens

  attach(name: string): void {
    const head = must(this.heads.get(name), 'a head')
    if (this.volume.phase !== 'detached' || !head.up) return
    Object.assign(this.volume, { phase: 'attaching', head: name, attachEpoch: this.volume.attachEpoch + 1, attachBoot: String(head.boot) })
    this.#each()
    const lost = this.good().filter((extent) => !this.push(extent.host))
    this.#each()
    if (lost.length === this.good().length) {
      Object.assign(this.volume, { phase: 'detached', head: '' })
      return
    }
    if (lost.length > 0) this.#stale(lost)
    this.#order(head)
    this.volume.phase = 'attached'
    this.#each()
  }

  write(): void {
    const head = this.#holder()
    if (this.volume.phase !== 'attached' || !head?.up || head.table.length === 0 || head.record?.attachEpoch !== this.volume.attachEpoch) return
    const legs = head.table.map((id) => this.extents.find((each) => each.id === id))
    if (legs.some((leg) => !leg || !this.#up(leg))) return // held
    this.acked += 1
    for (const id of head.table) Object.assign(this.content(id), { writes: this.content(id).writes === this.acked - 1 ? this.acked : this.content(id).writes, torn: '' })
    this.#each()
  }

  /** Its legs that nobody reaches are left behind. */
  loss(): void {
    const head = this.#holder()
    const lost = this.live().filter((each) => (each.leg === 'insync' || each.leg === 'syncing') && !this.#up(each))
    if (this.volume.phase !== 'attached' || !head?.up || lost.length === 0 || this.good().every((each) => lost.includes(each))) return
    this.#stale(lost)
    this.#order(head)
  }

  detach(): void {
    const head = this.#holder()
    if (this.volume.phase !== 'attached' || !head?.up || head.table.some((id) => !this.#up(must(this.extents.find((each) => each.id === id), 'a leg')))) return
    const confirmed = this.good().filter((each) => this.push(each.host))
    this.#each()
    if (confirmed.length === 0) return
    for (const id of head.table) this.content(id).safe = this.content(id).writes
    Object.assign(head, { record: undefined, table: [] })
    this.#each()
    for (const each of this.live().filter((leg) => leg.leg === 'syncing')) each.leg = 'stale'
    Object.assign(this.volume, { phase: 'detached', head: '' })
    this.#each()
  }

  crash(torn: number): void {
    const head = this.#holder()
    if (this.volume.phase !== 'attached' || !head?.up) return
    for (const [at, id] of head.table.entries()) if ((torn >> at) % 2 === 1) this.content(id).torn = `torn ${this.acked}`
    head.boot += 1
    head.table = []
    this.#each()
    const source = this.good().find((each) => this.#up(each)) ?? must(this.good()[0], 'the last good leg is never given up')
    this.segment.generation += 1
    for (const each of this.good()) if (each !== source) each.leg = 'syncing'
    this.volume.layout += 1
    this.volume.attachBoot = String(head.boot)
    this.#each()
    if (!this.#up(source)) return
    this.#order(head)
    this.copied()
  }

  /** Copies under way come to their end. */
  copied(): void {
    const head = this.#holder()
    const source = this.good().find((each) => this.#up(each))
    const targets = this.live().filter((each) => each.leg === 'syncing' && this.#up(each))
    if (this.volume.phase !== 'attached' || !head?.up || !source || targets.length === 0 || head.table.length === 0 || targets.some((each) => !head.table.includes(each.id))) return
    for (const each of targets) this.contents.set(each.id, { ...this.content(source.id), safe: this.content(source.id).writes })
    for (const each of targets) each.leg = 'insync'
    this.volume.layout += 1
    this.#each()
    this.#order(head)
  }

  /** A leg that is behind is copied to: by its head, or while nobody has it by some other. */
  copy(pick: number): void {
    const stale = this.live().filter((each) => (each.leg === 'stale' || each.leg === 'allocated') && each.state === 'ready' && this.#up(each))
    const target = stale[pick % Math.max(1, stale.length)]
    const source = this.good().find((each) => this.#up(each))
    const head = this.#holder()
    if (!target || !source) return
    if (this.volume.phase === 'attached' && head?.up === true && head.table.length > 0) {
      target.leg = 'syncing'
      this.volume.layout += 1
      this.#each()
      this.push(target.host) // its server lets the head in
      this.#each()
      this.#order(head)
      this.copied()
    } else if (this.volume.phase === 'detached') {
      this.volume.attachEpoch += 1
      target.leg = 'syncing'
      this.#each()
      for (const name of new Set([target, source].map((each) => each.host))) this.push(name)
      this.#each()
      this.contents.set(target.id, { ...this.content(source.id), safe: this.content(source.id).writes })
      target.leg = 'insync'
      this.#each()
    }
  }

  spare(pick: number): void {
    const free = [...this.servers].filter(([name, server]) => server.up && !this.extents.some((each) => each.host === name))
    const [name] = free[pick % Math.max(1, free.length)] ?? []
    if (name === undefined) return
    const extent = this.#add(name)
    this.push(name)
    extent.state = 'ready'
    this.#each()
  }

  /** A leg is no longer needed: stale, let go by its head, overwritten, removed. */
  drop(pick: number): void {
    const extent = this.live()[pick % Math.max(1, this.live().length)]
    const head = this.#holder()
    if (!extent || extent.state !== 'ready' || extent.leg === 'syncing' || (this.volume.phase !== 'detached' && !(this.volume.phase === 'attached' && head?.up === true && head.table.length > 0))) return
    if (extent.leg === 'insync') {
      if (this.good().length < 2) return
      this.#stale([extent])
      if (head) this.#order(head)
    }
    extent.state = 'dropping'
    this.#each()
    this.removing()
  }

  /** Servers overwrite and remove what was given up. */
  removing(): void {
    for (const extent of this.extents.filter((each) => each.state === 'dropping' && this.#up(each))) {
      this.server(extent.host).leaving.add(extent.id)
      this.#each()
      this.contents.set(extent.id, { writes: -1, safe: -1, torn: 'zeros' })
      this.#each()
      this.server(extent.host).notes.delete(extent.id)
      this.extents = this.extents.filter((each) => each !== extent)
      this.#each()
    }
  }

  down(name: string): void {
    this.server(name).up = false
    this.#each()
  }

  /** It comes back; after a power failure without what its disks had in their caches, which the manager hears and judges. */
  back(name: string, power: boolean): void {
    const server = this.server(name)
    if (server.up) return
    server.up = true
    const mine = this.live().filter((each) => each.host === name && (each.leg === 'insync' || each.leg === 'syncing'))
    if (!power) {
      this.#each()
      return
    }
    server.boot += 1
    for (const each of mine) if (this.volume.phase !== 'detached') this.content(each.id).writes = Math.min(this.content(each.id).writes, this.content(each.id).safe)
    this.#each()
    if (this.volume.phase === 'detached') return
    for (const each of mine) each.doubt = true
    this.#each()
    const head = this.#holder()
    if (this.volume.phase !== 'attached' || !head?.up || head.table.length === 0) return
    const doubted = mine.filter((each) => each.doubt)
    if (this.good().some((each) => !each.doubt)) this.#stale(doubted)
    else {
      // Only one is left, and it is the truth from now on.
      this.segment.generation += 1
      const [source, ...others] = this.good()
      for (const each of others) each.leg = 'stale'
      if (source) {
        source.doubt = false
        this.acked = this.content(source.id).writes
      }
      this.volume.layout += 1
      this.#each()
    }
    for (const each of this.live()) each.doubt = false
    this.#order(head)
  }

  /** Its head does not answer any more and is shut out. */
  fence(): void {
    const head = this.#holder()
    if (this.volume.phase !== 'attached' || !head) return
    const confirmed = this.good().filter((each) => this.#up(each) && !each.doubt)
    const [source] = confirmed
    if (!source) return
    head.up = false
    this.volume.phase = 'fencing'
    this.#each()
    head.table = [] // whatever it still writes, no confirmed leg takes it, so nothing is acknowledged
    const others = this.live().filter((each) => each !== source && each.leg !== 'allocated')
    this.#stale(others)
    Object.assign(this.volume, { phase: 'detached', head: '', attachEpoch: this.volume.attachEpoch + 1 })
    this.#each()
  }

  /** A head that was shut out is heard again: what it has of an attachment that is over is taken away. */
  takeAway(): void {
    for (const head of this.heads.values()) {
      if (head.up) continue
      head.up = true
      this.#each()
      if (!head.record || head.record.attachEpoch === this.volume.attachEpoch) continue
      const confirmed = this.good().filter((each) => this.push(each.host))
      this.#each()
      if (confirmed.length > 0) head.record = undefined
      this.#each()
    }
  }

  // ---- what a new manager is told

  told(answers: (host: string) => boolean): readonly HostTold[] {
    const seen = (host: string, boot: number, more: Partial<Observation>): Observation => ({ host, bootId: String(boot), incarnation: 'i', epoch: 1, disks: [], extents: [], volumes: [], foreign: [], ...more })
    const recalled = (name: string, role: 'storage' | 'head', volumes: readonly Memory[]): Recollection => ({ name, roles: [role], zone: '', dataAddresses: [], initiator: `iqn.x:${name}`, version: '', volumes })
    const storage = [...this.servers].filter(([name]) => answers(name)).map(([name, server]): HostTold => ({
      address: `${name}:1`, recalled: recalled(name, 'storage', []),
      seen: seen(name, server.boot, {
        extents: [...server.notes].map(([id, note]) => ({ extent: id, disk: name.padStart(32, '0').replaceAll('s', 'd'), volume: VOLUME, segment: 0, generation: 0, bytes: BYTES, lun: -1, initiators: [], note, ...(server.leaving.has(id) ? { leaving: true } : {}) })),
      }),
    }))
    const heads = [...this.heads].filter(([name]) => answers(name)).map(([name, head]): HostTold => ({
      address: `${name}:1`, recalled: recalled(name, 'head', head.record ? [head.record] : []),
      seen: seen(name, head.boot, head.record && head.table.length > 0 ? { volumes: [{ volume: VOLUME, name: 'v', attachEpoch: head.record.attachEpoch, layout: head.record.layout, scope: 'whole', state: 'up', device: '', opens: 0, segments: [], waiting: false, unreachable: [] }] } : {}),
    }))
    return [...storage, ...heads]
  }
}
