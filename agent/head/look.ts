/** What a head has of a volume, in the manager's words: the kernel's device numbers become extents, its tables become a layout. */
import type { SegmentSeen, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import type { DeviceState } from '../dm/dmsetup.js'
import type { DevicePresent } from '../dm/present.js'
import { readQueueFailed, readStatus } from '../dm/status.js'
import type { LegHealth, MirrorStatus } from '../dm/status.js'
import { nameOf, readChanges, readConcatenation, readQueue, readSegment, readUuid, segmentOf } from '../dm/table.js'
import type { Part } from '../dm/table.js'
import { extentOf } from '../iscsi/sysfs.js'
import { devicesWanted, planVolume } from './plan.js'
import type { DeviceTable, DeviceThere } from './plan.js'

export const LINKS = '/dev/vsky'
/** Stands for a device under a mirror that is no extent of ours. */
const NO_EXTENT = '0'.repeat(32)

/** Those of these devices that belong to a volume. */
export function devicesOf<D extends { readonly uuid: string }>(volume: string, devices: readonly D[]): readonly (D & { readonly part: Part })[] {
  return devices.flatMap((device) => {
    const mine = readUuid(device.uuid)
    return mine?.volume === volume ? [{ ...device, part: mine.part }] : []
  })
}

export async function thereOf(volume: string, state: readonly DeviceState[]): Promise<readonly DeviceThere[]> {
  const mine = devicesOf(volume, state)
  const partAt = new Map(mine.map((device) => [device.devno, device.part] as const))
  return Promise.all(mine.map(async (device): Promise<DeviceThere> => ({
    part: device.part, suspended: device.suspended, failed: hasFailed(device.status[0] ?? ''),
    table: await tableOf(device, partAt),
  })))
}

async function tableOf(device: DeviceState & { readonly part: Part }, partAt: ReadonlyMap<string, Part>): Promise<DeviceTable | undefined> {
  switch (device.part) {
    case 'top': case 'meta-top': return queueOf(device, partAt)
    case 'body': return concatenationOf(device, partAt)
    case 'changes': return changesOf(device, partAt)
    default: return mirrorOf(device.table[0] ?? '', partAt)
  }
}

/** Extent → device number, of the legs that a volume stands on now: their identity was proved when they were taken. */
export async function legsInUse(volume: string, state: readonly DeviceState[]): Promise<ReadonlyMap<string, string>> {
  const numbers = devicesOf(volume, state).flatMap((device) => (segmentOf(device.part) === undefined ? [] : readSegment(device.table[0] ?? '')?.legs ?? []))
  const found = await Promise.all(numbers.map(async (number): Promise<readonly (readonly [string, string])[]> => {
    const extent = await extentOf(number)
    return extent === undefined ? [] : [[extent, number]]
  }))
  return new Map(found.flat())
}

/** By its status line: a leg has failed, or everything waits in a queue. */
export function hasFailed(line: string): boolean {
  return readQueueFailed(line) || (readStatus(line)?.legs ?? []).some((leg) => leg.health !== 'A')
}

function queueOf(device: DeviceState, partAt: ReadonlyMap<string, Part>): DeviceTable | undefined {
  const queue = readQueue(device.table[0] ?? '')
  return queue && { kind: 'queue', part: partAt.get(queue.device) ?? 'foreign', length: queue.length, waits: queue.waits }
}

function changesOf(device: DeviceState, partAt: ReadonlyMap<string, Part>): DeviceTable | undefined {
  const changes = readChanges(device.table[0] ?? '')
  return changes && { kind: 'changes', part: partAt.get(changes.device) ?? 'foreign', meta: partAt.get(changes.meta) ?? 'foreign', length: changes.length, block: changes.block }
}

function concatenationOf(device: DeviceState, partAt: ReadonlyMap<string, Part>): DeviceTable | undefined {
  const pieces = readConcatenation(device.table)?.map((piece) => ({ part: partAt.get(piece.device) ?? 'foreign', length: piece.length }))
  return pieces && { kind: 'concatenation', pieces }
}

/** The kernel names legs by device number; the manager by extent. */
async function mirrorOf(line: string, partAt: ReadonlyMap<string, Part>): Promise<DeviceTable | undefined> {
  const table = readSegment(line)
  if (!table) return undefined
  const [primary = '', ...others] = await Promise.all(table.legs.map(async (leg) => partAt.get(leg) ?? await extentOf(leg) ?? leg))
  return { kind: 'mirror', mirror: { ...table, legs: [primary, ...others] } }
}

/** What this head reports of a volume that it has a record of; after a reboot the record may be all there is. */
export async function seenOf(record: VolumeWanted, state: readonly DeviceState[]): Promise<VolumeSeen> {
  const mine = devicesOf(record.volume, state)
  const top = mine.find((device) => device.part === 'top')
  const there = await thereOf(record.volume, state)
  const steps = planVolume(record, there, false)
  const outdated = (index: number): boolean => steps.some((step) => segmentOf(step.part) === index)
  const queues = mine.filter((device) => device.part === 'top' || device.part === 'meta-top')
  return {
    volume: record.volume, name: record.name, attachEpoch: record.attachEpoch, layout: steps.length === 0 ? record.layout : 0, scope: record.scope,
    state: steps.some((step) => step.do === 'create') ? 'partial' : 'up', device: top ? `${LINKS}/${record.name}` : '', opens: top?.opens ?? 0, unreachable: [], waiting: queues.some((device) => readQueueFailed(device.status[0] ?? '')),
    segments: record.segments.flatMap((segment) => {
      const at = (part: Part): DeviceState | undefined => mine.find((each) => each.part === part)
      if (!at(`s${segment.index}`)) return []
      const seen = wholeSegmentSeen(record, segment.index, (part) => ({ legs: tableThere(there, part), status: statusOf(at(part)) }))
      return [{ ...seen, generation: outdated(segment.index) ? 0 : segment.generation }]
    }),
  }
}

function statusOf(device: DeviceState | undefined): MirrorStatus | undefined {
  return device && readStatus(device.status[0] ?? '')
}

function tableThere(there: readonly DeviceThere[], part: Part): readonly string[] {
  const table = there.find((each) => each.part === part)?.table
  return table?.kind === 'mirror' ? table.mirror.legs : []
}

/**
 * One letter an extent, from the segment's own mirror and the one below it. When the copy's source could not be read (S on the first
 * leg) the copy can't go on, and it is the targets that are told as failed: the source may be read elsewhere.
 */
export function segmentSeen(
  index: number, legs: readonly string[], status: MirrorStatus | undefined, lowLegs: readonly string[], lowStatus: MirrorStatus | undefined,
): Omit<SegmentSeen, 'generation'> {
  const letters = (of: MirrorStatus | undefined, count: number): readonly LegHealth[] => Array.from({ length: count }, (_, at) => of?.legs[at]?.health ?? 'A')
  const upper = letters(status, legs.length)
  const named = (extent: string | undefined): string => (extent !== undefined && /^[0-9a-f]{32}$/.test(extent) ? extent : NO_EXTENT)
  const progress = { inSync: status?.inSync ?? 0, regions: status?.regions ?? 1 }
  if (lowLegs.length === 0) return { index, ...progress, legs: legs.map((leg, at) => ({ extent: named(leg), health: upper[at] ?? 'A' })) }
  const source = upper[0] ?? 'A'
  const below = lowLegs.length > 1 ? letters(lowStatus, lowLegs.length) : [source === 'S' ? 'A' : source]
  const stuck = source === 'S' || (source !== 'A' && below.every((each) => each === 'A'))
  return {
    index, ...progress,
    legs: [
      ...lowLegs.map((leg, at) => ({ extent: named(leg), health: below[at] ?? 'A' })),
      ...legs.slice(1).map((leg, at) => ({ extent: named(leg), health: stuck && upper[at + 1] === 'A' ? 'S' : upper[at + 1] ?? 'A' } as const)),
    ],
  }
}

type SeenPart = (part: Part) => { readonly legs: readonly string[]; readonly status: MirrorStatus | undefined }

/** What is remembered of changes is on the legs of segment 0: it is lost, and copied, with them. */
export function wholeSegmentSeen(record: VolumeWanted, index: number, seen: SeenPart): Omit<SegmentSeen, 'generation'> {
  const look = (part: Part, low: Part): Omit<SegmentSeen, 'generation'> => {
    const [upper, lower] = [seen(part), seen(low)]
    return segmentSeen(index, upper.legs, upper.status, lower.legs, lower.status)
  }
  const segment = look(`s${index}`, `s${index}-low`)
  if (!record.changes || index !== 0) return segment
  const meta = look('meta', 'meta-low')
  return {
    index, inSync: segment.inSync + meta.inSync, regions: segment.regions + meta.regions,
    legs: segment.legs.map((leg) => (leg.health === 'A' ? meta.legs.find((other) => other.extent === leg.extent) ?? leg : leg)),
  }
}

/**
 * What is there of a volume whose tables are known to be as recorded, from sysfs and the status lines. Undefined when a device is
 * missing: then they are not.
 */
export function thereByStatus(record: VolumeWanted, status: ReadonlyMap<string, readonly string[]>, present: readonly DevicePresent[]): readonly DeviceThere[] | undefined {
  const mine = new Map(devicesOf(record.volume, present).map((device) => [device.part, device]))
  const wanted = devicesWanted(record)
  if (mine.size !== wanted.length || !wanted.every(({ part }) => mine.has(part))) return undefined
  return wanted.map(({ part, table }) => ({ part, table, suspended: mine.get(part)?.suspended ?? false, failed: hasFailed(status.get(nameOf(record.volume, part))?.[0] ?? '') }))
}

/** After an order was carried out: what was loaded a moment ago is well, and of the rest the status was read before. */
export function seenAfter(wanted: VolumeWanted, status: ReadonlyMap<string, readonly string[]>, touched: ReadonlySet<number | undefined>): VolumeSeen {
  const [made, before] = [justMade(wanted), seenByStatus(wanted, status)]
  return { ...made, segments: made.segments.map((segment) => (touched.has(segment.index) ? segment : before.segments.find((each) => each.index === segment.index) ?? segment)) }
}

/** The same for a volume whose tables are known to be as recorded, from the status lines alone (one process instead of three). */
export function seenByStatus(record: VolumeWanted, status: ReadonlyMap<string, readonly string[]>): VolumeSeen {
  const devices = new Map<Part, readonly string[]>(devicesWanted(record).map(({ part, table }) => [part, table.kind === 'mirror' ? table.mirror.legs : []]))
  const read = (part: Part): MirrorStatus | undefined => readStatus(status.get(nameOf(record.volume, part))?.[0] ?? '')
  return {
    ...justMade(record),
    waiting: (['top', 'meta-top'] as const).some((part) => readQueueFailed(status.get(nameOf(record.volume, part))?.[0] ?? '')),
    segments: record.segments.map((segment) => (
      { ...wholeSegmentSeen(record, segment.index, (part) => ({ legs: devices.get(part) ?? [], status: read(part) })), generation: segment.generation })),
  }
}

/** The answer to an order that could not be carried out because of these legs: nothing was changed. */
export function notReached(wanted: VolumeWanted, unreachable: VolumeSeen['unreachable']): VolumeSeen {
  return { ...justMade(wanted), layout: 0, state: 'partial', segments: [], unreachable }
}

/** A volume whose every device was made a moment ago: all is as it was ordered, and a copy has not got anywhere yet. */
export function justMade(wanted: VolumeWanted): VolumeSeen {
  return {
    volume: wanted.volume, name: wanted.name, attachEpoch: wanted.attachEpoch, layout: wanted.layout, scope: wanted.scope, state: 'up',
    device: wanted.scope === 'whole' ? `${LINKS}/${wanted.name}` : '', opens: 0, unreachable: [], waiting: false,
    segments: wanted.segments.map((segment) => ({
      index: segment.index, generation: segment.generation, legs: segment.legs.map((leg) => ({ extent: leg.extent, health: 'A' as const })),
      inSync: segment.copy === 'none' ? 1 : 0, regions: 1,
    })),
  }
}

/** Bytes that copies under way have done so far; undefined when there is none. `bytesOf`: of a segment. */
export function copiedBytes(volumes: readonly VolumeSeen[], bytesOf: (volume: string, segment: number) => bigint): bigint | undefined {
  const copies = volumes.flatMap(({ volume, segments }) => segments.filter((segment) => segment.inSync < segment.regions).map((segment) => ({ ...segment, bytes: bytesOf(volume, segment.index) })))
  return copies.length === 0 ? undefined : copies.reduce((sum, { inSync, regions, bytes }) => sum + bytes * BigInt(inSync) / BigInt(regions), 0n)
}
