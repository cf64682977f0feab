/** Tables, ages, colours and progress for people. Pure. */

export type Tone = 'good' | 'warn' | 'bad' | 'plain'

export interface Column<T> {
  readonly title: string
  readonly of: (row: T) => string
  readonly right?: boolean
  /** Cut with `…` when the terminal is too narrow; others never are. */
  readonly elastic?: boolean
  /** Left out when the terminal is too narrow, the last such column first. */
  readonly minor?: boolean
  readonly tone?: (row: T) => Tone
}

/** How answers are shown. `width` in characters; 0: as wide as needed (output that is piped). */
export interface Look {
  readonly width: number
  readonly paint: (tone: Tone, text: string) => string
}

export const plainLook: Look = { width: 0, paint: (_, text) => text }

const ELASTIC_MIN = 8

export function table<T>(rows: readonly T[], columns: readonly Column<T>[], look: Look | number = 0): string {
  const { width, paint } = typeof look === 'number' ? { ...plainLook, width: look } : look
  const kept = fitting(columns.map((column) => ({ column, cells: [column.title, ...rows.map((row) => clean(column.of(row)))] })), width)
  const widths = kept.map(({ cells }) => widest(cells))
  const total = totalOf(widths)
  const at = kept.findIndex(({ column }) => column.elastic)
  if (width > 0 && total > width && at >= 0) widths[at] = Math.max(ELASTIC_MIN, (widths[at] ?? 0) - (total - width))
  return [undefined, ...rows].map((row, line) => kept.map(({ column, cells }, index) => {
    const room = widths[index] ?? 0
    const cell = cells[line] ?? ''
    const text = cell.length > room ? `${cell.slice(0, room - 1)}…` : cell
    const blanks = index === kept.length - 1 && column.right !== true ? '' : ' '.repeat(room - text.length)
    const shown = row === undefined || column.tone === undefined ? text : paint(column.tone(row), text)
    return column.right === true ? blanks + shown : shown + blanks
  }).join('  ').trimEnd()).join('\n')
}

interface Filled<T> { readonly column: Column<T>; readonly cells: readonly string[] }

/** Without minor columns, from the last, until what is left fits with its elastic column at its least. */
function fitting<T>(all: readonly Filled<T>[], width: number): readonly Filled<T>[] {
  let kept = all
  for (;;) {
    const least = totalOf(kept.map(({ column, cells }) => (column.elastic ? Math.min(ELASTIC_MIN, widest(cells)) : widest(cells))))
    const last = kept.findLastIndex(({ column }) => column.minor)
    if (width === 0 || least <= width || last < 0) return kept
    kept = kept.filter((_, index) => index !== last)
  }
}

function widest(cells: readonly string[]): number {
  return cells.reduce((most, cell) => Math.max(most, cell.length), 0)
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, each) => sum + each + 2, -2)
}

/** What comes from elsewhere must not move the cursor, nor turn the direction of writing. */
export function clean(text: string): string {
  return text.replace(/[\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, ' ')
}

const codes: Readonly<Record<Exclude<Tone, 'plain'>, number>> = { good: 32, warn: 33, bad: 31 }

/** Colours for a terminal; nothing when `coloured` is false. */
export function painter(coloured: boolean): Look['paint'] {
  return (tone, text) => (coloured && tone !== 'plain' && text !== '' ? `\u001b[${codes[tone]}m${text}\u001b[39m` : text)
}

const tones: Readonly<Record<string, Tone>> = {
  offline: 'bad', failed: 'bad', missing: 'bad', unavailable: 'bad', stale: 'bad', 'at risk': 'bad', degraded: 'warn', acting: 'warn', syncing: 'warn', drain: 'warn', evacuate: 'warn', fencing: 'warn',
  running: 'warn', healthy: 'good', full: 'good', online: 'good', ready: 'good', insync: 'good', attached: 'good', done: 'good',
}

/** The tone of a state's word. */
export function toneOf(word: string): Tone {
  return tones[word] ?? 'plain'
}

/** `[#######.....] 58 %`; `share` from 0 to 1. */
export function bar(share: number, cells: number): string {
  const sane = Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0))
  const full = Math.floor(sane * cells)
  return `[${'#'.repeat(full)}${'.'.repeat(cells - full)}] ${String(Math.floor(sane * 100)).padStart(3)} %`
}

/** `340 ms`, `12 s`, `5 min`, `3 h`, `2 d`. */
export function age(ms: number): string {
  if (ms < 1000) return `${ms} ms`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}

/** A moment in UTC, to the second. */
export function moment(atMs: number): string {
  return new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z')
}

/** Eight digits of an id are enough for the eye. */
export function short(id: string): string {
  return id.slice(0, 8)
}
