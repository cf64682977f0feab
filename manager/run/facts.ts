/** Loads what a volume's turn decides by. */
import type { LegWanted, VolumeWanted } from '../../lib/wire/agent.js'
import { targetName } from '../../lib/wire/agent.js'
import { must } from '../../lib/assert.js'
import { changesStart } from '../../lib/model.js'
import { changesWanted, copyWanted } from '../plan/changed.js'
import { headOf } from '../plan/exports.js'
import { bySegment, tableOrder } from '../plan/segment.js'
import type { LegFacts } from '../plan/segment.js'
import type { SegmentFacts } from '../plan/attached.js'
import type { ExtentRow, HostRow, SegmentRow, VolumeRow } from '../state/rows.js'
import { lostDisks } from '../store/hosts.js'
import { hostsNamed } from '../store/lists.js'
import { numberOfOurs } from '../store/classic.js'
import { loadSettings } from '../store/settings.js'
import { extentsOf, segmentsOf } from '../store/volumes.js'
import type { Reader } from '../store/db.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'

export interface VolumeFacts {
  readonly volume: VolumeRow
  readonly segments: readonly SegmentRow[]
  readonly extents: readonly ExtentRow[]
  /** Its head, the one that copies for it or takes it next, and the servers of its legs. */
  readonly hosts: ReadonlyMap<string, HostRow>
  /** How long I/O may wait for a lost last leg, seconds. */
  readonly waitSeconds: number
  /** Its number for clients of the original API, if it has one. */
  readonly classic?: number | undefined
}

export async function loadFacts(db: Reader, volume: VolumeRow): Promise<VolumeFacts> {
  const [segments, extents, settings, classic] = await Promise.all([segmentsOf(db, volume.id), extentsOf(db, volume.id), loadSettings(db), numberOfOurs(db, 'volume', volume.id)])
  const names = new Set([volume.head, volume.copyHead, volume.nextHead, ...extents.map((extent) => extent.host)].filter((name) => name !== ''))
  return { volume, segments, extents, classic, waitSeconds: settings.of('volume.wait', volume.id), hosts: await hostsNamed(db, [...names]) }
}

export function legFacts(extent: ExtentRow): LegFacts {
  return { extent: extent.id, host: extent.host, disk: extent.disk, slot: extent.slot, state: extent.leg }
}

export function segmentFacts({ segments, extents }: Pick<VolumeFacts, 'segments' | 'extents'>): readonly (SegmentFacts & { readonly bytes: bigint })[] {
  const extentsIn = bySegment(extents)
  return segments.map((segment) => ({ index: segment.index, generation: segment.generation, bytes: segment.bytes, legs: extentsIn(segment.index).map(legFacts) }))
}

/** Storage servers of legs that are in use: in sync, or the target of a copy. */
export function serversInUse({ extents }: Pick<VolumeFacts, 'extents'>): readonly string[] {
  return [...new Set(extents.filter((extent) => extent.leg === 'insync' || extent.leg === 'syncing').map((extent) => extent.host))].sort()
}

/**
 * What the head is to make of it. While it is detached nobody writes to it, so one source is enough for a copy, on a server that
 * answers; another one each time, so that a source that can't be read is not tried for ever.
 */
export function volumeWanted({ volume, segments, extents, hosts, waitSeconds, classic }: VolumeFacts, answers: (host: string) => boolean): VolumeWanted {
  const head = must(hosts.get(headOf(volume)), `volume ${volume.name} is attached to, or copied by, a known host`)
  const whole = volume.phase !== 'detached'
  const changes = changesWanted(volume, whole)
  const keepers = extents.filter((extent) => extent.segment === 0 && extent.leg === 'insync' && answers(extent.host)).map((extent) => ({ ...extent, extent: extent.id, state: extent.leg }))
  const leg = (each: (typeof keepers)[number]): LegWanted => ({
    extent: each.extent, disk: each.disk, host: each.host, target: targetName(each.host),
    addresses: hosts.get(each.host)?.dataAddresses ?? [], lun: each.lun, bytes: each.bytes, state: each.state,
  })
  const extentsIn = bySegment(extents)
  const copied = new Set(extents.filter((extent) => extent.leg === 'syncing').map((extent) => extent.segment))
  return {
    layout: volume.layout,
    scope: whole ? 'whole' : 'copies',
    volume: volume.id,
    name: volume.name,
    ...(classic === undefined || !whole ? {} : { classic: `lvol-${classic.toString(16).padStart(8, '0')}` }),
    attachEpoch: volume.attachEpoch,
    bytes: volume.bytes,
    waitSeconds,
    ...(changes ? { changes: whole ? changes : { ...changes, ...whereKept(segments, keepers.map(leg)) } } : {}),
    chap: { initiator: head.initiator, user: head.chapUser, password: head.chapPassword },
    segments: segments.filter((segment) => whole || copied.has(segment.index)).map((segment) => {
      const all = tableOrder(extentsIn(segment.index).map((extent) => ({ ...extent, extent: extent.id, state: extent.leg })),
        { head: head.name, segment: segment.index })
      const sources = all.filter((leg) => leg.state === 'insync' && answers(leg.host))
      const source = sources[volume.layout % Math.max(1, sources.length)]
      const legs = whole || !source ? all : [source, ...all.filter((leg) => leg.state === 'syncing')]
      return {
        index: segment.index,
        generation: segment.generation,
        offset: segment.offset,
        bytes: segment.bytes,
        ...copyWanted(volume, legs.filter((leg) => leg.state === 'syncing')),
        legs: legs.map(leg),
      }
    }),
  }
}

/** What is remembered of a volume that nobody has up is read from the legs of its first segment, behind its data. */
function whereKept(segments: readonly SegmentRow[], legs: readonly LegWanted[]): { readonly start?: bigint; readonly legs?: readonly LegWanted[] } {
  const first = segments.find((segment) => segment.index === 0)
  return first ? { start: changesStart(first.bytes), legs } : {}
}

/** Whether a leg can be used now: its server answers, and its disk is well. */
export async function reachability(cluster: Cluster, db: Reader): Promise<(leg: LegFacts) => boolean> {
  const lost = await lostDisks(db)
  return (leg) => online(cluster, leg.host) && !lost.has(leg.disk)
}
