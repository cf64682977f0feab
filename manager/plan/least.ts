/** Numbers in a row, of which the least in any part is found in O(log n). Pure. */
export class Least {
  readonly #size: number
  /** A tree: node n has the nodes 2n and 2n + 1 below it, the leaves are the row. Each holds the place of the least number below it. */
  readonly #tree: Int32Array
  readonly #keys: Float64Array

  constructor(keys: Float64Array) {
    this.#keys = keys
    this.#size = keys.length
    this.#tree = new Int32Array(2 * this.#size)
    for (let at = 0; at < this.#size; at += 1) this.#tree[this.#size + at] = at
    for (let node = this.#size - 1; node > 0; node -= 1) this.#tree[node] = this.#lower(this.#tree[2 * node] ?? -1, this.#tree[2 * node + 1] ?? -1)
  }

  /** Of equal ones the one that stands further to the left. */
  #lower(one: number, other: number): number {
    if (one < 0) return other
    if (other < 0) return one
    const [a, b] = [this.#keys[one] ?? Infinity, this.#keys[other] ?? Infinity]
    return a < b || (a === b && one < other) ? one : other
  }

  set(at: number, key: number): void {
    this.#keys[at] = key
    for (let node = (this.#size + at) >> 1; node > 0; node >>= 1) this.#tree[node] = this.#lower(this.#tree[2 * node] ?? -1, this.#tree[2 * node + 1] ?? -1)
  }

  /** The place of the least number from `from` to before `to`; -1 when there is none but Infinity. */
  least(from = 0, to = this.#size): number {
    let found = -1
    for (let [low, high] = [from + this.#size, to + this.#size]; low < high; low >>= 1, high >>= 1) {
      if ((low & 1) === 1) found = this.#lower(found, this.#tree[low++] ?? -1)
      if ((high & 1) === 1) found = this.#lower(found, this.#tree[--high] ?? -1)
    }
    return found >= 0 && this.#keys[found] === Infinity ? -1 : found
  }
}
