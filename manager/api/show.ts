/** Makes the views that the API answers from the records. */
import type { DiskView, HostView, VolumeSummary, VolumeView } from '../../lib/api/views.js'
import { healthOf } from '../plan/health.js'
import { bySegment } from '../plan/segment.js'
import type { LegFacts } from '../plan/segment.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { loadFacts, reachability, segmentFacts } from '../run/facts.js'
import type { VolumeFacts } from '../run/facts.js'
import type { DiskRow, HostRow, VolumeRow } from '../state/rows.js'
import { devicesOf, diskCounts, volumeNamesOn } from '../store/lists.js'

/** As many as are listed, with what all of them have read at once. */
export async function showHosts(cluster: Cluster, hosts: readonly HostRow[]): Promise<readonly HostView[]> {
  const db = cluster.store.read
  const names = hosts.map((host) => host.name)
  const [disks, volumes] = await Promise.all([diskCounts(db, names), volumeNamesOn(db, names)])
  const now = cluster.clock.monoMs()
  return hosts.map((host) => {
    const heard = cluster.presence.lastHeard(host.name)
    return {
      name: host.name, roles: host.roles, zone: host.zone, state: online(cluster, host.name) ? 'online' : 'offline', duty: host.duty, address: host.address,
      dataAddresses: host.dataAddresses, initiator: host.initiator, version: host.version, bootId: host.bootId,
      lastSeenMs: Math.round(Math.max(0, now - (heard ?? now - (cluster.clock.nowMs() - cluster.startedAt)))),
      disks: disks.get(host.name) ?? 0, attached: volumes.get(host.name) ?? [], foreign: cluster.foreign.get(host.name) ?? [],
    }
  })
}

export function showDisk(disk: DiskRow, zone: string): DiskView {
  const free = disk.bytes - disk.usedBytes
  const freeBytes = free > 0n ? free : 0n
  return {
    id: disk.id, host: disk.host, device: disk.device, zone, state: disk.state, problem: disk.problem, duty: disk.duty, bytes: disk.bytes, freeBytes,
    cleanBytes: disk.cleanBytes < freeBytes ? disk.cleanBytes : freeBytes, extents: disk.extents, readErrors: disk.readErrors,
  }
}

export async function showVolume(cluster: Cluster, volume: VolumeRow): Promise<VolumeView> {
  const facts = await loadFacts(cluster.store.read, volume)
  const devices = await devicesOf(cluster.store.read, [...new Set(facts.extents.map((extent) => extent.disk))])
  const extentsIn = bySegment(facts.extents)
  return {
    ...summarise(cluster, facts, await reachability(cluster, cluster.store.read)),
    segments: facts.segments.map((segment) => ({
      index: segment.index, offset: segment.offset, bytes: segment.bytes, generation: segment.generation,
      legs: extentsIn(segment.index).map((extent) => ({
        extent: extent.id, state: extent.leg, disk: extent.disk, device: devices.get(extent.disk) ?? '', host: extent.host,
        zone: facts.hosts.get(extent.host)?.zone ?? '', online: online(cluster, extent.host), bytes: extent.bytes,
      })),
    })),
  }
}

/** `reachable` comes from run/facts.ts: once for as many volumes as are shown. */
export function summarise(cluster: Cluster, facts: Pick<VolumeFacts, 'volume' | 'segments' | 'extents'>, reachable: (leg: LegFacts) => boolean): VolumeSummary {
  const { volume } = facts
  const { health, problem } = volume.phase === 'creating'
    ? { health: 'full' as const, problem: '' }
    : healthOf(segmentFacts(facts), volume.redundancy, reachable)
  return {
    id: volume.id, name: volume.name, bytes: volume.bytes, redundancy: volume.redundancy, state: volume.phase, head: volume.head, device: volume.device,
    attachEpoch: volume.attachEpoch, health, problem: [volume.problem, problem, cluster.waiting.get(volume.id) ?? ''].filter((each) => each !== '').join('; '), createdAt: volume.createdAt,
  }
}
