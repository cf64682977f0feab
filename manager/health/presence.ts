/** Who is alive: heartbeats and `now` in, online or offline out. In memory: a new manager learns it anew within one heartbeat. */

export const HEARTBEAT_MS = 1000
/** Four heartbeats missed. Placement and repair go by this; for attached volumes the head that sees the error decides. */
export const OFFLINE_AFTER_MS = 4500

export interface Presence {
  heard(host: string, nowMs: number): void
  /** True when it was heard within OFFLINE_AFTER_MS. */
  online(host: string, nowMs: number): boolean
  lastHeard(host: string): number | undefined
  /** Hosts whose state has changed since the last call, with the new state. */
  changes(nowMs: number): readonly { readonly host: string; readonly online: boolean }[]
}

export function createPresence(): Presence {
  const heard = new Map<string, number>()
  const told = new Map<string, boolean>()
  const isOnline = (host: string, nowMs: number): boolean => nowMs - (heard.get(host) ?? Number.NEGATIVE_INFINITY) <= OFFLINE_AFTER_MS
  return {
    heard(host, nowMs) {
      heard.set(host, nowMs)
    },
    online: isOnline,
    lastHeard: (host) => heard.get(host),
    changes(nowMs) {
      const changed = [...heard.keys()].sort().map((host) => ({ host, online: isOnline(host, nowMs) })).filter(({ host, online }) => told.get(host) !== online)
      for (const { host, online } of changed) told.set(host, online)
      return changed
    },
  }
}
