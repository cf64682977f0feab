/** What the writer in a guest tells the thrasher, one line each, as it happens. Pure. */

export type WriterLine =
  /** The device is open. `direct`: past the page cache. */
  | { readonly is: 'ready'; readonly pid: number; readonly direct: boolean }
  /** A write was acknowledged, after so many ms. */
  | { readonly is: 'ack'; readonly round: number; readonly block: number; readonly count: number; readonly ms: number }
  /** The oldest request that is not done waits for so long. */
  | { readonly is: 'waits'; readonly ms: number }
  | { readonly is: 'error'; readonly text: string }
  /** As asked: nothing is in flight, and this is the round of every block, in the order of the chunks; empty where that can't be read. */
  | { readonly is: 'found'; readonly rounds: readonly number[] }
  /** A read found an older round than was acknowledged before it began. */
  | { readonly is: 'older'; readonly block: number; readonly least: number; readonly found: number }

/** An acknowledgement is the common one: short. */
export function formatLine(line: WriterLine): string {
  return line.is === 'ack' ? `a ${line.round} ${line.block} ${line.count} ${line.ms}` : JSON.stringify(line)
}

/** Undefined for a line that is none: the end of one that the plug cut off. */
export function parseLine(text: string): WriterLine | undefined {
  const match = /^a (\d+) (\d+) (\d+) (\d+)$/.exec(text)
  if (match) return { is: 'ack', round: Number(match[1]), block: Number(match[2]), count: Number(match[3]), ms: Number(match[4]) }
  try {
    return text.startsWith('{') ? JSON.parse(text) as WriterLine : undefined
  } catch {
    return undefined
  }
}
