/** Invariants. A broken one stops what is being done before it harms data; it is a bug, never an answer to a user. */
export class InvariantBroken extends Error {
  override readonly name = 'InvariantBroken'
}

/** Throws InvariantBroken when `condition` is false. `claim` says what must hold. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new InvariantBroken(`broken invariant: ${claim}`)
}

/** Ends a switch: compiles only when every case was handled. */
export function never(value: never): never {
  throw new InvariantBroken(`unexpected value: ${JSON.stringify(value)}`)
}

/** The value, or InvariantBroken when it is undefined. */
export function must<T>(value: T | undefined, claim: string): T {
  if (value === undefined) throw new InvariantBroken(`broken invariant: ${claim}`)
  return value
}
