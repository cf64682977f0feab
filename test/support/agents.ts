/** Agents that do at once what they are told and remember it: enough for a manager's real logic to get its work done without kernels. */
import { must } from '../../lib/assert.js'
import type { Method } from '../../lib/rpc/shape.js'
import { agentMethods, targetName } from '../../lib/wire/agent.js'
import type { DiskPrepare, DiskSeen, ExtentSeen, ExtentsEnsure, ExtentsRemove, Observation, VolumeAttach, VolumeDetach, VolumeSeen } from '../../lib/wire/agent.js'
import type { Agents } from '../../manager/run/agents.js'
import type { HostRow } from '../../manager/state/rows.js'

const DISK_BYTES = 1n << 34n

interface Had {
  readonly disks: Map<string, DiskSeen>
  readonly extents: Map<string, ExtentSeen>
  readonly volumes: Map<string, VolumeSeen>
}

export function obedientAgents(): Agents {
  const hosts = new Map<string, Had>()
  const hadBy = (name: string): Had => {
    const had = hosts.get(name) ?? { disks: new Map(), extents: new Map(), volumes: new Map() }
    hosts.set(name, had)
    return had
  }
  return {
    async call<P, R>(host: HostRow, method: Method<P, R>, params: unknown): Promise<R> {
      const act = must(orders[method.name], `there is an order ${method.name}`)
      return act(hadBy(host.name), params as never, host) as R
    },
    close: () => undefined,
  }
}

type Order = (had: Had, params: never, host: HostRow) => unknown

const orders: Readonly<Record<string, Order>> = {
  [agentMethods.observe.name]: (had, _: object, host) => observed(had, host),
  [agentMethods.start.name]: (_, __: object, host) => ({ bootId: host.bootId }),
  [agentMethods.fence.name]: (had, _: object, host) => observed(had, host),
  [agentMethods.prepareDisk.name]: (had, { disk, device }: DiskPrepare) => {
    const seen: DiskSeen = { disk, device, state: 'ready', problem: '', bytes: DISK_BYTES, freeBytes: DISK_BYTES, cleanBytes: DISK_BYTES }
    had.disks.set(disk, seen)
    return seen
  },
  [agentMethods.releaseDisk.name]: (had, { disk }: { disk: string }) => { had.disks.delete(disk); return {} },
  [agentMethods.ensureExtents.name]: (had, { extents }: ExtentsEnsure, host) => {
    for (const extent of extents) had.extents.set(extent.extent, extent)
    return { target: targetName(host.name), addresses: host.dataAddresses }
  },
  [agentMethods.removeExtents.name]: (had, { extents }: ExtentsRemove) => {
    for (const { extent } of extents) had.extents.delete(extent)
    return {}
  },
  [agentMethods.banInitiator.name]: () => ({}),
  [agentMethods.attachVolume.name]: (had, { volume }: VolumeAttach) => {
    const seen: VolumeSeen = {
      volume: volume.volume, name: volume.name, attachEpoch: volume.attachEpoch, layout: volume.layout, scope: volume.scope, state: 'up', device: `/dev/vsky/${volume.name}`, opens: 0, waiting: false, unreachable: [],
      segments: volume.segments.map(({ index, generation, legs }) => ({ index, generation, inSync: 1, regions: 1, legs: legs.map(({ extent }) => ({ extent, health: 'A' as const })) })),
    }
    had.volumes.set(volume.volume, seen)
    return seen
  },
  [agentMethods.detachVolume.name]: (had, { volume }: VolumeDetach) => { had.volumes.delete(volume); return {} },
  [agentMethods.mendVolume.name]: () => ({ bytes: 0n, why: 'nothing to mend' }),
}

function observed(had: Had, host: HostRow): Observation {
  return { host: host.name, bootId: host.bootId, incarnation: host.incarnation, epoch: 1, disks: [...had.disks.values()], extents: [...had.extents.values()], volumes: [...had.volumes.values()], foreign: [] }
}
