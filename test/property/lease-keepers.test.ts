/** The keepers and the agents' epochs themselves, on a clock that is turned: what lease-sim.test.ts does with their decisions alone, in fewer seeds. */
import { expect } from 'chai'
import { openEpochs } from '../../agent/core/epoch.js'
import type { Epochs } from '../../agent/core/epoch.js'
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import { createKeeper } from '../../manager/lease/keeper.js'
import type { Held } from '../../manager/lease/keeper.js'
import type { LeaseStore, Term } from '../../manager/lease/store.js'
import { leaseTimes, sameRecord } from '../../manager/lease/timeline.js'
import type { LeaseRecord } from '../../manager/lease/timeline.js'
import { EpochLost } from '../../manager/store/store.js'
import { createDice } from '../support/lease-dice.js'
import type { Dice } from '../support/lease-dice.js'
import { TurnedClock } from '../support/turned-clock.js'

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent }
const forever = new Promise<never>(() => undefined)
const times = leaseTimes(3000)

/** A process: its clock stands still while it is stopped, and nothing of it goes on when it is dead. */
class Manager implements Clock {
  dead = false
  stoppedUntil = 0
  guardedUntil = 0
  readonly name: string
  readonly world: TurnedClock
  readonly rate: number
  constructor(name: string, world: TurnedClock, rate: number) {
    this.name = name
    this.world = world
    this.rate = rate
  }

  nowMs(): number { return this.monoMs() }
  monoMs(): number { return this.world.monoMs() * this.rate }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await this.world.sleep(ms / this.rate, signal)
    await this.awake()
  }
  async awake(): Promise<void> {
    while (this.world.monoMs() < this.stoppedUntil) await this.world.sleep(this.stoppedUntil - this.world.monoMs())
    if (this.dead) await forever
  }
}

class World {
  readonly clock = new TurnedClock()
  readonly violations: string[] = []
  readonly managers: Manager[] = []
  terms = 0
  effects = 0
  #record: LeaseRecord | undefined
  #awayUntil = 0
  #newest = 0
  #healed = false
  readonly #newestAt: number[] = [0, 0]
  #agents: readonly Epochs[] = []
  readonly #stopping = new AbortController()
  #made = 0

  readonly dice: Dice
  constructor(dice: Dice) { this.dice = dice }

  async run(): Promise<void> {
    this.#agents = await Promise.all([0, 1].map(() => openEpochs({ load: () => Promise.resolve(0), save: () => this.clock.sleep(5) })))
    for (const name of ['m1', 'm2', 'm3']) this.#start(name)
    void this.#watchdogs()
    for (let ms = 0; ms < 40_000; ms += 1500) {
      this.#fault()
      await this.clock.turn(1500)
    }
    this.#healed = true
    for (const each of this.managers) each.stoppedUntil = 0
    const before = this.effects
    await this.clock.turn(20_000)
    if (this.effects === before) this.violations.push('nobody works though nothing stands in the way any more')
    this.#stopping.abort()
    for (const each of this.managers) each.dead = true
    await this.clock.turn(20_000)
  }

