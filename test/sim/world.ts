/** A whole cluster in one process: hosts, network, manager, guests, and the time that they share. Everything follows from the seed. */
import { createDice } from '../../tools/thrash/dice.js'
import type { Dice } from '../../tools/thrash/dice.js'
import { Admin } from './admin.js'
import { Timeline } from './clock.js'
import { Store } from './db.js'
import { Disk } from './disk.js'
import { Guest } from './guest.js'
import { History } from './history.js'
import { Host, dataAddress } from './host.js'
import { Manager } from './manager.js'
import { Network } from './network.js'
import { Transcript } from './record.js'

export interface WorldOptions {
  readonly seed: number
  readonly servers: number
  readonly heads: number
  readonly disksPerServer: number
  readonly diskBytes: number
  /** Size of a full segment. */
  readonly extentBytes: number
  readonly echo: boolean
}

export interface Volume {
  readonly name: string
  readonly id: string
  readonly bytes: number
  readonly redundancy: number
  readonly history: History
  readonly slots: readonly number[]
  guest: Guest | undefined
  /** Time at which the last flush that has ended began. */
  flushed: number
}

export class World {
  readonly options: WorldOptions
  readonly timeline = new Timeline()
  readonly dice: Dice
  readonly transcript: Transcript
  readonly network: Network
  readonly store: Store
  readonly manager: Manager
  readonly admin: Admin
  readonly hosts = new Map<string, Host>()
  readonly volumes = new Map<string, Volume>()
  readonly oldGuests: Guest[] = []
  /** `SERVER VOLUME`: its disks have lost something since the volume was last whole. */
  readonly rebooted = new Set<string>()
  /** Server → when its disks last lost their caches. */
  readonly cachesLost = new Map<string, number>()
  onAck: (volume: Volume, guest: Guest, slot: number, version: number) => void = () => undefined
  /** Promises of the world's own people, so that none is forgotten. */
  readonly #open = new Set<Promise<unknown>>()
  #made = 0

  static async make(options: WorldOptions): Promise<World> {
    return new World(options, await Store.make())
  }

  private constructor(options: WorldOptions, store: Store) {
    this.options = options
    this.store = store
    const { seed } = options
    this.dice = createDice(seed, 1)
    this.transcript = new Transcript(this.timeline, options.echo)
    const isUp = (name: string): boolean => name === 'mgr' || (this.hosts.get(name)?.up ?? false)
    this.network = new Network(this.timeline, createDice(seed, 2), isUp, (where, thrown) => {
      this.transcript.violate('no program error', `${where}: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`)
    })
    this.manager = new Manager({ seed, network: this.network, transcript: this.transcript, store, extentBytes: BigInt(options.extentBytes) })
    this.admin = new Admin(this.network)
    for (let at = 1; at <= options.servers; at += 1) this.#addHost(`st${at}`, 'storage', at)
    for (let at = 1; at <= options.heads; at += 1) this.#addHost(`hd${at}`, 'head', options.servers + at)
  }

