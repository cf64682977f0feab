/** Says that this manager is there, and sees who else is. */
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import type { Db } from '../store/db.js'
import { allManagers, announceManager, forgetManager } from '../store/managers.js'
import type { ManagerRow } from '../store/managers.js'
import type { LeaseTimes } from './timeline.js'

export interface Roster {
  /** By name. `active` is the name of the lease's holder. */
  list(active: string): readonly { readonly name: string; readonly address: string; readonly version: string; readonly state: 'active' | 'standby' | 'gone' }[]
  /** Runs until the signal aborts. */
  keep(signal: AbortSignal): Promise<void>
}

/** One that is not coming back is forgotten after so long, ms. */
const FORGET_AFTER_MS = 3600_000

export function createRoster({ db, self, times, clock, log }: { readonly db: Db; readonly self: Omit<ManagerRow, 'beat'>; readonly times: LeaseTimes; readonly clock: Clock; readonly log: Log }): Roster {
  let seen: ReadonlyMap<string, { readonly row: ManagerRow; readonly sinceMs: number }> = new Map()

  async function once(): Promise<void> {
    await announceManager(db, self)
    const nowMs = clock.monoMs()
    seen = new Map((await allManagers(db)).map((row) => {
      const before = seen.get(row.name)
      return [row.name, { row, sinceMs: before?.row.beat === row.beat ? before.sinceMs : nowMs }]
    }))
    for (const { row, sinceMs } of seen.values()) if (nowMs - sinceMs > FORGET_AFTER_MS) await forgetManager(db, row)
  }

  return {
    list(active) {
      const nowMs = clock.monoMs()
      return [...seen.values()].map(({ row: { name, address, version }, sinceMs }) => ({
        name, address, version, state: name === active ? 'active' : nowMs - sinceMs > 3 * times.renewMs ? 'gone' : 'standby',
      }))
    },
    async keep(signal) {
      let told = ''
      while (!signal.aborted) {
        try {
          await once()
          told = ''
        } catch (thrown) {
          if (told !== messageOf(thrown)) log.warn('this manager can\'t say that it is there', { error: messageOf(thrown) })
          told = messageOf(thrown)
        }
        await clock.sleep(times.renewMs, signal).catch(() => undefined)
      }
    },
  }
}
