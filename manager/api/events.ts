/** Events: what changed, in order. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { Cluster } from '../run/cluster.js'
import { eventsAfter } from '../store/events.js'

export async function eventList(cluster: Cluster, { after = 0, limit = 200, waitMs = 0 }: ApiParams<'eventList'>, signal: AbortSignal): Promise<ApiResult<'eventList'>> {
  const until = cluster.clock.monoMs() + waitMs
  for (;;) {
    const left = until - cluster.clock.monoMs()
    const changed = left > 0 ? cluster.store.nextChange(left, signal) : undefined // before the look, so that no change is missed
    const events = await eventsAfter(cluster.store.read, after, limit)
    if (events.length > 0 || !changed || signal.aborted) return events
    await changed
  }
}
