/** The managers: who is active, who else is there, and how the role is handed on. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { numberOf } from '../store/db.js'
import { allHosts } from '../store/hosts.js'
import { schemaVersion } from '../store/schema.js'
import { mutate } from './requests.js'

export async function managerStatus(cluster: Cluster): Promise<ApiResult<'managerStatus'>> {
  const count = async (sql: string): Promise<number> => numberOf(await cluster.store.read.get(sql) ?? {}, 'n')
  const standing = cluster.gate.standing()
  const unknown = standing !== 'active' // the database is not asked then: it may not even refuse
  const hosts = unknown ? [] : await allHosts(cluster.store.read)
  const { ageMs, ttlMs, address } = cluster.managers.lease()
  return {
    name: cluster.name, state: standing, epoch: cluster.store.epoch, holder: cluster.name, address, leaseAgeMs: ageMs, ttlMs, managers: cluster.managers.list(),
    version: cluster.version, startedAt: cluster.startedAt, schema: schemaVersion, hostsOnline: hosts.filter((host) => online(cluster, host.name)).length, hosts: hosts.length,
    volumes: unknown ? 0 : await count('select count(*) as n from volumes'),
    underWay: unknown ? 0 : await count(`select (select count(*) from volumes where phase not in ('detached', 'attached')) + (select count(*) from extents where state <> 'ready') as n`),
    extentBytes: cluster.extentBytes,
  }
}

/** The request stays in the database: asked again, the next manager knows that it was done, and does not hand on. */
export async function managerHandOver(cluster: Cluster, params: ApiParams<'managerHandOver'>, signal: AbortSignal): Promise<ApiResult<'managerHandOver'>> {
  const { epoch } = cluster.store
  return mutate({
    cluster, method: 'vsky.manager.handOver', params, signal,
    async intend(tx) {
      const standbys = cluster.managers.list().filter((manager) => manager.state === 'standby').map((manager) => manager.name)
      const to = params.to ?? ''
      if (to !== '' && !standbys.includes(to)) throw new Fault('no standby', `Cannot hand over to ${JSON.stringify(to)}: it is no standby manager; ${standbys.length === 0 ? 'there is none' : `there are ${standbys.join(', ')}`}`)
      if (standbys.length === 0) throw new Fault('no standby', `Cannot hand over: ${cluster.name} is the only manager`)
      await tx.event({ kind: 'manager hands over', about: 'manager', name: cluster.name, text: to === '' ? 'to any other manager' : `to ${to}` })
      return { about: `${epoch} ${cluster.name}`, done: true }
    },
    async answer(about) {
      const [of = '', from = ''] = about.split(' ')
      if (Number(of) === epoch) await cluster.managers.handOver(params.to ?? '')
      return { from, epoch: Number(of) }
    },
  })
}
