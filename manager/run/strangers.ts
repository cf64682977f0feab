/**
 * Who was not let in, counted: what the audit log says of them. Strangers can knock as often as they like, so it is not for them how much is written:
 * one entry a minute for each name and place, of ten of these at most, and one for all the others together; and over days no more than one every two
 * minutes. The first after a quiet minute is told at once. Pure.
 */
import type { AuditNote } from '../store/audit.js'

export interface Stranger {
  /** Who he claims to be, as far as that may be written; empty when it may not. */
  readonly claimed: string
  /** Whether there is somebody of that name: what was thought out is not told from other such of the same place. */
  readonly known: boolean
  readonly peer: string
  /** What one client can take addresses from: its address, or the network of that. */
  readonly source: string
  readonly door: 'xml-rpc' | 'json' | 'tls'
  /** `login`, `handshake`, or the method that a certificate was refused for. */
  readonly method: string
  readonly fault: string
  /** One of a few words. */
  readonly why: string
  readonly logId: string
}

interface Tally {
  readonly first: Stranger
  times: number
  /** Why → how often. */
  readonly whys: Map<string, number>
}

export interface Strangers {
  count(stranger: Stranger, nowMs: number): void
  /** What is to be written now; often nothing. `last`: nothing comes after it, so what waits for its time is told too. */
  take(nowMs: number, last?: boolean): readonly Tallied[]
  /** It could not be written, and is counted further. */
  giveBack(tallied: readonly Tallied[]): void
}

/** Of one name and place; or of all the others, who were from so many. */
export interface Tallied {
  readonly tally: Tally
  readonly others: number
}

const MINUTE_MS = 60_000
/** Told one by one in a minute. */
const NAMED_MAX = 10
/** Entries in a row, and until there is one more, ms. */
const BURST = 100
const EVERY_MS = 120_000
/** The others are counted up to here. */
const OTHERS_MAX = 1000
const WHYS_MAX = 8

export function createStrangers(): Strangers {
  const named = new Map<string, Tally>()
  const others = new Set<string>()
  let rest: Tally | undefined
  let toldAt: number | undefined
  let budget = { left: BURST, atMs: 0 }

  function addTo(key: string, tally: Tally): void {
    const known = named.get(key)
    if (known) return merge(known, tally)
    if (named.size < NAMED_MAX) {
      named.set(key, tally)
      return undefined
    }
    return addToRest(key, tally)
  }

  function addToRest(key: string, tally: Tally): void {
    if (others.size < OTHERS_MAX) others.add(key)
    if (rest) merge(rest, tally)
    else rest = tally
  }

  const leftAt = (nowMs: number): number => Math.min(BURST, budget.left + Math.max(0, nowMs - budget.atMs) / EVERY_MS)

  return {
    count: (stranger) => { addTo(keyOf(stranger), { first: stranger, times: 1, whys: new Map([[stranger.why, 1]]) }) },
    take(nowMs, last = false) {
      if (named.size === 0 && !rest) return []
      if (!last && toldAt !== undefined && nowMs - toldAt < MINUTE_MS) return []
      const left = leftAt(nowMs)
      const room = Math.max(last ? 1 : 0, Math.floor(left))
      if (room === 0) return []
      if (named.size + (rest ? 1 : 0) > room) for (const [key, tally] of [...named].slice(room - 1)) addToRest(key, tally)
      const tallied = [...[...named.values()].slice(0, rest ? room - 1 : room).map((tally) => ({ tally, others: 0 })), ...(rest ? [{ tally: rest, others: others.size }] : [])]
      named.clear()
      others.clear()
      rest = undefined
      toldAt = nowMs
      budget = { left: Math.max(0, left - tallied.length), atMs: nowMs }
      return tallied
    },
    giveBack(tallied) {
      for (const { tally, others: more } of tallied) if (more === 0) addTo(keyOf(tally.first), tally)
      for (const { tally, others: more } of tallied) if (more > 0) addToRest(keyOf(tally.first), tally)
    },
  }
}

function keyOf({ known, claimed, source }: Stranger): string {
  return `${known ? claimed.slice(0, 255) : ''} ${source.slice(0, 64)}`
}

function merge(into: Tally, { times, whys }: Tally): void {
  into.times += times
  for (const [why, count] of whys) {
    const key = into.whys.has(why) || into.whys.size < WHYS_MAX ? why : 'and others'
    into.whys.set(key, (into.whys.get(key) ?? 0) + count)
  }
}

/** No name stands as the caller's: nobody has proved one. Those who are told together have no address either. */
export function strangerNote({ tally: { first, times, whys }, others }: Tallied): AuditNote {
  const why = whys.size === 1 ? [...whys.keys()].join('') : [...whys].map(([each, count]) => `${each} (${count})`).join(', ')
  if (others > 0) return { kind: 'stranger', result: first.fault, params: JSON.stringify({ others, why, times }) }
  const { claimed, peer, door, method, fault, logId } = first
  return { kind: 'stranger', peer, door, method, result: fault, logId, params: JSON.stringify({ ...(claimed === '' ? {} : { claimed }), why, times }) }
}
