/** Acts by time, those of one moment in the order in which they were added: a binary heap. */
export class Queue {
  readonly #heap: { readonly at: number; readonly order: number; readonly act: () => void }[] = []
  #added = 0

  first(): number | undefined {
    return this.#heap[0]?.at
  }

  add(at: number, act: () => void): void {
    const heap = this.#heap
    const item = { at, order: this.#added, act }
    this.#added += 1
    let index = heap.length
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (!above || !before(item, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = item
  }

  shift(): () => void {
    const heap = this.#heap
    const [top] = heap
    const last = heap.pop()
    if (!top || !last) throw new Error('nothing is to come')
    if (heap.length > 0) this.#sink(last)
    return top.act
  }

  #sink(item: { readonly at: number; readonly order: number; readonly act: () => void }): void {
    const heap = this.#heap
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      const [one, other] = [heap[left], heap[left + 1]]
      if (!one) break
      const child = other && before(other, one) ? left + 1 : left
      const below = heap[child]
      if (!below || !before(below, item)) break
      heap[index] = below
      index = child
    }
    heap[index] = item
  }
}

function before(one: { readonly at: number; readonly order: number }, other: { readonly at: number; readonly order: number }): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}
