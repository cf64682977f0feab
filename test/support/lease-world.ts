/**
 * A small world for the lease: managers, a store and agents, one clock from which all others go off, one seed. The managers decide with the
 * product's own timeline (manager/lease/timeline.ts) and go through its steps as manager/lease/keeper.ts does; the store compares and sets as
 * manager/lease/database.ts, the agents refuse as agent/core/epoch.ts. Messages are lost, late and doubled; managers are paused, hang, are
 * killed, hand over; the store goes away. `checked` takes the epoch checks out, to show that they are what keeps data safe.
 */
import { backoffMs, decide, DRIFT, leaseTimes, look, sameRecord, standing, untilRenewal, untilStanding } from '../../manager/lease/timeline.js'
import type { LeaseRecord, LeaseTimes } from '../../manager/lease/timeline.js'
import { createDice } from './lease-dice.js'
import type { Dice } from './lease-dice.js'
import type { Agent, Effect, Process, Swarm, Term } from './lease-cast.js'
import { Queue } from './lease-queue.js'

export interface LeaseWorldOptions {
  readonly seed: number
  /** Who checks the epoch. */
  readonly checked: { readonly store: boolean; readonly agents: boolean }
  /** Simulated time with faults; after it follow 40 s without. */
  readonly ms?: number
}

const NETWORK_MS = 20
const TTLS = [3000, 4000, 6000] as const

export class LeaseWorld {
  readonly violations: string[] = []
  /** How often a new holder began. */
  terms = 0
  effects = 0
  now = 0
  readonly #dice: Dice
  readonly #checked: LeaseWorldOptions['checked']
  readonly #ms: number
  readonly #swarm: Swarm
  readonly #times: LeaseTimes
  readonly #queue: Queue = new Queue()
  readonly #commits: Effect[] = []
  readonly #agents: readonly Agent[]
  readonly #processes: Process[] = []
  readonly #incarnationOf = new Map<number, string>()
  #record: LeaseRecord | undefined
  #storeAwayUntil = 0
  #healed = false
  #paused = false
  #incarnations = 0

