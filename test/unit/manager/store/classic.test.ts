import { expect } from 'chai'
import { LAST_ID, NumbersSpent, forgetNumber, giveNumber, numberOfOurs, oursOfNumber, pruneNumbers } from '../../../../manager/store/classic.js'
import type { Db } from '../../../../manager/store/db.js'
import { migrate } from '../../../../manager/store/schema.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'

describe('the numbers that classic clients know things by', () => {
  let db: Db
  beforeEach(async () => {
    db = await openSqlite(':memory:')
    await migrate(db)
  })
  afterEach(() => db.close())

  it('are never given twice, whatever was forgotten in between', async () => {
    const given = await db.tx(async (tx) => {
      const first = await giveNumber(tx, 'head', 'hd1')
      await forgetNumber(tx, 'head', 'hd1')
      const second = await giveNumber(tx, 'head', 'hd1')
      await pruneNumbers(tx) // there is no such host
      return [first, second, await giveNumber(tx, 'head', 'hd1'), await giveNumber(tx, 'server', 'hd1')]
    })
    expect(given).to.deep.equal([1, 2, 3, 1])
    expect([await oursOfNumber(db, 'head', 1), await oursOfNumber(db, 'head', 3), await numberOfOurs(db, 'head', 'hd1')]).to.deep.equal([undefined, 'hd1', 3])
  })

  it('of a volume, of the parts of its tree and of its extents come from one counter, and each stands for one kind of thing', async () => {
    await db.tx(async (tx) => { for (const what of ['volume', 'origin', 'linear', 'extent'] as const) await giveNumber(tx, what, 'v', 'v') })
    expect([await oursOfNumber(db, 'volume', 1), await oursOfNumber(db, 'volume', 2), await oursOfNumber(db, 'extent', 4)]).to.deep.equal(['v', undefined, 'v'])
  })

  it('roll back with what failed', async () => {
    await db.tx(async (tx) => { await giveNumber(tx, 'disk', 'a'); throw new Error('no') }).catch(() => undefined)
    expect(await db.tx((tx) => giveNumber(tx, 'disk', 'b'))).to.equal(1)
  })

  it('end before the last signed 32-bit integer', async () => {
    await db.tx((tx) => giveNumber(tx, 'disk', 'a'))
    await db.tx((tx) => tx.run('update classic_counters set next = ?', [LAST_ID]))
    expect(await db.tx((tx) => giveNumber(tx, 'disk', 'b'))).to.equal(0x7ffffffe)
    expect(await db.tx((tx) => giveNumber(tx, 'disk', 'c')).catch((thrown: unknown) => thrown)).to.be.instanceOf(NumbersSpent)
  })
})
