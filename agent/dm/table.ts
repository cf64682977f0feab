/**
 * Device-mapper tables as values. Pure. Grammar: Linux drivers/md/dm-raid1.c mirror_ctr(), dm-linear.c, dm-log.c core_ctr(). Order is
 * safety: reads come from the first leg, and the kernel copies from it.
 */
import { sectors } from '../../lib/units.js'
import type { Sectors } from '../../lib/units.js'

const REGION_MIN = 1024n
const REGION_MAX = 8192n

/**
 * Region of a mirror of `length` sectors, sectors: from 512 KiB to 4 MiB, and 32 of them or more where that is possible. A copy goes region by region, and
 * the kernel reads and writes in pieces of 512 KiB (dm-kcopyd's kcopyd_subjob_size_kb): in a region of one piece nothing is read while something is
 * written. Blocks of which it is remembered whether they were written have 4 MiB, so a larger one would copy more.
 */
export function regionOf(length: bigint): bigint {
  let region = REGION_MIN
  while (region < REGION_MAX && region * 64n <= length) region *= 2n
  return region
}

export interface MirrorTable {
  readonly length: Sectors
  /** Device paths or major:minor; the first is the primary. One leg makes a linear. */
  readonly legs: readonly [primary: string, ...others: string[]]
  /** Where it begins on each leg, sectors; absent: all of them at their start. */
  readonly starts?: readonly bigint[]
  /** `none`: all legs are equal. `all`: every region is copied from the first leg. `changed`: those that a log names. */
  readonly copy: 'none' | 'all' | 'changed'
}

/**
 * `handle_errors` always: a write that a leg did not take is held until somebody has recorded it and reloads the table. `log`: the device of
 * a log that says which regions are to be copied (dm/copy-log.ts); without one `changed` copies all.
 */
export function formatSegment({ length, legs, starts, copy }: MirrorTable, log?: string): string {
  if (legs.length === 1) return `0 ${length} linear ${legs[0]} ${starts?.[0] ?? 0}`
  const places = legs.map((leg, at) => `${leg} ${starts?.[at] ?? 0}`).join(' ')
  const how = copy === 'changed' && log !== undefined ? `disk 2 ${log} ${regionOf(length)}` : `core 2 ${regionOf(length)} ${copy === 'none' ? 'nosync' : 'sync'}`
  return `0 ${length} mirror ${how} ${legs.length} ${places} 1 handle_errors`
}

/** Reads what `dmsetup table` prints for a segment. Undefined for anything that formatSegment does not write. */
export function readSegment(line: string): MirrorTable | undefined {
  const linear = /^0 (\d+) linear (\S+) (\d+)$/.exec(line)
  if (linear) return { length: sectors(BigInt(linear[1] ?? '0')), legs: [linear[2] ?? ''], copy: 'none', ...startsOf([linear[3] ?? '0']) }
  const mirror = /^0 (\d+) mirror (?:core \d \d+(?: (sync|nosync))?|(disk) 2 \S+ \d+) (\d+) (.+?) \d+ handle_errors$/.exec(line)
  if (!mirror) return undefined
  const words = (mirror[5] ?? '').split(' ')
  const legs = words.filter((_, index) => index % 2 === 0)
  const [primary, ...others] = legs
  if (primary === undefined || legs.length !== Number(mirror[4]) || words.length !== 2 * legs.length) return undefined
  const copy = mirror[3] === 'disk' ? 'changed' : mirror[2] === 'nosync' ? 'none' : 'all'
  return { length: sectors(BigInt(mirror[1] ?? '0')), legs: [primary, ...others], copy, ...startsOf(words.filter((_, index) => index % 2 === 1)) }
}

function startsOf(starts: readonly string[]): Pick<MirrorTable, 'starts'> {
  return starts.every((start) => start === '0') ? {} : { starts: starts.map(BigInt) }
}

export interface Piece {
  /** Device path or major:minor. */
  readonly device: string
  readonly length: Sectors
}

/** The concatenation: one line a segment. */
export function formatConcatenation(parts: readonly Piece[]): readonly string[] {
  let start = 0n
  return parts.map(({ device, length }) => {
    const line = `${start} ${length} linear ${device} 0`
    start += length
    return line
  })
}

