import { expect } from 'chai'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../../lib/host/clock.js'
import { systemRandom } from '../../../../lib/host/random.js'
import { addToken, addUser, credentialsUntil, tokensPage, usersPage } from '../../../../manager/store/credentials.js'
import { olderThanCluster } from '../../../../manager/run/older.js'
import type { HostRow } from '../../../../manager/state/rows.js'
import { BackupRefused, otherTables, readBackup, restoreBackup, stateTables, writeBackup } from '../../../../manager/store/backup.js'
import type { Db } from '../../../../manager/store/db.js'
import { addDisk, allHosts, putHost } from '../../../../manager/store/hosts.js'
import { refill } from '../../../../manager/store/refill.js'
import { addJob } from '../../../../manager/store/jobs.js'
import { openRequest } from '../../../../manager/store/requests.js'
import { migrate } from '../../../../manager/store/schema.js'
import { putSetting } from '../../../../manager/store/settings.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { takeOver } from '../../../../manager/store/store.js'
import { addExtent, addSegment, addVolume, allVolumes, extentsOf, segmentsOf } from '../../../../manager/store/volumes.js'
import { failureOf, onEachEngine } from '../../../support/engines.js'

const ports = { clock: systemClock, random: systemRandom }
const host: Omit<HostRow, 'duty'> = { name: 'st1', roles: ['storage'], zone: 'z', address: 'a:1', dataAddresses: ['10.0.0.1'], initiator: 'i', version: '', bootId: 'b', incarnation: 'i', chapUser: 'u', chapPassword: 'p' }

/** A row in every table. */
async function fill(db: Db): Promise<void> {
  const store = await takeOver(db, 'mgr1', ports)
  await store.change(async (tx) => {
    await putHost(tx, host)
    await addDisk(tx, { id: 'd', host: 'st1', device: '/dev/sdb', force: false })
    await addVolume(tx, { id: 'v', name: 'disk "1"\n', bytes: 64n * 1024n ** 4n, redundancy: 2, createdAt: 1 })
    await addSegment(tx, { volume: 'v', index: 0, offset: 0n, bytes: 64n * 1024n ** 4n, generation: 7 })
    await addExtent(tx, { id: 'e', disk: 'd', host: 'st1', volume: 'v', segment: 0, slot: 0, bytes: 4194304n }, 'insync')
    await openRequest(tx, { id: 'r', method: 'm', digest: 'd', about: 'v', nowMs: 1 })
    await addJob(tx, { id: 'j', kind: 'resync', about: 'v', name: 'v', segment: 0, note: '', bytes: 1n, createdAt: 1 })
    await putSetting(tx, 'resync.rate', 5)
    await addToken(tx, { id: 't', name: 't', role: 'hypervisor', host: 'st1', hash: 'h', createdAt: 1, expiresAt: 1_800_000_000_000 })
    await addUser(tx, { name: 'u', role: 'admin', hash: 'h', createdAt: 1, changedAt: 2 })
    for (let index = 0; index < 520; index += 1) await tx.event({ kind: 'k', about: 'manager', name: `${index}`, text: 'ä' })
  })
}

async function contentOf(db: Db): Promise<unknown> {
  return Promise.all(Object.entries(stateTables).map(([table, key]) => db.all(`select * from ${table} order by ${key}`)))
}

