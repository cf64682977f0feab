/**
 * What a host has against what the database says that it should have. Pure; gives what is to be done and what is to be told. What
 * the database doesn't know is told, never removed: it may be all that is left of somebody's data.
 */
import type { ExtentWanted, Observation } from '../../lib/wire/agent.js'

export interface HostWanted {
  readonly disks: readonly { readonly id: string; readonly device: string }[]
  readonly extents: readonly ExtentWanted[]
  /** Extents that are being made: neither missing nor foreign. */
  readonly planned?: ReadonlySet<string>
  /** Extents whose removal is decided. */
  readonly dropping: readonly { readonly extent: string; readonly disk: string }[]
  /** Of the volumes that the host tells of, those that the database knows, or knows that this host was shut out from: with their last attachment, and whether this host may have it. */
  readonly volumes: ReadonlyMap<string, { readonly attachEpoch: number; readonly attachedHere: boolean }>
}

export interface HostDifference {
  /** Extents that are missing, or differ in their LUN, tags or initiators. */
  readonly ensure: readonly ExtentWanted[]
  readonly remove: readonly { readonly extent: string; readonly disk: string }[]
  /** Volumes that this head should no longer have. */
  readonly detach: readonly { readonly volume: string; readonly attachEpoch: number }[]
  readonly missingDisks: readonly string[]
  readonly foreign: readonly { readonly what: string; readonly name: string; readonly why: string }[]
}

export function compareHost(wanted: HostWanted, seen: Observation): HostDifference {
  const seenExtents = new Map(seen.extents.map((extent) => [extent.extent, extent]))
  const dropping = new Set(wanted.dropping.map((each) => each.extent))
  const known = new Set([...wanted.extents.map((extent) => extent.extent), ...dropping, ...wanted.planned ?? []])
  const ready = new Set(seen.disks.filter((disk) => disk.state === 'ready').map((disk) => disk.disk))
  return {
    // An extent on a disk that isn't there can't be made: the disk's own state tells.
    ensure: wanted.extents.filter((extent) => ready.has(extent.disk) && differs(extent, seenExtents.get(extent.extent))),
    remove: wanted.dropping.filter((each) => ready.has(each.disk)),
    detach: seen.volumes.flatMap((volume) => {
      const mine = wanted.volumes.get(volume.volume)
      const onlyRecord = volume.device === '' && volume.segments.length === 0 // of a volume that was deleted while its head was away
      if (!mine && onlyRecord) return [{ volume: volume.volume, attachEpoch: volume.attachEpoch }]
      if (!mine || volume.attachEpoch > mine.attachEpoch) return [] // unknown, or newer than this database: told as foreign below
      return mine.attachedHere && volume.attachEpoch === mine.attachEpoch ? [] : [{ volume: volume.volume, attachEpoch: volume.attachEpoch }]
    }),
    missingDisks: wanted.disks.map((disk) => disk.id).filter((id) => !seen.disks.some((disk) => disk.disk === id)),
    foreign: [
      ...seen.foreign,
      ...seen.extents.filter((extent) => !known.has(extent.extent)).map((extent) => ({ what: 'extent', name: extent.extent, why: `of volume ${extent.volume}: the database does not know it` })),
      ...seen.disks.filter((disk) => !wanted.disks.some(({ id }) => id === disk.disk)).map((disk) => ({ what: 'disk', name: `${disk.disk} (${disk.device})`, why: 'the database does not know it' })),
      ...seen.volumes.filter((volume) => volume.segments.length > 0 && (wanted.volumes.get(volume.volume)?.attachEpoch ?? -1) < volume.attachEpoch)
        .map((volume) => ({ what: 'volume', name: volume.name, why: 'the database does not know this attachment' })),
    ],
  }
}

function differs(wanted: ExtentWanted, seen: Observation['extents'][number] | undefined): boolean {
  if (!seen) return true
  return seen.lun !== wanted.lun || seen.generation !== wanted.generation || seen.segment !== wanted.segment || seen.volume !== wanted.volume
    || seen.bytes !== wanted.bytes || [...seen.initiators].sort().join() !== [...wanted.initiators].sort().join()
    || (wanted.note !== undefined && seen.note !== undefined && seen.note !== wanted.note)
}
