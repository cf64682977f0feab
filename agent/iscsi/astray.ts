/**
 * Sessions that do not come back. iscsid logs in again by itself for as long as it takes; but where the connection breaks once more while it
 * does, it can lose its way for good (open-iscsi issue 387, 2.1.8 and before): each further attempt fails, though the server is well. So one that orders
 * go on asking for, while its server can be connected to, is ended and made anew.
 */
import type { Clock } from '../../lib/ports.js'
import type { Session } from './sysfs.js'

/** Asked for so long: iscsid needs some 6 s at most once a server is back, ms. */
export const ASTRAY_MS = 20_000
/** What was not asked for in this time may have been back in between, ms. */
export const FORGOTTEN_MS = 15_000

export interface Astray {
  /** An order asks for this session. True when it will not come back by itself. */
  asked(session: Pick<Session, 'sid' | 'state'>): boolean
}

export function createAstray(clock: Pick<Clock, 'monoMs'>): Astray {
  const all = new Map<string, { readonly sinceMs: number; readonly lastMs: number }>()
  return {
    asked({ sid, state }) {
      const now = clock.monoMs()
      for (const [each, { lastMs }] of all) if (now - lastMs > FORGOTTEN_MS) all.delete(each)
      if (state !== 'FREE') { // it works, or what is under way may still end well
        all.delete(sid)
        return false
      }
      const sinceMs = all.get(sid)?.sinceMs ?? now
      all.set(sid, { sinceMs, lastMs: now })
      return now - sinceMs >= ASTRAY_MS
    },
  }
}
