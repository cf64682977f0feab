/** What a run saw: how often each fault was done, the longest stall under each, what was wrong. Pure: times are handed in, ms. */

interface Entry {
  times: number
  stallMs: number
}

const NONE = 'no fault'

export class Tally {
  readonly #entries = new Map<string, Entry>()
  /** Since when which fault was the last. */
  readonly #last: { readonly fromMs: number; readonly label: string }[] = []
  readonly #spent = new Map<string, number>()
  readonly violations: string[] = []
  readonly errors: string[] = []
  /** Commands that had to be given again. */
  readonly refusals: string[] = []

  /** Time that was spent on something, ms. */
  spend(what: string, ms: number): void {
    this.#spent.set(what, (this.#spent.get(what) ?? 0) + ms)
  }

  /** Where the time went, seconds for each fault. */
  spentLines(): readonly string[] {
    return [...this.#spent].sort(([, a], [, b]) => b - a).map(([what, ms]) => `  ${what.padEnd(34)} ${(ms / 1000 / Math.max(1, this.faults)).toFixed(1).padStart(6)}`)
  }

  fault(label: string, nowMs: number): void {
    this.#last.push({ fromMs: nowMs, label })
    this.#entry(label).times += 1
  }

  /** All is healed and checked. */
  calm(nowMs: number): void {
    this.#last.push({ fromMs: nowMs, label: NONE })
  }

  /** A stall is put to the fault that was the last when it began. */
  stall(ms: number, nowMs: number): void {
    const entry = this.#entry(this.#last.findLast(({ fromMs }) => fromMs <= nowMs - ms)?.label ?? NONE)
    entry.stallMs = Math.max(entry.stallMs, ms)
  }

  #entry(label: string): Entry {
    const found = this.#entries.get(label) ?? { times: 0, stallMs: 0 }
    this.#entries.set(label, found)
    return found
  }

  get faults(): number { return [...this.#entries.values()].reduce((sum, each) => sum + each.times, 0) }

  lines(): readonly string[] {
    const rows = [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1))
    return rows.map(([label, { times, stallMs }]) => `  ${label.padEnd(36)} ${times === 0 ? '     ' : `${String(times).padStart(4)}x`}  longest stall ${String(stallMs).padStart(6)} ms`)
  }
}
