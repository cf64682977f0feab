/**
 * I/O that no leg can take waits in the queue under the volume's device, or in the one under what its head remembers of changes. Here a
 * queue is tried again every second where only its path has failed (a mirror that has given up its legs needs a new table first, which
 * is the manager's to order), and given up, with an error for whoever waits, when it has lasted longer than the volume allows.
 */
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import type { Dmsetup } from '../dm/dmsetup.js'
import { readQueueFailed, readStatus } from '../dm/status.js'

export interface Waiting {
  /** Names of devices: the guest's queue, the other one, and what each stands on. */
  readonly queues: readonly { readonly name: string; readonly path: string; readonly guests: boolean }[]
  readonly segments: readonly string[]
  /** ms; 0: for ever. */
  readonly limitMs: number
}

export interface Patience {
  /** Its I/O waits. Told again as often as it is seen. */
  note(volume: string, waiting: Waiting): void
  forget(volume: string): void
  stop(): Promise<void>
}

export interface PatienceOptions {
  readonly dm: Pick<Dmsetup, 'status' | 'message'>
  readonly clock: Clock
  readonly log: Log
  /**
   * A volume is given up. What waits to be remembered may be failed only when nobody relies on it any more: as long as this says false it
   * goes on waiting.
   */
  readonly mayForget: (volume: string) => boolean
}

const AGAIN_MS = 1000

export function createPatience({ dm, clock, log, mayForget }: PatienceOptions): Patience {
  const all = new Map<string, Waiting & { readonly sinceMs: number; readonly gaveUp: Set<string> }>()
  const stopping = new AbortController()
  let running: Promise<void> | undefined

  async function look(volume: string, status: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const each = all.get(volume)
    if (!each) return
    const lineOf = (name: string): string => status.get(name)?.[0] ?? ''
    const failed = each.queues.filter((queue) => readQueueFailed(lineOf(queue.name)))
    if (failed.length === 0) {
      for (const name of each.gaveUp) if (lineOf(name) !== '') await dm.message(name, 'queue_if_no_path')
      log.info('I/O of a volume goes on', { volume, waitedMs: Math.round(clock.monoMs() - each.sinceMs) })
      all.delete(volume)
      return
    }
    if (each.limitMs > 0 && clock.monoMs() - each.sinceMs > each.limitMs) {
      const forget = each.queues.length > 1 && mayForget(volume)
      for (const queue of each.queues) {
        if (each.gaveUp.has(queue.name) || !(queue.guests || forget)) continue
        await dm.message(queue.name, 'fail_if_no_path')
        each.gaveUp.add(queue.name)
        log.error('I/O of a volume has waited too long and gets an error', { volume, queue: queue.name, limitMs: each.limitMs })
      }
    }
    const givenUp = each.segments.some((name) => readStatus(lineOf(name))?.legs.some((leg) => leg.health !== 'A') ?? false)
    if (!givenUp) for (const queue of failed) await dm.message(queue.name, `reinstate_path /dev/mapper/${queue.path}`)
  }

  async function keepLooking(): Promise<void> {
    while (all.size > 0 && !stopping.signal.aborted) {
      await clock.sleep(AGAIN_MS, stopping.signal).catch(() => undefined)
      if (stopping.signal.aborted) break
      try {
        const status = await dm.status([...all.values()].flatMap((each) => [...each.queues.map((queue) => queue.name), ...each.segments]))
        for (const volume of [...all.keys()]) await look(volume, status)
      } catch (thrown) {
        log.warn('a waiting volume could not be tried again', { error: messageOf(thrown) })
      }
    }
    running = undefined
  }

  return {
    note(volume, waiting) {
      if (all.has(volume)) return
      log.warn('I/O of a volume waits: no leg can take it', { volume })
      all.set(volume, { ...waiting, sinceMs: clock.monoMs(), gaveUp: new Set() })
      running ??= keepLooking()
    },
    forget(volume) { all.delete(volume) },
    async stop() {
      stopping.abort()
      await running
    },
  }
}
