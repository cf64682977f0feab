/** Drawing lots without dice: the same words give the same lot, and near ones give lots that have nothing to do with each other. Pure; not for secrets. */

/** 32 bits of a text (FNV-1a). */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return scatter(hash)
}

/** 32 bits of a hash and a whole number up to 2^53. */
export function blend(hash: number, value: number): number {
  return scatter(scatter(hash ^ Math.floor(value / 2 ** 32)) ^ value % 2 ** 32)
}

/** From 0 to less than 1: the lot of one who takes part, in one round of a game. */
export function draw(game: number, hash: number, round: number): number {
  return blend(game ^ hash, round) / 2 ** 32
}

/** Every bit changes about half of all (the last step of MurmurHash3). */
function scatter(hash: number): number {
  const first = Math.imul(hash ^ hash >>> 16, 0x85ebca6b)
  const second = Math.imul(first ^ first >>> 13, 0xc2b2ae35)
  return (second ^ second >>> 16) >>> 0
}
