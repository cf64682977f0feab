/**
 * Secrets: how tokens look, and how what they and passwords are checked by is written: `scrypt:N:R:P:SALT:HASH`, the last two in hex. The parameters
 * stand with the hash, so that others may be chosen for new ones.
 */
import { scrypt, timingSafeEqual } from 'node:crypto'
import type { Random } from '../../lib/ports.js'

export interface ScryptCost {
  /** N: a power of two. It takes 128 × N × r bytes. */
  readonly n: number
  readonly r: number
  readonly p: number
}

/** A password is made by a person and has to be stretched: 32 MiB, some 200 ms. A token is 256 bits of dice, which nobody guesses: 16 MiB, some 40 ms. */
export const passwordCost: ScryptCost = { n: 2 ** 15, r: 8, p: 3 }
export const tokenCost: ScryptCost = { n: 2 ** 14, r: 8, p: 1 }

const SALT_BYTES = 16
const HASH_BYTES = 32
/** A hash that asks for more is not computed: a database must not be able to stop the manager. */
const MEMORY_MAX = 128 * 1024 * 1024
const P_MAX = 8
const NOTHING = Buffer.alloc(HASH_BYTES)

export async function hashSecret(secret: string, { n, r, p }: ScryptCost, random: Random): Promise<string> {
  const salt = random.hex(SALT_BYTES)
  const hash = await stretch(secret, salt, { n, r, p })
  return ['scrypt', n, r, p, salt, hash.toString('hex')].join(':')
}

/**
 * Whether the secret is the one that was hashed. Without a hash (there is no such name), or with one that is damaged, it takes as long as one of `cost`
 * would have taken, and the answer is no.
 */
export async function isSecret(secret: string, written: string | undefined, cost: ScryptCost): Promise<boolean> {
  const known = written === undefined ? undefined : parseHash(written)
  const found = await stretch(secret, known?.salt ?? '00'.repeat(SALT_BYTES), known?.cost ?? cost)
  return timingSafeEqual(found, known?.hash ?? NOTHING) && known !== undefined
}

function parseHash(written: string): { readonly cost: ScryptCost; readonly salt: string; readonly hash: Buffer } | undefined {
  const [, n, r, p, salt = '', hash = ''] = /^scrypt:(\d{1,7}):(\d{1,2}):(\d):([0-9a-f]{32}):([0-9a-f]{64})$/.exec(written) ?? []
  const cost = { n: Number(n), r: Number(r), p: Number(p) }
  const good = hash !== '' && cost.n > 1 && Number.isInteger(Math.log2(cost.n)) && cost.r >= 1 && cost.p >= 1 && cost.p <= P_MAX && 128 * cost.n * cost.r <= MEMORY_MAX
  return good ? { cost, salt, hash: Buffer.from(hash, 'hex') } : undefined
}

function stretch(secret: string, salt: string, { n, r, p }: ScryptCost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // Node counts a little more than the blocks themselves.
    scrypt(secret.normalize('NFC'), Buffer.from(salt, 'hex'), HASH_BYTES, { N: n, r, p, maxmem: 2 * MEMORY_MAX }, (error, hash) => {
      if (error) reject(error)
      else resolve(hash)
    })
  })
}

/** A token: `vsky_ID_SECRET`, 16 and 64 hex digits. The id is public; by the beginning it is known where it does not belong. */
export function writeToken(id: string, secret: string): string {
  return `vsky_${id}_${secret}`
}

export function readToken(text: string): { readonly id: string; readonly secret: string } | undefined {
  const [, id, secret] = /^vsky_([0-9a-f]{16})_([0-9a-f]{64})$/.exec(text) ?? []
  return id === undefined || secret === undefined ? undefined : { id, secret }
}

export const TOKEN_ID_BYTES = 8
export const TOKEN_SECRET_BYTES = 32
