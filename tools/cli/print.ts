/** Tables and ages for people. Pure. */

export interface Column<T> {
  readonly title: string
  readonly of: (row: T) => string
  readonly right?: boolean
  /** Cut with `…` when the terminal is too narrow; others never are. */
  readonly elastic?: boolean
}

/** `width` in characters; 0: as wide as needed (output that is piped). */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[], width = 0): string {
  const cells = [columns.map((column) => column.title), ...rows.map((row) => columns.map((column) => column.of(row)))]
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => line[index]?.length ?? 0)))
  const total = widths.reduce((sum, each) => sum + each + 2, -2)
  if (width > 0 && total > width) {
    const at = columns.findIndex((column) => column.elastic)
    if (at >= 0) widths[at] = Math.max(8, (widths[at] ?? 0) - (total - width))
  }
  return cells.map((line) => line.map((cell, index) => {
    const room = widths[index] ?? 0
    const text = cell.length > room ? `${cell.slice(0, room - 1)}…` : cell
    return columns[index]?.right === true ? text.padStart(room) : text.padEnd(room)
  }).join('  ').trimEnd()).join('\n')
}

/** `340 ms`, `12 s`, `5 min`, `3 h`, `2 d`. */
export function age(ms: number): string {
  if (ms < 1000) return `${ms} ms`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}

/** Eight digits of an id are enough for the eye. */
export function short(id: string): string {
  return id.slice(0, 8)
}
