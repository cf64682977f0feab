/**
 * Turns, by key: each key (a volume, a host, a disk) has at most one turn under way; a kick while it runs means once more after it.
 * A turn looks at the facts anew every time, so a lost kick costs time and nothing else. A failing turn is repeated with a
 * growing pause. This is the only place where turns are started.
 */
import type { Clock, Log } from '../../lib/ports.js'
import { messageOf } from '../../lib/faults.js'
import { EpochLost } from '../store/store.js'

/** `idle`: nothing to do until the next kick. A number: look again after so many milliseconds. */
export type Next = 'idle' | number

/** `kicked`: somebody had a reason, now or before an attempt that failed; else it only looks again. */
export type Turn = (id: string, attempt: number, kicked: boolean) => Promise<Next>

export interface Work {
  /** `kind:id`. Runs soon; never waits. */
  kick(kind: string, id: string): void
  /** Turns that run or wait. */
  busy(): number
  /** No new turns; resolves when those under way have ended. */
  stop(): Promise<void>
}

interface Item {
  running: boolean
  again: boolean
  kicked: boolean
  failures: number
  wake: AbortController | undefined
}

const PAUSES_MS = [250, 500, 1000, 2000, 4000, 8000] as const

export function createWork(
  turns: Readonly<Record<string, Turn>>,
  { clock, log, onEpochLost }: { clock: Clock; log: Log; onEpochLost: (lost: EpochLost) => void },
): Work {
  const items = new Map<string, Item>()
  const ended = new Set<() => void>()
  let stopping = false

  function kick(kind: string, id: string): void {
    if (stopping) return
    const key = `${kind}:${id}`
    const item = items.get(key)
    if (item) {
      item.again = true
      item.wake?.abort()
      return
    }
    const fresh: Item = { running: true, again: false, kicked: true, failures: 0, wake: undefined }
    items.set(key, fresh)
    void loop(kind, id, key, fresh)
  }

  async function loop(kind: string, id: string, key: string, item: Item): Promise<void> {
    for (;;) {
      item.kicked ||= item.again
      item.again = false
      const pause = await once(kind, id, item)
      if (stopping || (pause === 'idle' && !item.again)) break
      if (pause !== 'idle' && pause > 0) await rest(item, pause)
      if (stopping) break // it may have begun to stop during the pause
    }
    items.delete(key)
    for (const each of [...ended]) each()
  }

  async function once(kind: string, id: string, item: Item): Promise<Next> {
    try {
      const next = await (turns[kind] ?? (() => Promise.resolve('idle' as const)))(id, item.failures, item.kicked)
      item.failures = 0
      item.kicked = false
      return next
    } catch (thrown) {
      if (thrown instanceof EpochLost) {
        onEpochLost(thrown)
        return 'idle'
      }
      const pause = PAUSES_MS[Math.min(item.failures, PAUSES_MS.length - 1)] ?? 8000
      item.failures += 1
      log.warn('a turn failed and will be repeated', { kind, id, attempt: item.failures, error: messageOf(thrown), pauseMs: pause })
      return pause
    }
  }

  /** A kick ends the pause, but not at once after a failure: a burst of kicks must not become a burst of attempts. */
  async function rest(item: Item, ms: number): Promise<void> {
    const floor = item.failures > 0 ? Math.min(ms, 200) : 0
    if (floor > 0) await clock.sleep(floor)
    if (item.again || stopping || ms <= floor) return
    item.wake = new AbortController()
    await clock.sleep(ms - floor, item.wake.signal).catch(() => undefined)
    item.wake = undefined
  }

  return {
    kick,
    busy: () => items.size,
    async stop() {
      stopping = true
      for (const item of items.values()) item.wake?.abort()
      while (items.size > 0) await new Promise<void>((resolve) => { ended.add(resolve) })
    },
  }
}
