import { expect } from 'chai'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseRefused, markOlder, openDatabase } from '../../../../manager/store/open.js'
import { schemaVersion } from '../../../../manager/store/schema.js'
import { failureOf, targetOf } from '../../../support/engines.js'

describe('the database of a manager that starts', () => {
  let stateDir: string
  beforeEach(async () => { stateDir = join(await mkdtemp(join(tmpdir(), 'vsky-test-')), 'state') })
  afterEach(async () => { await rm(join(stateDir, '..'), { recursive: true }) })
  const database = { engine: 'sqlite', path: undefined } as const

  it('is a file in the folder of its state, made with it', async () => {
    await (await openDatabase({ database, stateDir })).close()
    expect((await stat(join(stateDir, 'manager.db'))).isFile()).to.equal(true)
  })

  it('is refused in one line when it is of a newer program, can\'t be reached or can\'t be opened', async () => {
    const db = await openDatabase({ database, stateDir })
    await db.tx((tx) => tx.run(`insert into migrations (number, checksum) values (?, 'x')`, [schemaVersion + 1]))
    await db.close()
    const nobody = { engine: 'postgres', unreplicated: false, ...targetOf('postgres://u:secret@127.0.0.1:1,127.0.0.1:2/d') } as const
    for (const [what, said] of [[database, 'start the newer release'], [nobody, '127.0.0.1:2: '], [{ engine: 'sqlite', path: '/proc/none/db' }, '/proc/none/db']] as const) {
      const failure = await failureOf(openDatabase({ database: what, stateDir }))
      expect(failure).to.be.instanceOf(DatabaseRefused)
      expect(String(failure)).to.contain(said).and.not.to.match(/\n|secret/)
    }
  })

  it('that was found to be older than the cluster is refused at every start from then on', async () => {
    const db = await openDatabase({ database, stateDir })
    await markOlder(db, { host: 'st1', seen: 7, nowMs: 1 })
    await db.close()
    for (let time = 0; time < 2; time += 1) expect(String(await failureOf(openDatabase({ database, stateDir })))).to.contain('st1 has seen epoch 7').and.to.contain('rebuild')
  })
})
