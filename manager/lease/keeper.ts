/**
 * The hand that keeps the lease: watches as a candidate, takes it, renews it, freezes when it can't, gives it up. All it knows of time
 * stands in timeline.ts. It never reads the time of day.
 */
import type { Clock, Log, Random } from '../../lib/ports.js'
import { messageOf } from '../../lib/faults.js'
import type { LockFile } from '../store/lock-file.js'
import { EpochLost } from '../store/store.js'
import type { LeaseStore, Term } from './store.js'
import { backoffMs, decide, look, standing, untilRenewal, untilStanding } from './timeline.js'
import type { LeaseRecord, LeaseTimes, Sight, Standing } from './timeline.js'
import type { Watchdog } from './watchdog.js'

export interface KeeperOptions {
  readonly store: LeaseStore
  readonly times: LeaseTimes
  readonly self: { readonly name: string; readonly address: string }
  /** Held as long as the lease is, so that the next one knows when this process is dead. */
  readonly lock: Pick<LockFile, 'place' | 'release'>
  /** The epoch taken is above this one too: where the lease is not kept in the database, the database's. */
  readonly floor?: () => Promise<number>
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly watchdog: Watchdog
}

export interface Keeper {
  /** Watches until the lease is ours. Rejects with the signal's reason when it aborts first. */
  acquire(signal: AbortSignal): Promise<Held>
  /** Who holds it as far as was seen, and for how long that has not moved, ms. Undefined: nobody ever did. */
  seen(): { readonly record: LeaseRecord | undefined; readonly ageMs: number }
}

/** The lease in hand, until it is lost or given up. */
export interface Held extends Term {
  standing(): Standing
  /** Resolves as soon as nothing stands in the way: `begin` of new work, `effect` of work begun. Rejects with EpochLost at its end. */
  open(what: 'begin' | 'effect', signal?: AbortSignal): Promise<void>
  /** Called at every change of the standing. */
  onStanding(listener: (standing: Standing) => void): void
  /** Settles with the reason when another has it; never otherwise. */
  readonly lost: Promise<EpochLost>
  /** Gives it up: from now on nothing is open. True when the store has taken it; else others wait for its end. */
  release(next: string): Promise<boolean>
}

/** Renewals that may be without an answer at once. */
const UNANSWERED_MAX = 4

export function createKeeper(options: KeeperOptions): Keeper {
  const { store, times, self, lock, clock, random, log } = options
  let sight: Sight | undefined
  let holding: { readonly record: () => LeaseRecord; readonly renewedMs: () => number } | undefined
  let gaveUp = 0
  /** A taking whose answer never came. */
  let doubtful: LeaseRecord | undefined
  let told = ''

  async function once(signal: AbortSignal): Promise<Held | number> {
    const record = await within(store.read())
    const sentMs = clock.monoMs()
    if (record && record.incarnation === doubtful?.incarnation && await within(store.beat(record))) return hold({ ...record, beat: record.beat + 1 }, sentMs)
    sight = look(times, sight, record, clock.monoMs())
    const choice = decide(times, sight, { name: self.name, place: await lock.place(), gaveUp }, clock.monoMs())
    if (choice.kind === 'wait') {
      await lock.release() // whoever takes it should have it
      return choice.ms
    }
    const floor = Math.max(record?.epoch ?? 0, await within(options.floor?.() ?? Promise.resolve(0)))
    const mine: LeaseRecord = {
      epoch: floor + 1, holder: self.name, incarnation: random.hex(8), beat: (record?.beat ?? 0) + 1, ttlMs: times.ttlMs, released: false, next: '', place: await lock.place(), address: self.address,
    }
    signal.throwIfAborted()
    const takenMs = clock.monoMs()
    doubtful = mine
    if (!await within(store.take(record, mine), 2 * (times.callMs + times.ioMs))) { // a disk's taking waits by itself (device.ts)
      doubtful = undefined
      return backoffMs(random.unit())
    }
    log.info('the lease is taken', { epoch: mine.epoch, why: choice.why })
    return hold(mine, takenMs)
  }

  async function within<T>(work: Promise<T>, ms = times.callMs): Promise<T> {
    const stop = new AbortController()
    work.catch(() => undefined)
    const late = clock.sleep(ms, stop.signal).then(() => { throw new Error(`no answer within ${Math.round(ms)} ms`) })
    late.catch(() => undefined)
    try {
      return await Promise.race([work, late])
    } finally {
      stop.abort()
    }
  }

  function hold(record: LeaseRecord, takenMs: number): Held {
    doubtful = undefined
    let beat = record.beat
    const held = createHeld(options, record, takenMs, {
      onBeat: () => { beat += 1 },
      onEnd: (released) => {
        holding = undefined
        sight = undefined
        if (released) gaveUp = record.epoch
      },
    })
    holding = { record: () => ({ ...record, beat }), renewedMs: held.renewedMs }
    return held
  }

  return {
    async acquire(signal) {
      for (;;) {
        let pause: number
        try {
          const outcome = await once(signal)
          if (typeof outcome !== 'number') return outcome
          pause = outcome
          told = ''
        } catch (thrown) {
          signal.throwIfAborted()
          const text = messageOf(thrown)
          if (told !== text) log.warn('the lease can\'t be looked at', { error: text })
          told = text
          pause = times.pollMs
        }
        await clock.sleep(pause, signal)
      }
    },
    seen() {
      if (holding) return { record: holding.record(), ageMs: Math.round(clock.monoMs() - holding.renewedMs()) }
      return { record: sight?.record, ageMs: Math.round(sight ? clock.monoMs() - sight.sinceMs : 0) }
    },
  }
}

