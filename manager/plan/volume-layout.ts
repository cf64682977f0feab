/** How a volume of a given size is cut into segments, and how large the extents behind them are. Pure arithmetic. */
import { limits } from '../../lib/model.js'
import { bytes, roundUp } from '../../lib/units.js'

export interface SegmentPlan {
  readonly index: number
  readonly offset: bigint
  readonly bytes: bigint
  /** Of each leg's logical volume: the segment rounded up to LVM's physical extent, and beside the first room for what is remembered of changes. */
  readonly extentBytes: bigint
}

/** Whole segments of `extentBytes`, the last one cut short: the volume is exactly as large as was asked for. */
export function layOutVolume(size: bigint, extentBytes: bigint): readonly SegmentPlan[] {
  const count = Number((size + extentBytes - 1n) / extentBytes)
  return Array.from({ length: count }, (_, index) => {
    const offset = BigInt(index) * extentBytes
    const length = size - offset < extentBytes ? size - offset : extentBytes
    return { index, offset, bytes: length, extentBytes: roundUp(bytes(length), bytes(limits.physicalExtent)) + (index === 0 ? limits.changesBytes : 0n) }
  })
}

/** Says what is wrong with a size, or nothing. `extentBytes`: where it is known how large segments are. */
export function sizeProblem(size: bigint, extentBytes?: bigint): string | undefined {
  if (size % limits.volumeStep !== 0n) return `${size} bytes is not a multiple of 512`
  if (size < limits.volumeMin) return `${size} bytes is less than the smallest volume, 1 MiB`
  if (size > limits.volumeMax) return `${size} bytes is more than the largest volume, 64 TiB`
  if (extentBytes !== undefined && size > BigInt(limits.segmentsMax) * extentBytes) return `${size} bytes is more than ${limits.segmentsMax} segments of ${extentBytes} bytes, the extent size of this cluster`
  return undefined
}
