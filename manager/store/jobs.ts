/** Jobs: rows and the queries on them. At most one open job of a kind about one thing; finished ones are kept for a while, to be read. Rebalances have a table of their own (rebalance.ts). */
import { jobKinds, jobStates } from '../state/rows.js'
import type { JobKind, JobRow, JobState } from '../state/rows.js'
import { numberOf, sizeOf, textOf, wordOf } from './db.js'
import type { Reader, Row, Tx } from './db.js'

function jobOf(row: Row): JobRow {
  return {
    id: textOf(row, 'id'), kind: wordOf(row, 'kind', jobKinds), about: textOf(row, 'about'), name: textOf(row, 'name'), segment: numberOf(row, 'segment'),
    state: wordOf(row, 'state', jobStates), note: textOf(row, 'note'), bytes: sizeOf(row, 'bytes'), moved: sizeOf(row, 'moved'), createdAt: numberOf(row, 'created_at'),
    startedAt: numberOf(row, 'started_at'), endedAt: numberOf(row, 'ended_at'),
  }
}

/** Jobs of both tables where this holds. */
function jobsWhere(condition: string): string {
  return `select id, kind, about, name, segment, state, note, bytes, 0 as moved, created_at, started_at, ended_at from jobs where ${condition}
    union all select id, 'rebalance', 'cluster', 'cluster', 0, state, note, bytes, moved, created_at, started_at, ended_at from rebalances where ${condition}`
}

export async function openJobs(db: Reader): Promise<readonly JobRow[]> {
  return (await db.all(`${jobsWhere(`state in ('waiting', 'running')`)} order by created_at, id`)).map(jobOf)
}

/** Open ones first, then the newest of those that have ended. */
export async function listJobs(db: Reader, ended: number): Promise<readonly JobRow[]> {
  const rows = await db.all(`${jobsWhere(`state not in ('waiting', 'running')`)} order by ended_at desc, id limit ?`, [ended])
  return [...await openJobs(db), ...rows.map(jobOf)]
}

export async function findJob(db: Reader, id: string): Promise<JobRow | undefined> {
  const row = await db.get(jobsWhere('id = ?'), [id, id])
  return row && jobOf(row)
}

export type NewJob = Pick<JobRow, 'id' | 'kind' | 'about' | 'name' | 'segment' | 'note' | 'bytes' | 'createdAt'>

/** Writes the job down, unless one of its kind about the same thing is open. */
export async function addJob(tx: Tx, job: NewJob): Promise<void> {
  await tx.run(
    `insert into jobs (id, kind, about, name, segment, state, note, bytes, created_at, started_at, ended_at) values (?, ?, ?, ?, ?, 'waiting', ?, ?, ?, 0, 0)
     on conflict (kind, about, segment) where state in ('waiting', 'running') do nothing`,
    [job.id, job.kind, job.about, job.name, job.segment, job.note, Number(job.bytes), job.createdAt])
}

export async function noteJob(tx: Tx, id: string, note: string): Promise<void> {
  await tx.run('update jobs set note = ? where id = ?', [note, id])
}

export async function startJob(tx: Tx, kind: JobKind, about: string, segment: number, note: string, nowMs: number): Promise<void> {
  await tx.run(`update jobs set state = 'running', note = ?, started_at = ? where kind = ? and about = ? and segment = ? and state = 'waiting'`, [note, nowMs, kind, about, segment])
}

/** It goes back to the line: what it was doing was interrupted. */
export async function interruptJob(tx: Tx, kind: JobKind, about: string, segment: number, note: string): Promise<void> {
  await tx.run(`update jobs set state = 'waiting', note = ? where kind = ? and about = ? and segment = ? and state = 'running'`, [note, kind, about, segment])
}

export async function endJob(tx: Tx, kind: JobKind, about: string, segment: number, state: Exclude<JobState, 'waiting' | 'running'>, note: string, nowMs: number): Promise<void> {
  await tx.run(`update jobs set state = ?, note = ?, ended_at = ? where kind = ? and about = ? and segment = ? and state in ('waiting', 'running')`, [state, note, nowMs, kind, about, segment])
}

/** Jobs about a volume that is gone. */
export async function endJobsAbout(tx: Tx, about: string, note: string, nowMs: number): Promise<void> {
  await tx.run(`update jobs set state = 'cancelled', note = ?, ended_at = ? where about = ? and state in ('waiting', 'running')`, [note, nowMs, about])
}

export async function pruneJobs(tx: Tx, beforeMs: number): Promise<number> {
  const ended = `state not in ('waiting', 'running') and ended_at < ?`
  return await tx.run(`delete from jobs where ${ended}`, [beforeMs]) + await tx.run(`delete from rebalances where ${ended}`, [beforeMs])
}
