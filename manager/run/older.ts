/**
 * An agent that refuses our epoch has seen a later one. Either another manager has taken over, which the database knows; or the database knows
 * nothing of it: then it is older than the cluster, what it says of legs may be wrong, and no manager may work with it.
 */
import { agentMethods } from '../../lib/wire/agent.js'
import type { HostRow } from '../state/rows.js'
import { numberOf } from '../store/db.js'
import type { Db } from '../store/db.js'
import { markOlder, olderText } from '../store/open.js'
import type { Agents } from './agents.js'

/** Gives why, and remembers it in the database, when the database is the older one; undefined when it is not. */
export async function olderThanCluster({ db, epoch, agents, nowMs }: { readonly db: Db; readonly epoch: number; readonly agents: Pick<Agents, 'call'>; readonly nowMs: number }, host: HostRow): Promise<string | undefined> {
  const seen = (await agents.call(host, agentMethods.observe, {})).epoch
  // Read after the agent was asked: whoever takes over writes here first, and then tells the agents.
  const lease = await db.get(`select epoch from lease where name = 'manager'`)
  if (!lease || numberOf(lease, 'epoch') !== epoch || seen <= epoch) return undefined
  await markOlder(db, { host: host.name, seen, nowMs })
  return olderText(seen, host.name, epoch)
}
