/** What happens to the small world, event by event, and the laws that hold after each. */
import { assert, must } from '../../lib/assert.js'
import { headOf } from '../../manager/plan/exports.js'
import { Keeper } from './keeper.js'
import type { KeeperOptions } from './records.js'
import { BLOCKS } from './head.js'
import { World } from './world.js'

export interface LifeOptions extends KeeperOptions { readonly storage: number; readonly disks: number; readonly heads: number; readonly segments: number }

/** `n` chooses among whatever there is. */
export interface Event { readonly kind: EventKind; readonly n: number }

export const lifeOptions: LifeOptions = {
  storage: 4, disks: 2, heads: 2, segments: 2, redundancy: 2, graceMs: 60_000, room: 4, changes: true, limits: { perSourceDisk: 2, perServer: 4, perHead: 4, perCluster: 64 },
}

const actions = {
  'write': (life, n) => { life.head?.write(n % life.options.segments, Math.floor(n / 7) % BLOCKS) },
  'write that takes its time': (life, n) => { life.head?.write(n % life.options.segments, Math.floor(n / 7) % BLOCKS, n % 5) },
  'slow writes end': (life) => { for (const head of life.world.heads.values()) head.drain(true) },
  'a guest that was left behind writes': (life, n) => { for (const head of life.world.heads.values()) if (head !== life.head) head.write(n % life.options.segments, Math.floor(n / 7) % BLOCKS) },
  'flush': (life) => { life.head?.flush() },
  'copy a block': (life) => { for (const head of life.world.heads.values()) head.copyStep() },
  'server down': (life, n) => { life.world.down(life.storage(n)) },
  'server loses its power, and what its disks had in their caches': (life, n) => { life.world.down(life.storage(n), { cached: true }) },
  'server up': (life, n) => { life.world.up(life.storage(n)) },
  'server flaps': (life, n) => {
    life.world.down(life.storage(n))
    life.world.up(life.storage(n))
  },
  'server not heard': (life, n) => { life.world.host(life.storage(n)).control = false },
  'server heard': (life, n) => { life.world.host(life.storage(n)).control = true },
  'disk fails': (life, n) => { life.world.disk(life.diskAt(n)).working = false },
  'disk works again': (life, n) => { life.world.disk(life.diskAt(n)).working = true },
  'disk evacuated': (life, n) => { must(life.keeper.disks.get(life.diskAt(n)), 'it has a row').duty = 'evacuate' },
  'disk used again': (life, n) => { must(life.keeper.disks.get(life.diskAt(n)), 'it has a row').duty = 'use' },
  'server drained': (life, n) => { must(life.keeper.hosts.get(life.storage(n)), 'it has a row').duty = 'drain' },
  'server used again': (life, n) => { must(life.keeper.hosts.get(life.storage(n)), 'it has a row').duty = 'use' },
  'disk full': (life, n) => { life.keeper.full.add(life.diskAt(n)) },
  'disk has room': (life, n) => { life.keeper.full.delete(life.diskAt(n)) },
  'head down': (life, n) => { life.world.down(life.headAt(n)) },
  'head up': (life, n) => { life.world.up(life.headAt(n)) },
  'head not heard': (life, n) => { life.world.host(life.headAt(n)).control = false },
  'head heard': (life, n) => { life.world.host(life.headAt(n)).control = true },
  'attach': (life, n) => { life.keeper.attach(life.headAt(n)) },
  'detach': (life) => { life.keeper.detach() },
  'move': (life, n) => { life.keeper.moveTo(life.headAt(n)) },
  'heads make their checkpoints': (life) => { for (const head of life.world.heads.values()) head.checkpoint() },
  'head gives up what waits to be remembered': (life) => { life.head?.giveUpRemembering() },
  'agent of a head started anew': (life, n) => { life.world.head(life.headAt(n)).restartAgent() },
  'changes are remembered, or no longer': (life) => { life.keeper.remembering = !life.keeper.remembering },
  'an answer is lost': (life) => { life.keeper.deaf = true },
  'manager looks': (life) => { life.keeper.look() },
  'manager takes a turn': (life) => { life.keeper.turn() },
  'manager repairs': (life) => { life.keeper.repair() },
  'manager puts servers right': (life) => { life.keeper.putRight() },
  'manager makes spares': (life) => { life.keeper.makeSpares() },
  'manager started anew': (life) => { life.keeper.restart() },
  'a second passes': (life) => { life.world.now += 1000 },
  'ten seconds pass': (life) => { life.world.now += 10_000 },
  'the grace passes': (life) => { life.world.now += life.options.graceMs },
} as const satisfies Record<string, (life: Life, n: number) => void>

