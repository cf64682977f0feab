/** Which initiators an extent lets in: the one place that says it, for every call that sets exports. Pure. */
import type { ExtentWanted } from '../../lib/wire/agent.js'
import { formatNote, noteOf } from './leg-note.js'
import type { ExtentRow, SegmentRow, VolumeRow } from '../state/rows.js'

/** The head that a volume's exports are open to: the one that it is attached to, or that copies its legs while it is detached. */
export function headOf(volume: VolumeRow): string {
  return volume.phase === 'detached' ? volume.copyHead : volume.head
}

/**
 * The head of the present attachment, and nobody else, and only at legs that it uses. While a volume is detached no one gets in but
 * the head that copies. While it is being detached the head keeps its way until it has let go; one that is shut out has none. A leg in
 * doubt is for nobody until it is judged: its disk's cache may have lost what a reader was told is there.
 */
export function initiatorsOf(volume: VolumeRow, extent: ExtentRow, initiatorOfHead: string | undefined): readonly string[] {
  if (volume.phase === 'creating' || volume.phase === 'fencing' || extent.doubt || initiatorOfHead === undefined) return []
  return extent.leg === 'insync' || extent.leg === 'syncing' ? [initiatorOfHead] : []
}

/** `around`: what else its note tells, from which the database can be rebuilt. */
export function extentWanted(volume: VolumeRow, segment: SegmentRow, extent: ExtentRow, initiatorOfHead: string | undefined, around?: Parameters<typeof noteOf>[3]): ExtentWanted {
  return {
    extent: extent.id,
    disk: extent.disk,
    volume: volume.id,
    segment: extent.segment,
    generation: extent.leg === 'insync' || extent.leg === 'allocated' ? segment.generation : 0, // a tag of 0 says: don't trust this copy
    bytes: extent.bytes,
    lun: extent.lun,
    initiators: initiatorsOf(volume, extent, initiatorOfHead),
    ...(around ? { note: formatNote(noteOf(volume, segment, extent, around)) } : {}),
  }
}
