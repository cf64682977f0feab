/**
 * The log of a mirror, made by hand: it tells the kernel which regions are to be copied, and all others are taken for equal. Pure.
 * Format: Linux drivers/md/dm-log.c, struct log_header_disk and disk_resume(): a header of 1 KiB (magic, version, regions; little endian,
 * 64 bits for the last), then a bit a region, 1 for one that is clean, in words of 32.
 */
import { regionOf } from './table.js'
import type { BlockRange } from './era.js'

const MAGIC = 0x4d695272
const VERSION = 2
const HEADER_BYTES = 1024
/** A whole number of pages: what a loop device over a file must have. */
const STEP_BYTES = 4096

export function regionsOf(length: bigint): number {
  const region = regionOf(length)
  return Number((length + region - 1n) / region)
}

export function logBytes(regions: number): number {
  return Math.ceil((HEADER_BYTES + Math.ceil(regions / 32) * 4) / STEP_BYTES) * STEP_BYTES
}

export interface Span {
  /** Sectors from the segment's start. */
  readonly begin: bigint
  readonly end: bigint
}

/** Where blocks of the volume lie in one of its segments. `offset`, `length`, `block`: sectors. */
export function spansIn({ offset, length }: { readonly offset: bigint; readonly length: bigint }, block: bigint, blocks: readonly BlockRange[]): readonly Span[] {
  return blocks.flatMap(({ begin, end }) => {
    const [from, to] = [begin * block - offset, end * block - offset]
    const span = { begin: from < 0n ? 0n : from, end: to > length ? length : to }
    return span.begin < span.end ? [span] : []
  })
}

/** The log of a mirror of `length` sectors: every region that a span touches is to be copied. */
export function makeLog(length: bigint, spans: readonly Span[]): Uint8Array {
  const regions = regionsOf(length)
  const log = new Uint8Array(logBytes(regions))
  const view = new DataView(log.buffer)
  view.setUint32(0, MAGIC, true)
  view.setUint32(4, VERSION, true)
  view.setBigUint64(8, BigInt(regions), true)
  for (let region = 0; region < regions; region += 1) setBit(log, region, true)
  const size = regionOf(length)
  for (const { begin, end } of spans) for (let region = begin / size; region * size < end; region += 1n) setBit(log, Number(region), false)
  return log
}

function setBit(log: Uint8Array, region: number, clean: boolean): void {
  const at = HEADER_BYTES + (region >> 3)
  log[at] = clean ? (log[at] ?? 0) | (1 << (region & 7)) : (log[at] ?? 0) & ~(1 << (region & 7))
}
