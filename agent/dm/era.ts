/**
 * What dm-era says of itself, and what its metadata says of a volume's blocks, read. Pure. Sources: Linux drivers/md/dm-era-target.c
 * era_status(); era_invalidate(8) of thin-provisioning-tools.
 */
import type { Sectors } from '../../lib/units.js'

/** Smallest block, sectors: 4 MiB. Small enough that what is copied for one write costs little; large enough that few are a first write. */
const BLOCK_SECTORS = 8192n
/** As many as the metadata has room for (lib/model.ts changesBytes). */
const BLOCKS_MAX = 2n ** 18n

/** Sectors of a block in a volume of this length: 4 MiB up to 1 TiB, then doubled as often as needed. */
export function blockSectors(length: Sectors): bigint {
  let block = BLOCK_SECTORS
  while ((length + block - 1n) / block > BLOCKS_MAX) block *= 2n
  return block
}

/** `0 409600 era 8 9/1024 2 -`: the current era; `broken` when the kernel has given its metadata up; undefined for other targets. */
export function readEra(line: string): number | 'broken' | undefined {
  const words = line.trim().split(/\s+/)
  if (words[2] !== 'era') return undefined
  return /^\d+$/.test(words[5] ?? '') ? Number(words[5]) : 'broken'
}

/** From one block up to another, that one left out. */
export interface BlockRange {
  readonly begin: bigint
  readonly end: bigint
}

/** The output of era_invalidate. Throws for anything else: a list that was cut short would leave blocks out. */
export function readBlocks(xml: string): readonly BlockRange[] {
  const lines = xml.split('\n').map((line) => line.trim()).filter((line) => line !== '')
  if (lines[0] !== '<blocks>' || lines.at(-1) !== '</blocks>') throw new Error(`a list of blocks is not whole: ${JSON.stringify(xml.slice(0, 200))}`)
  return lines.slice(1, -1).map((line) => {
    const one = /^<block block\s*=\s*"(\d+)"\s*\/>$/.exec(line)
    if (one) return { begin: BigInt(one[1] ?? ''), end: BigInt(one[1] ?? '') + 1n }
    const range = /^<range begin\s*=\s*"(\d+)"\s+end\s*=\s*"(\d+)"\s*\/>$/.exec(line)
    if (!range) throw new Error(`${JSON.stringify(line)} is no block and no range of blocks`)
    return { begin: BigInt(range[1] ?? ''), end: BigInt(range[2] ?? '') }
  })
}
