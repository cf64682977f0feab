/** What a run saw: how often each fault was done, the longest stall under each, what was wrong. Pure. */

export class Tally {
  readonly #faults = new Map<string, { times: number; stallMs: number }>()
  readonly violations: string[] = []
  readonly errors: string[] = []
  /** Commands that had to be given again. */
  readonly refusals: string[] = []
  #now = 'no fault'

  /** From now on stalls are those of this fault. `counted`: it is done once more. */
  under(label: string, counted: boolean): void {
    this.#now = label
    const entry = this.#entry(label)
    if (counted) entry.times += 1
  }

  stall(ms: number): void {
    const entry = this.#entry(this.#now)
    entry.stallMs = Math.max(entry.stallMs, ms)
  }

  #entry(label: string): { times: number; stallMs: number } {
    const found = this.#faults.get(label) ?? { times: 0, stallMs: 0 }
    this.#faults.set(label, found)
    return found
  }

  get faults(): number { return [...this.#faults.values()].reduce((sum, each) => sum + each.times, 0) }

  lines(): readonly string[] {
    const rows = [...this.#faults].sort(([a], [b]) => (a < b ? -1 : 1))
    return rows.map(([label, { times, stallMs }]) => `  ${label.padEnd(26)} ${times === 0 ? '     ' : `${String(times).padStart(4)}x`}  longest stall ${String(stallMs).padStart(6)} ms`)
  }
}
