/** Volumes as the original told them: one line each, or the tree of one. */
import type { XmlValue } from '../../../lib/rpc/xmlrpc.js'
import { targetName } from '../../../lib/wire/agent.js'
import { healthOf } from '../../plan/health.js'
import { bySegment } from '../../plan/segment.js'
import type { LegFacts } from '../../plan/segment.js'
import type { Cluster } from '../../run/cluster.js'
import { reachability } from '../../run/facts.js'
import type { ExtentRow, HostRow, SegmentRow, VolumeRow } from '../../state/rows.js'
import { allLegs, numbersOf, segmentCounts } from '../../store/classic.js'
import type { LegRow } from '../../store/classic.js'
import { allHosts } from '../../store/hosts.js'
import { aboutsOpen } from '../../store/requests.js'
import { allVolumes, extentsOf, segmentsOf } from '../../store/volumes.js'
import { volumeAskedFor } from './find.js'
import { numbersOfTree } from './ids.js'
import type { Members } from './params.js'
import { bindingOf, bindings, label, legStatus, mirrorStatus, timeText, volumeTypes, wholeGb } from './words.js'

/** All volumes in the order in which they got their numbers; with `lvolid` or `lvolname` there, whatever it is, the one that is looked for. */
export async function listLogicalVolumes(cluster: Cluster, members: Members): Promise<XmlValue> {
  const db = cluster.store.read
  const one = 'lvolid' in members || 'lvolname' in members ? await volumeAskedFor(cluster, members) : undefined
  const [numbers, heads, waited, reachable] = [await numbersOf(db, 'volume'), await numbersOf(db, 'head'), new Set(await aboutsOpen(db)), await reachability(cluster, db)]
  const legs = one ? new Map([[one.id, await legsOf(cluster, one)]]) : await legsOfAll(cluster)
  const volumes = (one ? [one] : await allVolumes(db)).flatMap((volume) => {
    const number = numbers.get(volume.id)
    return number && volume.phase !== 'creating' ? [{ volume, id: number.id }] : []
  })
  return volumes.sort((a, b) => a.id - b.id).map(({ volume, id }) => {
    const binding = bindingOf(volume, waited.has(volume.id))
    return {
      hsvrid: binding === 'unbound' ? 0 : heads.get(volume.head)?.id ?? 0, lvolid: id, lvolname: volume.name, redundancy: volume.redundancy, capacity: wholeGb(volume.bytes),
      associated_to: [], associated_from: [], fault: healthOf(legs.get(volume.id) ?? [], volume.redundancy, reachable).health !== 'full', ...bindings[binding], ctime: timeText(volume.createdAt),
    }
  })
}

interface SegmentLegs {
  readonly index: number
  readonly legs: LegFacts[]
}

async function legsOf(cluster: Cluster, volume: VolumeRow): Promise<readonly SegmentLegs[]> {
  const [segments, extents] = [await segmentsOf(cluster.store.read, volume.id), await extentsOf(cluster.store.read, volume.id)]
  return segmentLegs(segments.length, extents.map((extent) => ({ ...extent, extent: extent.id })))
}

async function legsOfAll(cluster: Cluster): Promise<ReadonlyMap<string, readonly SegmentLegs[]>> {
  const [counts, rows] = [await segmentCounts(cluster.store.read), await allLegs(cluster.store.read)]
  const byVolume = new Map<string, LegRow[]>()
  for (const row of rows) {
    const mine = byVolume.get(row.volume)
    if (mine) mine.push(row)
    else byVolume.set(row.volume, [row])
  }
  return new Map([...counts].map(([volume, count]) => [volume, segmentLegs(count, byVolume.get(volume) ?? [])]))
}

