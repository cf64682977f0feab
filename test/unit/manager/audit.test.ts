import { expect } from 'chai'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NO_HASH, auditHash, createAuditCheck, formatAnchor, parseAnchor } from '../../../lib/audit.js'
import type { AuditAnchor, AuditVerdict } from '../../../lib/audit.js'
import type { AuditEntryView } from '../../../lib/api/views.js'
import { systemClock } from '../../../lib/host/clock.js'
import { systemRandom } from '../../../lib/host/random.js'
import { AuditBroken, verifyAudit } from '../../../manager/audit.js'
import { auditAfter, auditEntryOf, auditHeadOf, cutAudit } from '../../../manager/store/audit.js'
import { readBackup, restoreBackup, writeBackup } from '../../../manager/store/backup.js'
import type { Db } from '../../../manager/store/db.js'
import { migrate } from '../../../manager/store/schema.js'
import { EpochLost, takeOver } from '../../../manager/store/store.js'
import type { Store, StorePorts } from '../../../manager/store/store.js'
import { failureOf, onEachEngine } from '../../support/engines.js'

const ports = { clock: systemClock, random: systemRandom }

async function chainOf(db: Db): Promise<readonly AuditEntryView[]> {
  return auditAfter(db, 0, 1000)
}

function judged(entries: readonly AuditEntryView[], ...anchors: readonly AuditAnchor[]): AuditVerdict {
  const check = createAuditCheck(anchors)
  for (const entry of entries) check.add(entry)
  return check.end()
}

/** `seq why`, or nothing. */
function problemIn(entries: readonly AuditEntryView[], ...anchors: readonly AuditAnchor[]): string {
  const { problem } = judged(entries, ...anchors)
  return problem ? `${problem.seq}: ${problem.why}` : ''
}

