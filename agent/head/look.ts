/** What a head has of a volume, in the manager's words: the kernel's device numbers become extents, its tables become a layout. */
import type { VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import type { DeviceState } from '../dm/dmsetup.js'
import { readStatus } from '../dm/status.js'
import { readConcatenation, readSegment, readUuid } from '../dm/table.js'
import type { MirrorTable } from '../dm/table.js'
import { extentOf } from '../iscsi/sysfs.js'
import { planVolume } from './plan.js'
import type { SegmentThere, TopThere, VolumeThere } from './plan.js'

export const LINKS = '/dev/vsky'
/** Stands for a device under a mirror that is no extent of ours. */
const NO_EXTENT = '0'.repeat(32)

export type Part = 'top' | number

/** Those of these devices that belong to a volume. */
export function devicesOf<D extends { readonly uuid: string }>(volume: string, devices: readonly D[]): readonly (D & { readonly part: Part })[] {
  return devices.flatMap((device) => {
    const mine = readUuid(device.uuid)
    return mine?.volume === volume ? [{ ...device, part: mine.part }] : []
  })
}

export async function thereOf(volume: string, state: readonly DeviceState[]): Promise<VolumeThere> {
  const mine = devicesOf(volume, state)
  const segmentAt = new Map(mine.flatMap((device) => (device.part === 'top' ? [] : [[device.devno, device.part] as const])))
  const top = mine.find((device) => device.part === 'top')
  const segments = await Promise.all(mine.flatMap((device) => (device.part === 'top' ? [] : [segmentThere(device, device.part)])))
  return { segments, top: top && topThere(top, segmentAt) }
}

async function segmentThere(device: DeviceState, index: number): Promise<SegmentThere> {
  const failed = (readStatus(device.status[0] ?? '')?.legs ?? []).some((leg) => leg.health !== 'A')
  return { index, table: await translate(device.table[0] ?? ''), suspended: device.suspended, failed }
}

function topThere(device: DeviceState, segmentAt: ReadonlyMap<string, number>): TopThere {
  const parts = readConcatenation(device.table)?.map((part) => ({ index: segmentAt.get(part.device) ?? -1, length: part.length }))
  return { parts, suspended: device.suspended }
}

/** The kernel names legs by device number; the manager by extent. */
async function translate(line: string): Promise<MirrorTable | undefined> {
  const table = readSegment(line)
  if (!table) return undefined
  const [primary = '', ...others] = await Promise.all(table.legs.map(async (leg) => await extentOf(leg) ?? leg))
  return { ...table, legs: [primary, ...others] }
}

/** What this head reports of a volume that it has a record of; undefined when nothing of it is up. */
export async function seenOf(record: VolumeWanted, state: readonly DeviceState[]): Promise<VolumeSeen | undefined> {
  const mine = devicesOf(record.volume, state)
  if (mine.length === 0) return undefined
  const top = mine.find((device) => device.part === 'top')
  const plan = planVolume(record, await thereOf(record.volume, state))
  const segments = await Promise.all(mine.flatMap((device) => (device.part === 'top' ? [] : [segmentSeen(record, device, device.part, plan.reload.includes(device.part))])))
  return {
    volume: record.volume, name: record.name, attachEpoch: record.attachEpoch, state: plan.create.length === 0 && plan.top === 'keep' ? 'up' : 'partial',
    device: top ? `${LINKS}/${record.name}` : '', opens: top?.opens ?? 0, segments: segments.sort((a, b) => a.index - b.index),
  }
}

async function segmentSeen(record: VolumeWanted, device: DeviceState, index: number, outdated: boolean): Promise<VolumeSeen['segments'][number]> {
  const status = readStatus(device.status[0] ?? '')
  const wanted = record.segments[index]
  const legs = status && status.legs.length > 0
    ? await Promise.all(status.legs.map(async (leg) => ({ extent: await extentOf(leg.device) ?? NO_EXTENT, health: leg.health })))
    : (wanted?.legs ?? []).slice(0, 1).map((leg) => ({ extent: leg.extent, health: 'A' as const }))
  return { index, generation: outdated ? 0 : wanted?.generation ?? 0, legs, inSync: status?.inSync ?? 0, regions: status?.regions ?? 1 }
}

/** A volume whose every device was made a moment ago: all is as it was ordered, and a copy has not got anywhere yet. */
export function justMade(wanted: VolumeWanted): VolumeSeen {
  return {
    volume: wanted.volume, name: wanted.name, attachEpoch: wanted.attachEpoch, state: 'up', device: `${LINKS}/${wanted.name}`, opens: 0,
    segments: wanted.segments.map((segment) => ({
      index: segment.index, generation: segment.generation, legs: segment.legs.map((leg) => ({ extent: leg.extent, health: 'A' as const })),
      inSync: segment.copy === 'none' ? 1 : 0, regions: 1,
    })),
  }
}
