/** `vsky manager backup`, from the command in a process of its own to the rows in another database. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { createRun } from '../../../../lib/host/run.js'
import { restoreBackup } from '../../../../manager/store/backup.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { startManager } from '../../../support/manager.js'
import type { Caller, ManagerRig } from '../../../support/manager.js'

const command = fileURLToPath(new URL('../../../../tools/cli/main.js', import.meta.url))

describe('a backup over the API', function () {
  this.timeout(60_000)
  let rig: ManagerRig
  let dir: string
  before(async () => {
    rig = await startManager()
    dir = await mkdtemp(join(tmpdir(), 'vsky-backup-'))
    const { ca, cert, key } = rig.tls('admin')
    for (const [name, text] of [['ca', ca], ['cert', cert], ['key', key]] as const) await writeFile(join(dir, `${name}.pem`), text)
  })
  after(async () => {
    await rig.stop()
    await rm(dir, { recursive: true })
  })

  const vsky = async (...args: readonly string[]): Promise<{ code: number; out: string; said: string }> => {
    const { exit, stdout, stderr } = await createRun()({ file: process.execPath, args: [command, ...args], timeoutMs: 30_000, env: { VSKY_MANAGER: rig.server.url, VSKY_TLS_DIR: dir } })
    return { code: exit.kind === 'code' ? exit.code : -1, out: stdout, said: stderr }
  }
  const called = (caller: Caller, method: string, params: Readonly<Record<string, string | number>>): Promise<unknown> => rig.client(caller).call(method, [params]).catch((thrown: unknown) => (thrown instanceof Fault ? thrown.fault : thrown))
  const entries = async (after: number): Promise<readonly string[]> => (await rig.call('auditList', { after, limit: 1000 })).map(({ who, method, result }) => `${who} ${method} ${result}`)

  it('is written by a person at any host, restored elsewhere, and in the audit log with his name', async () => {
    const { seq } = await rig.call('auditHead', {})
    const file = join(dir, 'cluster.backup')
    const { code, out, said } = await vsky('manager', 'backup', file, '--json')
    expect([code, said]).to.deep.equal([0, ''])
    expect(JSON.parse(out)).to.include({ file, manager: 'mgr1', epoch: 1 })
    const other = await openSqlite(join(dir, 'other'))
    try {
      await restoreBackup(other, file, { epoch: 1, nowMs: 1 })
      for (const table of ['hosts', 'volumes', 'extents', 'segments']) expect(await other.all(`select * from ${table} order by 1, 2`), table).to.deep.equal(await rig.db.all(`select * from ${table} order by 1, 2`))
    } finally {
      await other.close()
    }
    expect(await entries(seq)).to.deep.equal(['admin vsky.manager.backup ok', 'admin vsky.manager.backupEnd ok'])
    const kept = join(file, '..', 'kept')
    await writeFile(kept, 'mine')
    expect((await vsky('manager', 'backup', kept)).code, 'nothing is written over').to.equal(2)
    expect((await readdir(dir)).filter((name) => name.endsWith('.partial'))).to.deep.equal([])
  })

  it('is one for one request, also when it is asked for again; its pieces are not given to another admin, nor by the dozen', async () => {
    const made = await called('admin', 'vsky.manager.backup', { request: 'once-0001' }) as { readonly backup: string; readonly sha256: string }
    expect(await called('admin', 'vsky.manager.backup', { request: 'once-0001' })).to.deep.equal(made)
    const piece = { backup: made.backup, piece: 0 }
    expect(await called('operator', 'vsky.manager.backupPiece', piece)).to.equal('denied')
    expect(await called('admin', 'vsky.manager.backupPiece', { ...piece, piece: 1000 })).to.equal('unknown backup')
    expect(await called('admin', 'vsky.manager.backupPiece', { backup: 'f00d', piece: 0 })).to.equal('unknown backup')
    const [answer] = await rig.client('admin').call('system.multicall', [[{ methodName: 'vsky.manager.backupPiece', params: [piece] }]]) as readonly { readonly faultCode: number }[]
    expect(answer?.faultCode).to.equal(-32600)
    const two = await called('admin', 'vsky.manager.backup', { request: 'twice-0001' }) as { readonly backup: string }
    expect(await called('admin', 'vsky.manager.backup', { request: 'thrice-0001' })).to.equal('backup busy')
    for (const [at, { backup }] of [made, two].entries()) expect(await called('admin', 'vsky.manager.backupEnd', { backup, request: `ended-000${at}` })).to.deep.equal({})
    expect(await called('admin', 'vsky.manager.backup', { request: 'once-0001' }), 'it was, and is no more').to.equal('unknown backup')
    expect(await called('admin', 'vsky.manager.backupEnd', { backup: 'f00d', request: 'ended-0009' })).to.deep.equal({})
  })
})
