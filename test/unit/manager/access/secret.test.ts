import crypto from 'node:crypto'
import type { ScryptOptions } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { expect } from 'chai'
import { systemRandom } from '../../../../lib/host/random.js'
import { hashSecret, isSecret, passwordCost, readToken, tokenCost, writeToken } from '../../../../manager/access/secret.js'

const cheap = { n: 2, r: 1, p: 1 }
const others = [{ n: 4, r: 1, p: 1 }, { n: 2, r: 2, p: 1 }, { n: 2, r: 1, p: 3 }]

/** What the product asks of scrypt while `work` runs, which is told it was done: it would take a second, and all that the machine has to do besides. */
async function askedOfScrypt(work: () => Promise<void>): Promise<readonly ScryptOptions[]> {
  const { scrypt } = crypto
  const asked: ScryptOptions[] = []
  Object.assign(crypto, {
    scrypt: (secret: string, salt: Buffer, length: number, options: ScryptOptions, done: (error: Error | null, hash: Buffer) => void) => {
      asked.push(options)
      scrypt(secret, salt, length, { N: cheap.n, r: cheap.r, p: cheap.p }, done)
    },
  })
  syncBuiltinESMExports()
  try {
    await work()
    return asked
  } finally {
    Object.assign(crypto, { scrypt })
    syncBuiltinESMExports()
  }
}

/** How often the product calls them while `work` runs. */
async function counted(work: () => Promise<unknown>): Promise<{ readonly scrypt: number; readonly timingSafeEqual: number }> {
  const counts = { scrypt: 0, timingSafeEqual: 0 }
  const { scrypt, timingSafeEqual } = crypto
  Object.assign(crypto, {
    scrypt: (...args: Parameters<typeof scrypt>) => { counts.scrypt += 1; scrypt(...args) },
    timingSafeEqual: (...args: Parameters<typeof timingSafeEqual>) => { counts.timingSafeEqual += 1; return timingSafeEqual(...args) },
  })
  syncBuiltinESMExports()
  try {
    await work()
    return counts
  } finally {
    Object.assign(crypto, { scrypt, timingSafeEqual })
    syncBuiltinESMExports()
  }
}

describe('a secret', () => {
  it('is written as a salted hash with its parameters, and is nowhere in it', async () => {
    const [one, other] = [await hashSecret('swordfish', cheap, systemRandom), await hashSecret('swordfish', cheap, systemRandom)]
    expect(one).to.match(/^scrypt:2:1:1:[0-9a-f]{32}:[0-9a-f]{64}$/)
    expect(one).not.to.equal(other)
    expect(one).not.to.contain('swordfish').and.not.to.contain(Buffer.from('swordfish').toString('hex'))
  })

  it('is known again, under the parameters it was written with, and no other one is', async () => {
    for (const cost of [cheap, ...others]) {
      const written = await hashSecret('swordfish', cost, systemRandom)
      expect(await isSecret('swordfish', written, cheap)).to.equal(true)
      for (const wrong of ['', 'Swordfish', 'swordfish ', 'swordfis']) expect(await isSecret(wrong, written, cheap), wrong).to.equal(false)
    }
    const written = await hashSecret('caf\u00e9 au lait', cheap, systemRandom)
    expect(await isSecret('cafe\u0301 au lait', written, cheap), 'as another keyboard writes it').to.equal(true)
  })

  it('under other parameters is another hash: none of them is left out', async () => {
    const good = await hashSecret('swordfish', cheap, systemRandom)
    for (const { n, r, p } of others) expect(await isSecret('swordfish', good.replace(':2:1:1:', `:${n}:${r}:${p}:`), cheap)).to.equal(false)
  })

  it('costs 32 MiB three times over where a person made it up and 16 MiB as a token, to write and to check, and Node lets it', async () => {
    for (const [cost, mib, times] of [[passwordCost, 32, 3], [tokenCost, 16, 1]] as const) {
      const asked = await askedOfScrypt(async () => {
        const written = await hashSecret('swordfish', cost, systemRandom)
        expect([await isSecret('swordfish', written, cheap), await isSecret('Swordfish', written, cheap)]).to.deep.equal([true, false])
      })
      expect(asked.map(({ N = 0, r = 0, p = 0 }) => [128 * N * r / 1024 / 1024, p])).to.deep.equal(Array.from({ length: 3 }, () => [mib, times]))
      for (const { N = 0, r = 0, p = 0, maxmem = 0 } of asked) expect(128 * r * (N + p + 2)).to.be.lessThan(maxmem)
    }
  })

  it('is none without a hash, or with one that is damaged or asks for more than there is', async () => {
    const good = await hashSecret('swordfish', cheap, systemRandom)
    const [, , , , salt = '', hash = ''] = good.split(':')
    for (const written of [
      undefined, '', 'swordfish', good.slice(0, -1), `${good}0`, good.replace('scrypt', 'plain'), `scrypt:3:1:1:${salt}:${hash}`, `scrypt:0:1:1:${salt}:${hash}`, `scrypt:2:0:1:${salt}:${hash}`, `scrypt:1048576:8:1:${salt}:${hash}`,
      `scrypt:2:1:9:${salt}:${hash}`, `scrypt:2:1:1:${salt}:${'00'.repeat(32)}`,
    ]) expect(await isSecret('swordfish', written, cheap), written ?? 'none').to.equal(false)
  })

  it('takes one scrypt and one comparison in constant time, whether it is right, wrong or of nobody', async () => {
    const written = await hashSecret('swordfish', cheap, systemRandom)
    for (const [secret, hash] of [['swordfish', written], ['wrong', written], ['swordfish', undefined], ['swordfish', 'damaged']] as const) {
      expect(await counted(() => isSecret(secret, hash, cheap)), `${secret}, ${hash}`).to.deep.equal({ scrypt: 1, timingSafeEqual: 1 })
    }
  })

  it('of a token is read from nothing but a whole token', () => {
    const token = writeToken('0123456789abcdef', 'ab'.repeat(32))
    expect(readToken(token)).to.deep.equal({ id: '0123456789abcdef', secret: 'ab'.repeat(32) })
    for (const wrong of ['', token.slice(0, -1), `${token}0`, token.toUpperCase(), ` ${token}`, token.replace('vsky', 'other'), `${token}\n`]) expect(readToken(wrong), wrong).to.equal(undefined)
  })
})
