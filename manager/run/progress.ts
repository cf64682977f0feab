/** How far copies are and how fast they go, from what heads report. In memory: a new manager measures anew. */
import type { VolumeSeen } from '../../lib/wire/agent.js'

export interface CopyProgress {
  /** 0 to 1. */
  readonly share: number
  /** Of the segment per second, 0 to 1; 0 when not yet known. */
  readonly perSecond: number
}

export interface Progress {
  note(volume: VolumeSeen, nowMs: number): void
  of(volume: string, segment: number): CopyProgress | undefined
  forget(volume: string, segment: number): void
}

interface Mark {
  readonly layout: number
  readonly share: number
  readonly atMs: number
  readonly perSecond: number
}

/** Shorter than that a measurement says little, ms. */
const MEASURE_MS = 500
/** Weight of a new measurement against those before. */
const WEIGHT = 0.4

export function createProgress(): Progress {
  const marks = new Map<string, Mark>()
  const keyOf = (volume: string, segment: number): string => `${volume} ${segment}`
  return {
    note({ volume, layout, segments }, nowMs) {
      for (const { index, inSync, regions } of segments) {
        const key = keyOf(volume, index)
        const share = regions === 0 ? 1 : inSync / regions
        const before = marks.get(key)
        if (share === 1) marks.delete(key)
        else if (before?.layout !== layout || share < before.share) marks.set(key, { layout, share, atMs: nowMs, perSecond: before?.perSecond ?? 0 })
        else if (nowMs - before.atMs >= MEASURE_MS) {
          const now = (share - before.share) / ((nowMs - before.atMs) / 1000)
          marks.set(key, { layout, share, atMs: nowMs, perSecond: before.perSecond === 0 ? now : WEIGHT * now + (1 - WEIGHT) * before.perSecond })
        }
      }
    },
    of: (volume, segment) => marks.get(keyOf(volume, segment)),
    forget(volume, segment) { marks.delete(keyOf(volume, segment)) },
  }
}
