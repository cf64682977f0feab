/**
 * The agents of a large cluster: each says that it has what the books say of it, and does at once what it is told. They remember no extents, so that
 * thousands of hosts with millions of them take no memory beside the manager's; what they tell of volumes is what the manager keeps of them.
 */
import { must } from '../../lib/assert.js'
import type { Method } from '../../lib/rpc/shape.js'
import { agentMethods, targetName } from '../../lib/wire/agent.js'
import type { Observation, VolumeAttach, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import { headOf } from '../../manager/plan/exports.js'
import type { Agents } from '../../manager/run/agents.js'
import type { Cluster } from '../../manager/run/cluster.js'
import { wantedOnHost } from '../../manager/run/exports.js'
import { loadFacts, volumeWanted } from '../../manager/run/facts.js'
import type { HostRow } from '../../manager/state/rows.js'
import { allDisks } from '../../manager/store/hosts.js'
import { volumesOnHead } from '../../manager/store/volumes.js'

export interface LargeAgents extends Agents {
  /** Hosts that were looked at, by the incarnation that was. */
  readonly looked: Map<string, string>
}

export function agentsByTheBooks(cluster: () => Cluster): LargeAgents {
  const looked = new Map<string, string>()
  const told = new Map<string, VolumeSeen>()
  const orders: Readonly<Record<string, (host: HostRow, params: never) => unknown>> = {
    [agentMethods.observe.name]: (host) => observed(cluster(), host, told),
    [agentMethods.fence.name]: (host) => observed(cluster(), host, told),
    [agentMethods.start.name]: ({ bootId }) => ({ bootId }),
    [agentMethods.ensureExtents.name]: (host) => ({ target: targetName(host.name), addresses: host.dataAddresses }),
    [agentMethods.removeExtents.name]: () => ({}),
    [agentMethods.banInitiator.name]: () => ({}),
    [agentMethods.attachVolume.name]: (_, { volume }: VolumeAttach) => whole(volume),
    [agentMethods.detachVolume.name]: () => ({}),
  }
  return {
    looked,
    async call<P, R>(host: HostRow, method: Method<P, R>, params: unknown): Promise<R> {
      const answer = await must(orders[method.name], `there is an order ${method.name}`)(host, params as never) as R
      if (method.name === agentMethods.fence.name || method.name === agentMethods.observe.name) looked.set(host.name, host.incarnation)
      return answer
    },
    close: () => undefined,
  }
}

async function observed(cluster: Cluster, host: HostRow, told: Map<string, VolumeSeen>): Promise<Observation> {
  const db = cluster.store.read
  const volumes = await volumesOnHead(db, host.name)
  return {
    host: host.name, bootId: host.bootId, incarnation: host.incarnation, epoch: cluster.store.epoch, foreign: [],
    disks: (await allDisks(db, host.name)).map((disk) => ({ disk: disk.id, device: disk.device, state: 'ready', problem: '', bytes: disk.bytes, freeBytes: disk.bytes - disk.usedBytes, cleanBytes: disk.cleanBytes })),
    extents: host.roles.includes('storage') ? (await wantedOnHost(cluster, host.name)).extents : [],
    volumes: await Promise.all(volumes.filter((volume) => headOf(volume) === host.name).map(async (volume) => {
      const before = told.get(volume.id)
      if (before?.layout === volume.layout && before.attachEpoch === volume.attachEpoch) return before
      const now = whole(volumeWanted(await loadFacts(db, volume), () => true))
      told.set(volume.id, now)
      return now
    })),
  }
}

/** Up, every copy ended. */
function whole(volume: VolumeWanted): VolumeSeen {
  return {
    volume: volume.volume, name: volume.name, attachEpoch: volume.attachEpoch, layout: volume.layout, scope: volume.scope, state: 'up', device: `/dev/vsky/${volume.name}`, opens: 0, waiting: false, unreachable: [],
    segments: volume.segments.map(({ index, generation, legs }) => ({ index, generation, inSync: 1, regions: 1, legs: legs.map(({ extent }) => ({ extent, health: 'A' })) })),
  }
}
