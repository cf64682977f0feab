/** Real dice. Good enough for secrets, since secrets are made of them. */
import { randomBytes } from 'node:crypto'
import type { Random } from '../ports.js'

export const systemRandom: Random = {
  hex: (count) => randomBytes(count).toString('hex'),
  unit: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
}
