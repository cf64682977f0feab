/** Which initiators an extent lets in: the one place that says it, for every call that sets exports. Pure. */
import type { ExtentWanted } from '../../lib/wire/agent.js'
import type { ExtentRow, SegmentRow, VolumeRow } from '../state/rows.js'

/**
 * The head of the present attachment, and nobody else, and only at legs that it uses. While a volume is detached no one gets in.
 * While it is being detached the head keeps its way until it has let go.
 */
export function initiatorsOf(volume: VolumeRow, extent: ExtentRow, initiatorOfHead: string | undefined): readonly string[] {
  if (volume.phase === 'creating' || volume.phase === 'detached' || initiatorOfHead === undefined) return []
  return extent.leg === 'insync' || extent.leg === 'syncing' ? [initiatorOfHead] : []
}

export function extentWanted(volume: VolumeRow, segment: SegmentRow, extent: ExtentRow, initiatorOfHead: string | undefined): ExtentWanted {
  return {
    extent: extent.id,
    disk: extent.disk,
    volume: volume.id,
    segment: extent.segment,
    generation: extent.leg === 'insync' || extent.leg === 'allocated' ? segment.generation : 0, // a tag of 0 says: don't trust this copy
    bytes: extent.bytes,
    lun: extent.lun,
    initiators: initiatorsOf(volume, extent, initiatorOfHead),
  }
}