export type EventKind = keyof typeof actions
export const eventKinds = Object.keys(actions) as readonly EventKind[]

export class Life {
  readonly options: LifeOptions
  readonly world: World
  readonly keeper: Keeper

  constructor(options: Partial<LifeOptions> = {}) {
    this.options = { ...lifeOptions, ...options }
    this.world = new World(this.options)
    this.keeper = new Keeper(this.world, this.options)
    for (const head of this.world.heads.values()) {
      head.onAck = (segment) => { assert(head.name === this.keeper.volume.head, `${head.name} had a write to segment ${segment} acknowledged after it was shut out`) }
    }
  }

  /** The head that a guest is on. */
  get head(): ReturnType<World['head']> | undefined { return this.world.heads.get(this.keeper.volume.head) }
  storage(n: number): string { return `st${n % this.options.storage + 1}` }
  headAt(n: number): string { return `hd${n % this.options.heads + 1}` }
  diskAt(n: number): string { return must([...this.world.disks.keys()][n % this.world.disks.size], 'there are disks') }

  do(kind: EventKind, n = 0): this {
    const copied = this.#copiedDisks()
    actions[kind](this, n)
    this.keeper.hear()
    if (kind === 'manager repairs') this.#checkSchedule(copied)
    this.check()
    return this
  }

  all(...events: readonly (EventKind | readonly [kind: EventKind, n: number])[]): this {
    for (const event of events) typeof event === 'string' ? this.do(event) : this.do(...event)
    return this
  }

  /** Everything that can be asked of a manager, once, and a second. */
  round(): this {
    return this.all('a second passes', 'manager puts servers right', 'manager makes spares', 'manager looks', 'manager takes a turn', 'manager takes a turn', 'manager looks',
      'manager takes a turn', 'manager takes a turn', 'manager repairs', 'copy a block', 'heads make their checkpoints')
  }

  rounds(count: number): this {
    for (let at = 0; at < count; at += 1) this.round()
    return this
  }

  /** Every server answers, every disk works, is wanted and has room; then so many rounds. Gives how many it took to be whole. */
  heal(most = 60): number {
    for (const host of this.world.hosts.values()) {
      this.world.up(host.name)
      host.control = true
      must(this.keeper.hosts.get(host.name), 'it has a row').duty = 'use'
    }
    for (const disk of this.world.disks.values()) {
      disk.working = true
      must(this.keeper.disks.get(disk.id), 'it has a row').duty = 'use'
    }
    this.keeper.full.clear()
    for (const head of this.world.heads.values()) if (head.name !== this.keeper.volume.head) head.waiting = [] // guests of attachments that are over have ended
    this.keeper.hear()
    this.keeper.deaf = false
    this.do('slow writes end')
    for (let round = 0; round < most; round += 1) {
      if (this.unfinished() === '') return round
      this.round()
      if (round % 10 === 9) this.do('ten seconds pass')
    }
    assert(this.unfinished() === '', `it is whole within ${most} rounds: ${this.unfinished()}`)
    return most
  }

  /** What is left to do until all is whole; empty when nothing is. */
  unfinished(): string {
    const { volume, segments } = this.keeper
    if (volume.phase !== 'attached' && volume.phase !== 'detached') return `it is ${volume.phase}`
    if (volume.copyHead !== '') return 'a head copies it'
    for (const { index } of segments) {
      const legs = this.legs(index)
      const good = this.keeper.live(index).filter((extent) => extent.leg === 'insync')
      if (legs !== good.map((extent) => `${extent.disk} insync`).join() || new Set(good.map((extent) => extent.host)).size !== this.options.redundancy || good.length !== this.options.redundancy) return `segment ${index} has ${legs}`
    }
    if (this.keeper.extents.some((extent) => extent.state === 'dropping')) return 'extents are left to be removed'
    const seen = this.head?.seen()
    if (volume.phase === 'attached' && (seen?.layout !== volume.layout || (this.head?.waiting.length ?? 0) > 0)) return 'its head is behind, or writes wait'
    return ''
  }

