/** Events: what changed, in order; and the lease. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { Cluster } from '../run/cluster.js'
import { eventsAfter, newestEvent } from '../store/events.js'
import { findLease } from '../store/lists.js'

export async function eventList(cluster: Cluster, { after = 0, limit = 200, waitMs = 0, ...filter }: ApiParams<'eventList'>, signal: AbortSignal): Promise<ApiResult<'eventList'>> {
  const until = cluster.clock.monoMs() + waitMs
  for (let from = after; ;) {
    const left = until - cluster.clock.monoMs()
    const changed = left > 0 ? cluster.store.nextChange(left, signal) : undefined // before the look, so that no change is missed
    const newest = await newestEvent(cluster.store.read)
    const events = await eventsAfter(cluster.store.read, from, limit, filter)
    if (events.length > 0 || !changed || signal.aborted) return events
    from = Math.max(from, newest) // what did not fit once need not be looked at again
    await changed
  }
}

export async function leaseShow(cluster: Cluster): Promise<ApiResult<'leaseShow'>> {
  const lease = await findLease(cluster.store.read, 'manager')
  return lease ?? { epoch: cluster.store.epoch, holder: cluster.name, incarnation: '', startedAt: cluster.startedAt, beat: 0 }
}
