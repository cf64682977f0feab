/**
 * I/O that no leg can take waits in the queue under the volume's device. Here the queue is tried again every second where only its
 * path has failed (a mirror that has given up its legs needs a new table first, which is the manager's to order), and given up, with
 * an error for whoever waits, when it has lasted longer than the volume allows.
 */
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import type { Dmsetup } from '../dm/dmsetup.js'
import { readQueueFailed, readStatus } from '../dm/status.js'

export interface Waiting {
  /** The queue's device, and those of the segments below it. */
  readonly top: string
  readonly body: string
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

const AGAIN_MS = 1000

export function createPatience({ dm, clock, log }: { readonly dm: Dmsetup; readonly clock: Clock; readonly log: Log }): Patience {
  const all = new Map<string, Waiting & { readonly sinceMs: number; gaveUp: boolean }>()
  const stopping = new AbortController()
  let running: Promise<void> | undefined

  async function look(volume: string, status: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const each = all.get(volume)
    const line = each && status.get(each.top)?.[0]
    if (!each) return
    if (line === undefined || !readQueueFailed(line)) {
      if (each.gaveUp && line !== undefined) await dm.message(each.top, 'queue_if_no_path')
      log.info('I/O of a volume goes on', { volume, waitedMs: Math.round(clock.monoMs() - each.sinceMs) })
      all.delete(volume)
      return
    }
    if (!each.gaveUp && each.limitMs > 0 && clock.monoMs() - each.sinceMs > each.limitMs) {
      await dm.message(each.top, 'fail_if_no_path')
      each.gaveUp = true
      log.error('I/O of a volume has waited too long and gets an error', { volume, limitMs: each.limitMs })
    }
    const givenUp = each.segments.some((name) => readStatus(status.get(name)?.[0] ?? '')?.legs.some((leg) => leg.health !== 'A') ?? false)
    if (!givenUp) await dm.message(each.top, `reinstate_path /dev/mapper/${each.body}`)
  }

  async function keepLooking(): Promise<void> {
    while (all.size > 0 && !stopping.signal.aborted) {
      await clock.sleep(AGAIN_MS, stopping.signal).catch(() => undefined)
      if (stopping.signal.aborted) break
      try {
        const status = await dm.status()
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
      all.set(volume, { ...waiting, sinceMs: clock.monoMs(), gaveUp: false })
      running ??= keepLooking()
    },
    forget(volume) { all.delete(volume) },
    async stop() {
      stopping.abort()
      await running
    },
  }
}
