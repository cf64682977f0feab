/** A clock that a test turns. Real work (a database on a file) goes on between two moments: `busy` says whether some is under way. */
import type { Clock } from '../../lib/ports.js'

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

export class TurnedClock implements Clock {
  #mono = 1000
  #wallOffset = 1_700_000_000_000
  readonly #sleepers = new Set<Sleeper>()
  /** How much faster than the test's it runs: 1.01 is one per cent fast. */
  readonly #rate: number
  readonly #source: TurnedClock | undefined
  readonly #busy: () => boolean

  constructor({ busy = () => false, rate = 1, source }: { readonly busy?: () => boolean; readonly rate?: number; readonly source?: TurnedClock } = {}) {
    this.#busy = busy
    this.#rate = rate
    this.#source = source
  }

  /** Another host's clock, turned with this one, at a rate of its own. */
  beside(rate: number): TurnedClock {
    return new TurnedClock({ rate, source: this })
  }

  nowMs(): number {
    return this.monoMs() + this.#wallOffset
  }

  monoMs(): number {
    return (this.#source?.monoMs() ?? this.#mono) * this.#rate
  }

  /** What a person or a time server does to the time of day. */
  stepWall(ms: number): void {
    this.#wallOffset += ms
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.#source) return this.#source.sleep(ms / this.#rate, signal)
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason)
        return
      }
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper)
        reject(signal?.reason)
      }
      const sleeper: Sleeper = {
        at: this.#mono + ms,
        wake: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Who sleeps now. */
  get sleepers(): number {
    return this.#sleepers.size
  }

  /** Moment after moment at which somebody wakes, until so much time has gone by. */
  async turn(ms: number): Promise<void> {
    const end = this.#mono + ms
    for (;;) {
      await this.settle()
      const next = [...this.#sleepers].sort((one, other) => one.at - other.at)[0]
      if (!next || next.at > end) break
      this.#mono = Math.max(this.#mono, next.at)
      this.#sleepers.delete(next)
      next.wake()
    }
    this.#mono = end
    await this.settle()
  }

  /** Time goes by and nobody is woken: the process was stopped. */
  skip(ms: number): void {
    this.#mono += ms
  }

  /** All that can be done without time going by is done. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet = this.#busy() ? 0 : quiet + 1) await new Promise((resolve) => setImmediate(resolve))
  }
}