onEachEngine('the audit log', (engine) => {
  let db: Db
  let store: Store
  const write = async (count: number, from = store): Promise<void> => {
    for (let each = 1; each <= count; each += 1) await from.change((tx) => tx.audit({ kind: 'call', who: 'anna', method: 'vsky.volume.create', params: `{"name":"ä${each}\u{1f600}"}`, result: 'ok' }))
  }
  const change = (sql: string, params: readonly (string | number)[] = []): Promise<unknown> => db.tx((tx) => tx.run(sql, params))
  beforeEach(async () => {
    db = await engine.fresh()
    await migrate(db)
    store = await takeOver(db, 'mgr1', ports)
  })

  it('that nobody has touched fits, from its first entry to its head', async () => {
    await write(5)
    const entries = await chainOf(db)
    expect(judged(entries, await auditHeadOf(db))).to.deep.include({ entries: 5, first: 1, alarms: [] }).and.not.have.property('problem')
    expect(entries[0]?.previous).to.equal(NO_HASH)
  })

  for (const [column, value] of [['at_ms', 1], ['epoch', 9], ['kind', 'cut'], ['kind', 'nonsense'], ['who', 'otto'], ['role', 'x'], ['proof', 'x'], ['peer', 'x'], ['door', 'x'], ['method', 'x'], ['params', '{}'], ['result', 'denied'], ['request', 'x'], ['log_id', 'x'], ['hash', NO_HASH]] as const) {
    it(`shows the entry whose ${column} was changed to ${JSON.stringify(value)}`, async () => {
      await write(5)
      await change(`update audit set ${column} = ? where seq = 3`, [value])
      expect(problemIn(await chainOf(db))).to.match(/^3: its content/)
    })
  }

  it('shows an entry whose content and hash were both changed, by the one behind it', async () => {
    await write(5)
    const third = (await chainOf(db))[2] as AuditEntryView
    await change('update audit set who = ?, hash = ? where seq = 3', ['otto', auditHash({ ...third, who: 'otto' })])
    expect(problemIn(await chainOf(db))).to.equal('4: it does not follow entry 3, which was changed or put there later')
  })

  it('shows where entries were removed, also when the others were numbered anew', async () => {
    await write(5)
    await change('delete from audit where seq = 3')
    expect(problemIn(await chainOf(db))).to.equal('3: it is missing')
    await change('update audit set seq = 3 where seq = 4')
    expect(problemIn(await chainOf(db))).to.match(/^3: its content/)
  })

  it('shows that the oldest were removed', async () => {
    await write(5)
    await change('delete from audit where seq <= 2')
    expect(problemIn(await chainOf(db))).to.equal('2: it is missing, and no entry says that the log was cut there')
  })

  it('shows two that were swapped', async () => {
    await write(5)
    const entries = [...await chainOf(db)]
    const [second, third] = [entries[1] as AuditEntryView, entries[2] as AuditEntryView]
    expect(problemIn([entries[0] as AuditEntryView, third, second, ...entries.slice(3)])).to.match(/^2: it is missing/)
    await change('delete from audit where seq in (2, 3)')
    for (const [entry, seq] of [[second, 3], [third, 2]] as const) {
      await change('insert into audit (seq, at_ms, epoch, kind, who, role, proof, peer, door, method, params, result, request, log_id, previous, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
        [seq, entry.atMs, entry.epoch, entry.kind, entry.who, entry.role, entry.proof, entry.peer, entry.door, entry.method, entry.params, entry.result, entry.request, entry.logId, entry.previous, entry.hash])
    }
    expect(problemIn(await chainOf(db))).to.match(/^2: its content/)
  })

  it('shows one that was put in between', async () => {
    await write(3)
    await change('update audit set seq = seq + 10 where seq > 1')
    await change('update audit set seq = seq - 9 where seq > 1')
    const first = (await chainOf(db))[0] as AuditEntryView
    const forged = { ...first, seq: 2, who: 'otto', previous: first.hash }
    await change('insert into audit (seq, at_ms, epoch, kind, who, role, proof, peer, door, method, params, result, request, log_id, previous, hash) select 2, at_ms, epoch, kind, ?, role, proof, peer, door, method, params, result, request, log_id, ?, ? from audit where seq = 1',
      [forged.who, forged.previous, auditHash(forged)])
    expect(problemIn(await chainOf(db))).to.match(/^3: its content/)
  })

  it('whose end was cut off fits by itself, and not against a head that was told before', async () => {
    await write(5)
    const anchor = await auditHeadOf(db)
    await change('delete from audit where seq > 3')
    expect(problemIn(await chainOf(db))).to.equal('')
    expect(problemIn(await chainOf(db), anchor)).to.equal('4: it is missing, and so is all up to 5, which was told before: the end is cut off')
    await change('delete from audit')
    expect(problemIn(await chainOf(db), anchor)).to.match(/^1: it is missing/)
  })

  it('that was written anew from some entry on does not fit a head that was told before', async () => {
    await write(5)
    const anchor = await auditHeadOf(db)
    await change('delete from audit where seq > 2')
    await write(3, await takeOver(db, 'thief', ports))
    expect(problemIn(await chainOf(db))).to.equal('')
    expect(problemIn(await chainOf(db), anchor)).to.equal('5: it is not the one whose hash was told before')
    expect(parseAnchor(formatAnchor(anchor))).to.deep.equal({ seq: 5, hash: anchor.hash })
    expect(parseAnchor(`5:${anchor.hash.slice(1)}`)).to.equal(undefined)
  })

  it('raises an alarm, in itself, when the manager that writes it finds another end than its own', async () => {
    const found: string[] = []
    const told: StorePorts = { clock: systemClock, onAuditChanged: (expected, now) => { found.push(`${expected.seq} ${now.seq}`) } }
    const watchful = await takeOver(db, 'mgr2', { ...ports, ...told })
    await write(5, watchful)
    await change('delete from audit where seq > 3')
    await write(2, watchful)
    expect(found).to.deep.equal(['5 3'])
    const verdict = judged(await chainOf(db))
    expect(verdict).to.deep.include({ entries: 6, alarms: [4] }).and.not.have.property('problem')
  })

  it('is one chain through a fail-over; the manager of before appends nothing more', async () => {
    await write(2)
    const second = await takeOver(db, 'mgr2', ports)
    await write(2, second)
    expect(await failureOf(write(1))).to.be.instanceOf(EpochLost)
    await write(1, await takeOver(db, 'mgr3', ports))
    const entries = await chainOf(db)
    expect(entries.map((entry) => entry.epoch)).to.deep.equal([1, 1, 2, 2, 3])
    expect(problemIn(entries)).to.equal('')
  })

  it('has an entry if, and only if, its change was committed', async () => {
    await failureOf(store.change(async (tx) => {
      await tx.audit({ kind: 'call' })
      throw new Error('no')
    }))
    expect(await chainOf(db)).to.deep.equal([])
    await write(1)
    expect(await chainOf(db)).to.have.length(1)
  })

  it('appended to by many at once has no gap', async () => {
    await Promise.all(Array.from({ length: 20 }, () => write(1)))
    expect(judged(await chainOf(db))).to.deep.include({ entries: 20 }).and.not.have.property('problem')
  })

  it('is cut at its old end by number, says so itself, and fits afterwards, again and again', async () => {
    const keep = { entries: 10, fromMs: 0 }
    await write(110)
    expect(await store.change((tx) => cutAudit(tx, keep)), 'a hundred more may stand').to.equal(0)
    await write(1)
    for (const [removed, first] of [[101, 102], [0, 102]] as const) {
      expect(await store.change((tx) => cutAudit(tx, keep))).to.equal(removed)
      const entries = await chainOf(db)
      expect([entries[0]?.seq, problemIn(entries)]).to.deep.equal([first, ''])
    }
    await write(120)
    expect(await store.change((tx) => cutAudit(tx, keep))).to.be.greaterThan(100)
    const entries = await chainOf(db)
    expect(problemIn(entries)).to.equal('')
    expect(entries.filter((entry) => entry.kind === 'cut'), 'the first cut was cut').to.have.length(1)
    await change('delete from audit where seq = (select min(seq) from audit)')
    expect(problemIn(await chainOf(db)), 'more was removed than was said').to.contain('no entry says')
  })

  it('is cut by age when its oldest entry is a day too old', async () => {
    await write(3)
    const day = 86_400_000
    const now = systemClock.nowMs()
    expect(await store.change((tx) => cutAudit(tx, { entries: 1000, fromMs: now + day - 60_000 }))).to.equal(0)
    expect(await store.change((tx) => cutAudit(tx, { entries: 1000, fromMs: now + day + 60_000 }))).to.equal(3)
    const entries = await chainOf(db)
    expect([entries.length, entries[0]?.kind, problemIn(entries)]).to.deep.equal([1, 'cut', ''])
  })

  it('is found by who and by method, first and newest', async () => {
    for (const [who, method] of [['a', 'm'], ['b', 'm'], ['a', 'n'], ['a', 'm']] as const) await store.change((tx) => tx.audit({ kind: 'call', who, method }))
    const seqs = async (...how: readonly [number, number, object?]): Promise<readonly number[]> => (await auditAfter(db, ...how as [number, number])).map((entry) => entry.seq)
    expect(await seqs(0, 10, { who: 'a' })).to.deep.equal([1, 3, 4])
    expect(await seqs(0, 10, { method: 'm' })).to.deep.equal([1, 2, 4])
    expect(await seqs(1, 10, { who: 'a', method: 'm' })).to.deep.equal([4])
    expect(await seqs(0, 2, { newest: true })).to.deep.equal([3, 4])
    expect(await seqs(2, 10)).to.deep.equal([3, 4])
  })

  it('goes into a backup, can be verified there, and goes on behind it after a restore', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    try {
      const file = join(dir, 'backup')
      const lines: string[] = []
      const verified = (anchor: readonly string[] = []): Promise<void> => verifyAudit('/nowhere', { file, anchor }, (line) => { lines.push(line) })
      await write(1200)
      const head = await auditHeadOf(db)
      await writeBackup(db, file, 1)
      await verified([formatAnchor(head)])
      expect(lines).to.deep.equal(['1200 entries fit: 1 to 1200', `head: ${formatAnchor(head)}`])
      expect(await failureOf(verified([`1201:${NO_HASH}`]))).to.be.instanceOf(AuditBroken)
      const kept: AuditEntryView[] = []
      await readBackup(file, (table, row) => { if (table === 'audit') kept.push(auditEntryOf(row)); return Promise.resolve() })
      expect(kept.map((entry) => entry.seq)).to.deep.equal(Array.from({ length: 1200 }, (_, index) => index + 1))
      const other = await engine.fresh()
      await restoreBackup(other, file, { epoch: 0, nowMs: 1 })
      await write(1, await takeOver(other, 'mgr1', ports))
      expect(judged([...await auditAfter(other, 0, 2000)])).to.deep.include({ entries: 1201 }).and.not.have.property('problem')
      await other.tx((tx) => tx.run(`update audit set who = 'otto' where seq = 700`))
      await writeBackup(other, file, 1)
      expect(String(await failureOf(verified()))).to.contain('entry 700 of the audit log does not fit')
      expect(await readFile(file, 'utf8')).to.contain('otto')
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})
