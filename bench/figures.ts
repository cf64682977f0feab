/** What every benchmark does with its arguments and its figures. */

/** `--NAME N` of the command line. Throws Error for what is no whole number from 1. */
export function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  if (at < 0) return fallback
  const value = Number(process.argv[at + 1])
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} takes a whole number from 1, not ${process.argv[at + 1] ?? 'nothing'}`)
  return value
}

/** The smallest value that a share `q` of all do not exceed (nearest rank); 0 of none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? 0
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}
