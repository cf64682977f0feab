/**
 * What an order can't get past. A device gets its new table when what it has handed down has ended; where a leg fails below that this very
 * order still wants, and every newer one, it waits for an order without that leg. Whoever gives orders has to hear of it meanwhile: of a
 * volume that is not yet as it was ordered nothing else is believed.
 */
import { messageOf } from '../../lib/faults.js'
import type { Log } from '../../lib/ports.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import type { Part } from '../dm/table.js'

export interface Stuck {
  /** Legs that failed below and are wanted; none: there are none any more. */
  note(volume: string, part: Part, extents: readonly string[]): void
  /** What is told of volumes: these legs can't be reached. */
  told(seen: readonly VolumeSeen[]): readonly VolumeSeen[]
}

/** `tell`: of a leg that was not among them. */
export function createStuck({ tell, log }: { readonly tell: (volume: string) => Promise<void>; readonly log: Log }): Stuck {
  const below = new Map<string, ReadonlyMap<Part, readonly string[]>>()
  const of = (volume: string): readonly string[] => [...new Set([...below.get(volume)?.values() ?? []].flat())]
  return {
    note(volume, part, extents) {
      const before = of(volume)
      const parts = new Map(below.get(volume))
      if (extents.length > 0) parts.set(part, extents)
      else parts.delete(part)
      if (parts.size > 0) below.set(volume, parts)
      else below.delete(volume)
      if (extents.every((extent) => before.includes(extent))) return
      tell(volume).catch((thrown: unknown) => { log.warn('a leg that stands in the way of an order could not be told', { volume, error: messageOf(thrown) }) })
    },
    told: (seen) => seen.map((each) => {
      const legs = of(each.volume).filter((extent) => !each.unreachable.some((other) => other.extent === extent))
      return legs.length === 0 ? each : { ...each, unreachable: [...each.unreachable, ...legs.map((extent) => ({ extent, why: 'it failed below a device that waits for its new table' }))] }
    }),
  }
}
