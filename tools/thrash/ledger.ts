/**
 * The record of what a volume has acknowledged, kept outside the guests, and the judgement of what is found later. A block may hold the
 * round that was acknowledged last, or a later one (issued, and never acknowledged, or its acknowledgement died with the head): never an
 * older one, and never garbage. What has been seen once with no writer running must not go back either. Pure.
 */

export interface Loss {
  readonly block: number
  /** The least round that the block must hold. */
  readonly least: number
  readonly found: number
}

export class Ledger {
  readonly #chunks: readonly number[]
  readonly #chunkBlocks: number
  readonly #at = new Map<number, number>()
  readonly #least: number[]
  #writes = 0

  /** `chunks`: first blocks of the places that are written, each of `chunkBlocks` blocks. */
  constructor(chunks: readonly number[], chunkBlocks: number) {
    this.#chunks = chunks
    this.#chunkBlocks = chunkBlocks
    for (const start of chunks) for (let index = 0; index < chunkBlocks; index += 1) this.#at.set(start + index, this.#at.size)
    this.#least = new Array<number>(this.#at.size).fill(0)
  }

  /** Acknowledged writes so far. */
  get writes(): number { return this.#writes }
  /** Blocks of which some round was acknowledged. */
  get written(): number { return this.#least.filter((round) => round > 0).length }
  /** The least round of each block, in the order of the chunks: a writer goes on from there. */
  get least(): readonly number[] { return this.#least }

  /** One write of `count` blocks from `block` on was acknowledged. Throws RangeError for a place outside the chunks. */
  acknowledge(round: number, block: number, count: number): void {
    for (let each = block; each < block + count; each += 1) {
      const at = this.#at.get(each)
      if (at === undefined) throw new RangeError(`block ${each} is none of those that are written`)
      this.#least[at] = Math.max(this.#least[at] ?? 0, round)
    }
    this.#writes += 1
  }

  /** `found`: the round of each block in the order of the chunks, as read with no writer running. */
  judge(found: readonly number[]): readonly Loss[] {
    if (found.length !== this.#least.length) throw new RangeError(`${found.length} blocks were read, ${this.#least.length} are written`)
    const lost: Loss[] = []
    for (const [at, round] of found.entries()) {
      const least = this.#least[at] ?? 0
      if (round < least) lost.push({ block: this.#blockAt(at), least, found: round })
      else this.#least[at] = round
    }
    return lost
  }

  #blockAt(at: number): number {
    return (this.#chunks[Math.floor(at / this.#chunkBlocks)] ?? 0) + (at % this.#chunkBlocks)
  }
}
