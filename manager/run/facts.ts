/** Loads what a volume's turn decides by. */
import type { VolumeWanted } from '../../lib/wire/agent.js'
import { targetName } from '../../lib/wire/agent.js'
import { must } from '../../lib/assert.js'
import { tableOrder } from '../plan/segment.js'
import type { LegFacts } from '../plan/segment.js'
import type { SegmentFacts } from '../plan/attached.js'
import type { ExtentRow, HostRow, SegmentRow, VolumeRow } from '../state/rows.js'
import { allHosts } from '../store/hosts.js'
import { extentsOf, segmentsOf } from '../store/volumes.js'
import type { Reader } from '../store/db.js'

export interface VolumeFacts {
  readonly volume: VolumeRow
  readonly segments: readonly SegmentRow[]
  readonly extents: readonly ExtentRow[]
  readonly hosts: ReadonlyMap<string, HostRow>
}

export async function loadFacts(db: Reader, volume: VolumeRow): Promise<VolumeFacts> {
  const [segments, extents, hosts] = await Promise.all([segmentsOf(db, volume.id), extentsOf(db, volume.id), allHosts(db)])
  return { volume, segments, extents, hosts: new Map(hosts.map((host) => [host.name, host])) }
}

export function legFacts(extent: ExtentRow): LegFacts {
  return { extent: extent.id, host: extent.host, slot: extent.slot, state: extent.leg }
}

export function segmentFacts({ segments, extents }: Pick<VolumeFacts, 'segments' | 'extents'>): readonly (SegmentFacts & { readonly bytes: bigint })[] {
  return segments.map((segment) => ({
    index: segment.index, generation: segment.generation, bytes: segment.bytes,
    legs: extents.filter((extent) => extent.segment === segment.index).map(legFacts),
  }))
}

/** Storage servers of legs that are in use: in sync, or the target of a copy. */
export function serversInUse({ extents }: Pick<VolumeFacts, 'extents'>): readonly string[] {
  return [...new Set(extents.filter((extent) => extent.leg === 'insync' || extent.leg === 'syncing').map((extent) => extent.host))].sort()
}

/** What the head is to make of it. */
export function volumeWanted({ volume, segments, extents, hosts }: VolumeFacts): VolumeWanted {
  const head = must(hosts.get(volume.head), `volume ${volume.name} is attached to a known host`)
  return {
    volume: volume.id,
    name: volume.name,
    attachEpoch: volume.attachEpoch,
    bytes: volume.bytes,
    chap: { initiator: head.initiator, user: head.chapUser, password: head.chapPassword },
    segments: segments.map((segment) => {
      const legs = tableOrder(extents.filter((extent) => extent.segment === segment.index).map((extent) => ({ ...extent, extent: extent.id, state: extent.leg })),
        { head: head.name, segment: segment.index })
      return {
        index: segment.index,
        generation: segment.generation,
        bytes: segment.bytes,
        copy: legs.some((leg) => leg.state === 'syncing') ? 'all' : 'none',
        legs: legs.map((leg) => ({
          extent: leg.extent, disk: leg.disk, host: leg.host, target: targetName(leg.host),
          addresses: hosts.get(leg.host)?.dataAddresses ?? [], lun: leg.lun, bytes: leg.bytes, state: leg.state,
        })),
      }
    }),
  }
}
