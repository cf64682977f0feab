/**
 * Who is alive: heartbeats and `now` in, online or offline out. In memory: a new manager learns it anew. Until it has listened as long
 * as a host may be silent it presumes the hosts that it knows alive: its own start is no reason to leave a leg behind.
 */

export const HEARTBEAT_MS = 1000
/** Four heartbeats missed. Placement and repair go by this; for attached volumes the head that sees the error decides. */
export const OFFLINE_AFTER_MS = 4500

export interface Presence {
  /** A host that is known and not yet heard: online for now, and told only if it turns out not to be. */
  expect(host: string, nowMs: number): void
  heard(host: string, nowMs: number): void
  /** It is heard by somebody who can't say whether this is the start of it that is known. */
  stirs(host: string, nowMs: number): void
  /** Nobody listened for a while: hosts that were online are presumed to be so still, as at the start. */
  presume(nowMs: number): void
  /** True when it was heard within OFFLINE_AFTER_MS. */
  online(host: string, nowMs: number): boolean
  lastHeard(host: string): number | undefined
  /** When it was last heard in the start that is known of it; what is presumed does not count. */
  proved(host: string): number | undefined
  /** Hosts whose state has changed since the last call, with the new state. */
  changes(nowMs: number): readonly { readonly host: string; readonly online: boolean }[]
}

export function createPresence(): Presence {
  const heard = new Map<string, number>()
  const proof = new Map<string, number>()
  const told = new Map<string, boolean>()
  const isOnline = (host: string, nowMs: number): boolean => nowMs - (heard.get(host) ?? Number.NEGATIVE_INFINITY) <= OFFLINE_AFTER_MS
  return {
    expect(host, nowMs) {
      if (heard.has(host)) return
      heard.set(host, nowMs)
      told.set(host, true)
    },
    heard(host, nowMs) {
      heard.set(host, nowMs)
      proof.set(host, nowMs)
    },
    stirs(host, nowMs) {
      heard.set(host, nowMs)
    },
    presume(nowMs) {
      for (const [host, wasOnline] of told) if (wasOnline) heard.set(host, Math.max(nowMs, heard.get(host) ?? nowMs))
    },
    online: isOnline,
    lastHeard: (host) => heard.get(host),
    proved: (host) => proof.get(host),
    changes(nowMs) {
      const changed = [...heard.keys()].sort().map((host) => ({ host, online: isOnline(host, nowMs) })).filter(({ host, online }) => told.get(host) !== online)
      for (const { host, online } of changed) told.set(host, online)
      return changed
    },
  }
}
