/**
 * Who called: what the audit log says of a call, and when.
 *
 * A call that changes something has its entry in the transaction of its first change, so neither is there without the other. A call that changed
 * nothing (refused, denied, or nothing to do) gets an entry of its own before it is answered; of those only so many in ten minutes for each caller:
 * a commit must not be had for nothing by who has no right, nor may such calls push out what others did. What is more is counted, and the count is an entry.
 */
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import { auditHeadOf, cutAudit } from '../store/audit.js'
import type { AuditNote } from '../store/audit.js'
import { DbError } from '../store/db.js'
import { loadSettings } from '../store/settings.js'
import { EpochLost } from '../store/store.js'
import type { ChangeTx, Store } from '../store/store.js'
import type { LeaseGate } from './gate.js'
import { createStrangers, strangerNote } from './strangers.js'
import type { Stranger } from './strangers.js'

/** Who called from where, and what. All of it may be shown to an admin: no secret is in it. */
export interface Caller {
  readonly who: string
  readonly role: string
  /** What proved the name: `certificate`, `token`, `user`, `invitation`, or nothing. */
  readonly proof: string
  readonly peer: string
  readonly door: 'xml-rpc' | 'json' | 'classic'
}

export interface Call extends Caller {
  readonly method: string
  /** JSON. */
  readonly params: string
  /** The caller's own request id; empty when it gave none. */
  readonly request: string
  readonly logId: string
  /** What its entry says that is committed; `spared`: the call before it with the same request id has one, or it said nothing new; empty: it has none yet. */
  noted: '' | 'ok' | 'accepted' | 'spared'
}

type OnBehalf = { readonly store: Store; readonly call?: Call | undefined }

/** Within a call's own transaction. The caller of this sets `noted` when it is committed: an engine may run a transaction twice. */
export async function noteIn(tx: ChangeTx, call: Call | undefined, result: 'ok' | 'accepted', request?: string): Promise<void> {
  if (call?.noted === '') await tx.audit(noteOf(call, result, request))
}

/** A change on behalf of a call, with the call's entry in it. */
export async function changeNoted<T>({ store, call }: OnBehalf, work: (tx: ChangeTx) => Promise<T>): Promise<T> {
  const result = await store.change(async (tx) => {
    const done = await work(tx)
    await noteIn(tx, call, 'ok')
    return done
  })
  if (call) call.noted ||= 'ok'
  return result
}

function noteOf({ who, role, proof, peer, door, method, params, request: own, logId }: Call, result: string, request = own): AuditNote {
  return { kind: 'call', who, role, proof, peer, door, method, params, result, request, logId }
}

export interface AuditTrail {
  /** Before a call is answered: what its transactions have not said. Throws when a call that went well can't be noted; a fault is told as it is. */
  answered(call: Call, fault?: string): Promise<void>
  /** Somebody was not let in: he is counted, and noted when it is time for that. Returns at once. */
  stranger(stranger: Stranger): void
  /** Notes what was counted in times that are over. */
  flush(): Promise<void>
  /** Cuts the log to what the settings say, and writes its head to the manager's log, where nobody can change it later. */
  keep(): Promise<void>
  /** Notes all that was counted, and tells the head. Never rejects. */
  end(): Promise<void>
}

/** Entries of one caller for calls that changed nothing, in one such time. */
const ALONE_MAX = 100
const WINDOW_MS = 600_000
const MINUTE_MS = 60_000
/** Callers that are counted one by one; more are counted together. */
const CALLERS_MAX = 1000
const DAY_MS = 86_400_000

interface Count {
  readonly since: number
  noted: number
  more: number
  readonly caller: Caller
}

