import { expect } from 'chai'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DbError } from '../../../../manager/store/db.js'
import type { Db } from '../../../../manager/store/db.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { failureOf } from '../../../support/engines.js'

describe('a SQLite database', () => {
  let dir: string
  let db: Db

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    db = await openSqlite(join(dir, 'db'))
  })

  afterEach(async () => {
    await db.close()
    await rm(dir, { recursive: true })
  })

  it('is a file that only its owner can read: it holds passwords', async () => {
    expect((await stat(join(dir, 'db'))).mode & 0o777).to.equal(0o600)
  })

  it('can\'t be opened where there is no directory, and says which path', async () => {
    expect(String(await failureOf(openSqlite(join(dir, 'none', 'db'))))).to.contain(join(dir, 'none', 'db'))
  })

  it('reads a file that is no database as corrupt', async () => {
    await writeFile(join(dir, 'other'), 'this is no database, but long enough to be looked at as one'.repeat(50))
    expect(await failureOf(openSqlite(join(dir, 'other')))).to.be.instanceOf(DbError).and.to.have.property('kind', 'corrupt')
  })
})
