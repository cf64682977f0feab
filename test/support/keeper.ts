/**
 * A manager for the small world (world.ts): the turns of manager/run in the same order, on rows in memory. Every decision is the
 * product's own; what is written here is only what the turns do with it.
 */
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { lookAtAttached } from '../../manager/plan/attached.js'
import type { AttachedDecision, SegmentFacts } from '../../manager/plan/attached.js'
import { sinceOfLost, sinceOfOthers, sinceOfSpare } from '../../manager/plan/changed.js'
import { headOf } from '../../manager/plan/exports.js'
import { placeLegs } from '../../manager/plan/place-legs.js'
import { planRepair } from '../../manager/plan/repair.js'
import type { RepairPlan } from '../../manager/plan/repair.js'
import { scheduleCopies } from '../../manager/plan/schedule.js'
import type { CopyWish } from '../../manager/plan/schedule.js'
import { chooseSource, decideLoss, decideShutOut } from '../../manager/plan/segment.js'
import { segmentFacts, serversInUse, volumeWanted } from '../../manager/run/facts.js'
import { placeOf } from '../../manager/run/repair.js'
import type { ExtentRow, VolumeRow } from '../../manager/state/rows.js'
import { Refused } from './head.js'
import { EXTENT_BYTES, Records } from './records.js'

type Lost = (extent: ExtentRow) => string | undefined

const RETRY_MS = 20_000
/** Eras between two notes of how far changes are settled: much fewer than in manager/run/up.ts, for a life here has few. */
const NOTE_ERAS = 2
const steady = (phase: VolumeRow['phase']): boolean => phase === 'attached' || phase === 'detached'

export class Keeper extends Records {
  /** Copies that the scheduler began in the last turn. */
  begun: readonly CopyWish[] = []
  /** The answer to the next order is lost. */
  deaf = false

  // ---- the repair (manager/run/repair.ts)

  repair(): void {
    const wishes: (CopyWish & { readonly extents: readonly string[] })[] = []
    const doubtful = (extent: ExtentRow): boolean => this.live(extent.segment).length > this.options.redundancy || extent.leg !== 'insync' || this.disks.get(extent.disk)?.duty !== 'use' || this.disks.get(extent.disk)?.state !== 'ready' || this.hosts.get(extent.host)?.duty !== 'use' || !this.online(extent.host)
    for (const { index } of this.segments.filter((segment) => this.live(segment.index).some(doubtful))) {
      const mine = this.live(index)
      const plan = this.#planOf(mine)
      const wish = this.#wish(index, mine, plan)
      if (wish) wishes.push(wish)
      if (steady(this.volume.phase)) this.#carryOut(index, plan)
    }
    const { start } = scheduleCopies(wishes, this.options.limits)
    const begun = wishes.filter((wish) => start.includes(wish.key))
    this.begun = begun.filter((wish) => this.#startCopy(wish))
  }

  #planOf(mine: readonly ExtentRow[]): RepairPlan {
    return planRepair({ redundancy: this.options.redundancy, graceMs: this.options.graceMs, legs: mine.map((extent) => {
      const [disk, up] = [this.disks.get(extent.disk), this.online(extent.host)]
      return {
        extent: extent.id, host: extent.host, slot: extent.slot, state: extent.leg, made: extent.state === 'ready', place: placeOf(this.hosts.get(extent.host), disk, up),
        awayMs: up ? 0 : this.world.now - this.world.host(extent.host).heardMs, reachable: up && disk?.state === 'ready', retryInMs: Math.max(0, extent.retryAt - this.world.now),
      }
    }) })
  }