  legs(segment: number): string {
    return this.keeper.live(segment).map((extent) => `${extent.disk} ${extent.leg}`).join()
  }

  // ---- the laws

  check(): void {
    const told = this.head?.seen()?.layout === this.keeper.volume.layout
    for (const { index } of this.keeper.segments) {
      const good = this.keeper.live(index).filter((extent) => extent.leg === 'insync')
      assert(good.length > 0, `segment ${index} has an in-sync leg`)
      for (const extent of good) assert(this.world.legs.has(extent.id), `the in-sync leg ${extent.disk} of segment ${index} exists`)
      this.#checkContents(index)
      this.#checkReads(index, told)
    }
  }

  /** No in-sync leg lacks a write that the guest flushed or, unless its server was just started anew, that was acknowledged. */
  #checkContents(segment: number): void {
    const [acked, flushed] = [must(this.world.acked[segment], 'one a segment'), must(this.world.flushed[segment], 'one a segment')]
    const known = this.keeper.live(segment).filter((extent) => extent.leg === 'insync' && !extent.doubt && this.#registered(extent.host))
    const contents = known.map((extent) => ({ disk: extent.disk, blocks: must(this.world.legs.get(extent.id), 'it exists').blocks }))
    for (let block = 0; block < BLOCKS; block += 1) {
      const least = this.cached ? flushed[block] : acked[block]
      for (const { disk, blocks } of contents) assert((blocks[block] ?? 0) >= (least ?? 0), `the in-sync leg ${disk} has block ${block} of segment ${segment} in version ${blocks[block]}, acknowledged is ${least}`)
      if (!this.#quiet() || this.head?.waiting.some((write) => write.segment === segment && write.block === block)) continue
      assert(new Set(contents.map(({ blocks }) => blocks[block])).size <= 1, `in-sync legs of segment ${segment} are equal, but block ${block} is ${contents.map(({ disk, blocks }) => `${blocks[block]} on ${disk}`).join(', ')}`)
    }
  }

  /** What may be lost with the power of a server. */
  cached = false

  #registered(host: string): boolean {
    return this.world.host(host).up && this.keeper.hosts.get(host)?.bootId === String(this.world.host(host).boot)
  }

  /** No head went down that the manager has not noticed. */
  #quiet(): boolean {
    const { phase, head, attachBoot } = this.keeper.volume
    return phase === 'detached' || (phase !== 'fencing' && this.world.host(head).up && attachBoot === String(this.world.host(head).boot))
  }

  #checkReads(segment: number, told: boolean): void {
    const { head } = this
    if (!head?.devices.has('top') || head.record?.attachEpoch !== this.keeper.volume.attachEpoch) return // one that was shut out may still read what nobody else believes
    for (const extent of head.readers(segment)) {
      const row = this.keeper.extents.find((each) => each.id === extent)
      if (this.cached && row?.leg === 'stale') continue // it was in doubt, and the head is told next
      const blocks = must(this.world.legs.get(extent), 'what is read exists').blocks
      const least = this.cached ? this.world.flushed[segment] : this.world.acked[segment]
      for (const [block, version] of blocks.entries()) assert(row?.doubt === true || !this.#registered(row?.host ?? '') || version >= (least?.[block] ?? 0), `a read of block ${block} of segment ${segment} from ${row?.disk} gives old data`)
      if (told) assert(row?.leg === 'insync', `a read of segment ${segment} comes from an in-sync leg, not from one that is ${row?.leg}`)
    }
  }

  #copiedDisks(): readonly string[] {
    return this.keeper.live().filter((extent) => extent.leg === 'syncing').map((extent) => extent.disk)
  }

  /** What the scheduler began keeps every limit; legs that are copied after the loss of a head are there before it. */
  #checkSchedule(before: readonly string[]): void {
    const { begun } = this.keeper
    if (begun.length === 0) return
    const to = begun.flatMap((wish) => wish.targets.map((target) => target.disk))
    assert(new Set(to).size === to.length && to.every((disk) => !before.includes(disk)), `never two copies write to one disk: ${before.join()} and ${to.join()}`)
    const running = this.keeper.segments.filter(({ index }) => this.keeper.live(index).some((extent) => extent.leg === 'syncing')).length
    assert(running <= this.options.limits.perCluster && running <= this.options.limits.perHead, `limits hold: ${running} copies on ${headOf(this.keeper.volume)}`)
  }
}
