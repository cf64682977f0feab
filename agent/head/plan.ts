/**
 * From what a head has of a volume to what it should have. Pure. Existing devices with the right table are left alone; others get a
 * new table in place, which lets a held write go on; what is missing is made; what is no longer needed goes.
 *
 * The order is from below to above: a device can't be suspended, and so can't get a new table, while something below it holds a write.
 */
import { Fault } from '../../lib/faults.js'
import type { VolumeWanted } from '../../lib/wire/agent.js'
import { changesStart, limits } from '../../lib/model.js'
import { bytes, sectors, sectorsExactly } from '../../lib/units.js'
import { blockSectors } from '../dm/era.js'
import { segmentOf } from '../dm/table.js'
import type { MirrorTable, Part } from '../dm/table.js'

/** A table in the manager's words: a mirror's legs are extents, or the part below; a concatenation's pieces are segments. */
export type DeviceTable =
  | { readonly kind: 'mirror'; readonly mirror: MirrorTable }
  | { readonly kind: 'concatenation'; readonly pieces: readonly { readonly part: string; readonly length: bigint }[] }
  | { readonly kind: 'queue'; readonly part: string; readonly length: bigint; readonly waits: boolean }
  | { readonly kind: 'changes'; readonly part: string; readonly length: bigint; readonly meta: string; readonly block: bigint }

export interface DeviceWanted {
  readonly part: Part
  readonly table: DeviceTable
}

export interface DeviceThere {
  readonly part: Part
  /** Undefined when the kernel's table is none that Vsky writes. */
  readonly table: DeviceTable | undefined
  readonly suspended: boolean
  /** The kernel has given up a leg of this table, and does not try it again until a table is loaded; of a queue: everything waits. */
  readonly failed: boolean
}

export type HeadStep =
  | { readonly do: 'create' | 'reload'; readonly part: Part; readonly table: DeviceTable }
  | { readonly do: 'remove'; readonly part: Part }
  /** A queue tries again what waits in it, on this part. */
  | { readonly do: 'reinstate'; readonly part: Part; readonly path: string }
  /** It goes on with the table that it has. */
  | { readonly do: 'resume'; readonly part: Part }
  /** What is remembered on it is begun anew. */
  | { readonly do: 'wipe'; readonly part: Part }

type Segment = VolumeWanted['segments'][number]

/** All devices of a volume, each after those that it stands on. */
export function devicesWanted(wanted: VolumeWanted): readonly DeviceWanted[] {
  const [first] = wanted.segments
  const segments = wanted.segments.flatMap((segment) => mirrors([`s${segment.index}`, `s${segment.index}-low`], lengthOf(segment), 0n, segment))
  const meta = wanted.changes && first?.index === 0 ? mirrors(['meta', 'meta-low'], META_SECTORS, metaStart(first), { ...first, copy: first.copy === 'none' ? 'none' : 'all' }) : []
  if (wanted.scope === 'copies') return [...segments, ...meta]
  const pieces = wanted.segments.map((segment) => ({ part: `s${segment.index}`, length: lengthOf(segment) }))
  const length = sectors(pieces.reduce((sum, piece) => sum + piece.length, 0n))
  return [
    ...segments, ...meta, { part: 'body', table: { kind: 'concatenation', pieces } },
    ...wanted.changes === undefined ? [] : [
      { part: 'meta-top', table: { kind: 'queue', part: 'meta', length: META_SECTORS, waits: true } },
      { part: 'changes', table: { kind: 'changes', part: 'body', length, meta: 'meta-top', block: blockSectors(length) } },
    ] as const,
    { part: 'top', table: { kind: 'queue', part: wanted.changes === undefined ? 'body' : 'changes', length, waits: true } },
  ]
}

/** Of which what happens is news: a queue, and a mirror of more than one leg. */
export function partsWatched(wanted: VolumeWanted): readonly Part[] {
  return devicesWanted(wanted).filter(({ table }) => table.kind === 'queue' || (table.kind === 'mirror' && table.mirror.legs.length > 1)).map(({ part }) => part)
}

/** What remembers changes, on each leg of segment 0. */
export const META_SECTORS = sectorsExactly(bytes(limits.changesBytes))

/** Where on the legs of segment 0 begins what is remembered of changes, sectors. */
export function metaStart(segment: Pick<Segment, 'bytes'>): bigint {
  return changesStart(segment.bytes) / 512n
}

/** What a leg of a segment must have room for, bytes. */
function bytesNeeded(wanted: VolumeWanted, segment: Segment): bigint {
  return wanted.changes && segment.index === 0 ? metaStart(segment) * 512n + limits.changesBytes : segment.bytes
}