onEachEngine('a backup', (engine) => {
  let dir: string
  let db: Db
  const file = (): string => join(dir, 'backup')
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    db = await engine.fresh()
    await migrate(db)
  })
  afterEach(async () => { await rm(dir, { recursive: true }) })

  it('has every table that is not the database\'s own: a new one has to be put into a list', async () => {
    const names = await db.all(engine.name === 'SQLite' ? `select name from sqlite_master where type = 'table'` : `select table_name as name from information_schema.tables where table_schema = 'public'`)
    expect([...names.map((row) => row.name), 'vsky_marks'].filter((name, index, all) => all.indexOf(name) === index)).to.have.members([...Object.keys(stateTables), ...otherTables])
  })

  it('brings back every row, into SQLite as well, with an epoch that no older manager has', async () => {
    await fill(db)
    await writeBackup(db, file(), 5)
    expect((await stat(file())).mode & 0o777, 'it holds passwords').to.equal(0o600)
    const other = await openSqlite(join(dir, 'other'))
    try {
      await restoreBackup(other, file(), { epoch: 41, nowMs: 1 })
      expect(await contentOf(other)).to.deep.equal(await contentOf(db))
      expect((await takeOver(other, 'mgr2', ports)).epoch).to.equal(42)
    } finally {
      await other.close()
    }
  })

  it('of SQLite is read into this engine, and can be used there at once', async () => {
    const other = await openSqlite(join(dir, 'other'))
    try {
      await migrate(other)
      await fill(other)
      await writeBackup(other, file(), 5)
      await restoreBackup(db, file(), { epoch: 0, nowMs: 1 })
      expect(await contentOf(db)).to.deep.equal(await contentOf(other))
      const store = await takeOver(db, 'mgr1', ports)
      await store.change((tx) => tx.event({ kind: 'k', about: 'manager', name: 'n', text: '' }))
    } finally {
      await other.close()
    }
  })

  it('shows one moment, however much changes while it is written', async () => {
    await fill(db)
    const store = await takeOver(db, 'mgr1', ports)
    let writing = true
    const changing = (async () => { while (writing) await store.change(async (tx) => { await tx.event({ kind: 'k', about: 'manager', name: 'n', text: '' }); await tx.run('update volumes set layout = layout + 1') }) })()
    await writeBackup(db, file(), 5)
    writing = false
    await changing
    const found: Record<string, unknown[]> = { events: [], volumes: [] }
    await readBackup(file(), (table, row) => { found[table]?.push(row); return Promise.resolve() })
    const [volume] = found.volumes as { layout: number }[]
    expect(found.events?.length, 'each change raised both').to.equal(520 + (volume?.layout ?? 0) - 1)
  })

  it('is not put over a cluster that is there, and leaves nothing of itself when a row can\'t be written', async () => {
    await fill(db)
    await writeBackup(db, file(), 5)
    expect(String(await failureOf(restoreBackup(db, file(), { epoch: 0, nowMs: 1 })))).to.contain('the database is not empty')
    expect((await readFile(file(), 'utf8')).length).to.be.greaterThan(1000)
  })

  it('of a release that knew no tokens and users is restored without any, they can be made in it, and are in the next backup', async () => {
    const old = 'test/fixtures/0.1.0/database.backup'
    const tables = new Set<string>()
    expect((await readBackup(old, (table) => { tables.add(table); return Promise.resolve() })).schema).to.equal(4)
    expect([...tables]).to.include('volumes').and.not.to.include.any.members(['tokens', 'users'])
    const other = await openSqlite(join(dir, 'other'))
    try {
      await restoreBackup(other, old, { epoch: 0, nowMs: 1 })
      expect([await credentialsUntil(other), await tokensPage(other, { limit: 9 }), await usersPage(other, { limit: 9 })], 'nobody is let in by them').to.deep.equal([0, [], []])
      const volumes = await allVolumes(other)
      expect(volumes.length).to.be.greaterThan(3)
      const store = await takeOver(other, 'mgr1', ports)
      await store.change(async (tx) => {
        await addToken(tx, { id: 't', name: 't', role: 'viewer', host: '', hash: 'h', createdAt: 1, expiresAt: 0 })
        await addUser(tx, { name: 'u', role: 'viewer', hash: 'h', createdAt: 1, changedAt: 1 })
      })
      expect(await writeBackup(other, file(), 5)).to.include({ volumes: volumes.length, tokens: 1, users: 1 })
      await restoreBackup(db, file(), { epoch: 0, nowMs: 1 })
      expect(await contentOf(db)).to.deep.equal(await contentOf(other))
    } finally {
      await other.close()
    }
  })

  it('that was rebuilt from the hosts is the rows that were found', async () => {
    const row = { ...host, duty: 'use' as const }
    const volume = { id: 'v', name: 'v', bytes: 4194304n, redundancy: 1, phase: 'detached' as const, head: '', attachEpoch: 3, attachBoot: '', device: '', problem: '', createdAt: 1, layout: 2, copyHead: '', copyBoot: '', nextHead: '', remembers: false, settled: 0, sinceBirth: false }
    const extent = { id: 'e', disk: 'd', host: 'st1', volume: 'v', segment: 0, slot: 2, bytes: 4194304n, lun: 5, state: 'ready' as const, leg: 'insync' as const, staleSince: 0, retryAt: 0, since: 0, doubt: false, moving: false }
    const segment = { volume: 'v', index: 0, offset: 0n, bytes: 4194304n, generation: 9 }
    const found = { epoch: 8, hosts: [row], disks: [{ id: 'd', host: 'st1', device: '/dev/sdb', state: 'ready' as const, problem: '', bytes: 8388608n, cleanBytes: 0n, force: false, usedBytes: 0n, extents: 0, duty: 'use' as const, readErrors: 0 }], volumes: [volume], segments: [segment], extents: [extent] }
    await refill(db, found, 1)
    expect([await allHosts(db), await allVolumes(db), await segmentsOf(db, 'v'), await extentsOf(db, 'v')]).to.deep.equal([[row], [volume], [segment], [extent]])
    expect((await takeOver(db, 'mgr1', ports)).epoch).to.equal(9)
    expect(await failureOf(refill(db, found, 1))).to.be.instanceOf(BackupRefused)
  })

  it('is not needed to notice a database that is older than the cluster: an agent has seen an epoch that it never had', async () => {
    const store = await takeOver(db, 'mgr1', ports)
    const asked = { db, epoch: store.epoch, nowMs: 1, agents: { call: () => Promise.resolve({ epoch: 7 } as never) } }
    expect(await olderThanCluster({ ...asked, epoch: 0 }, { ...host, duty: 'use' }), 'another manager has taken over').to.equal(undefined)
    expect(await olderThanCluster(asked, { ...host, duty: 'use' })).to.contain('st1 has seen epoch 7, this database is at 1')
  })
})

describe('a damaged backup', () => {
  it('is refused, whatever is wrong with it', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    try {
      const db = await openSqlite(join(dir, 'db'))
      await migrate(db)
      await fill(db)
      await writeBackup(db, join(dir, 'good'), 5)
      await db.close()
      const good = await readFile(join(dir, 'good'), 'utf8')
      const lines = good.split('\n')
      const hidden = good.replace('"tokens":1,', '') // as a release without them would count
      const swapped = [lines[0], lines[2], lines[1], ...lines.slice(3)].join('\n')
      for (const [text, said] of [
        [good.slice(0, -200), 'cut off|no JSON'], [good.replace('"st1"', '"st2"'), 'damaged'], [lines.slice(0, -2).join('\n'), 'cut off'], [swapped, 'damaged'], [hidden, 'damaged'], ['{}', 'no backup'], ['', 'cut off'], [good.replace(/"schema":\d+/, '"schema":99'), 'use the newer release'], [`${good}{}\n`, 'behind its end'],
      ] as const) {
        await writeFile(join(dir, 'bad'), text)
        expect(String(await failureOf(readBackup(join(dir, 'bad'))))).to.match(new RegExp(said))
      }
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})