/** Reads what `dmsetup table` prints for a concatenation. Undefined for anything that formatConcatenation does not write. */
export function readConcatenation(lines: readonly string[]): readonly Piece[] | undefined {
  let end = 0n
  const parts: Piece[] = []
  for (const line of lines) {
    const match = /^(\d+) (\d+) linear (\S+) 0$/.exec(line)
    if (!match || BigInt(match[1] ?? '') !== end) return undefined
    const length = sectors(BigInt(match[2] ?? ''))
    parts.push({ device: match[3] ?? '', length })
    end += length
  }
  return parts.length > 0 ? parts : undefined
}

/** Several devices for one `dmsetup create --concise`. Names and tables hold none of its separators (, ; \). */
export function formatConcise(devices: readonly { readonly name: string; readonly uuid: string; readonly table: readonly string[] }[]): string {
  return devices.map(({ name, uuid, table }) => `${name},${uuid},,rw,${table.join(',')}`).join(';')
}

/**
 * The queue under a guest: one path, the concatenation. An error below fails the path, and everything waits until the path is
 * reinstated; nothing is answered with an error. Grammar: Linux drivers/md/dm-mpath.c. `queue_mode bio`: it stands on another
 * device-mapper device. A table of this kind can't be replaced by another kind, so every volume has it from the start.
 */
export function formatQueue({ device, length }: Piece): string {
  return `0 ${length} multipath 3 queue_if_no_path queue_mode bio 0 1 1 round-robin 0 1 1 ${device} 1`
}

/** Reads what `dmsetup table` prints for a queue; `waits` false when it answers errors instead. */
export function readQueue(line: string): (Piece & { readonly waits: boolean }) | undefined {
  const match = /^0 (\d+) multipath \d+ (.*?)0 1 1 round-robin 0 1 \d+ (\S+)/.exec(line)
  return match ? { length: sectors(BigInt(match[1] ?? '0')), device: match[3] ?? '', waits: (match[2] ?? '').split(' ').includes('queue_if_no_path') } : undefined
}

/** What remembers which blocks were written when: grammar of Linux drivers/md/dm-era-target.c era_ctr(). */
export interface ChangesTable extends Piece {
  /** The device that its own metadata is kept on. */
  readonly meta: string
  /** Sectors of a block: the unit in which it remembers. */
  readonly block: bigint
}

export function formatChanges({ device, length, meta, block }: ChangesTable): string {
  return `0 ${length} era ${meta} ${device} ${block}`
}

/** Reads what `dmsetup table` prints for it. Undefined for anything else. */
export function readChanges(line: string): ChangesTable | undefined {
  const match = /^0 (\d+) era (\S+) (\S+) (\d+)$/.exec(line)
  return match ? { length: sectors(BigInt(match[1] ?? '0')), meta: match[2] ?? '', device: match[3] ?? '', block: BigInt(match[4] ?? '0') } : undefined
}

/**
 * The devices of one volume. `top` is what the guest uses: a queue on `changes`, which remembers what is written, on `body`, the
 * concatenation of the segments; `s3` is a segment; `s3-low` the mirror of the in-sync legs below a segment that is being copied, so that
 * they stay equal meanwhile (a mirror with a copy under way writes a region not yet copied to its first leg alone). What `changes`
 * remembers is kept on `meta-top`, a queue on `meta`: a mirror like a segment's, on the same legs as segment 0. `past` stands for a moment on
 * a copy of that, to read it where the volume is not up.
 */
export type Part = 'top' | 'changes' | 'past' | 'past-origin' | 'body' | 'meta-top' | 'meta' | 'meta-low' | `s${number}` | `s${number}-low`

export function nameOf(volume: string, part: Part): string {
  return part === 'top' ? `vsky-${volume}` : `vsky-${volume}-${part}`
}

export function uuidOf(volume: string, part: Part): string {
  return `VSKY-${volume}-${part}`
}

/** Volume and part of one of our device-mapper uuids. */
export function readUuid(uuid: string): { readonly volume: string; readonly part: Part } | undefined {
  const match = /^VSKY-([0-9a-f]{32})-(top|changes|past|past-origin|body|meta|meta-top|meta-low|s\d+|s\d+-low)$/.exec(uuid)
  return match ? { volume: match[1] ?? '', part: match[2] as Part } : undefined
}

/** Of which segment, undefined for what all have in common: `meta` is lost and found with the legs of segment 0. */
export function segmentOf(part: Part): number | undefined {
  if (part === 'meta' || part === 'meta-low') return 0
  const match = /^s(\d+)/.exec(part)
  return match ? Number(match[1]) : undefined
}

/** Queues answer a status at once, and so does a mirror; what remembers changes does not while its metadata can't be written. */
export function hasSafeStatus(part: Part): boolean {
  return part !== 'changes' && part !== 'past'
}