/** The same volume without the copies that are asked for: what can serve at once. */
export function withoutCopies(wanted: VolumeWanted): VolumeWanted {
  return { ...wanted, segments: wanted.segments.map((segment) => ({ ...segment, copy: 'none', legs: segment.legs.filter((leg) => leg.state === 'insync') })) }
}

export interface Stage {
  readonly wanted: VolumeWanted
  readonly steps: readonly HeadStep[]
}

/**
 * What changed can only be asked of a volume that is up: where it isn't yet, it serves first, and what is copied comes next. A leg that
 * is in use may leave its table in the first stage and come back in the second, so the legs of both have to be at hand.
 */
export function stagesOf(wanted: VolumeWanted, there: readonly DeviceThere[], fresh: boolean): readonly Stage[] {
  if (wanted.scope === 'copies' || there.some((device) => device.part === 'changes') || !wanted.segments.some((segment) => segment.copy === 'changed')) return [{ wanted, steps: planVolume(wanted, there, fresh) }]
  const first = withoutCopies(wanted)
  const up = devicesWanted(first).map((device) => ({ ...device, suspended: false, failed: false }))
  return [{ wanted: first, steps: planVolume(first, there, true) }, { wanted, steps: planVolume(wanted, up, false) }]
}

/** The mirror of a segment's legs at some place on them; while there is a copy to some, the others stand below it as one. */
function mirrors([part, low]: readonly [Part, Part], length: MirrorTable['length'], start: bigint, { legs, copy }: Pick<Segment, 'legs' | 'copy'>): readonly DeviceWanted[] {
  const mirror = (of: readonly string[], how: MirrorTable['copy']): DeviceTable => {
    const [primary = '', ...others] = of
    const starts = of.map((leg) => (leg === low ? 0n : start))
    return { kind: 'mirror', mirror: { length, legs: [primary, ...others], copy: how, ...(start === 0n ? {} : { starts }) } }
  }
  if (copy === 'none') return [{ part, table: mirror(legs.map((leg) => leg.extent), 'none') }]
  const [good, targets] = [legs.filter((leg) => leg.state === 'insync'), legs.filter((leg) => leg.state !== 'insync')]
  return [
    { part: low, table: mirror(good.map((leg) => leg.extent), 'none') },
    { part, table: mirror([low, ...targets.map((leg) => leg.extent)], copy) },
  ]
}

function lengthOf(segment: Segment): MirrorTable['length'] {
  return sectorsExactly(bytes(segment.bytes))
}

/** `fresh`: the order is newer than the one carried out last, so a leg that the kernel had given up is to be tried again. */
export function planVolume(wanted: VolumeWanted, there: readonly DeviceThere[], fresh: boolean): readonly HeadStep[] {
  const devices = devicesWanted(wanted)
  const known = new Map(there.map((each) => [each.part, each]))
  const kept = new Set<Part>(devices.map((each) => each.part))
  const leaving = there.filter((each) => !kept.has(each.part)).map((each) => each.part)
  const settle = leaving.flatMap((part) => settled(wanted, known.get(part)))
  const change = [...devices].sort((a, b) => layer(a.part) - layer(b.part)).flatMap(({ part, table }): readonly HeadStep[] => {
    const now = known.get(part)
    if (!now) return [...table.kind === 'changes' && wanted.changes?.settled === 0 ? [{ do: 'wipe', part: 'meta-top' } as const] : [], { do: 'create', part, table }]
    if (table.kind === 'changes') return now.suspended ? [{ do: 'resume', part }] : [] // a second one beside it on the same metadata would spoil it
    if (table.kind === 'queue' && now.table?.kind === 'queue' && now.table.part === table.part && now.table.length === table.length && !now.suspended) {
      return fresh && (now.failed || !now.table.waits) ? [{ do: 'reinstate', part, path: table.part }] : [] // by a message: to suspend it would wait for what is held below
    }
    return now.suspended || (fresh && now.failed) || !sameTable(table, now.table) ? [{ do: 'reload', part, table }] : []
  })
  const remove = [...leaving].sort((a, b) => layer(b) - layer(a)).map((part) => ({ do: 'remove', part }) as const)
  return [...settle, ...change, ...remove]
}

/** How high a device stands. */
export function layer(part: Part): number {
  return part === 'top' ? 4 : part === 'changes' || part === 'past' ? 3 : part === 'body' || part === 'meta-top' || part === 'past-origin' ? 2 : part.endsWith('-low') ? 0 : 1
}

