/** A bounded number of places, taken in the order of asking. Who waits, waits no longer than it said. */
export interface Slots {
  /** Resolves with a place, or with why there was none. `release` may be called more than once. Never rejects. */
  take(timeoutMs: number, signal?: AbortSignal): Promise<Turn>
  /** Nobody has a place, and nobody waits for one. */
  idle(): boolean
}

export type Turn = { readonly kind: 'taken'; readonly release: () => void } | { readonly kind: 'timeout' } | { readonly kind: 'cancelled' }

export function createSlots(places: number): Slots {
  let free = places
  const waiting = new Set<() => void>()

  function taken(): Turn {
    free -= 1
    let held = true
    return {
      kind: 'taken',
      release: () => {
        if (!held) return
        held = false
        free += 1
        const [first] = waiting
        first?.()
      },
    }
  }

  return {
    idle: () => free === places && waiting.size === 0,
    async take(timeoutMs, signal) {
      if (free > 0) return taken()
      return new Promise((resolve) => {
        const settle = (turn: Turn): void => {
          waiting.delete(admit)
          clearTimeout(timer)
          signal?.removeEventListener('abort', cancel)
          resolve(turn)
        }
        const admit = (): void => { settle(taken()) }
        const cancel = (): void => { settle({ kind: 'cancelled' }) }
        const timer = setTimeout(() => { settle({ kind: 'timeout' }) }, timeoutMs)
        waiting.add(admit)
        signal?.addEventListener('abort', cancel, { once: true })
      })
    },
  }
}
