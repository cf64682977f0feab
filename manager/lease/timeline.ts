/**
 * The lease as a timeline: times in, decisions out. Nothing here reads a clock; every `nowMs` is the caller's own monotonic clock, and
 * no two clocks are ever compared. The lease is for calm (who may work, when the next may begin); what keeps data safe whatever the
 * clocks do is the epoch, which the store and every agent check.
 *
 * With the default ttl of 6 s, in seconds since the holder sent the renewal that was its last to be answered:
 *
 *    0.0          sent; the store takes it at once or later, which only prolongs what follows below the line
 *    2.0          a renewal is due; it has 0.8 s to be answered
 *    2.8          it was not: another is sent. One that is lost does no harm
 *    3.6          SOFT STOP: nothing new is begun: no change is taken from a caller, no turn starts
 *    4.5          FREEZE: by its own hand the holder has no effect any more: nothing goes to an agent. It tells its watchdog so
 *    4.8          HARD STOP: whoever has not said that he is frozen is killed by his watchdog: his event loop hangs, or he was paused
 *    4.95         the same by a clock that runs 1 % slow, and the watchdog's own step of 0.1 s
 *   ----
 *    0.0 .. 0.25  a candidate that looks every quarter of a second notices the renewal (by a clock that may run 1 % slow)
 *    6.24         EARLIEST take-over: noticed at once, 6.3 s waited by a clock that runs 1 % fast
 *    6.62         LATEST take-over: noticed a quarter of a second late, waited by a clock that runs 1 % slow, unless another candidate was first
 *
 * So the old holder has been silent for at least 1.2 s when the next begins. A candidate that is itself held up only waits longer.
 * A holder that can't reach the store stays frozen and keeps its epoch: if its next renewal is taken, nobody else has been there.
 * A candidate that could not look for 2.8 s begins its wait anew (one look without an answer costs 2.1 s at most): where the store was
 * away from both, the holder's silence says nothing, and it should be the first to be back.
 */
import { assert } from '../../lib/assert.js'

/** What the lease's record says: one register that is compared and set as a whole, beside it a beat that only its holder moves. */
export interface LeaseRecord {
  /** Rises by at least one with each holder. */
  readonly epoch: number
  readonly holder: string
  /** Of the holder's process: new with every taking. */
  readonly incarnation: string
  /** Rises with each renewal, and with each taking. */
  readonly beat: number
  /** What the holder renews by, ms: who waits for its end must go by the holder's, not by his own. */
  readonly ttlMs: number
  /** The holder has given it up: nobody has to wait. */
  readonly released: boolean
  /** Who should take a lease that was released; empty: anyone. */
  readonly next: string
  /** Names the lock that the holder's process holds as long as it lives (store/lock-file.ts); empty: it holds none. */
  readonly place: string
  /** How the holder is reached, `https://host:port`; empty: not known. */
  readonly address: string
}

/** All in ms. */
export interface LeaseTimes {
  readonly ttlMs: number
  readonly renewMs: number
  /** For one call to the store. */
  readonly callMs: number
  readonly softMs: number
  readonly freezeMs: number
  readonly hardMs: number
  /** How often the watchdog looks at least. */
  readonly tickMs: number
  /** How often a candidate looks. */
  readonly pollMs: number
  /** For one reading or writing of a device; a taking there waits twice as long (device.ts). */
  readonly ioMs: number
  /** How long a candidate must have seen nothing move. */
  readonly waitMs: number
}

export const TTL_MIN_MS = 3000
export const TTL_MAX_MS = 120_000
export const TTL_DEFAULT_MS = 6000
/** How far a clock's rate may be off. */
export const DRIFT = 0.01
/** How long others leave a released lease to the one that it is meant for, and its last holder to anyone, ms. */
export const COURTESY_MS = 2000

/** Throws RangeError for a ttl out of range. */
export function leaseTimes(ttlMs: number): LeaseTimes {
  if (!(ttlMs >= TTL_MIN_MS && ttlMs <= TTL_MAX_MS)) throw new RangeError(`a ttl of ${ttlMs / 1000} s: from ${TTL_MIN_MS / 1000} to ${TTL_MAX_MS / 1000} s are possible`)
  const times = {
    ttlMs, renewMs: ttlMs / 3, callMs: Math.min(2000, ttlMs * 2 / 15), softMs: ttlMs * 0.6, freezeMs: ttlMs * 0.75, hardMs: ttlMs * 0.8, tickMs: 100, pollMs: Math.min(500, ttlMs / 24), ioMs: Math.min(1000, ttlMs / 12),
    waitMs: waitOf(ttlMs),
  }
  assertLeaseTimes(times)
  return times
}

/** The ttl and a margin. A holder who is held up for longer finds his epoch over. */
function waitOf(ttlMs: number): number {
  return ttlMs * 1.05
}