/** A lower mirror that is about to go but holds writes for a lost leg: it goes on with those of its legs that are still wanted. */
export function settled(wanted: VolumeWanted, there: DeviceThere | undefined): readonly HeadStep[] {
  if (!there?.failed || there.table?.kind !== 'mirror' || !there.part.endsWith('-low')) return []
  const index = segmentOf(there.part)
  const good = wanted.segments.find((segment) => segment.index === index)?.legs.filter((leg) => leg.state === 'insync').map((leg) => leg.extent) ?? []
  const { mirror } = there.table
  const [primary, ...others] = mirror.legs.filter((leg) => good.includes(leg))
  if (primary === undefined) return []
  const starts = mirror.starts?.slice(0, 1 + others.length) // all the same
  return [{ do: 'reload', part: there.part, table: { kind: 'mirror', mirror: { ...mirror, legs: [primary, ...others], ...(starts === undefined ? {} : { starts }) } } }]
}

function sameTable(wanted: DeviceTable, there: DeviceTable | undefined): boolean {
  if (wanted.kind === 'mirror') {
    if (there?.kind !== 'mirror') return false
    const [a, b] = [wanted.mirror, there.mirror]
    // Where no list of changes could be had, all is copied: that is more than was asked for.
    return a.length === b.length && a.legs.join() === b.legs.join() && (a.starts ?? []).join() === (b.starts ?? []).join() && (a.copy === b.copy || (a.copy === 'changed' && b.copy === 'all'))
  }
  if (wanted.kind === 'queue') return there?.kind === 'queue' && there.part === wanted.part && there.length === wanted.length
  if (wanted.kind === 'changes') return there?.kind === 'changes' && there.part === wanted.part && there.length === wanted.length && there.meta === wanted.meta && there.block === wanted.block
  const line = (pieces: readonly { part: string; length: bigint }[]): string => pieces.map((piece) => `${piece.part} ${piece.length}`).join()
  return there?.kind === 'concatenation' && line(there.pieces) === line(wanted.pieces)
}

/** Throws `bad parameter` for a wish that would be unsafe or makes no sense, before anything is touched. */
export function checkWish(wanted: VolumeWanted): void {
  const wrong = (why: string): Fault => new Fault('bad parameter', `volume ${wanted.name}: ${why}`)
  if (wanted.segments.length === 0) throw wrong('it has no segments')
  let total = 0n
  for (const [place, segment] of wanted.segments.entries()) {
    const { index } = segment
    if (wanted.scope === 'whole' && index !== place) throw wrong(`segment ${index} stands at place ${place}`)
    if (wanted.segments.findIndex((each) => each.index === index) !== place) throw wrong(`segment ${index} is named twice`)
    if (segment.bytes === 0n || segment.bytes % 512n !== 0n) throw wrong(`segment ${index} has ${segment.bytes} bytes, no multiple of 512`)
    const [first] = segment.legs
    if (!first) throw wrong(`segment ${index} has no legs`)
    if (first.state !== 'insync') throw wrong(`the first leg of segment ${index} is ${first.state}: reads and copies would come from it`)
    if (segment.legs.some((leg) => leg.state === 'stale' || leg.state === 'allocated')) throw wrong(`segment ${index} has a leg without current data`)
    const targets = segment.legs.filter((leg) => leg.state === 'syncing')
    if (segment.copy === 'none' && targets.length > 0) throw wrong(`segment ${index} has a leg that needs a copy, and no copy is asked for`)
    if (segment.copy !== 'none' && targets.length === 0) throw wrong(`segment ${index} is to be copied, and has no leg that needs it`)
    if (segment.copy === 'changed' && (wanted.changes === undefined || (segment.since ?? 0) === 0)) throw wrong(`what changed in segment ${index} is to be copied, and nothing tells since when`)
    // A leg that replaces one on another disk of the same server stands beside it while they are copied to, not as a good one.
    const good = segment.legs.filter((leg) => leg.state === 'insync')
    if (new Set(good.map((leg) => leg.host)).size !== good.length) throw wrong(`two legs of segment ${index} are on one server`)
    if (segment.legs.some((leg) => leg.bytes < bytesNeeded(wanted, segment))) throw wrong(`a leg of segment ${index} is smaller than the segment`)
    total += segment.bytes
  }
  if (wanted.scope === 'whole' && total !== wanted.bytes) throw wrong(`its segments have ${total} bytes, not ${wanted.bytes}`)
}

/** Whether a leg is the only one of its segment that the volume can be read from. */
export function isLastGood({ segments }: VolumeWanted, { extent }: { readonly extent: string }): boolean {
  const good = segments.find(({ legs }) => legs.some((leg) => leg.extent === extent))?.legs.filter((leg) => leg.state === 'insync') ?? []
  return good.length === 1 && good[0]?.extent === extent
}
