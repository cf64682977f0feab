/** Seeded dice: the same seed and the same stream of numbers give the same throws, on every machine. Pure. */

export interface Dice {
  /** From 0 up to, not including, 1. */
  next(): number
  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number
  chance(probability: number): boolean
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T
}

/** `stream` tells apart what is thrown for: each step has dice of its own, so that one more throw in a step changes no later step. */
export function createDice(seed: number, ...stream: readonly number[]): Dice {
  let state = stream.reduce((sum, each) => mix(sum ^ Math.imul(each + 1, 0x9e3779b1)), mix(seed))
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    return mix(state) / 2 ** 32
  }
  const between = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1))
  return {
    next, between,
    chance: (probability) => next() < probability,
    pick<T>(list: readonly T[]): T {
      if (list.length === 0) throw new RangeError('nothing to pick from')
      return list[between(0, list.length - 1)] as T
    },
  }
}

/** Spreads every bit over all 32 (the end of MurmurHash3). */
function mix(value: number): number {
  let x = value | 0
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
