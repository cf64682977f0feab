/**
 * How often a secret may be guessed. Every address and every name has so many attempts, which come back one by one; one that was right is given back. It
 * knows nothing of whether a name exists, so it tells nothing of that. An attempt is taken before its secret is looked at: a hundred at once are a
 * hundred. Pure.
 */

export interface Pace {
  /** Attempts in a row. */
  readonly burst: number
  /** Until one more is there, ms. */
  readonly everyMs: number
}

export const addressPace: Pace = { burst: 10, everyMs: 6_000 }
export const namePace: Pace = { burst: 20, everyMs: 15_000 }
/** Addresses, and names, that are remembered at once; while as many have failed lately, new ones wait. */
const KEYS_MAX = 10_000

export interface Attempts {
  /** Takes one, of the address and of the name; or gives how long to wait for one, ms, and takes none. 0: it was taken. */
  take(address: string, name: string, nowMs: number): number
  /** It was right. */
  giveBack(address: string, name: string, nowMs: number): void
}

export function createAttempts({ address: ofAddress = addressPace, name: ofName = namePace, keysMax = KEYS_MAX }: { readonly address?: Pace; readonly name?: Pace; readonly keysMax?: number } = {}): Attempts {
  const [addresses, names] = [createBuckets(ofAddress, keysMax), createBuckets(ofName, keysMax)]
  return {
    take(address, name, nowMs) {
      const from = networkOf(address)
      const waitMs = Math.max(addresses.waitMs(from, nowMs), names.waitMs(name, nowMs))
      if (waitMs > 0) return waitMs
      addresses.add(from, -1, nowMs)
      names.add(name, -1, nowMs)
      return 0
    },
    giveBack(address, name, nowMs) {
      addresses.add(networkOf(address), 1, nowMs)
      names.add(name, 1, nowMs)
    },
  }
}

interface Buckets {
  /** Until there is one; 0: now. */
  waitMs(key: string, nowMs: number): number
  add(key: string, count: 1 | -1, nowMs: number): void
}

function createBuckets({ burst, everyMs }: Pace, keysMax: number): Buckets {
  const held = new Map<string, { readonly left: number; readonly atMs: number }>()
  const leftOf = (key: string, nowMs: number): number => {
    const bucket = held.get(key)
    return bucket ? Math.min(burst, bucket.left + Math.max(0, nowMs - bucket.atMs) / everyMs) : burst
  }
  const isRoom = (key: string, nowMs: number): boolean => {
    if (held.has(key) || held.size < keysMax) return true
    for (const each of [...held.keys()]) if (leftOf(each, nowMs) >= burst) held.delete(each)
    return held.size < keysMax
  }
  return {
    waitMs(key, nowMs) {
      if (!isRoom(key, nowMs)) return everyMs
      const left = leftOf(key, nowMs)
      return left >= 1 ? 0 : Math.ceil((1 - left) * everyMs)
    },
    add(key, count, nowMs) {
      const left = Math.min(burst, leftOf(key, nowMs) + count)
      if (left >= burst) held.delete(key)
      else held.set(key, { left, atMs: nowMs })
    },
  }
}

/** What one client can take addresses from: of IPv6 the first 64 bits, of IPv4 (also as IPv6 writes it) the address itself. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  if (!plain.includes(':')) return plain
  const [head = '', tail] = (plain.split('%')[0] ?? '').toLowerCase().split('::')
  const groups = (part: string | undefined): readonly string[] => (part === undefined || part === '' ? [] : part.split(':'))
  const [before, after] = [groups(head), groups(tail)]
  const all = tail === undefined ? before : [...before, ...Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0'), ...after]
  return `${all.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, '')).join(':')}::/64`
}
