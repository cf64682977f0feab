/**
 * What a head of the small world remembers of writes: what dm-era (Linux drivers/md/dm-era-target.c) keeps behind segment 0, and what
 * agent/head/changes.ts makes of it, step by step as there. Only the scale of time is another.
 */
import type { VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'

/** Of a leg of segment 0, or in core. By block of the volume: the last era in which it was written. */
export interface Memory { readonly era: number; readonly written: readonly number[] }

export const emptyMemory: Memory = { era: 0, written: [] }
export const nextEra = (memory: Memory): Memory => ({ ...memory, era: memory.era + 1 })
export const isMarked = (memory: Memory, block: number): boolean => memory.written[block] === memory.era
export const withMark = (memory: Memory, block: number): Memory => ({ ...memory, written: Array.from({ length: Math.max(block + 1, memory.written.length) }, (_, at) => (at === block ? memory.era : memory.written[at] ?? 0)) })

/** Between two checkpoints, ms; a write that takes longer than half of it fails. */
export const CHECKPOINT_MS = 4000

interface Kept {
  wanted: VolumeWanted
  readonly began: number
  settled: number
  broken: boolean
  last: { readonly era: number; readonly atMs: number; readonly written: string } | undefined
}

export class Changes {
  #kept: Kept | undefined
  #lookedMs = 0

  seen(): VolumeSeen['changes'] {
    return this.#kept && { settled: this.#kept.broken ? 0 : this.#kept.settled, broken: this.#kept.broken }
  }

  note(wanted: VolumeWanted): void {
    if (!wanted.changes || wanted.scope === 'copies') {
      this.#kept = undefined
      return
    }
    const before = this.#kept
    if (before?.wanted.attachEpoch === wanted.attachEpoch) {
      before.wanted = wanted
      before.settled = Math.max(before.settled, wanted.changes.settled)
    } else this.#kept = { wanted, began: wanted.layout, settled: Math.max(1, wanted.changes.settled), broken: false, last: undefined }
  }

  forget(): void { this.#kept = undefined }

  spoil(): boolean {
    const kept = this.#kept
    if (kept) kept.broken = true
    return kept?.wanted.changes?.settled === 0 && kept.wanted.layout > kept.began
  }

  /** `flushed`: all legs are well, and a flush has gone through. `checkpoint` gives the era that it began, if it could be written down. */
  look(nowMs: number, written: string, { flushed, checkpoint }: { readonly flushed: () => boolean; readonly checkpoint: () => number | undefined }): void {
    const kept = this.#kept
    if (!kept || kept.broken || nowMs - this.#lookedMs < CHECKPOINT_MS) return
    this.#lookedMs = nowMs
    const { last } = kept
    if (last?.written === written) return
    kept.last = undefined
    if (!flushed()) return
    const era = checkpoint()
    if (era === undefined) return
    kept.last = { era, atMs: nowMs, written }
    if (last && nowMs - last.atMs >= CHECKPOINT_MS - 1000) kept.settled = Math.max(kept.settled, last.era)
  }
}
