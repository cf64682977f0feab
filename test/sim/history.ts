/**
 * What guests did to the blocks of one volume, and whether what they read fits: each block is a register. A read may give the value of a
 * write that is under way, or the last one that ended; never one that was overwritten, nor one that a read has shown to be overwritten by
 * a write that had ended.
 * A write that got an error, or whose guest went down, may have been carried out or not; the first read that could tell decides.
 */
interface Write {
  readonly version: number
  readonly began: number
  /** Infinity: under way. */
  ended: number
  acked: boolean
  /** No read that begins later may give it. */
  over: number
}

export class History {
  readonly #blocks = new Map<number, Map<number, Write>>()
  #versions: number

  /** `first`: versions of different volumes are different, so that another's data is known as such. */
  constructor(first: number) {
    this.#versions = first
  }

  #of(slot: number): Map<number, Write> {
    const known = this.#blocks.get(slot)
    if (known) return known
    const fresh = new Map([[0, { version: 0, began: -1, ended: -1, acked: true, over: Number.POSITIVE_INFINITY }]])
    this.#blocks.set(slot, fresh)
    return fresh
  }

  slots(): readonly number[] { return [...this.#blocks.keys()] }

  begin(slot: number, now: number): number {
    this.#versions += 1
    this.#of(slot).set(this.#versions, { version: this.#versions, began: now, ended: Number.POSITIVE_INFINITY, acked: false, over: Number.POSITIVE_INFINITY })
    return this.#versions
  }

  acked(slot: number, version: number, now: number): void {
    const writes = this.#of(slot)
    const mine = writes.get(version)
    if (!mine) return
    mine.ended = now
    mine.acked = true
    for (const each of writes.values()) if (each !== mine && each.ended <= mine.began) each.over = Math.min(each.over, now)
    for (const each of writes.values()) if (each.over < now - 600_000) writes.delete(each.version)
  }

  /** It got an error, or nobody is there any more to whom it could be told. */
  lost(slot: number, version: number, now: number): void {
    const mine = this.#of(slot).get(version)
    if (mine && !mine.acked) mine.ended = Math.min(mine.ended, now)
  }

  /** What is wrong with this answer; undefined when nothing is. */
  read(slot: number, value: unknown, began: number, now: number): string | undefined {
    const writes = this.#of(slot)
    const found = typeof value === 'number' ? writes.get(value) : undefined
    if (!found) return `block ${slot} holds ${typeof value === 'number' ? value : 'something'} that this volume's guests never wrote, or wrote long ago; possible: ${this.possible(slot, began).join(' ')}`
    if (found.over < began) return `block ${slot} holds ${found.version}, overwritten ${Math.round(began - found.over)} ms before the read began; possible: ${this.possible(slot, began).join(' ')}`
    if (found.ended > now) return undefined // until it has ended it may still be seen by one and not by another, and go with its guest
    for (const each of writes.values()) if (each !== found && each.ended < began) each.over = Math.min(each.over, now)
    return undefined
  }

  /** Values that a read could give that begins now. */
  possible(slot: number, now: number): readonly number[] {
    return [...this.#of(slot).values()].filter((each) => each.over >= now).map((each) => each.version)
  }

  /** The last one that was acknowledged. */
  lastAcked(slot: number): number {
    return Math.max(...[...this.#of(slot).values()].filter((each) => each.acked).map((each) => each.version))
  }

  /** Power failures took every copy of what was acknowledged and not flushed: any of these may be there from now on. */
  loosen(slot: number, since: number, now: number): void {
    for (const each of this.#of(slot).values()) {
      if (each.over < since) continue
      each.over = Number.POSITIVE_INFINITY
      if (each.ended > now) continue
    }
  }
}