/** Throws InvariantBroken where the story above would not hold. */
export function assertLeaseTimes(t: LeaseTimes): void {
  assert(t.renewMs + 2 * t.callMs <= t.softMs + 1e-6, 'one lost renewal must not stop a healthy manager')
  assert(t.softMs < t.freezeMs && t.freezeMs + t.tickMs < t.hardMs, 'a manager must have the time to freeze by its own hand')
  assert((t.hardMs + t.tickMs) / (1 - DRIFT) + t.ttlMs * 0.1 < t.waitMs / (1 + DRIFT), 'two managers could be at work at once')
  assert(2 * (t.callMs + t.ioMs) <= t.softMs + 1e-6, 'a lease on a device must not be old when it is taken')
  assert(4 * t.pollMs <= t.renewMs + 1e-6, 'a candidate must see more than the renewals move')
  assert(2 * (t.pollMs + t.callMs) < t.renewMs + t.callMs, 'one look without an answer must not begin the wait anew')
}

/** `active`: all is well. `soft-stopped`: nothing new is begun. `frozen`: no effect of any kind. */
export type Standing = 'active' | 'soft-stopped' | 'frozen'

/** `renewedMs`: when the last renewal that was answered had been sent. */
export function standing(times: LeaseTimes, renewedMs: number, nowMs: number): Standing {
  const age = nowMs - renewedMs
  return age < times.softMs ? 'active' : age < times.freezeMs ? 'soft-stopped' : 'frozen'
}

/** How long until the next renewal is sent. `sentMs`: when the last one was sent, whatever became of it. */
export function untilRenewal(times: LeaseTimes, { renewedMs, sentMs, nowMs }: { readonly renewedMs: number; readonly sentMs: number; readonly nowMs: number }): number {
  const due = sentMs > renewedMs ? sentMs + times.callMs : renewedMs + times.renewMs
  return Math.max(0, due - nowMs)
}

/** How long until the standing changes by itself; Infinity when it is frozen already. */
export function untilStanding(times: LeaseTimes, renewedMs: number, nowMs: number): number {
  const now = standing(times, renewedMs, nowMs)
  return now === 'frozen' ? Number.POSITIVE_INFINITY : Math.max(0, renewedMs + (now === 'active' ? times.softMs : times.freezeMs) - nowMs)
}

/** What a candidate saw last, and since when it has not moved. Undefined record: there has never been a holder. */
export interface Sight {
  readonly record: LeaseRecord | undefined
  readonly sinceMs: number
  /** When it was looked at last. */
  readonly lookedMs: number
}

/** `nowMs` is read after the answer came: what may be older counts as new, never the other way. */
export function look({ renewMs, callMs }: LeaseTimes, before: Sight | undefined, record: LeaseRecord | undefined, nowMs: number): Sight {
  const still = before !== undefined && sameRecord(before.record, record) && nowMs - before.lookedMs < renewMs + callMs
  return { record, sinceMs: still ? before.sinceMs : nowMs, lookedMs: nowMs }
}

export function sameRecord(one: LeaseRecord | undefined, other: LeaseRecord | undefined): boolean {
  return one?.epoch === other?.epoch && one?.incarnation === other?.incarnation && one?.beat === other?.beat && one?.released === other?.released
}

export type Choice = { readonly kind: 'take'; readonly why: string } | { readonly kind: 'wait'; readonly ms: number }

export interface Candidate {
  readonly name: string
  /** The lock that this process holds; empty: none. */
  readonly place: string
  /** The epoch that this very process gave up to let another have it; 0: none. */
  readonly gaveUp: number
}

/**
 * Whether a candidate may take what it sees. The holder's lock in our hands proves that the holder's process is dead: the kernel gives
 * such a lock to one process at a time, and takes it away from nobody but the dead. So a manager that is started anew where it ran
 * before does not wait. A stopped or hung process keeps its lock, and is waited for.
 */
export function decide({ pollMs }: LeaseTimes, { record, sinceMs }: Pick<Sight, 'record' | 'sinceMs'>, me: Candidate, nowMs: number): Choice {
  if (!record) return { kind: 'take', why: 'there has never been a holder' }
  const unchangedMs = nowMs - sinceMs
  const until = (ms: number, why: string): Choice => (unchangedMs >= ms ? { kind: 'take', why } : { kind: 'wait', ms: Math.min(pollMs, ms - unchangedMs) })
  if (record.released) {
    const meant = record.next === me.name || (record.next === '' && record.epoch !== me.gaveUp)
    return until(meant ? 0 : COURTESY_MS, `${record.holder} has given it up`)
  }
  if (record.place !== '' && record.place === me.place) return { kind: 'take', why: `the process of ${record.holder} that had it is dead: its lock is free` }
  return until(waitOf(record.ttlMs), `${record.holder} has not renewed it for ${Math.round(unchangedMs)} ms`)
}

/** How long a candidate stays away that tried and was not the first, ms. `unit` from 0 to 1: two must not come back together. */
export function backoffMs(unit: number): number {
  return unit * 1000
}