function segmentLegs(count: number, legs: readonly (Pick<LegRow, 'extent' | 'host' | 'disk' | 'slot' | 'leg' | 'segment'>)[]): readonly SegmentLegs[] {
  const segments = Array.from({ length: count }, (_, index): SegmentLegs => ({ index, legs: [] }))
  for (const { extent, host, disk, slot, leg, segment } of legs) segments[segment]?.legs.push({ extent, host, disk, slot, state: leg })
  return segments
}

export async function showLogicalVolume(cluster: Cluster, members: Members): Promise<XmlValue> {
  const db = cluster.store.read
  const volume = await volumeAskedFor(cluster, members)
  const tree = await numbersOfTree(cluster, volume.id)
  const [segments, extents, hosts, servers, disks] = [await segmentsOf(db, volume.id), await extentsOf(db, volume.id), await allHosts(db), await numbersOf(db, 'server'), await numbersOf(db, 'disk')]
  const numberOf = (what: string): number => tree.get(what) ?? 0
  const extentNode = (extent: ExtentRow, capacity: number): XmlValue => node(numberOf(`extent ${extent.id}`), volumeTypes.extent, capacity, [], {
    mirror_status: legStatus(extent.leg, volume),
    // Where on its disk an extent lies is LVM's affair, and may be in pieces.
    lvolspec: { pdskid: disks.get(extent.disk)?.id ?? 0, offset: 0, ssvrid: servers.get(extent.host)?.id ?? 0, iscsi_path: pathsOf(hosts.find((host) => host.name === extent.host), extent) },
  })
  const extentsIn = bySegment(extents)
  const mirrors = segments.map((segment) => {
    const capacity = wholeGb(segment.offset + segment.bytes) - wholeGb(segment.offset) // so that they add up to the volume's, however they are cut
    const mine = bestOf(extentsIn(segment.index), volume.redundancy)
    return node(numberOf(`mirror ${volume.id} ${segment.index}`), volumeTypes.mirror, capacity, mine.map((extent) => extentNode(extent, capacity)))
  })
  const capacity = wholeGb(lengthOf(segments))
  const linear = node(numberOf(`linear ${volume.id}`), volumeTypes.linear, capacity, mirrors)
  const origin = node(numberOf(`origin ${volume.id}`), volumeTypes.snapshotOrigin, capacity, [linear])
  const id = numberOf(`volume ${volume.id}`)
  return node(id, volumeTypes.volume, capacity, [origin], {
    labels: [volume.name, label('lvol', id)], lvolspec: { lvolname: volume.name, redundancy: volume.redundancy, ctime: timeText(volume.createdAt), assoc: [] },
  })
}

function node(
  lvolid: number, lvoltype: number, capacity: number, components: readonly XmlValue[],
  { mirror_status = mirrorStatus.none, lvolspec = {}, labels = [] }: { readonly mirror_status?: number; readonly lvolspec?: XmlValue; readonly labels?: readonly string[] } = {},
): XmlValue {
  return { lvolid, lvoltype, capacity, mirror_status, lvolspec, labels, components }
}

function lengthOf(segments: readonly SegmentRow[]): bigint {
  return segments.reduce((sum, segment) => sum + segment.bytes, 0n)
}

const rank: Readonly<Record<ExtentRow['leg'], number>> = { insync: 0, syncing: 1, allocated: 2, stale: 3 }

/** The best legs of a segment, as many as the volume's redundancy: clients expect no more, and while a leg moves there is one too many. */
function bestOf(extents: readonly ExtentRow[], redundancy: number): readonly ExtentRow[] {
  return [...extents].sort((a, b) => rank[a.leg] - rank[b.leg] || a.slot - b.slot).slice(0, redundancy)
}

/** Where the kernel shows the LUN of an extent that is attached. */
function pathsOf(host: HostRow | undefined, { lun }: ExtentRow): readonly string[] {
  return (host?.dataAddresses ?? []).map((address) => `/dev/disk/by-path/ip-${address.includes(':') ? `[${address}]` : address}:3260-iscsi-${targetName(host?.name ?? '')}-lun-${lun}`)
}
