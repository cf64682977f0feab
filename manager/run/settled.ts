/**
 * How far a volume's changes were settled at some time in the past, as heads told it. Asked when a storage server turns out to have been
 * started anew: what was flushed to it before it was last heard is safe there, and what was settled later may have been settled by
 * flushes that no longer found the writes that it had lost. In memory: after a restart of the manager nothing is known of before.
 */
import type { VolumeSeen } from '../../lib/wire/agent.js'

export interface Settled {
  note(bootId: string, volumes: readonly VolumeSeen[], nowMs: number): void
  /** By then, a while before `timeMs`. 0: nothing is known. */
  before(volume: string, attachEpoch: number, bootId: string, timeMs: number): number
}

/** A sign of life may have been so long under way, ms: no call of an agent takes longer. */
const LATE_MS = 30_000
/** One each minute at most. */
const ENTRIES_MAX = 16

export function createSettled(lateMs = LATE_MS): Settled {
  /** Volume → of one attachment and boot of its head, what was told when, in order. */
  const all = new Map<string, { readonly of: string; readonly entries: readonly { readonly settled: number; readonly atMs: number }[] }>()
  return {
    note(bootId, volumes, nowMs) {
      for (const { volume, attachEpoch, changes } of volumes) {
        const of = `${attachEpoch} ${bootId}`
        const known = all.get(volume)
        if (!changes || changes.broken) all.delete(volume)
        else if (known?.of !== of) all.set(volume, { of, entries: [{ settled: changes.settled, atMs: nowMs }] })
        else if ((known.entries.at(-1)?.settled ?? 0) < changes.settled) all.set(volume, { of, entries: [...known.entries, { settled: changes.settled, atMs: nowMs }].slice(-ENTRIES_MAX) })
      }
    },
    before(volume, attachEpoch, bootId, timeMs) {
      const known = all.get(volume)
      if (known?.of !== `${attachEpoch} ${bootId}`) return 0
      return known.entries.findLast((entry) => entry.atMs < timeMs - lateMs)?.settled ?? 0
    },
  }
}
