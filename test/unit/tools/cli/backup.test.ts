import { createHash } from 'node:crypto'
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type { BackupView, ManagerView } from '../../../../lib/api/views.js'
import { Fault } from '../../../../lib/faults.js'
import { takeBackup } from '../../../../tools/cli/backup.js'
import type { Manager } from '../../../../tools/cli/connect.js'
import { UsageError } from '../../../../tools/cli/settings.js'

describe('a backup, where the command writes it', () => {
  const content = Buffer.from('0123456789'.repeat(3))
  const view: BackupView = { backup: 'b1', bytes: 30n, sha256: createHash('sha256').update(content).digest('hex'), pieces: 3, pieceBytes: 10, rows: 7, manager: 'mgr1', epoch: 5, madeAt: 1 }
  let dir: string
  let asked: string[]
  const path = (): string => join(dir, 'b')
  beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'vsky-test-')); asked = [] })
  afterEach(async () => { await rm(dir, { recursive: true }) })

  /** A manager that gives `content`, unless `piece` says otherwise. */
  const manager = ({ made = view, piece = (at) => content.subarray(10 * at, 10 * at + 10) }: { readonly made?: BackupView; readonly piece?: (at: number) => Buffer } = {}): Manager => ({
    call: (name: string, params: { readonly piece?: number }) => {
      asked.push(name)
      return Promise.resolve().then(() => (name === 'managerBackup' ? made : name === 'managerBackupPiece' ? { data: piece(params.piece ?? 0).toString('base64') } : {})) as never
    },
    callActive: () => Promise.reject(new Error('not asked')), close: () => undefined,
  })
  const status = (epoch: number, holder: string) => (): Promise<ManagerView> => Promise.resolve({ epoch, holder, name: holder } as ManagerView)
  const failed = (work: Promise<unknown>): Promise<unknown> => work.then(() => { throw new Error('it did not fail') }, (thrown: unknown) => thrown)

  it('is there when it is whole, readable by nobody else, and the manager is told that it can go', async () => {
    expect(await takeBackup(manager(), path(), status(5, 'mgr1'))).to.deep.equal({ file: path(), bytes: 30n, sha256: view.sha256, rows: 7, manager: 'mgr1', epoch: 5, madeAt: 1 })
    expect([await readFile(path(), 'utf8'), (await stat(path())).mode & 0o777, await readdir(dir)]).to.deep.equal([content.toString(), 0o600, ['b']])
    expect(asked).to.deep.equal(['managerBackup', 'managerBackupPiece', 'managerBackupPiece', 'managerBackupPiece', 'managerBackupEnd'])
  })

  it('is not written over anything, nor beside another that is being written, and no manager is asked then', async () => {
    await writeFile(path(), 'mine')
    expect(await failed(takeBackup(manager(), path(), status(5, 'mgr1')))).to.be.instanceOf(UsageError).with.property('message').that.contains('is there already')
    await writeFile(join(dir, 'c.partial'), 'theirs')
    expect(await failed(takeBackup(manager(), join(dir, 'c'), status(5, 'mgr1')))).to.be.instanceOf(UsageError).with.property('message').that.contains('broke off')
    expect(await failed(takeBackup(manager(), join(dir, 'none', 'd'), status(5, 'mgr1')))).to.be.instanceOf(UsageError)
    expect([asked, await readFile(path(), 'utf8'), await readFile(join(dir, 'c.partial'), 'utf8')]).to.deep.equal([[], 'mine', 'theirs'])
  })

  it('is not written over a file that came there meanwhile', async () => {
    const late = manager({ piece: () => { throw new Error('unused') } })
    const call = late.call.bind(late)
    const racing: Manager = { ...late, call: (async (name: string, params: { readonly piece?: number }) => {
      if (name !== 'managerBackupPiece') return call(name as never, params as never)
      await writeFile(path(), 'mine')
      return { data: content.subarray(10 * (params.piece ?? 0), 10 * (params.piece ?? 0) + 10).toString('base64') }
    }) as Manager['call'] }
    expect(await failed(takeBackup(racing, path(), status(5, 'mgr1')))).to.be.instanceOf(UsageError)
    expect([await readFile(path(), 'utf8'), await readdir(dir)]).to.deep.equal(['mine', ['b']])
  })

  it('is refused, and leaves nothing, when a byte, its length or its hash is another', async () => {
    const wrong: readonly Manager[] = [
      manager({ piece: (at) => Buffer.from(content.subarray(10 * at, 10 * at + 10).toString().replace('7', '8')) }), manager({ piece: (at) => content.subarray(0, at === 2 ? 9 : 10) }),
      manager({ piece: () => Buffer.alloc(100_000) }), manager({ made: { ...view, sha256: '0'.repeat(64) } }), manager({ made: { ...view, pieces: 2 } }),
    ]
    for (const each of wrong) expect(await failed(takeBackup(each, path(), status(5, 'mgr1')))).to.be.instanceOf(Fault).with.property('fault', 'backup failed')
    expect(await readdir(dir)).to.deep.equal([])
  })

  it('breaks off when another manager takes over, says who, and leaves nothing', async () => {
    const gone = manager({ piece: (at) => { if (at === 1) throw new Fault('unknown backup', 'never heard of it'); return content.subarray(0, 10) } })
    const told = await failed(takeBackup(gone, path(), status(6, 'mgr2')))
    expect(told).to.be.instanceOf(Fault).with.property('fault', 'unknown backup')
    expect(String(told)).to.contain('mgr2 is the active manager now (epoch 6), and mgr1 was when it was begun (epoch 5)').and.to.contain('nothing of it was kept')
    expect(String(await failed(takeBackup(gone, path(), status(5, 'mgr1')))), 'the same one').to.contain('never heard of it')
    expect([await readdir(dir), asked]).to.deep.equal([[], ['managerBackup', 'managerBackupPiece', 'managerBackupPiece', 'managerBackup', 'managerBackupPiece', 'managerBackupPiece']])
  })
})
