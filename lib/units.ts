/**
 * Sizes. A bare number is never a size: bytes and sectors are branded bigints, and every conversion says which way it rounds.
 * On the wire sizes travel as decimal strings (XML-RPC integers end at 2^31).
 */

/** A count of bytes, never negative. */
export type Bytes = bigint & { readonly unit: 'bytes' }
/** A count of device-mapper sectors: always 512 bytes, whatever block size the disk itself uses. */
export type Sectors = bigint & { readonly unit: 'sectors' }

export const SECTOR_BYTES = 512n
export const KIB = 1024n
export const MIB = 1024n * KIB
export const GIB = 1024n * MIB

/** Brands a bigint as bytes. Throws RangeError below zero. */
export function bytes(value: bigint): Bytes {
  if (value < 0n) throw new RangeError(`a size cannot be negative: ${value}`)
  return value as Bytes
}

/** Brands a bigint as sectors. Throws RangeError below zero. */
export function sectors(value: bigint): Sectors {
  if (value < 0n) throw new RangeError(`a sector count cannot be negative: ${value}`)
  return value as Sectors
}

/** Bytes → sectors, exact. Throws RangeError when the size is not a multiple of 512 bytes. */
export function sectorsExactly(size: Bytes): Sectors {
  if (size % SECTOR_BYTES !== 0n) throw new RangeError(`${size} bytes is not a multiple of 512`)
  return (size / SECTOR_BYTES) as Sectors
}

export function bytesOf(count: Sectors): Bytes {
  return (count * SECTOR_BYTES) as Bytes
}

/** The smallest multiple of `step` that covers `size`. */
export function roundUp(size: Bytes, step: Bytes): Bytes {
  return (((size + step - 1n) / step) * step) as Bytes
}

/** The largest multiple of `step` within `size`. */
export function roundDown(size: Bytes, step: Bytes): Bytes {
  return ((size / step) * step) as Bytes
}

const factors: Readonly<Record<string, bigint>> = {
  '': 1n, K: KIB, M: MIB, G: GIB, T: 1024n * GIB, P: 1024n * 1024n * GIB, S: SECTOR_BYTES,
}

/**
 * Reads what a person types as a size: digits with an optional fraction and an optional unit, all powers of 1024
 * (`1048576`, `100MiB`, `1.5G`, `2 TiB`, `8s` for sectors of 512 bytes). Returns undefined for anything else, and for a
 * fraction that is not a whole number of bytes.
 */
export function parseSize(text: string): Bytes | undefined {
  const match = /^(\d{1,19})(?:\.(\d{1,6}))?\s*(?:([KMGTP])(?:i?B)?|B|(s))?$/i.exec(text.trim())
  if (!match) return undefined
  const [, whole = '', fraction = '', unit = '', sector] = match
  const factor = factors[(sector ?? unit).toUpperCase()]
  if (factor === undefined) return undefined
  const scale = 10n ** BigInt(fraction.length)
  const scaled = BigInt(whole + fraction) * factor
  return scaled % scale === 0n ? bytes(scaled / scale) : undefined
}

/** A size for people, always exact: the largest unit in which it has at most two decimals and four digits before them, else bytes. */
export function formatSize(size: bigint): string {
  for (const [unit, factor] of [['PiB', factors.P], ['TiB', factors.T], ['GiB', GIB], ['MiB', MIB], ['KiB', KIB]] as const) {
    if (factor === undefined || size < factor) continue
    const hundredths = (size * 100n) / factor
    if (hundredths * factor === size * 100n && size < 10_000n * factor) return `${trimZeros(hundredths)} ${unit}`
  }
  return `${size} B`
}

/** A size for tables, rounded to two decimals whatever it takes (`1.95 GiB`). */
export function formatSizeRounded(size: bigint): string {
  for (const [unit, factor] of [['PiB', factors.P], ['TiB', factors.T], ['GiB', GIB], ['MiB', MIB], ['KiB', KIB]] as const) {
    if (factor !== undefined && size >= factor) return `${trimZeros((size * 100n + factor / 2n) / factor)} ${unit}`
  }
  return `${size} B`
}

function trimZeros(hundredths: bigint): string {
  const whole = hundredths / 100n
  const rest = hundredths % 100n
  return rest === 0n ? `${whole}` : `${whole}.${rest.toString().padStart(2, '0').replace(/0$/, '')}`
}