  #carryOut(segment: number, plan: RepairPlan): void {
    if (plan.retire.length > 0) this.raise(segment)
    this.#retire(plan.retire)
    for (const id of plan.release) this.drop(id)
    if (plan.release.length > 0) this.volume.layout += 1
    if (plan.retire.length + plan.release.length > 0) this.tell ||= this.volume.phase === 'attached'
    if (plan.spares <= 0) return
    const placed = placeLegs({ segments: [EXTENT_BYTES], redundancy: plan.spares }, this.places(), new Set(plan.occupied))
    if (placed.kind === 'placed') for (const disk of placed.legs[0] ?? []) this.addExtent(segment, disk, sinceOfSpare(this.volume))
  }

  #retire(legs: readonly string[]): void {
    const since = this.sinceNow()
    for (const id of legs) {
      this.extent(id).since = sinceOfLost(this.extent(id), since)
      this.setLeg(id, 'missed writes')
    }
  }

  #wish(segment: number, mine: readonly ExtentRow[], plan: RepairPlan): (CopyWish & { readonly extents: readonly string[] }) | undefined {
    const running = mine.filter((extent) => extent.leg === 'syncing').map((extent) => extent.id)
    const targets = running.length > 0 ? running : plan.copy
    const good = mine.filter((extent) => extent.leg === 'insync')
    const source = good.find((extent) => this.online(extent.host)) ?? good[0]
    if (targets.length === 0 || (running.length === 0 && !steady(this.volume.phase)) || !source) return undefined
    const { volume } = this
    const free = [...this.hosts.values()].filter((host) => host.roles.includes('head') && this.online(host.name))[0]?.name ?? ''
    const told = this.online(volume.head || 'st1') && this.seen.get(volume.head)?.volume?.layout === volume.layout
    return {
      key: String(segment), running: running.length > 0, good: good.length, since: 0, source: { disk: source.disk, host: source.host }, extents: targets, paused: false, calm: false,
      targets: mine.filter((extent) => targets.includes(extent.id)).map(({ disk, host }) => ({ disk, host })),
      head: volume.phase === 'detached' ? volume.copyHead || free : running.length > 0 || told ? volume.head : '',
    }
  }

  #startCopy(wish: CopyWish & { readonly extents: readonly string[] }): boolean {
    const extents = this.live().filter((each) => wish.extents.includes(each.id) && (each.leg === 'stale' || each.leg === 'allocated') && each.state === 'ready')
    if (extents.length !== wish.extents.length) return false
    if (this.volume.phase === 'detached' && this.volume.copyHead === '') {
      Object.assign(this.volume, { copyHead: wish.head, copyBoot: this.hosts.get(wish.head)?.bootId ?? '', attachEpoch: this.volume.attachEpoch + 1 })
    }
    for (const extent of extents) this.setLeg(extent.id, 'copy begins')
    this.volume.layout += 1
    return true
  }

  // ---- the volume's turn (manager/run/volume-turn.ts)

  turn(): void {
    const { volume } = this
    if (volume.phase === 'detached') {
      if (volume.copyHead !== '' && this.live().some((extent) => extent.doubt)) this.#judgeDoubts()
      if (volume.copyHead !== '') this.#copyingTurn()
      return
    }
    if (volume.phase === 'fencing') {
      if (this.bans === undefined) this.#shutOut()
      else this.#admit(this.bans)
      return
    }
    if (this.head().bootId !== volume.attachBoot) this.#headWasLost()
    else if (this.live().some((extent) => extent.doubt) && this.online(volume.head)) this.#judgeDoubts()
    else if (volume.phase === 'attaching') this.#attachTurn()
    else this.#upTurn()
  }

  #stale(lost: Lost, how?: { readonly trusted: boolean }, decide: typeof decideShutOut = decideLoss): string | undefined {
    const decisions = segmentFacts(this.facts()).map((segment) => ({ segment, loss: decide(segment.legs, (leg) => lost(this.extent(leg.extent)), (leg) => this.extent(leg.extent).doubt) }))
    const dead = decisions.find(({ loss }) => loss.kind === 'unavailable')
    if (dead?.loss.kind === 'unavailable') return dead.loss.reason
    for (const { segment, loss } of decisions) if (loss.kind === 'drop') this.#commitStale(segment.index, loss.extents, how)
    return undefined
  }

  #commitStale(segment: number, gone: readonly string[], { trusted = true } = {}): void {
    const since = trusted ? this.sinceNow() : 0
    this.raise(segment)
    for (const id of gone) {
      this.extent(id).since = sinceOfLost(this.extent(id), since)
      if (this.extent(id).leg === 'syncing') this.extent(id).retryAt = this.world.now + RETRY_MS
      this.setLeg(id, 'missed writes')
    }
  }

  #equalise(since: number): void {
    for (const segment of segmentFacts(this.facts())) {
      const others = sinceOfOthers(this.live(), segment.index, since)
      this.#lowerSince(segment.index, others)
      this.#makeSource(segment, others)
    }
    this.clearDoubts()
    this.volume.layout += 1
  }

  #lowerSince(segment: number, since: number): void {
    for (const extent of this.live(segment)) if (extent.leg !== 'insync') extent.since = Math.min(extent.since, since)
  }

  #makeSource(segment: SegmentFacts, since: number): void {
    const choice = chooseSource(segment.legs, (leg) => this.#reachable(leg.extent), (leg) => this.extent(leg.extent).doubt)
    if (choice) this.raise(segment.index)
    for (const extent of choice?.others ?? []) {
      this.setLeg(extent, 'head lost')
      this.extent(extent).since = since
    }
  }

  #reachable(id: string): boolean {
    const extent = this.extent(id)
    const disk = this.disks.get(extent.disk)
    return this.online(extent.host) && disk?.state === 'ready' && disk.duty !== 'failed'
  }

  #headWasLost(): void {
    const since = this.sinceNow()
    if (this.volume.settled === 0) this.forgetChanges()
    this.#equalise(since)
    this.volume.attachBoot = this.head().bootId
    if (this.volume.phase === 'attached') this.volume.phase = 'attaching'
  }

  #judgeDoubts(): void {
    const settled = this.sinceNow()
    for (const segment of segmentFacts(this.facts())) {
      const loss = decideLoss(segment.legs, (leg) => (this.extent(leg.extent).doubt ? 'started anew' : undefined))
      if (loss.kind === 'drop') this.#commitStale(segment.index, loss.extents)
      if (loss.kind !== 'unavailable' || !segment.legs.some((leg) => this.extent(leg.extent).doubt)) continue
      this.#commitStale(segment.index, segment.legs.filter((leg) => leg.state === 'syncing').map((leg) => leg.extent))
      const since = sinceOfOthers(this.live(), segment.index, settled)
      this.#lowerSince(segment.index, since)
      this.#makeSource(segment, since)
    }
    this.clearDoubts()
  }

  #upTurn(): void {
    const name = headOf(this.volume)
    const seen = this.seen.get(name)
    if (!seen || seen.boot !== this.#bootOf()) return
    const there = seen.volume?.attachEpoch === this.volume.attachEpoch ? seen.volume : undefined
    if (there && !this.tell) {
      const decision = this.#decide(there)
      const stuck = new Set(decision.unavailable.map((each) => each.segment))
      if ((there.waiting || stuck.size > 0) && [...stuck].every((segment) => this.live(segment).some((each) => each.leg === 'insync' && this.online(each.host)))) this.volume.layout += 1
      else if (!decision.reload) return
      this.tell = true // the head is told in a step of its own: anything may happen between commit and order
      return
    }
    this.#give(name)
  }

  #decide(there: VolumeSeen): AttachedDecision {
    const facts = segmentFacts(this.facts())
    const all = lookAtAttached(this.volume.layout, facts, there)
    const failed = [...all.stale, ...all.unavailable].map(({ segment }) => ({ segment, why: '', extents: this.live(segment).filter((each) => each.leg === 'syncing').map((each) => each.id) })).filter((each) => each.extents.length > 0)
    const decision = this.volume.phase === 'detached' ? { ...all, unavailable: [], stale: failed, reload: all.reload || failed.length > 0 } : all
    for (const { segment, extents } of decision.stale) this.#commitStale(segment, extents)
    const forgotten = this.#noteChanges(there)
    for (const { segment, extents } of decision.insync) {
      for (const extent of extents) this.setLeg(extent, 'copy ended')
      const { retire } = this.#planOf(this.live(segment))
      this.#retire(retire)
      if (retire.length > 0) this.raise(segment)
      this.volume.layout += 1
    }
    return forgotten ? { ...decision, reload: true } : decision
  }

  #noteChanges({ changes }: VolumeSeen): boolean {
    const { volume } = this
    if (volume.settled === 0 || volume.phase !== 'attached' || !changes) return false
    if (!changes.broken) {
      if (changes.settled >= volume.settled + NOTE_ERAS) volume.settled = changes.settled
      return false
    }
    this.forgetChanges()
    volume.layout += 1
    return true
  }

  #bootOf(): string { return this.volume.phase === 'detached' ? this.volume.copyBoot : this.volume.attachBoot }

  #give(name: string): void {
    this.tell = false
    if (this.volume.phase === 'detached' && !this.live().some((extent) => extent.leg === 'syncing')) return
    const targets = this.live().filter((extent) => extent.leg === 'syncing')
    const sources = this.volume.phase === 'detached' ? this.live().filter((extent) => extent.leg === 'insync' && this.online(extent.host)) : []
    const closed = [...new Set([...targets, ...sources].map((each) => each.host))].filter((host) => !this.push(host))
    const unreachable = targets.filter((each) => closed.includes(each.host)).map((each) => ({ extent: each.id, why: 'not exported' }))
    const before = this.seen.get(name)?.volume
    const nothing: VolumeSeen = { volume: 'v', name: 'v', attachEpoch: this.volume.attachEpoch, layout: 0, scope: 'whole', state: 'partial', device: '', opens: 0, segments: [], waiting: false, unreachable: [] }
    if (unreachable.length > 0) this.#note(name, { ...(before ?? nothing), unreachable })
    else {
      const up = this.#order(name)
      if (up) this.#note(name, up)
      else this.tell = true
    }
    this.pushAll()
  }

  /** Undefined when it does not answer or refuses. */
  #order(name: string): VolumeSeen | undefined {
    try {
      const told = this.world.answers(name) ? this.world.head(name).attach(volumeWanted(this.facts(), (host) => this.online(host))) : undefined
      const lost = this.deaf
      this.deaf = false
      return lost ? undefined : told
    } catch (thrown) {
      if (!(thrown instanceof Refused)) throw thrown
      return undefined
    }
  }

  /** What was told counts beside what its host's own turn saw (manager/run/up.ts, noteSeen). */
  #note(name: string, volume: VolumeSeen): void {
    if (volume) this.settled.note(this.#bootOf(), [volume], this.world.now)
    if (this.seen.get(name)?.boot === this.#bootOf()) this.seen.set(name, { boot: this.#bootOf(), volume })
  }

  #copyingTurn(): void {
    const { copyHead, copyBoot } = this.volume
    const gone = !this.online(copyHead) || this.hosts.get(copyHead)?.bootId !== copyBoot
    if (gone || !this.live().some((extent) => extent.leg === 'syncing')) this.#stopCopying()
    else this.#upTurn()
  }

  #stopCopying(): void {
    if (this.world.answers(this.volume.copyHead)) this.world.head(this.volume.copyHead).detach()
    Object.assign(this.volume, { copyHead: '', copyBoot: '' })
    this.#interrupt()
    this.pushAll()
  }

  #interrupt(): void {
    for (const extent of this.live()) if (extent.leg === 'syncing') this.setLeg(extent.id, 'missed writes')
    this.volume.layout += 1
    this.tell = false
  }

  // ---- attach, detach, fence

  /** A person attaches it. */
  attach(head: string): void {
    const { volume } = this
    const available = this.segments.every(({ index }) => this.live(index).some((each) => each.leg === 'insync' && this.online(each.host) && this.disks.get(each.disk)?.state === 'ready'))
    if (volume.phase !== 'detached' || !this.online(head) || !available) return
    Object.assign(volume, { phase: 'attaching', head, attachEpoch: volume.attachEpoch + 1, attachBoot: this.hosts.get(head)?.bootId ?? '', ...(volume.copyHead === head ? { copyHead: '', copyBoot: '' } : {}) })
    this.asked = true
  }

  #attachTurn(): void {
    const { volume } = this
    if (volume.copyHead !== '') {
      this.#stopCopying()
      return
    }
    const servers = serversInUse(this.facts())
    if (!this.world.answers(volume.head) || servers.some((host) => this.online(host) && !this.world.answers(host))) return // asked again, until it counts as offline
    const lost = new Set(servers.filter((host) => !this.online(host) || !this.push(host)))
    const refused = this.#stale((extent) => (lost.has(extent.host) ? 'offline' : undefined))
    if (refused !== undefined) {
      this.#giveUp()
      return
    }
    volume.remembers = this.remembering
    if (!volume.remembers) this.forgetChanges()
    const silent = this.deaf
    const up = this.#order(volume.head)
    if (!up) {
      if (!silent) this.#giveUp()
      return
    }
    if (up.unreachable.length > 0) {
      if (this.#stale((extent) => up.unreachable.find((each) => each.extent === extent.id)?.why) !== undefined) this.#giveUp()
      return
    }
    this.#note(volume.head, up)
    if (volume.remembers && up.changes && !up.changes.broken && up.changes.settled > 0) volume.settled = Math.max(volume.settled, up.changes.settled)
    else this.forgetChanges()
    if (up.changes?.broken) volume.layout += 1
    volume.phase = 'attached'
    this.asked = false
    this.tell = false
  }

  /** Taken apart again when somebody waits for it, else tried again. */
  #giveUp(): void {
    if (!this.asked || !this.world.head(this.volume.head).detach()) return
    this.#detached()
  }

  #detached(): void {
    const settled = this.sinceNow()
    if (settled > 0) this.volume.settled = settled
    Object.assign(this.volume, { phase: 'detached', head: '' })
    this.asked = false
    this.#interrupt()
    this.pushAll()
  }

  /** A person detaches it; refused when the head does not answer or writes wait. */
  detach(): void {
    const { phase, head, attachBoot } = this.volume
    if (phase === 'attached' && this.world.answers(head) && attachBoot === String(this.world.host(head).boot) && this.world.head(head).detach()) this.#detached()
  }

  /** A person moves it to another head, because this one is lost or seems so. */
  moveTo(head: string): void {
    if (this.volume.phase === 'attached' && head !== this.volume.head && this.online(head)) Object.assign(this.volume, { phase: 'fencing', nextHead: head })
  }

  #shutOut(): void {
    const refusals = new Map<string, string>()
    for (const host of serversInUse(this.facts())) {
      if (!this.online(host) || !this.world.answers(host)) refusals.set(host, 'offline')
      else {
        for (const leg of this.world.legsOn(host)) if (leg.admits === this.volume.head) leg.admits = ''
        if (this.hosts.get(host)?.bootId !== String(this.world.host(host).boot)) refusals.set(host, 'started anew')
      }
    }
    this.bans = refusals
  }

  #admit(refusals: ReadonlyMap<string, string>): void {
    this.bans = undefined
    const since = this.sinceNow()
    const refused = this.#stale((extent) => refusals.get(extent.host), { trusted: false }, decideShutOut)
    if (refused !== undefined) {
      Object.assign(this.volume, { phase: 'attached', nextHead: '' })
      this.pushAll()
      return
    }
    if (this.volume.settled === 0) this.forgetChanges()
    this.#equalise(since)
    for (const { index } of this.segments) this.raise(index)
    const next = this.hosts.get(this.volume.nextHead)
    Object.assign(this.volume, { phase: next ? 'attaching' : 'detached', head: next?.name ?? '', attachEpoch: this.volume.attachEpoch + 1, attachBoot: next?.bootId ?? '', nextHead: '' })
  }
}
