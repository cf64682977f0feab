import { expect } from 'chai'
import { DbError, numberOf, sizeOf, textOf, wordOf } from '../../../../manager/store/db.js'
import type { Db } from '../../../../manager/store/db.js'
import { migrate, schemaVersion } from '../../../../manager/store/schema.js'
import { failureOf, onEachEngine } from '../../../support/engines.js'

onEachEngine('a database', (engine) => {
  let db: Db
  const count = async (): Promise<number> => numberOf(await db.get('select count(*) as n from child') ?? {}, 'n')

  beforeEach(async () => {
    db = await engine.fresh()
    await db.tx(async (tx) => {
      await tx.run('create table parent (id integer primary key)')
      await tx.run('create table child (word text unique check (word <> \'bad\'), of_parent integer not null references parent (id))')
      await tx.run('insert into parent (id) values (1)')
    })
  })

  it('runs transactions one after the other, in the order in which they were asked for', async () => {
    const order: string[] = []
    await Promise.all(['a', 'b', 'c'].map((name) => db.tx(async (tx) => {
      order.push(`${name} begins`)
      await tx.get('select 1')
      await new Promise((resolve) => setImmediate(resolve))
      order.push(`${name} ends`)
    })))
    expect(order).to.deep.equal(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  })

  it('goes on after a transaction that failed', async () => {
    const [failed, done] = await Promise.allSettled([
      db.tx(() => Promise.reject(new Error('no'))),
      db.tx((tx) => tx.run('insert into child (of_parent) values (1)')),
    ])
    expect([failed.status, done.status, await count()]).to.deep.equal(['rejected', 'fulfilled', 1])
  })

  it('leaves nothing of a transaction whose last statement failed', async () => {
    await failureOf(db.tx(async (tx) => {
      await tx.run('insert into child (of_parent) values (1)')
      await tx.run('insert into child (of_parent) values (2)')
    }))
    expect(await count()).to.equal(0)
  })

  it('leaves no table of a migration that failed half-way', async () => {
    await failureOf(db.tx(async (tx) => {
      await tx.run('create table half (n integer)')
      throw new Error('power failure')
    }))
    expect(await failureOf(db.get('select * from half'))).to.be.instanceOf(DbError)
  })

  it('reads its own writes inside a transaction, while readers outside see the last commit', async () => {
    await db.tx(async (tx) => {
      await tx.run('insert into child (of_parent) values (1)')
      expect((await tx.all('select * from child')).length).to.equal(1)
      expect(await count()).to.equal(0)
    })
    expect(await count()).to.equal(1)
  })

  it('refuses a BigInt and undefined, inside and outside of transactions, and changes nothing', async () => {
    for (const value of [1n, undefined]) {
      expect(await failureOf(db.get('select ? as n', [value as never]))).to.be.instanceOf(TypeError)
      expect(await failureOf(db.tx((tx) => tx.run('insert into child (of_parent) values (?)', [value as never])))).to.be.instanceOf(TypeError)
    }
    expect(await count()).to.equal(0)
  })

  it('names what was broken: unique, foreign key, check, or not null', async () => {
    const kindOf = async (sql: string): Promise<unknown> => {
      const failure = await failureOf(db.tx((tx) => tx.run(sql)))
      return failure instanceof DbError ? failure.kind : failure
    }
    await db.tx((tx) => tx.run(`insert into child (of_parent, word) values (1, 'x')`))
    expect(await kindOf(`insert into child (of_parent, word) values (1, 'x')`)).to.equal('unique')
    expect(await kindOf('insert into child (of_parent) values (2)')).to.equal('foreign key')
    expect(await kindOf('delete from parent')).to.equal('foreign key')
    expect(await kindOf(`insert into child (of_parent, word) values (1, 'bad')`)).to.equal('check')
    expect(await kindOf('insert into child (of_parent) values (null)')).to.equal('check')
    expect(await kindOf('insert into nowhere values (1)')).to.equal('other')
  })

  it('fails a text with a mistake every time it is used, not only the first', async () => {
    for (let time = 0; time < 3; time += 1) expect(await failureOf(db.get('select from'))).to.be.instanceOf(DbError)
  })

  it('tells how many rows a statement changed', async () => {
    const changed = await db.tx(async (tx) => {
      await tx.run('insert into parent (id) values (2), (3)')
      return [await tx.run('update parent set id = id + 10'), await tx.run('delete from parent where id = 99')]
    })
    expect(changed).to.deep.equal([3, 0])
  })

  it('keeps a size of 64 TiB exactly, and refuses to read a number that JavaScript can\'t hold', async () => {
    const size = 64n * 1024n ** 4n
    expect(sizeOf(await db.get('select cast(? as bigint) as n', [Number(size)]) ?? {}, 'n')).to.equal(size)
    const beyond = await db.get('select 9007199254740993 as n') ?? {}
    expect(() => numberOf(beyond, 'n')).to.throw(DbError, 'column n: expected a whole number')
  })

  it('refuses a column of another type than was expected, and a word that is not known', async () => {
    const row = await db.get(`select null as void_one, 'red' as colour`) ?? {}
    expect(() => textOf(row, 'void_one')).to.throw(DbError, 'column void_one: expected text, found null')
    expect(() => wordOf(row, 'colour', ['green', 'blue'])).to.throw(DbError, 'expected one of green, blue')
  })

  it('is still there, with all that was committed, when it is opened again', async () => {
    await db.tx((tx) => tx.run('insert into child (of_parent) values (1)'))
    await db.close()
    db = await engine.again()
    expect(await count()).to.equal(1)
  })

  it('shows a snapshot as it was, while changes go on', async () => {
    await db.tx((tx) => tx.run('insert into child (of_parent) values (1)'))
    await db.snapshot(async (reader) => {
      expect(await reader.all('select * from child')).to.have.length(1)
      await db.tx((tx) => tx.run('insert into child (of_parent) values (1)'))
      expect(await reader.all('select * from child')).to.have.length(1)
    })
    expect(await count()).to.equal(2)
  })

  it('commits nothing of a transaction in which a statement failed, though the work went on', async () => {
    const failure = await failureOf(db.tx(async (tx) => {
      await tx.run('insert into child (of_parent) values (1)')
      await tx.run('insert into child (of_parent) values (2)').catch(() => undefined)
    }))
    expect(failure).to.be.instanceOf(DbError).and.to.have.property('kind', 'foreign key')
    expect(await count()).to.equal(0)
  })

  it('takes question marks in texts, names and comments for what they are', async () => {
    expect(await db.get(`select 'a?''?' as "b?", cast(? as integer) as n -- ?\n /* ? */`, [7])).to.deep.equal({ 'b?': `a?'?`, n: 7 })
  })

  it('is not used after it was closed', async () => {
    await db.close()
    expect(await failureOf(db.get('select 1 as n'))).to.be.instanceOf(DbError)
  })
})

onEachEngine('the schema', (engine) => {
  let db: Db
  beforeEach(async () => { db = await engine.fresh() })

  it('is harmless to make twice: what is in it stays', async () => {
    await migrate(db)
    await db.tx((tx) => tx.run(`insert into events (seq, at_ms, kind, about, name, text) values (1, 1, 'k', 'manager', 'n', 't')`))
    await migrate(db)
    expect(await db.all('select number from migrations')).to.have.length(schemaVersion)
    expect(await db.all('select seq from events')).to.have.length(1)
  })

  it('of a newer program that does not say that this one runs on it is refused, and is not touched', async () => {
    await migrate(db)
    await db.tx((tx) => tx.run(`insert into migrations (number, checksum) values (?, 'x')`, [schemaVersion + 1]))
    expect(String(await failureOf(migrate(db)))).to.contain(`the database has schema ${schemaVersion + 1} and needs a program that knows ${schemaVersion + 1}, this one knows ${schemaVersion}`)
    expect(await db.all('select number from migrations')).to.have.length(schemaVersion + 1)
  })

  it('of the release before is taken over with what it holds: what is used of a disk is counted from then on, whichever release writes', async () => {
    await migrate(db, 9)
    const add = (id: string): Promise<void> => db.tx(async (tx) => { await tx.run(`insert into extents (id, disk, host, volume, segment, slot, bytes, lun, state, leg, stale_since, retry_at, doubt) values (?, 'd', 'st1', 'v', 0, 0, 1024, ?, 'ready', 'insync', 0, 0, 0)`, [id, id.charCodeAt(0)]) })
    await db.tx(async (tx) => {
      await tx.run(`insert into hosts (name, roles, zone, address, data_addresses, initiator, version, boot_id, incarnation, chap_user, chap_password, duty) values ('st1', '["storage"]', '', 'a', '[]', '', '', '', '', '', '', 'use')`)
      await tx.run(`insert into disks (id, host, device, state, problem, bytes, clean_bytes, force, duty) values ('d', 'st1', '/dev/sdb', 'ready', '', 0, 0, 0, 'use'), ('e', 'st1', '/dev/sdc', 'ready', '', 0, 0, 0, 'use')`)
    })
    await add('a')
    await add('b')
    await migrate(db)
    await add('c')
    await db.tx((tx) => tx.run(`delete from extents where id = 'a'`))
    await db.tx((tx) => tx.run(`update extents set disk = 'e', bytes = 4096 where id = 'c'`))
    expect(await db.all('select disk, extents, bytes from disk_use order by disk')).to.deep.equal([{ disk: 'd', extents: 1, bytes: 1024 }, { disk: 'e', extents: 1, bytes: 4096 }])
  })

  it('whose migration is not what it was is refused', async () => {
    await migrate(db)
    await db.tx((tx) => tx.run(`update migrations set checksum = 'x' where number = 1`))
    expect(await failureOf(migrate(db))).to.be.instanceOf(DbError).and.to.have.property('kind', 'corrupt')
  })
})
