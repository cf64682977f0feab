/** Dice from a seed: the same seed, the same throws (mulberry32). */
export interface Dice {
  /** In [0, 1). */
  unit(): number
  below(count: number): number
  chance(share: number): boolean
  /** Of a list that is not empty; undefined of an empty one. */
  one<T>(of: readonly [T, ...T[]]): T
  one<T>(of: readonly T[]): T | undefined
}

export function createDice(seed: number): Dice {
  let state = (seed * 0x9e3779b9) >>> 0
  const unit = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    unit,
    below: (count) => Math.floor(unit() * count),
    chance: (share) => unit() < share,
    one: <T>(of: readonly T[]) => of[Math.floor(unit() * of.length)] as T,
  }
}
