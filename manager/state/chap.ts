import type { Random } from '../../lib/ports.js'

/** 16 characters: the most that every initiator and target takes. */
export function newChapSecret(random: Random): string {
  return random.hex(8)
}
