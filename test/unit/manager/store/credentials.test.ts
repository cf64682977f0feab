import { expect } from 'chai'
import { addToken, addUser, credentialsUntil, removeToken, removeUser, setUserHash, tokenById, tokenByName, tokensPage, userByName, usersPage } from '../../../../manager/store/credentials.js'
import type { TokenRow } from '../../../../manager/store/credentials.js'
import { DbError } from '../../../../manager/store/db.js'
import type { Db, Tx } from '../../../../manager/store/db.js'
import { migrate } from '../../../../manager/store/schema.js'
import { failureOf, onEachEngine } from '../../../support/engines.js'

onEachEngine('users and tokens', (engine) => {
  let db: Db
  const row = (name: string, more: Partial<TokenRow> = {}): TokenRow => ({ id: `id of ${name}`, name, role: 'viewer', host: '', hash: `hash of ${name}`, createdAt: 1, expiresAt: 0, ...more })
  const kindOf = async (work: (tx: Tx) => Promise<void>): Promise<unknown> => {
    const failure = await failureOf(db.tx(work))
    return failure instanceof DbError ? failure.kind : failure
  }
  beforeEach(async () => {
    db = await engine.fresh()
    await migrate(db)
  })

  it('are kept, found, listed page by page, and gone when they are revoked', async () => {
    await db.tx(async (tx) => {
      for (const name of ['c', 'a', 'b']) {
        await addToken(tx, row(name, name === 'b' ? { role: 'hypervisor', host: 'hd1' } : {}))
        await addUser(tx, { name, role: name === 'b' ? 'admin' : 'viewer', hash: 'h', createdAt: 1, changedAt: 1 })
      }
      await setUserHash(tx, 'a', 'other', 2)
    })
    expect(await tokenById(db, 'id of b')).to.deep.equal(row('b', { role: 'hypervisor', host: 'hd1' }))
    expect((await tokenByName(db, 'c'))?.id).to.equal('id of c')
    expect(await userByName(db, 'a')).to.deep.equal({ name: 'a', role: 'viewer', hash: 'other', createdAt: 1, changedAt: 2 })
    for (const page of [tokensPage, usersPage]) {
      expect((await page(db, { limit: 2 })).map(({ name }) => name)).to.deep.equal(['a', 'b'])
      expect((await page(db, { limit: 2, after: 'b' })).map(({ name }) => name)).to.deep.equal(['c'])
      expect((await page(db, { limit: 9, role: 'viewer' })).map(({ name }) => name)).to.deep.equal(['a', 'c'])
    }
    await db.tx(async (tx) => { await removeToken(tx, 'id of b'); await removeUser(tx, 'b') })
    expect([await tokenById(db, 'id of b'), await tokenByName(db, 'b'), await userByName(db, 'b')]).to.deep.equal([undefined, undefined, undefined])
  })

  it('have names of their own, known roles, and a host exactly where a hypervisor needs one', async () => {
    await db.tx((tx) => addToken(tx, row('a')))
    expect(await kindOf((tx) => addToken(tx, row('a', { id: 'other' })))).to.equal('unique')
    expect(await kindOf((tx) => addToken(tx, row('b', { host: 'hd1' })))).to.equal('check')
    expect(await kindOf((tx) => addToken(tx, row('b', { role: 'hypervisor' })))).to.equal('check')
    expect(await kindOf((tx) => addToken(tx, row('b', { role: 'agent' as 'admin' })))).to.equal('check')
    expect(await kindOf((tx) => addUser(tx, { name: 'u', role: 'hypervisor' as 'admin', hash: '', createdAt: 1, changedAt: 1 }))).to.equal('check')
  })

  it('tell how long anybody can be let in', async () => {
    expect(await credentialsUntil(db)).to.equal(0)
    await db.tx(async (tx) => { await addToken(tx, row('a', { expiresAt: 1_800_000_000_000 })); await addToken(tx, row('b', { expiresAt: 7 })) })
    expect(await credentialsUntil(db)).to.equal(1_800_000_000_000)
    await db.tx((tx) => addUser(tx, { name: 'u', role: 'viewer', hash: '', createdAt: 1, changedAt: 1 }))
    expect(await credentialsUntil(db)).to.equal(Number.MAX_SAFE_INTEGER)
    await db.tx(async (tx) => { await removeUser(tx, 'u'); await addToken(tx, row('c')) })
    expect(await credentialsUntil(db)).to.equal(Number.MAX_SAFE_INTEGER)
  })
})