export function createAuditTrail({ store, clock, log, gate }: { readonly store: Store; readonly clock: Clock; readonly log: Log; readonly gate: LeaseGate }): AuditTrail {
  const counts = new Map<string, Count>()
  const strangers = createStrangers()
  let telling: Promise<void> | undefined
  let told = 0

  /** Whether this one is noted by itself; else it is counted. */
  function admit(call: Call): boolean {
    const own = `${call.who || call.peer} ${call.door}`
    const key = counts.has(own) || counts.size < CALLERS_MAX ? own : `more ${call.door}`
    const { who, role, proof, peer, door } = call
    const count = counts.get(key) ?? { since: clock.monoMs(), noted: 0, more: 0, caller: { who, role, proof, peer, door } }
    counts.set(key, count)
    if (count.noted >= ALONE_MAX) count.more += 1
    else count.noted += 1
    return count.more === 0
  }

  /** Those of times that are over. */
  async function noteCounts(all = false): Promise<void> {
    for (const [key, count] of [...counts]) {
      if (!all && clock.monoMs() - count.since < WINDOW_MS) continue
      counts.delete(key)
      if (count.more === 0) continue
      try {
        await store.change((tx) => tx.audit({ kind: 'refusals', ...count.caller, params: JSON.stringify({ calls: count.more }) }))
      } catch (thrown) {
        if (!counts.has(key)) counts.set(key, count)
        throw thrown
      }
    }
  }

  /** One at a time: strangers may come faster than the database takes anything. */
  async function noteStrangers(last = false): Promise<void> {
    if (last) await telling?.catch(() => undefined)
    if (telling || gate.standing() !== 'active') return
    const tallied = strangers.take(clock.monoMs(), last)
    if (tallied.length === 0) return
    telling = store.change(async (tx) => { for (const each of tallied) await tx.audit(strangerNote(each)) })
    try {
      await telling
    } catch (thrown) {
      strangers.giveBack(tallied)
      throw thrown
    } finally {
      telling = undefined
    }
  }

  async function tellHead(): Promise<void> {
    const { seq, hash } = await auditHeadOf(store.read)
    if (seq !== told) log.info('head of the audit log', { seq, hash })
    told = seq
  }

  async function alone(call: Call, result: string): Promise<void> {
    await noteCounts()
    if (!admit(call)) return
    await store.change((tx) => tx.audit(noteOf(call, result)))
    call.noted = 'ok'
  }

  return {
    async answered(call, fault) {
      if (fault === undefined && call.noted === '') return alone(call, 'ok')
      if (fault === undefined || call.noted === 'spared' || call.noted === 'accepted') return undefined // a turn notes how the work ends
      try {
        if (gate.standing() !== 'active') throw new DbError('unavailable', 'the lease can\'t be renewed')
        if (call.noted === 'ok') await store.change((tx) => tx.audit({ ...noteOf(call, fault), kind: 'outcome' }))
        else await alone(call, fault)
      } catch (thrown) {
        log.warn('a refused call could not be noted in the audit log', { method: call.method, by: call.who, peer: call.peer, fault, error: messageOf(thrown) })
      }
    },
    stranger(stranger) {
      strangers.count(stranger, clock.monoMs())
      noteStrangers().catch((thrown: unknown) => { log.warn('who was not let in could not be noted in the audit log yet', { error: messageOf(thrown) }) })
    },
    async flush() {
      await noteCounts()
      await noteStrangers()
    },
    async keep() {
      const settings = await loadSettings(store.read)
      for (let removed = 1; removed > 0;) {
        removed = await store.change((tx) => cutAudit(tx, { entries: settings.of('audit.entries'), fromMs: clock.nowMs() - settings.of('audit.days') * DAY_MS }))
        if (removed > 0) log.info('the audit log was cut', { entries: removed })
      }
      await tellHead()
    },
    async end() {
      try {
        await noteCounts(true)
        await noteStrangers(true)
        await tellHead()
      } catch (thrown) {
        log.info('the last of the audit log could not be told', { error: messageOf(thrown) })
      }
    },
  }
}

/** Until the signal: what was counted is noted, and every ten minutes the log is kept short and its head told. */
export async function keepAudit(trail: AuditTrail, { clock, log, gate }: { readonly clock: Clock; readonly log: Log; readonly gate: LeaseGate }, signal: AbortSignal): Promise<void> {
  for (let minute = 0; !signal.aborted; minute += 1) {
    await gate.open('begin', signal)
    try {
      await trail.flush()
      if (minute % 10 === 0) await trail.keep()
    } catch (thrown) {
      if (thrown instanceof EpochLost) throw thrown
      log.warn('the audit log could not be kept in order', { error: messageOf(thrown) })
    }
    await clock.sleep(MINUTE_MS, signal)
  }
}
