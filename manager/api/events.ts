/** Events and the manager's own state. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { numberOf } from '../store/db.js'
import { eventsAfter } from '../store/events.js'
import { allHosts } from '../store/hosts.js'
import { schemaVersion } from '../store/schema.js'

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

export async function managerStatus(cluster: Cluster): Promise<ApiResult<'managerStatus'>> {
  const count = async (sql: string): Promise<number> => numberOf(await cluster.store.read.get(sql) ?? {}, 'n')
  const hosts = await allHosts(cluster.store.read)
  return {
    name: cluster.name, state: 'active', epoch: cluster.store.epoch, version: cluster.version, startedAt: cluster.startedAt, schema: schemaVersion,
    hostsOnline: hosts.filter((host) => online(cluster, host.name)).length, hosts: hosts.length,
    volumes: await count('select count(*) as n from volumes'),
    underWay: await count(`select (select count(*) from volumes where phase not in ('detached', 'attached')) + (select count(*) from extents where state <> 'ready') as n`),
    extentBytes: cluster.extentBytes,
  }
}