interface Told {
  readonly onBeat: () => void
  readonly onEnd: (released: boolean) => void
}

function createHeld({ store, times, clock, log, watchdog }: KeeperOptions, { epoch, incarnation }: Term, takenMs: number, { onBeat, onEnd }: Told): Held & { readonly renewedMs: () => number } {
  const term = { epoch, incarnation }
  const ending = new AbortController()
  const waiting = new Set<() => void>()
  const listeners: ((standing: Standing) => void)[] = []
  const unanswered = new Map<Promise<void>, number>()
  let renewedMs = takenMs
  let sentMs = takenMs
  let last: Standing = 'active'
  let wake = new AbortController()
  let onLost: (lost: EpochLost) => void = () => undefined
  const lost = new Promise<EpochLost>((resolve) => { onLost = resolve })

  const now = (): Standing => (ending.signal.aborted ? 'frozen' : standing(times, renewedMs, clock.monoMs()))

  function end(why: string, released: boolean): void {
    if (ending.signal.aborted) return
    ending.abort(new EpochLost(why))
    if (released) watchdog.rest() // with the lease lost to another it stays armed: what is left of this process must end
    for (const each of [...waiting]) each()
    wake.abort()
    onEnd(released)
  }

  /** Tells the standing to all who must know. Frozen is told to the watchdog last: by then everything is closed. */
  function settle(): void {
    const standingNow = now()
    if (standingNow === 'frozen') watchdog.rest()
    else watchdog.guard(renewedMs + times.hardMs)
    if (standingNow !== last) {
      const fields = { from: last, to: standingNow, epoch, sinceRenewalMs: Math.round(clock.monoMs() - renewedMs) }
      last = standingNow
      if (standingNow === 'active') log.info('the lease is renewed again: work goes on', fields)
      else log.warn(standingNow === 'frozen' ? 'the lease could not be renewed: nothing is done until it can be' : 'the lease could not be renewed: nothing new is begun', fields)
      for (const each of listeners) each(standingNow)
    }
    for (const each of [...waiting]) each()
  }

  function renew(): void {
    const startedMs = clock.monoMs()
    sentMs = startedMs
    for (const [call, since] of unanswered) if (startedMs - since > times.ttlMs) unanswered.delete(call) // it may never be answered
    if (unanswered.size >= UNANSWERED_MAX) return
    const call: Promise<void> = store.beat(term).then((mine) => {
      if (ending.signal.aborted) return
      if (!mine) {
        end(`epoch ${epoch} is over: another manager has the lease`, false)
        onLost(ending.signal.reason as EpochLost)
        return
      }
      onBeat()
      renewedMs = Math.max(renewedMs, startedMs) // an answer that comes late counts from when it was asked for
      settle()
      wake.abort()
    }, (thrown: unknown) => { log.warn('a renewal of the lease failed', { error: messageOf(thrown), epoch }) }).finally(() => { unanswered.delete(call) })
    unanswered.set(call, startedMs)
  }

  async function keep(): Promise<void> {
    while (!ending.signal.aborted) {
      settle()
      const nowMs = clock.monoMs()
      const pause = Math.min(untilRenewal(times, { renewedMs, sentMs, nowMs }), untilStanding(times, renewedMs, nowMs))
      if (untilRenewal(times, { renewedMs, sentMs, nowMs }) === 0) renew()
      else {
        wake = new AbortController()
        await clock.sleep(Math.max(1, pause), wake.signal).catch(() => undefined)
      }
    }
  }
  void keep()

  return {
    ...term,
    standing: now,
    renewedMs: () => renewedMs,
    lost,
    onStanding(listener) { listeners.push(listener) },
    async open(what, signal) {
      for (;;) {
        if (ending.signal.aborted) throw ending.signal.reason
        signal?.throwIfAborted()
        const found = now()
        if (found === 'active' || (what === 'effect' && found === 'soft-stopped')) return
        await new Promise<void>((resolve) => {
          const done = (): void => {
            waiting.delete(done)
            signal?.removeEventListener('abort', done)
            resolve()
          }
          waiting.add(done)
          signal?.addEventListener('abort', done, { once: true })
        })
      }
    },
    async release(next) {
      if (ending.signal.aborted) return false
      end(`epoch ${epoch} was given up`, true)
      const patience = clock.sleep(times.callMs).then(() => false)
      await Promise.race([Promise.all(unanswered.keys()), patience]) // a renewal that comes after it would look like life
      return Promise.race([store.release(term, next).catch(() => false), clock.sleep(2 * times.callMs).then(() => false)])
    },
  }
}