  #addHost(name: string, role: 'storage' | 'head', number: number): void {
    const { seed, disksPerServer, diskBytes } = this.options
    const disks = Array.from({ length: role === 'storage' ? disksPerServer : 0 }, (_, at) => (
      new Disk(this.timeline, createDice(seed, 3, number, at), { kernel: `vd${String.fromCharCode(98 + at)}`, devno: `252:${16 * (at + 1)}`, bytes: diskBytes })))
    this.hosts.set(name, new Host({
      name, roles: [role], zone: '', address: `${name}:8882`, seed, number, network: this.network, transcript: this.transcript, disks,
      data: {
        server: (target) => {
          const host = this.hosts.get(target.slice(target.lastIndexOf('.') + 1))
          return host && { name: host.name, lio: host.boot?.lio }
        },
        passes: (from, to) => this.network.passes('data', from, to),
        delayMs: () => this.network.delayMs(),
      },
    }))
  }

  host(name: string): Host {
    const host = this.hosts.get(name)
    if (!host) throw new Error(`no host ${name}`)
    return host
  }

  get servers(): readonly Host[] { return [...this.hosts.values()].filter((host) => host.options.roles.includes('storage')) }
  get heads(): readonly Host[] { return [...this.hosts.values()].filter((host) => host.options.roles.includes('head')) }

  addressOf(host: Host): string { return dataAddress(host.options.number) }

  /** Links have changed: sessions look at what still passes. */
  networkChanged(): void {
    for (const host of this.hosts.values()) host.boot?.initiator.look()
  }

  /** Work of the world's own that goes on beside time. Its failure is the world's. */
  start(work: () => Promise<void>): void {
    const mine = work().catch((thrown: unknown) => {
      this.transcript.violate('the world works', thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown))
    }).finally(() => { this.#open.delete(mine) })
    this.#open.add(mine)
  }

  /** Lets time go on until `work` has ended; at most `limitMs`. */
  async during<T>(work: () => Promise<T>, limitMs = 600_000): Promise<T> {
    let outcome: { readonly value: T } | { readonly thrown: unknown } | undefined
    work().then((value) => { outcome = { value } }, (thrown: unknown) => { outcome = { thrown } })
    await this.timeline.run(this.timeline.now + limitMs, () => outcome !== undefined || this.transcript.violation !== undefined)
    if (this.transcript.violation) throw this.transcript.violation
    if (outcome === undefined) throw new Error(`not done within ${limitMs / 1000} s`)
    if ('thrown' in outcome) throw outcome.thrown
    return outcome.value
  }

  async run(ms: number, until: () => boolean = () => false): Promise<boolean> {
    const met = await this.timeline.run(this.timeline.now + ms, () => this.transcript.violation !== undefined || until())
    if (this.transcript.violation) throw this.transcript.violation
    return met
  }

  /** Hosts come up, register, and give their disks. */
  async begin(): Promise<void> {
    this.manager.start()
    for (const host of this.hosts.values()) host.powerOn()
    await this.run(30_000, () => this.store.read('select 1 from sqlite_master where name = \'hosts\'').length > 0 && this.store.read('select name from hosts').length === this.hosts.size)
    await this.run(3000)
    await this.during(async () => {
      await Promise.all(this.servers.flatMap((host) => host.disks.map((disk) => this.admin.ask('diskAdd', { host: host.name, device: `/dev/${disk.kernel}`, force: false }))))
    })
  }

  async createVolume({ bytes, redundancy }: { readonly bytes: number; readonly redundancy: number }): Promise<Volume> {
    this.#made += 1
    const name = `v${this.#made}`
    const dice = createDice(this.options.seed, 4, this.#made)
    const made = this.#made
    const { id } = await this.admin.ask('volumeCreate', { name, bytes: BigInt(bytes), redundancy })
    const count = Math.floor(bytes / 4096)
    const slots = [...new Set([0, count - 1, ...Array.from({ length: 14 }, () => dice.between(0, count - 1))])]
    const volume: Volume = { name, id, bytes, redundancy, history: new History(made * 1e9), slots, guest: undefined, flushed: 0 }
    this.volumes.set(name, volume)
    return volume
  }

  async attach(volume: Volume, head: Host, { fromDeadHost = false } = {}): Promise<void> {
    await this.admin.ask('volumeAttach', { volume: volume.name, host: head.name, ...fromDeadHost ? { fromDeadHost } : {} })
    this.startGuest(volume, head)
  }

  startGuest(volume: Volume, head: Host): void {
    this.#made += 1
    if (volume.guest) {
      volume.guest.shutOut = true
      this.oldGuests.push(volume.guest)
    }
    volume.guest = new Guest({
      volume: volume.name, id: volume.id, host: head, slots: volume.slots, history: volume.history, dice: createDice(this.options.seed, 5, this.#made), transcript: this.transcript, depth: 4, thinkMs: 60,
      onAck: (guest, slot, version) => { this.onAck(volume, guest, slot, version) },
      onFlush: (guest, began) => { if (guest === volume.guest) volume.flushed = Math.max(volume.flushed, began) },
    })
  }
}
