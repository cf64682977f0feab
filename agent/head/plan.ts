/**
 * From what a head has of a volume to what it should have. Pure. Existing mirrors with the right legs in the right order are left
 * alone; others get a new table in place, which lets a held write go on; what is missing is made.
 */
import { Fault } from '../../lib/faults.js'
import type { VolumeWanted } from '../../lib/wire/agent.js'
import { sectorsExactly, bytes } from '../../lib/units.js'
import type { MirrorTable } from '../dm/table.js'

export interface SegmentThere {
  readonly index: number
  /** The kernel's table, its devices translated to extents; undefined when it is none that Vsky writes. */
  readonly table: MirrorTable | undefined
  readonly suspended: boolean
  /** The kernel has given up a leg of this table. It does not try that leg again until a table is loaded. */
  readonly failed: boolean
}

export interface TopThere {
  /** The segments under the concatenation, in order; undefined when its table is none that Vsky writes. */
  readonly parts: readonly { readonly index: number; readonly length: bigint }[] | undefined
  readonly suspended: boolean
}

export interface VolumeThere {
  readonly segments: readonly SegmentThere[]
  /** The concatenation, if it exists. */
  readonly top: TopThere | undefined
}

export interface HeadPlan {
  readonly create: readonly number[]
  readonly reload: readonly number[]
  readonly top: 'keep' | 'create' | 'reload'
}

export function planVolume(wanted: VolumeWanted, there: VolumeThere): HeadPlan {
  const known = new Map(there.segments.map((segment) => [segment.index, segment]))
  return {
    create: wanted.segments.filter((segment) => !known.has(segment.index)).map((segment) => segment.index),
    reload: wanted.segments.filter((segment) => {
      const segmentThere = known.get(segment.index)
      return segmentThere !== undefined && (segmentThere.suspended || !sameTable(segment, segmentThere))
    }).map((segment) => segment.index),
    top: there.top === undefined ? 'create' : there.top.suspended || !sameParts(wanted, there.top) ? 'reload' : 'keep',
  }
}

type Segment = VolumeWanted['segments'][number]

function sameTable(wanted: Segment, { table, failed }: SegmentThere): boolean {
  if (!table || table.length !== sectorsExactly(bytes(wanted.bytes))) return false
  if (table.legs.join() !== wanted.legs.map((leg) => leg.extent).join()) return false
  if (wanted.copy === 'none') return true // a copy that has ended needs no new table; a failed leg is reported, not forgotten by a reload
  return table.copy === 'all' && !failed // a copy in which a leg failed begins again
}

function sameParts(wanted: VolumeWanted, { parts }: TopThere): boolean {
  const line = (part: { readonly index: number; readonly length: bigint }): string => `${part.index} ${part.length}`
  return parts?.map(line).join() === wanted.segments.map((segment) => line({ index: segment.index, length: sectorsExactly(bytes(segment.bytes)) })).join()
}

/** Throws `bad parameter` for a wish that would be unsafe or makes no sense, before anything is touched. */
export function checkWish(wanted: VolumeWanted): void {
  const wrong = (why: string): Fault => new Fault('bad parameter', `volume ${wanted.name}: ${why}`)
  if (wanted.segments.length === 0) throw wrong('it has no segments')
  let total = 0n
  for (const [index, segment] of wanted.segments.entries()) {
    if (segment.index !== index) throw wrong(`segment ${segment.index} stands at place ${index}`)
    if (segment.bytes === 0n || segment.bytes % 512n !== 0n) throw wrong(`segment ${index} has ${segment.bytes} bytes, no multiple of 512`)
    const [first] = segment.legs
    if (!first) throw wrong(`segment ${index} has no legs`)
    if (first.state !== 'insync') throw wrong(`the first leg of segment ${index} is ${first.state}: reads and copies would come from it`)
    if (segment.legs.some((leg) => leg.state === 'stale' || leg.state === 'allocated')) throw wrong(`segment ${index} has a leg without current data`)
    if (segment.copy === 'none' && segment.legs.some((leg) => leg.state !== 'insync')) throw wrong(`segment ${index} has a leg that needs a copy, and no copy is asked for`)
    if (new Set(segment.legs.map((leg) => leg.host)).size !== segment.legs.length) throw wrong(`two legs of segment ${index} are on one server`)
    if (segment.legs.some((leg) => leg.bytes < segment.bytes)) throw wrong(`a leg of segment ${index} is smaller than the segment`)
    total += segment.bytes
  }
  if (total !== wanted.bytes) throw wrong(`its segments have ${total} bytes, not ${wanted.bytes}`)
}
