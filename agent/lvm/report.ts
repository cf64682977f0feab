/**
 * LVM's reports, read. Pure. The form is `--noheadings --nameprefixes --separator '|'` (lvm2 2.03: in one process that takes several
 * commands from its input, `--reportformat json` has no effect): one line a row, `LVM2_LV_NAME='x'|LVM2_LV_SIZE='4194304'`.
 */

export type ReportRow = Readonly<Record<string, string>>

/** Rows of all reports in one output, fields in lower case without the prefix. Other lines (messages) are skipped. */
export function readReport(output: string): readonly ReportRow[] {
  return output.split('\n').map((line) => line.trim()).filter((line) => line.startsWith('LVM2_')).map((line) => {
    const row: Record<string, string> = {}
    for (const field of line.split('|')) {
      const match = /^LVM2_([A-Z0-9_]+)='(.*)'$/.exec(field)
      if (match) row[(match[1] ?? '').toLowerCase()] = match[2] ?? ''
    }
    return row
  })
}

export interface PoolReport {
  readonly physicalExtents: number
  /** Physical extents below it are zero where they are free. */
  readonly cleanMark: number
  readonly segments: readonly { readonly start: number; readonly size: number; readonly lv: string }[]
  readonly volumes: readonly { readonly name: string; readonly bytes: bigint; readonly tags: readonly string[]; readonly active: boolean }[]
}

/** The command whose output `readPool` reads: one report for the segments of the disk and the volumes on them. */
export function poolReportCommand(vg: string): string {
  return `pvs --noheadings --nameprefixes --separator | --units b --nosuffix --segments -o vg_name,vg_tags,vg_extent_count,pvseg_start,pvseg_size,lv_name,lv_size,lv_tags,lv_active -S vg_name=${vg}`
}

/** Undefined when the volume group was not reported: its disk is not there, or is not ours. */
export function readPool(output: string): PoolReport | undefined {
  const rows = readReport(output)
  const segments = rows.filter((row) => row.pvseg_start !== undefined)
  const [first] = segments
  if (!first) return undefined
  const mark = (first.vg_tags ?? '').split(',').map((tag) => /^vsky\.clean=(\d+)$/.exec(tag)?.[1]).find((found) => found !== undefined)
  return {
    physicalExtents: Number(first.vg_extent_count ?? 0),
    cleanMark: Number(mark ?? 0),
    segments: segments.map((row) => ({ start: Number(row.pvseg_start), size: Number(row.pvseg_size), lv: row.lv_name ?? '' })),
    volumes: [...new Map(segments.filter((row) => row.lv_name !== '').map((row) => [row.lv_name, row])).values()].map((row) => ({
      name: row.lv_name ?? '', bytes: BigInt(row.lv_size ?? '0'), tags: (row.lv_tags ?? '').split(',').filter((tag) => tag !== ''), active: row.lv_active === 'active',
    })),
  }
}

export interface Range {
  readonly start: number
  readonly end: number
}

/** Free and clean ranges, in order; `end` is the last physical extent in it. */
export function cleanRanges(pool: PoolReport): readonly Range[] {
  return pool.segments.filter((segment) => segment.lv === '' && segment.start < pool.cleanMark)
    .map((segment) => ({ start: segment.start, end: Math.min(segment.start + segment.size, pool.cleanMark) - 1 })).sort((a, b) => a.start - b.start)
}

export function countOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, range) => sum + range.end - range.start + 1, 0)
}

/** Takes `count` physical extents, first fit; gives what was taken and what is left, or undefined when there are too few. */
export function take(ranges: readonly Range[], count: number): { readonly taken: readonly Range[]; readonly left: readonly Range[] } | undefined {
  const whole = ranges.find((range) => range.end - range.start + 1 >= count) // one piece, where there is one
  const order = whole ? [whole, ...ranges.filter((range) => range !== whole)] : ranges
  const taken: Range[] = []
  const left: Range[] = []
  let missing = count
  for (const range of order) {
    const size = range.end - range.start + 1
    const use = Math.min(size, missing)
    if (use > 0) taken.push({ start: range.start, end: range.start + use - 1 })
    if (use < size) left.push({ start: range.start + use, end: range.end })
    missing -= use
  }
  return missing > 0 ? undefined : { taken, left: left.sort((a, b) => a.start - b.start) }
}
