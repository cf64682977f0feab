/** Whether the cluster went on after a state was written down: then that state may call a leg good that is not. Pure. */
import type { SegmentRow, VolumeRow } from '../state/rows.js'
import { parseNote } from './leg-note.js'
import type { HostTold } from './rebuild.js'

export interface OldState {
  readonly epoch: number
  readonly volumes: readonly Pick<VolumeRow, 'id' | 'name' | 'attachEpoch'>[]
  readonly segments: readonly Pick<SegmentRow, 'volume' | 'index' | 'generation'>[]
}

/** What a host knows that the state does not; empty when there is nothing. */
export function laterThan(state: OldState, told: readonly HostTold[]): readonly string[] {
  const volumes = new Map(state.volumes.map((each) => [each.id, each]))
  const generations = new Map(state.segments.map((each) => [`${each.volume} ${each.index}`, each.generation]))
  return told.flatMap(({ seen, recalled }) => [
    ...seen.epoch > state.epoch ? [`${seen.host} has seen epoch ${seen.epoch}, it is of epoch ${state.epoch}`] : [],
    ...seen.extents.flatMap((extent) => {
      const note = parseNote(extent.note ?? '')
      const [volume, generation] = [volumes.get(extent.volume), generations.get(`${extent.volume} ${extent.segment}`)]
      if (!note || extent.leaving === true) return []
      if (!volume || generation === undefined) return [`${seen.host} has a leg of volume ${note.name}, which it does not know`]
      return note.attachEpoch > volume.attachEpoch || note.generation > generation ? [`volume ${note.name} has changed since: ${seen.host} has generation ${note.generation} of segment ${extent.segment}`] : []
    }),
    ...recalled.volumes.flatMap((each) => ((volumes.get(each.volume)?.attachEpoch ?? -1) < each.attachEpoch ? [`${seen.host} has volume ${each.name} attached since`] : [])),
  ])
}
