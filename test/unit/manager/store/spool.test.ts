import { expect } from 'chai'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import { createLog } from '../../../../lib/host/log.js'
import { systemRandom } from '../../../../lib/host/random.js'
import { readBackup, restoreBackup, stateTables, writeBackup } from '../../../../manager/store/backup.js'
import type { Db } from '../../../../manager/store/db.js'
import { migrate } from '../../../../manager/store/schema.js'
import { IDLE_MS, PIECE_BYTES, openSpool } from '../../../../manager/store/spool.js'
import type { Spool } from '../../../../manager/store/spool.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { takeOver } from '../../../../manager/store/store.js'
import type { Store } from '../../../../manager/store/store.js'
import { onEachEngine } from '../../../support/engines.js'
import { TurnedClock } from '../../../support/turned-clock.js'

const log = createLog({ name: 'test', level: 'silent' })

onEachEngine('a backup that is taken over the wire', (engine) => {
  let dir: string
  let db: Db
  let store: Store
  let clock: TurnedClock
  let spool: Spool
  const folder = (): string => join(dir, 'spool')
  const files = (): Promise<readonly string[]> => readdir(folder()).catch(() => [])
  const open = (spareBytes = 0): Promise<Spool> => openSpool({ db, dir: folder(), clock, log, spareBytes })
  const faultOf = (work: Promise<unknown>): Promise<string> => work.then(() => 'none', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))
  /** The clock is turned beside files and a database: what they do takes real time. */
  const until = async (good: () => Promise<boolean>): Promise<void> => { while (!await good()) await new Promise((resolve) => setTimeout(resolve, 5)) }

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    db = await engine.fresh()
    await migrate(db)
    clock = new TurnedClock()
    store = await takeOver(db, 'mgr1', { clock: systemClock, random: systemRandom })
    await store.change(async (tx) => { for (let each = 0; each < 600; each += 1) await tx.event({ kind: 'k', about: 'manager', name: `${each}`, text: 'ä'.repeat(1000) }) })
    spool = await open()
  })
  afterEach(async () => {
    await spool.clear()
    await rm(dir, { recursive: true })
  })

  it('comes in pieces of at most 768 KiB which together are of one moment, have the length and hash that were told, and are restored', async () => {
    let changing = true
    const changes = (async () => { while (changing) await store.change(async (tx) => { await tx.event({ kind: 'k', about: 'manager', name: 'n', text: '' }); await tx.audit({ kind: 'call' }) }) })()
    spool.begin('a1', 'ann')
    const made = await spool.made('a1', 'ann')
    changing = false
    await changes
    expect(made.pieces, 'or it shows little').to.be.greaterThan(1)
    const pieces: Buffer[] = []
    for (let each = 0; each < made.pieces; each += 1) pieces.push(Buffer.from(await spool.piece('a1', 'ann', each), 'base64'))
    const all = Buffer.concat(pieces)
    expect(pieces.every(({ length }) => length <= PIECE_BYTES)).to.equal(true)
    expect([all.length, createHash('sha256').update(all).digest('hex')]).to.deep.equal([made.bytes, made.sha256])
    await writeFile(join(dir, 'taken'), all)
    const found: Record<string, number> = {}
    await readBackup(join(dir, 'taken'), (table) => { found[table] = (found[table] ?? 0) + 1; return Promise.resolve() })
    expect(found.events, 'each change raised both').to.equal(600 + (found.audit ?? 0))
    expect(Object.values(found).reduce((sum, count) => sum + count, 0)).to.equal(made.rows)
    const other = await openSqlite(join(dir, 'other'))
    try {
      await restoreBackup(other, join(dir, 'taken'), { epoch: 41, nowMs: 1 })
      expect((await takeOver(other, 'mgr2', { clock: systemClock, random: systemRandom })).epoch).to.equal(42)
    } finally {
      await other.close()
    }
  })

  it('has the same bytes as one that is written beside the manager', async () => {
    spool.begin('a1', 'ann')
    const { sha256, madeAt } = await spool.made('a1', 'ann')
    await writeBackup(db, join(dir, 'beside'), madeAt)
    await writeFile(join(dir, 'taken'), Buffer.concat([Buffer.from(await spool.piece('a1', 'ann', 0), 'base64'), Buffer.from(await spool.piece('a1', 'ann', 1), 'base64')]))
    const rowsOf = async (file: string): Promise<readonly string[]> => {
      const rows: string[] = []
      await readBackup(join(dir, file), (table, row) => { rows.push(`${table} ${JSON.stringify(row)}`); return Promise.resolve() })
      return rows
    }
    expect(await rowsOf('taken')).to.deep.equal(await rowsOf('beside'))
    expect(await rowsOf('taken')).to.have.length.greaterThan(Object.keys(stateTables).length)
    expect(sha256).to.match(/^[0-9a-f]{64}$/)
  })

  it('is read by nobody but who had it made', async () => {
    spool.begin('a1', 'ann')
    await spool.made('a1', 'ann')
    expect((await stat(join(folder(), 'a1'))).mode & 0o777).to.equal(0o600)
    expect((await stat(folder())).mode & 0o777).to.equal(0o700)
    expect(await faultOf(spool.made('a1', 'bob'))).to.equal('unknown backup')
    expect(await faultOf(spool.piece('a1', 'bob', 0))).to.equal('unknown backup')
    expect(await spool.end('a1', 'bob')).to.equal(false)
    expect(await spool.end('a1', 'ann')).to.equal(true)
    expect([await files(), await faultOf(spool.piece('a1', 'ann', 0))]).to.deep.equal([[], 'unknown backup'])
  })

  it('is one of two at most', async () => {
    spool.begin('a1', 'ann')
    spool.begin('b1', 'bob')
    expect(() => { spool.begin('c1', 'cat') }).to.throw(Fault, 'by ann and bob').with.property('fault', 'backup busy')
    await spool.end('a1', 'ann')
    spool.begin('c1', 'cat')
    expect((await spool.made('c1', 'cat')).bytes).to.be.greaterThan(PIECE_BYTES)
  })

  it('is removed when nobody has asked for it for five minutes, and not before', async () => {
    spool.begin('a1', 'ann')
    await spool.made('a1', 'ann')
    await until(() => Promise.resolve(clock.sleepers > 0))
    await clock.turn(IDLE_MS - 1)
    await spool.piece('a1', 'ann', 1)
    await clock.turn(IDLE_MS - 1)
    expect(await files()).to.deep.equal(['a1'])
    await clock.turn(1)
    await until(async () => (await files()).length === 0)
    expect(await faultOf(spool.piece('a1', 'ann', 0))).to.equal('unknown backup')
  })

  it('is left behind by no earlier process', async () => {
    await mkdir(folder(), { recursive: true })
    await writeFile(join(folder(), 'old'), 'secrets')
    spool = await open()
    expect(await files()).to.deep.equal([])
  })

  it('that finds no room leaves nothing, says why, and takes nobody\'s place', async () => {
    spool = await open(2 ** 60)
    spool.begin('a1', 'ann')
    spool.begin('b1', 'ann')
    expect(await faultOf(spool.made('a1', 'ann'))).to.equal('backup failed')
    await until(async () => (await files()).length === 0 && await faultOf(spool.made('b1', 'ann')) === 'unknown backup')
    spool.begin('c1', 'ann')
    expect(await spool.made('c1', 'ann').catch((thrown: unknown) => String(thrown))).to.contain('MiB left')
  })

  it('ends where it is when its manager is no longer the active one', async () => {
    spool.begin('a1', 'ann')
    const made = faultOf(spool.made('a1', 'ann'))
    await spool.clear()
    expect(await made).to.be.oneOf(['backup failed', 'none'])
    expect([await files(), await faultOf(spool.piece('a1', 'ann', 0))]).to.deep.equal([[], 'unknown backup'])
  })
})
