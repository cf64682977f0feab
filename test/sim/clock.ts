/**
 * Virtual time. What is to happen stands in a queue by time and order of asking; the loop takes the next, carries it out, and lets every
 * promise that it settled run to its end before the one after it. So one seed gives one course of events, on any machine.
 */
import type { Clock } from '../../lib/ports.js'

interface Entry {
  readonly at: number
  readonly order: number
  act: (() => void) | undefined
}

export type Cancel = () => void

export class Timeline {
  /** ms since the world began. */
  now = 0
  events = 0
  #order = 0
  #touched = false
  readonly #heap: Entry[] = []

  after(ms: number, act: () => void): Cancel {
    const entry: Entry = { at: this.now + Math.max(0, ms), order: this.#order += 1, act }
    this.#push(entry)
    return () => { entry.act = undefined }
  }

  /** Somebody's promise was settled: what waits for it runs before the next event. */
  touch(): void {
    this.#touched = true
  }

  /** Resolves after `ms`. For the world's own programs; the product's sleep is the process's. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, () => {
        this.touch()
        resolve()
      })
    })
  }

  /** Until `until` gives true or time is at `end`. Gives whether it became true. */
  async run(end: number, until: () => boolean = () => false): Promise<boolean> {
    await settled()
    while (!until()) {
      const next = this.#heap[0]
      if (!next || next.at > end) {
        this.now = Math.max(this.now, end)
        return until()
      }
      this.#pop()
      if (!next.act) continue
      this.now = next.at
      this.events += 1
      next.act()
      if (this.#touched) {
        this.#touched = false
        await settled()
      }
    }
    return true
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(entry)
    while (at > 0) {
      const up = (at - 1) >> 1
      const above = heap[up]
      if (!above || !before(entry, above)) break
      heap[at] = above
      at = up
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let at = 0
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      const [l, r] = [heap[left], heap[right]]
      const down = r && l && before(r, l) ? right : left
      const below = heap[down]
      if (!below || !before(below, last)) break
      heap[at] = below
      at = down
    }
    heap[at] = last
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** All that can run without another event has run: the event loop comes here only when no promise has anything left to do. */
function settled(): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve) })
}

/** A host's clocks: one that runs a little too fast or too slow, and a time of day that somebody may set. */
export class HostClock {
  readonly #timeline: Timeline
  /** Its seconds per second. */
  rate = 1
  /** ms that its time of day is off. */
  offsetMs = 0
  #since = { real: 0, mono: 0 }

  constructor(timeline: Timeline) {
    this.#timeline = timeline
  }

  monoMs(): number {
    return this.#since.mono + (this.#timeline.now - this.#since.real) * this.rate
  }

  nowMs(): number {
    return Math.floor(BEGAN_MS + this.offsetMs + this.monoMs())
  }

  setRate(rate: number): void {
    this.#since = { real: this.#timeline.now, mono: this.monoMs() }
    this.rate = rate
  }
}

/** 2026-01-01. */
const BEGAN_MS = 1_767_225_600_000

/** The clock of one process: it sleeps no more when that is dead. */
export function processClock(timeline: Timeline, host: HostClock, isAlive: () => boolean): Clock {
  return {
    nowMs: () => host.nowMs(),
    monoMs: () => host.monoMs(),
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason)
        return
      }
      const onAbort = (): void => {
        cancel()
        reject(signal?.reason)
      }
      const cancel = timeline.after(ms / host.rate, () => {
        signal?.removeEventListener('abort', onAbort)
        if (!isAlive()) return
        timeline.touch()
        resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    }),
  }
}
