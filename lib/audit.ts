/**
 * The audit log's chain, as whoever wants to can check it: manager, command, or a person with a backup and SHA-256.
 *
 *     hash = SHA-256 of the UTF-8 text  JSON.stringify(["vsky audit 1", previous, seq, atMs, epoch, kind, who, role, proof, peer, door,
 *                                                       method, params, result, request, logId])   in lower-case hex
 *
 * `previous` is the hash of the entry before; of entry 1 it is 64 zeros. Texts are whole (no lone surrogate, no control character) and numbers
 * are whole, so that there is one way to write them. Whoever can write the database could also reckon all hashes anew from some entry on, or cut
 * off the end. That shows against an anchor: the number and hash of an entry as they were told before (managers write them to their logs).
 */
import { createHash } from 'node:crypto'
import type { AuditEntryView } from './api/views.js'

/** Of the entry before the first. */
export const NO_HASH = '0'.repeat(64)

export interface AuditAnchor {
  readonly seq: number
  readonly hash: string
}

export function auditHash(entry: Omit<AuditEntryView, 'hash'>): string {
  const { previous, seq, atMs, epoch, kind, who, role, proof, peer, door, method, params, result, request, logId } = entry
  return createHash('sha256').update(JSON.stringify(['vsky audit 1', previous, seq, atMs, epoch, kind, who, role, proof, peer, door, method, params, result, request, logId])).digest('hex')
}

/** `SEQ:HASH`, as `verify` tells it and takes it. */
export function formatAnchor({ seq, hash }: AuditAnchor): string {
  return `${seq}:${hash}`
}

/** Undefined for a text that is none. */
export function parseAnchor(text: string): AuditAnchor | undefined {
  const match = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text)
  return match ? { seq: Number(match[1]), hash: match[2] ?? '' } : undefined
}

/** The first entry that does not fit, or the place where one is missing. */
export interface AuditProblem {
  readonly seq: number
  readonly why: string
}

export interface AuditVerdict {
  readonly entries: number
  /** The oldest that is there; 0: none is. */
  readonly first: number
  /** The end of the chain as far as it was read. */
  readonly head: AuditAnchor
  /** Entries by which a manager says that it found the log other than it had written it. */
  readonly alarms: readonly number[]
  readonly problem?: AuditProblem
}

export interface AuditCheck {
  /** The next entry, in the order in which they are kept. False as soon as one did not fit: the rest says nothing more. */
  add(entry: AuditEntryView): boolean
  /** What came of it. `anchors`: what was told at some time, each of which must be in the chain. */
  end(anchors?: readonly AuditAnchor[]): AuditVerdict
}

export function createAuditCheck(anchored: readonly AuditAnchor[] = []): AuditCheck {
  const wanted = new Map(anchored.map((anchor) => [anchor.seq, anchor.hash]))
  let first: AuditEntryView | undefined
  let last: AuditEntryView | undefined
  let entries = 0
  let cut: AuditAnchor | undefined
  let problem: AuditProblem | undefined
  const alarms: number[] = []

  function wrong(entry: AuditEntryView): AuditProblem | undefined {
    if (last && entry.seq <= last.seq) return { seq: entry.seq, why: `it stands behind entry ${last.seq}` }
    if (last && entry.seq > last.seq + 1) return { seq: last.seq + 1, why: entry.seq === last.seq + 2 ? 'it is missing' : `it is missing, and so are those up to ${entry.seq - 1}` }
    if (auditHash(entry) !== entry.hash) return { seq: entry.seq, why: 'its content is not what its hash was made of' }
    if (last && entry.previous !== last.hash) return { seq: entry.seq, why: `it does not follow entry ${last.seq}, which was changed or put there later` }
    const anchor = wanted.get(entry.seq)
    if (anchor !== undefined && anchor !== entry.hash) return { seq: entry.seq, why: 'it is not the one whose hash was told before' }
    return undefined
  }

  return {
    add(entry) {
      problem ??= wrong(entry)
      if (problem) return false
      first ??= entry
      last = entry
      entries += 1
      if (entry.kind === 'cut') {
        const said = cutOf(entry)
        if (said && said.seq === first.seq - 1) cut = said
      }
      if (entry.kind === 'alarm') alarms.push(entry.seq)
      return true
    },
    end(anchors = []) {
      problem ??= wrongStart(first, cut) ?? wrongEnd(first, last, [...anchored, ...anchors])
      return { entries, first: first?.seq ?? 0, head: { seq: last?.seq ?? 0, hash: last?.hash ?? NO_HASH }, alarms, ...(problem ? { problem } : {}) }
    },
  }
}

/** What an entry of the kind `cut` says: the last entry that was removed, and its hash. */
function cutOf({ params }: AuditEntryView): AuditAnchor | undefined {
  try {
    const said: unknown = JSON.parse(params)
    if (typeof said !== 'object' || said === null || !('through' in said) || !('hash' in said)) return undefined
    return typeof said.through === 'number' && typeof said.hash === 'string' ? { seq: said.through, hash: said.hash } : undefined
  } catch {
    return undefined
  }
}

/** The oldest entry is number 1, or an entry that still stands says up to where older ones were removed. */
function wrongStart(first: AuditEntryView | undefined, cut: AuditAnchor | undefined): AuditProblem | undefined {
  if (!first) return undefined
  if (first.seq === 1) return first.previous === NO_HASH ? undefined : { seq: 1, why: 'it is the first and follows another' }
  if (!cut) return { seq: first.seq - 1, why: 'it is missing, and no entry says that the log was cut there' }
  return cut.hash === first.previous ? undefined : { seq: first.seq, why: 'it does not follow the entry at which the log was cut' }
}

function wrongEnd(first: AuditEntryView | undefined, last: AuditEntryView | undefined, anchors: readonly AuditAnchor[]): AuditProblem | undefined {
  for (const { seq, hash } of anchors) {
    if (seq > (last?.seq ?? 0)) return { seq: (last?.seq ?? 0) + 1, why: `it is missing, and so is all up to ${seq}, which was told before: the end is cut off` }
    if (seq === last?.seq && hash !== last.hash) return { seq, why: 'it is not the one whose hash was told before' }
    if (first && seq === first.seq - 1 && hash !== first.previous && seq > 0) return { seq: first.seq, why: 'it does not follow the entry whose hash was told before' }
  }
  return undefined
}
