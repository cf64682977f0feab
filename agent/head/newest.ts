/** Orders that have arrived, also those that wait in line: what is being carried out may wait in the kernel for what only the next one decides. */
import type { VolumeWanted } from '../../lib/wire/agent.js'
import { checkWish } from './plan.js'

export interface Newest {
  /** Throws `bad parameter` for an order that makes no sense. */
  heed(order: VolumeWanted): void
  /** What is to count for a volume: this order, or a newer one of the same attachment. */
  over(order: VolumeWanted): VolumeWanted
  forget(volume: string): void
}

export function createNewest(): Newest {
  const known = new Map<string, VolumeWanted>()
  return {
    heed(order) {
      checkWish(order)
      const before = known.get(order.volume)
      if (!before || before.attachEpoch < order.attachEpoch || (before.attachEpoch === order.attachEpoch && before.layout < order.layout)) known.set(order.volume, order)
    },
    over(order) {
      const newest = known.get(order.volume)
      return newest?.attachEpoch === order.attachEpoch && newest.layout > order.layout ? newest : order
    },
    forget(volume) { known.delete(volume) },
  }
}
