/**
 * What the thrasher's writer puts into a volume: blocks of 4 KiB that tell which run, volume, place and round they are of, with a hash
 * over all of it. A block that is older, torn, or of another place is recognised.
 */
import { createHash } from 'node:crypto'

export const BLOCK = 4096
/** The writer's places lie in chunks of so many blocks; one write never leaves its chunk, and may be as large as one. */
export const CHUNK_BLOCKS = 16
const GROUPS = 12
const GROUP_CHUNKS = 8
const HEAD = 64
const HASH_AT = 32
const MAGIC = 'vskyrun1'

export interface Address {
  readonly run: number
  /** Number of the volume in its run. */
  readonly volume: number
  /** Number of the block in its volume: offset / 4 KiB. */
  readonly block: number
}

/** What a block holds: the round of a whole write, 0 for all zeros (nothing was ever written), GARBAGE for everything else. */
export const GARBAGE = -1

/** Fills the first 4 KiB of `target`. Rounds are whole numbers below 2^48, and rise with every write to a volume. */
export function stampBlock(target: Buffer, { run, volume, block }: Address, round: number): void {
  target.fill(0, 0, HEAD)
  target.write(MAGIC, 0, 'latin1')
  target.writeUInt32LE(run, 8)
  target.writeUInt32LE(volume, 12)
  target.writeUInt32LE(block, 16)
  target.writeUIntLE(round, 20, 6)
  target.fill(`${run}.${volume}.${block}.${round};`, HEAD, BLOCK)
  hashOf(target).copy(target, HASH_AT)
}

/** Looks at the first 4 KiB of `data`. */
export function roundOf(data: Buffer, { run, volume, block }: Address): number {
  if (data.toString('latin1', 0, MAGIC.length) !== MAGIC) return data.subarray(0, BLOCK).every((byte) => byte === 0) ? 0 : GARBAGE
  const mine = data.readUInt32LE(8) === run && data.readUInt32LE(12) === volume && data.readUInt32LE(16) === block
  return mine && hashOf(data).equals(data.subarray(HASH_AT, HEAD)) ? data.readUIntLE(20, 6) : GARBAGE
}

function hashOf(data: Buffer): Buffer {
  return createHash('sha256').update(data.subarray(0, HASH_AT)).update(data.subarray(HEAD, BLOCK)).digest()
}

/**
 * The first blocks of the chunks that are written: across every border of two segments, at both ends, and in groups between. Few enough
 * that each is written over and over and that all can be read back in a moment; in groups, so that a copy of what changed leaves something out.
 */
export function chunksOf(volumeBlocks: number, segmentBlocks: number): readonly number[] {
  const last = volumeBlocks - CHUNK_BLOCKS
  const borders = Array.from({ length: Math.ceil(volumeBlocks / segmentBlocks) - 1 }, (_, index) => (index + 1) * segmentBlocks - CHUNK_BLOCKS / 2)
  const even = Array.from({ length: GROUPS * GROUP_CHUNKS }, (_, index) => Math.floor((last * Math.floor(index / GROUP_CHUNKS)) / GROUPS) + (index % GROUP_CHUNKS) * CHUNK_BLOCKS)
  const chosen: number[] = []
  for (const start of [0, last, ...borders, ...even]) {
    if (start >= 0 && start <= last && chosen.every((other) => Math.abs(other - start) >= CHUNK_BLOCKS)) chosen.push(start)
  }
  return chosen.sort((a, b) => a - b)
}
