/** A cluster is upgraded one program at a time: neighbouring releases understand each other, and share a database. */
import { expect } from 'chai'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { insertRow, readBackup, restoreBackup, stateTables, writeBackup } from '../../../manager/store/backup.js'
import type { Row } from '../../../manager/store/db.js'
import { migrate, schemaVersion } from '../../../manager/store/schema.js'
import { openSqlite } from '../../../manager/store/sqlite.js'
import { contract, misunderstandings } from '../../support/contract.js'
import type { Contract } from '../../support/contract.js'
import { onEachEngine } from '../../support/engines.js'
import { previous, previousBackup as backup, previousContract as agreed } from '../../support/previous.js'

async function rowsOf(file: string): Promise<{ readonly schema: number; readonly rows: readonly { readonly table: string; readonly row: Row }[] }> {
  const rows: { readonly table: string; readonly row: Row }[] = []
  const { schema } = await readBackup(file, (table, row) => { rows.push({ table, row }); return Promise.resolve() })
  return { schema, rows }
}

describe(`this release and ${previous}`, () => {
  it('understand each other, whichever side is the older one: managers, agents and the command', () => {
    expect(misunderstandings(agreed, contract())).to.deep.equal([])
  })

  it('would not with a member that is gone, is another, or must be there and was not: that is found', () => {
    const name = 'agent.extent.ensure'
    const now = contract()
    const { params, result } = now[name] ?? { params: '', result: '' }
    const members = params as Readonly<Record<string, string>>
    const { epoch = '', ...rest } = members
    const changed = (terms: Contract[string]['params']): readonly string[] => misunderstandings(now, { ...now, [name]: { params: terms, result } })
    expect(changed(rest)).to.have.length(1)
    expect(changed({ ...rest, 'epoch?': epoch })).to.have.length(1)
    expect(changed({ ...members, epoch: 'string: anything' })).to.have.length(1)
    expect(changed({ ...members, more: 'boolean: true or false' })).to.have.length(1)
    expect(changed({ ...members, 'more?': 'boolean: true or false' })).to.have.length(0)
    expect(misunderstandings(now, Object.fromEntries(Object.entries(now).filter(([each]) => each !== name)))).to.deep.equal([`${name} is gone`])
  })
})

onEachEngine(`the database of ${previous}`, (engine) => {
  it('is brought to this schema, and every value in it stays', async () => {
    const db = await engine.fresh()
    await restoreBackup(db, backup, { epoch: 1, nowMs: 1 })
    const { rows } = await rowsOf(backup)
    expect(new Set(rows.map(({ table }) => table))).to.include.all.keys('hosts', 'disks', 'volumes', 'segments', 'extents', 'requests', 'jobs', 'settings', 'events')
    for (const table of Object.keys(stateTables)) {
      const now = await db.all(`select * from ${table}`)
      const before = rows.filter((each) => each.table === table).map(({ row }) => row)
      expect(now.map((row) => JSON.stringify(only(row, before[0] ?? {}))), table).to.have.members(before.map((row) => JSON.stringify(only(row, row))))
    }
  })

  it('is backed up whole by this program also before a manager of this release has run on it', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    try {
      const { schema, rows } = await rowsOf(backup)
      const [db, other] = [await engine.fresh(), await openSqlite(':memory:')]
      await migrate(db, schema)
      await db.tx(async (tx) => { for (const { table, row } of rows) await insertRow(tx, table, row) })
      await writeBackup(db, join(dir, 'backup'), 1)
      await restoreBackup(other, join(dir, 'backup'), { epoch: 1, nowMs: 1 })
      expect((await other.all('select id from volumes order by id')).map((row) => row.id)).to.deep.equal((await db.all('select id from volumes order by id')).map((row) => row.id))
      expect((await other.all('select number from migrations')).length).to.equal(schemaVersion)
      await other.close()
    } finally {
      await rm(dir, { recursive: true })
    }
  })

  it('can be one of this release: the program of the other starts on it, and all its rows go in', async () => {
    const db = await engine.fresh()
    await migrate(db)
    const { schema, rows } = await rowsOf(backup)
    await migrate(db, schema)
    await db.tx(async (tx) => { for (const { table, row } of rows) await insertRow(tx, table, row) })
    expect((await db.all('select id from volumes')).length).to.be.greaterThan(3)
  })

  it('refuses a program that can\'t run on it any more, by one clear line', async () => {
    const db = await engine.fresh()
    await migrate(db)
    await db.tx(async (tx) => { await tx.run('insert into migrations (number, checksum) values (?, ?)', [schemaVersion + 1, 'of a later release']) })
    const runsFrom = (schema: number): Promise<void> => db.tx(async (tx) => { await tx.run('delete from runs_from where number = ?', [schemaVersion + 1]); await tx.run('insert into runs_from (number, schema_version) values (?, ?)', [schemaVersion + 1, schema]) })
    await runsFrom(schemaVersion)
    await migrate(db) // it only added something
    await runsFrom(schemaVersion + 1)
    const told = await migrate(db).then(() => '', (thrown: unknown) => (thrown instanceof Error ? thrown.message : ''))
    expect(told).to.match(/start the newer release/)
  })
})

function only(row: Row, like: Row): Row {
  return Object.fromEntries(Object.keys(like).sort().map((column) => [column, row[column] ?? null]))
}