  constructor({ seed, checked, ms = 40_000 }: LeaseWorldOptions) {
    const dice = createDice(seed)
    this.#dice = dice
    this.#checked = checked
    this.#ms = ms
    this.#times = leaseTimes(dice.one(TTLS))
    this.#swarm = {
      lost: dice.chance(0.5) ? dice.unit() * 0.3 : 0, late: dice.chance(0.5) ? dice.unit() * 0.2 : 0, doubled: dice.chance(0.5) ? dice.unit() * 0.2 : 0,
      pauses: dice.chance(0.6), hangs: dice.chance(0.4), kills: dice.chance(0.4), outages: dice.chance(0.4), handOvers: dice.chance(0.3),
    }
    this.#agents = Array.from({ length: 2 }, () => ({ highest: 0, effects: [], fenced: 0, running: new Set() }))
    const managers = 2 + dice.below(2)
    for (let index = 0; index < managers; index += 1) this.#start(`m${index}`)
  }

  run(): this {
    this.#scheduleFaults()
    this.#runUntil(this.#ms)
    this.#heal()
    const before = this.#commits.length
    this.#runUntil(this.#ms + 40_000)
    if (this.#commits.length === before) this.#violate('nobody works though nothing stands in the way any more')
    return this
  }

  // ---- time

  #runUntil(end: number): void {
    for (let next = this.#queue.first(); next !== undefined && next <= end; next = this.#queue.first()) {
      this.now = next
      this.#queue.shift()()
    }
    this.now = end
  }

  #after(ms: number, act: () => void): void {
    this.#queue.add(this.now + Math.max(0, ms), act)
  }

  #local(process: Process): number {
    return process.offset + this.now * process.rate
  }

  /** Of its main thread, after so long by its own clock: later while it is paused or hangs, never when it is dead. */
  #later(process: Process, localMs: number, act: () => void): void {
    this.#after(localMs / process.rate, () => { this.#whenAwake(process, act) })
  }

  #whenAwake(process: Process, act: () => void): void {
    if (process.dead) return
    const held = Math.max(process.pausedUntil, process.hangsUntil)
    if (held > this.now) this.#queue.add(held, () => { this.#whenAwake(process, act) })
    else act()
  }

  // ---- messages

  #delay(): number {
    const { late } = this.#swarm
    return !this.#healed && late > 0 && this.#dice.chance(late) ? this.#dice.unit() * 9000 : 1 + this.#dice.unit() * NETWORK_MS
  }

  #message(act: () => void): void {
    const { lost, doubled } = this.#swarm
    if (!this.#healed && this.#dice.chance(lost)) return
    this.#after(this.#delay(), act)
    if (!this.#healed && this.#dice.chance(doubled)) this.#after(this.#delay(), act)
  }

  /** Asks the store. The answer may never come; `undefined` then, once, after the time of one call. */
  #ask<T>(process: Process, question: () => T, then: (answer: T | undefined) => void, onLate?: (answer: T) => void): void {
    let settled = false
    this.#message(() => {
      if (this.#storeAwayUntil > this.now) return
      const answer = question()
      this.#message(() => {
        this.#whenAwake(process, () => {
          if (settled) onLate?.(answer)
          else then(answer)
          settled = true
        })
      })
    })
    this.#later(process, this.#times.callMs, () => {
      if (!settled) then(undefined)
      settled = true
    })
  }

  // ---- the store

  #take(seen: LeaseRecord | undefined, mine: LeaseRecord): boolean {
    if (!sameRecord(this.#record, seen)) return false
    this.#record = mine
    return true
  }

  #isNewest({ epoch, incarnation }: Effect): boolean {
    return this.#record?.epoch === epoch && this.#record.incarnation === incarnation
  }

  #beat(mine: Effect): boolean {
    if (!this.#record || !this.#isNewest(mine)) return false
    this.#record = { ...this.#record, beat: this.#record.beat + 1 }
    return true
  }

  #commit(effect: Effect): boolean {
    if (this.#checked.store && !this.#isNewest(effect)) return false
    this.#note(this.#commits, effect, 'the store')
    return true
  }

  // ---- the agents

  #raise(agent: Agent, epoch: number): boolean {
    if (this.#checked.agents && epoch < agent.highest) return false
    agent.highest = Math.max(agent.highest, epoch)
    return true
  }

  /** An order takes its time, and looks once more before the step that can't be taken back. */
  #order(agent: Agent, effect: Effect): void {
    if (!this.#raise(agent, effect.epoch)) return
    const work = { epoch: effect.epoch, over: false }
    agent.running.add(work)
    this.#after(this.#dice.unit() * 500, () => {
      if (!this.#checked.agents || effect.epoch >= agent.highest) {
        if (effect.epoch < agent.fenced) this.#violate(`an order of epoch ${effect.epoch} has an effect after the fence of ${agent.fenced}`)
        this.#note(agent.effects, effect, 'an agent')
      }
      work.over = true
      agent.running.delete(work)
    })
  }

  #fence(agent: Agent, epoch: number, acknowledge: () => void): void {
    if (!this.#raise(agent, epoch)) return
    if ([...agent.running].some((work) => work.epoch < epoch)) {
      this.#after(50, () => { this.#fence(agent, epoch, acknowledge) })
      return
    }
    agent.fenced = Math.max(agent.fenced, epoch)
    acknowledge()
  }

  // ---- managers

  #start(name: string): void {
    const process: Process = {
      name, rate: 1 + (this.#dice.unit() * 2 - 1) * DRIFT, offset: this.#dice.unit() * 1e6, dead: false, pausedUntil: 0, hangsUntil: 0, sight: undefined, term: undefined, gaveUp: 0,
    }
    this.#processes.push(process)
    this.#later(process, this.#dice.unit() * 1000, () => { this.#watch(process) })
  }

  #end(process: Process): void {
    if (process.dead) return
    process.dead = true
    this.#processes.splice(this.#processes.indexOf(process), 1)
    this.#after(300 + this.#dice.unit() * 3000, () => { this.#start(process.name) })
  }

  #watch(process: Process): void {
    this.#ask(process, () => ({ record: this.#record }), (answer) => {
      if (!answer) {
        this.#later(process, this.#times.pollMs, () => { this.#watch(process) })
        return
      }
      const { record } = answer
      process.sight = look(this.#times, process.sight, record, this.#local(process))
      const choice = decide(this.#times, process.sight, { name: process.name, place: '', gaveUp: process.gaveUp }, this.#local(process))
      if (choice.kind === 'wait') this.#later(process, choice.ms, () => { this.#watch(process) })
      else this.#contend(process, record)
    })
  }

  #contend(process: Process, seen: LeaseRecord | undefined): void {
    this.#incarnations += 1
    const mine: LeaseRecord = {
      epoch: (seen?.epoch ?? 0) + 1, holder: process.name, incarnation: `i${this.#incarnations}`, beat: (seen?.beat ?? 0) + 1, ttlMs: this.#times.ttlMs, released: false, next: '', place: '', address: '',
    }
    const sentMs = this.#local(process)
    this.#ask(process, () => this.#take(seen, mine), (taken) => {
      if (taken === true) this.#lead(process, mine, sentMs)
      else this.#later(process, taken === false ? backoffMs(this.#dice.unit()) : this.#times.pollMs, () => { this.#watch(process) })
    })
  }

  #lead(process: Process, record: LeaseRecord, sentMs: number): void {
    const term: Term = { record, renewedMs: sentMs, sentMs, fenced: new Set(), frozen: false }
    process.term = term
    this.terms += 1
    if (!this.#paused) this.#checkCalm(process)
    this.#guard(process, term)
    this.#keep(process, term)
    for (let index = 0; index < this.#agents.length; index += 1) this.#fenceFirst(process, term, index)
    this.#work(process, term)
  }

  /** Where nothing was ever paused nor hung, time alone keeps two holders apart. */
  #checkCalm(process: Process): void {
    for (const other of this.#processes) {
      if (other !== process && other.term && standing(this.#times, other.term.renewedMs, this.#local(other)) !== 'frozen') this.#violate(`${process.name} begins while ${other.name} still works`)
    }
  }

  #keep(process: Process, term: Term): void {
    if (process.term !== term) return
    const nowMs = this.#local(process)
    term.frozen = standing(this.#times, term.renewedMs, nowMs) === 'frozen'
    const due = untilRenewal(this.#times, { renewedMs: term.renewedMs, sentMs: term.sentMs, nowMs })
    if (due > 0) {
      this.#later(process, Math.max(1, Math.min(due, untilStanding(this.#times, term.renewedMs, nowMs))), () => { this.#keep(process, term) })
      return
    }
    term.sentMs = nowMs
    const answered = (mine: boolean | undefined): void => {
      if (mine === undefined || process.term !== term) return
      if (!mine) this.#end(process)
      else term.renewedMs = Math.max(term.renewedMs, nowMs)
      term.frozen = standing(this.#times, term.renewedMs, this.#local(process)) === 'frozen'
    }
    this.#ask(process, () => this.#beat(term.record), answered, answered)
    this.#later(process, 1, () => { this.#keep(process, term) })
  }

  /** The watchdog: a thread that a hanging event loop can't stop, though a pause of the process can. */
  #guard(process: Process, term: Term): void {
    if (process.dead || process.term !== term) return
    if (process.pausedUntil > this.now) {
      // Both threads run again at the same moment: which is first is left to the dice.
      this.#queue.add(process.pausedUntil + this.#dice.unit() * this.#times.tickMs, () => { this.#guard(process, term) })
      return
    }
    if (!term.frozen && this.#local(process) > term.renewedMs + this.#times.hardMs) this.#end(process)
    else this.#after(this.#times.tickMs / process.rate, () => { this.#guard(process, term) })
  }

  #mayAct(process: Process, term: Term, what: 'begin' | 'effect'): boolean {
    if (process.term !== term) return false
    const now = standing(this.#times, term.renewedMs, this.#local(process))
    return now === 'active' || (what === 'effect' && now === 'soft-stopped')
  }

  #fenceFirst(process: Process, term: Term, index: number): void {
    const agent = this.#agents[index]
    if (!agent || process.term !== term || term.fenced.has(index)) return
    if (this.#mayAct(process, term, 'effect')) {
      this.#message(() => { this.#fence(agent, term.record.epoch, () => { this.#message(() => { this.#whenAwake(process, () => { term.fenced.add(index) }) }) }) })
    }
    this.#later(process, 700, () => { this.#fenceFirst(process, term, index) })
  }

  /** Turn after turn: intent to the store, then an order to an agent that has taken the epoch. */
  #work(process: Process, term: Term): void {
    if (process.term !== term) return
    if (this.#mayAct(process, term, 'begin')) {
      const index = this.#dice.below(this.#agents.length)
      this.#ask(process, () => this.#commit(term.record), (committed) => {
        if (committed === false) this.#end(process)
        const agent = this.#agents[index]
        // Between the look and the sending the process may be paused: the message leaves when it runs again.
        if (committed === true && agent && term.fenced.has(index) && this.#mayAct(process, term, 'effect')) this.#later(process, 0.1, () => { this.#message(() => { this.#order(agent, term.record) }) })
      })
    }
    this.#later(process, 200 + this.#dice.unit() * 600, () => { this.#work(process, term) })
  }

  #handOver(process: Process): void {
    const term = process.term
    if (!term) return
    process.term = undefined
    process.gaveUp = term.record.epoch
    process.sight = undefined
    this.#message(() => { if (this.#storeAwayUntil <= this.now && this.#record && this.#isNewest(term.record)) this.#record = { ...this.#record, released: true } })
    this.#later(process, 100, () => { this.#watch(process) })
  }

  // ---- faults and judgement

  #scheduleFaults(): void {
    const kinds = (['pauses', 'hangs', 'kills', 'outages', 'handOvers'] as const).filter((kind) => this.#swarm[kind])
    this.#paused = this.#swarm.pauses || this.#swarm.hangs
    if (kinds.length === 0) return
    for (let at = this.#dice.unit() * 6000; at < this.#ms; at += 500 + this.#dice.unit() * 8000) {
      const kind = this.#dice.one(kinds)
      this.#queue.add(at, () => { if (kind) this.#fault(kind) })
    }
  }

  #fault(kind: 'pauses' | 'hangs' | 'kills' | 'outages' | 'handOvers'): void {
    const holders = this.#processes.filter((each) => each.term)
    const victim = this.#dice.one(holders.length > 0 && this.#dice.chance(0.8) ? holders : this.#processes)
    const forMs = this.#dice.unit() * this.#dice.one([500, 5000, 20_000])
    if (kind === 'outages') this.#storeAwayUntil = this.now + forMs
    if (kind === 'outages' || !victim) return
    if (kind === 'pauses') victim.pausedUntil = this.now + forMs
    else if (kind === 'hangs') victim.hangsUntil = this.now + forMs
    else if (kind === 'kills') this.#end(victim)
    else this.#whenAwake(victim, () => { this.#handOver(victim) })
  }

  #heal(): void {
    this.#healed = true
    this.#storeAwayUntil = 0
    for (const process of this.#processes) {
      process.pausedUntil = Math.min(process.pausedUntil, this.now)
      process.hangsUntil = Math.min(process.hangsUntil, this.now)
    }
  }

  #violate(what: string): void {
    this.violations.push(`${Math.round(this.now)} ms: ${what}`)
  }

  #note(log: Effect[], effect: Effect, where: string): void {
    this.effects += 1
    const last = log.at(-1)
    if (last && effect.epoch < last.epoch) this.#violate(`${where}: an effect of epoch ${effect.epoch} after one of ${last.epoch}`)
    const known = this.#incarnationOf.get(effect.epoch) ?? effect.incarnation
    if (known !== effect.incarnation) this.#violate(`${where}: two holders have effects in epoch ${effect.epoch}`)
    this.#incarnationOf.set(effect.epoch, known)
    log.push(effect)
  }
}
