/**
 * Which protocols a manager and an agent speak: each says the oldest and the newest it knows, and both then speak the newest that both
 * know. A release knows its own and the one before it, so that a cluster is upgraded one program at a time, in any order. What is only
 * added to messages (lib/wire/agent.ts) needs no new protocol: unknown members are ignored.
 */
import { Fault } from '../faults.js'

export interface Protocols {
  readonly oldest: number
  readonly newest: number
}

export const ourProtocols: Protocols = { oldest: 1, newest: 1 }
/** What a program speaks that says nothing of it: the first release. */
const unsaid: Protocols = { oldest: 1, newest: 1 }

/** `who`: for the fault `other release`, which is thrown when there is none that both speak. */
export function commonProtocol(who: string, theirs: Protocols = unsaid, ours = ourProtocols): number {
  const newest = Math.min(theirs.newest, ours.newest)
  if (newest >= Math.max(theirs.oldest, ours.oldest)) return newest
  throw new Fault('other release', `${who} speaks protocol ${rangeOf(theirs)}, this side ${rangeOf(ours)}`)
}

function rangeOf({ oldest, newest }: Protocols): string {
  return oldest === newest ? String(newest) : `${oldest} to ${newest}`
}
