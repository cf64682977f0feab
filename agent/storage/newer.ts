/**
 * Which of a manager's orders was made later. Calls overtake each other on their way, and one may wait here for minutes while others are carried
 * out; what an order lets in must not be let in again by one that was made before. In memory: no call outlives the agent that took it.
 */
import { Fault } from '../../lib/faults.js'
import type { ExtentWanted } from '../../lib/wire/agent.js'

/** When an order was made: its manager's epoch, and its number in it. */
export interface MadeAt {
  readonly epoch: number
  readonly order: number
}

export interface Newer {
  /** Throws Fault 'agent failed' when a later order for one of the extents was carried out, or one that shuts out an initiator that this one lets in. */
  refuseOlder(extents: readonly Pick<ExtentWanted, 'extent' | 'initiators'>[], made: MadeAt | undefined): void
  ensured(extents: readonly Pick<ExtentWanted, 'extent'>[], made: MadeAt | undefined): void
  banned(initiator: string, made: MadeAt | undefined): void
}

/** A manager of an older release does not number its orders: nothing is known of when those were made. */
export function createNewer(): Newer {
  const ensured = new Map<string, MadeAt>()
  const banned = new Map<string, MadeAt>()
  const isOlder = (made: MadeAt, than: MadeAt | undefined): boolean => than !== undefined && (made.epoch < than.epoch || (made.epoch === than.epoch && made.order < than.order))
  return {
    refuseOlder(extents, made) {
      if (!made) return
      for (const { extent, initiators } of extents) {
        if (isOlder(made, ensured.get(extent))) throw new Fault('agent failed', `a later order for extent ${extent} was carried out before this one`)
        const out = initiators.find((initiator) => isOlder(made, banned.get(initiator)))
        if (out !== undefined) throw new Fault('agent failed', `${out} was shut out by a later order, and this one lets it in to extent ${extent}`)
      }
    },
    ensured(extents, made) {
      if (made) for (const { extent } of extents) ensured.set(extent, made)
    },
    banned(initiator, made) {
      if (made) banned.set(initiator, made)
    },
  }
}
