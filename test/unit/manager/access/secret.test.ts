import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { expect } from 'chai'
import { systemRandom } from '../../../../lib/host/random.js'
import { hashSecret, isSecret, passwordCost, readToken, tokenCost, writeToken } from '../../../../manager/access/secret.js'

const cheap = { n: 2, r: 1, p: 1 }

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

describe('a secret', function () {
  this.timeout(120_000) // scrypt is meant to be slow

  it('is written as a salted hash with its parameters, and is nowhere in it', async () => {
    const [one, other] = [await hashSecret('swordfish', cheap, systemRandom), await hashSecret('swordfish', cheap, systemRandom)]
    expect(one).to.match(/^scrypt:2:1:1:[0-9a-f]{32}:[0-9a-f]{64}$/)
    expect(one).not.to.equal(other)
    expect(one).not.to.contain('swordfish').and.not.to.contain(Buffer.from('swordfish').toString('hex'))
  })

  it('is known again, under the parameters it was written with, and no other one is', async () => {
    for (const cost of [cheap, tokenCost, passwordCost]) {
      const written = await hashSecret('swordfish', cost, systemRandom)
      expect(await isSecret('swordfish', written, cheap)).to.equal(true)
      for (const wrong of cost === cheap ? ['', 'Swordfish', 'swordfish ', 'swordfis'] : ['Swordfish']) expect(await isSecret(wrong, written, cheap), wrong).to.equal(false)
    }
    const written = await hashSecret('caf\u00e9 au lait', cheap, systemRandom)
    expect(await isSecret('cafe\u0301 au lait', written, cheap), 'as another keyboard writes it').to.equal(true)
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