  #fault(): void {
    const victim = this.dice.one(this.managers)
    const forMs = this.dice.unit() * this.dice.one([1000, 4000, 10_000])
    const kind = this.dice.below(4)
    if (kind === 0) this.#awayUntil = this.clock.monoMs() + forMs
    else if (kind === 1 && victim) victim.stoppedUntil = this.clock.monoMs() + forMs
    else if (kind === 2 && victim) this.#end(victim)
  }

  async #watchdogs(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      for (const each of [...this.managers]) if (each.guardedUntil !== 0 && this.clock.monoMs() >= each.stoppedUntil && each.monoMs() > each.guardedUntil) this.#end(each)
      await this.clock.sleep(20 + this.dice.unit() * 80)
    }
  }

  #start(name: string): void {
    const manager = new Manager(name, this.clock, 1 + (this.dice.unit() - 0.5) / 50)
    this.managers.push(manager)
    const keeper = createKeeper({
      store: this.#storeFor(manager), times, self: { name, address: '' }, lock: { place: () => Promise.resolve(''), release: () => Promise.resolve() }, clock: manager, log: silent,
      random: { hex: () => `i${this.#made += 1}`, unit: () => this.dice.unit() }, watchdog: { guard: (until) => { manager.guardedUntil = until }, rest: () => { manager.guardedUntil = 0 } },
    })
    keeper.acquire(this.#stopping.signal).then((held) => this.#lead(manager, held))
      .catch((thrown: unknown) => { if (!(thrown instanceof EpochLost) && !this.#stopping.signal.aborted) this.violations.push(messageOf(thrown)) })
  }

  #end(manager: Manager): void {
    if (manager.dead) return
    manager.dead = true
    this.managers.splice(this.managers.indexOf(manager), 1)
    void this.clock.sleep(500).then(() => { if (!this.#stopping.signal.aborted) this.#start(manager.name) })
  }

  /** There and back, each way with its delay, or never. */
  async #travel(): Promise<void> {
    await this.clock.sleep(this.#healed || this.dice.chance(0.9) ? 1 + this.dice.unit() * 20 : this.dice.unit() * 5000)
    if (!this.#healed && this.dice.chance(0.05)) await forever
  }

  #storeFor(manager: Manager): LeaseStore {
    const ask = async <T>(act: () => T): Promise<T> => {
      await this.#travel()
      if (!this.#healed && this.clock.monoMs() < this.#awayUntil) throw new Error('the store is away')
      const answer = act()
      await this.#travel()
      await manager.awake()
      return answer
    }
    const mine = ({ epoch, incarnation }: Term): LeaseRecord | undefined => (this.#record?.epoch === epoch && this.#record.incarnation === incarnation ? this.#record : undefined)
    const change = (term: Term, to: (record: LeaseRecord) => LeaseRecord): boolean => {
      const record = mine(term)
      if (record) this.#record = to(record)
      return record !== undefined
    }
    return {
      read: () => ask(() => this.#record),
      take: (seen, record) => ask(() => {
        if (!sameRecord(this.#record, seen)) return false
        this.#record = record
        return true
      }),
      beat: (term) => ask(() => change(term, (record) => ({ ...record, beat: record.beat + 1 }))),
      release: (term, next) => ask(() => change(term, (record) => ({ ...record, released: true, next }))),
      close: () => Promise.resolve(),
    }
  }

  async #lead(manager: Manager, held: Held): Promise<void> {
    this.terms += 1
    void held.lost.then(() => { this.#end(manager) })
    const fenced = new Set<number>()
    for (const [index, agent] of this.#agents.entries()) {
      void this.#travel().then(() => agent.fence(held.epoch, 60_000)).then(() => { fenced.add(index) }, () => undefined)
    }
    for (;;) {
      await held.open('begin')
      await manager.awake()
      await this.clock.sleep(1 + this.dice.unit() * 20)
      if (this.#record?.epoch !== held.epoch) return this.#end(manager) // a change of state proves its epoch where it is made
      this.#note(held.epoch, 'the store', this.#newest)
      this.#newest = held.epoch
      await held.open('effect')
      await manager.awake()
      const index = this.dice.below(this.#agents.length)
      if (fenced.has(index)) for (let copies = this.dice.chance(0.1) ? 2 : 1; copies > 0; copies -= 1) void this.#travel().then(() => this.#order(index, held.epoch)).catch(() => undefined)
      await manager.sleep(100 + this.dice.unit() * 400)
    }
  }

  async #order(index: number, epoch: number): Promise<void> {
    await this.#agents[index]?.run(epoch, async (stillMine) => {
      await this.clock.sleep(this.dice.unit() * 300)
      stillMine()
      this.#note(epoch, `agent ${index}`, this.#newestAt[index] ?? 0)
      this.#newestAt[index] = epoch
    })
  }

  #note(epoch: number, where: string, newest: number): void {
    this.effects += 1
    if (epoch < newest) this.violations.push(`${where}: an effect of epoch ${epoch} after one of ${newest}`)
  }
}

describe('keepers and agents as they are', function () {
  this.timeout(120_000)

  it('never let an older holder have an effect after a newer one, and always find somebody to work in the end', async () => {
    let terms = 0
    for (let seed = 1; seed <= Number(process.env.KEEPER_SEEDS ?? 16); seed += 1) {
      const world = new World(createDice(seed))
      await world.run()
      expect(world.violations, `seed ${seed}`).to.deep.equal([])
      terms += world.terms
    }
    expect(terms).to.be.greaterThan(30)
  })
})
