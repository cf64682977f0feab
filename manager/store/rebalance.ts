/** Rebalances, of which at most one is open, and legs that may move, or do. */
import type { MovableLeg } from '../state/leg.js'
import type { JobRow } from '../state/rows.js'
import { numberOf, sizeOf, textOf } from './db.js'
import type { Reader, Tx } from './db.js'
import { openJobs } from './jobs.js'

const OPEN = `state in ('waiting', 'running')`

export async function openRebalance(db: Reader): Promise<JobRow | undefined> {
  return (await openJobs(db)).find((job) => job.kind === 'rebalance')
}

export async function addRebalance(tx: Tx, { id, note, bytes, createdAt }: Pick<JobRow, 'id' | 'note' | 'bytes' | 'createdAt'>): Promise<void> {
  await tx.run(`insert into rebalances (id, state, note, bytes, moved, created_at, started_at, ended_at) values (?, 'waiting', ?, ?, 0, ?, 0, 0)`, [id, note, Number(bytes), createdAt])
}

/** It goes on, or waits; nothing when none is open. */
export async function noteRebalance(tx: Tx, state: 'waiting' | 'running', note: string, nowMs: number): Promise<void> {
  await tx.run(`update rebalances set state = ?, note = ?, started_at = case when started_at = 0 and ? = 'running' then ? else started_at end where ${OPEN}`, [state, note, state, nowMs])
}

/** Legs of so many bytes stand where they were to go. */
export async function countMoved(tx: Tx, bytes: bigint): Promise<void> {
  await tx.run(`update rebalances set moved = moved + ? where ${OPEN}`, [Number(bytes)])
}

/** Legs that have not arrived stay where they are: those that were made for them go again. Gives their volumes. */
export async function endRebalance(tx: Tx, state: 'done' | 'cancelled', note: string, nowMs: number): Promise<readonly string[]> {
  await tx.run(`update rebalances set state = ?, note = ?, ended_at = ? where ${OPEN}`, [state, note, nowMs])
  const moving = `moving = 1 and leg = 'insync'`
  const volumes = (await tx.all(`select distinct volume from extents where ${moving}`)).map((row) => textOf(row, 'volume'))
  await tx.run(`update extents set moving = 0 where ${moving}`)
  return volumes
}

export async function setMoving(tx: Tx, extent: string, moving: boolean): Promise<void> {
  await tx.run('update extents set moving = ? where id = ?', [moving ? 1 : 0, extent])
}

/** Nothing of this segment moves any more. */
export async function stopMoving(tx: Tx, volume: string, segment: number): Promise<void> {
  await tx.run('update extents set moving = 0 where volume = ? and segment = ? and moving = 1', [volume, segment])
}

export interface UnderWay {
  /** Legs that move. */
  readonly moves: number
  /** Bytes by disk: of legs that will be gone, and of tombstones among them. */
  readonly leaving: ReadonlyMap<string, bigint>
  readonly dropping: ReadonlyMap<string, bigint>
  /** Legs by disk that are not in sync, most of which are to be copied to. */
  readonly behind: ReadonlyMap<string, number>
}

export async function underWay(db: Reader): Promise<UnderWay> {
  const dropping = new Map<string, bigint>()
  for (const row of await db.all(`select disk, sum(bytes) as bytes from extents where state = 'dropping' group by disk`)) dropping.set(textOf(row, 'disk'), sizeOf(row, 'bytes'))
  const leaving = new Map(dropping)
  let moves = 0
  for (const row of await db.all(`select disk, sum(bytes) as bytes, count(*) as legs from extents where moving = 1 and state <> 'dropping' group by disk`)) {
    const disk = textOf(row, 'disk')
    leaving.set(disk, (leaving.get(disk) ?? 0n) + sizeOf(row, 'bytes'))
    moves += numberOf(row, 'legs')
  }
  const behind = await db.all(`select disk, count(*) as legs from extents where leg <> 'insync' and state <> 'dropping' group by disk`)
  return { moves, leaving, dropping, behind: new Map(behind.map((row) => [textOf(row, 'disk'), numberOf(row, 'legs')])) }
}

/** Legs on these disks whose segments are whole, with nothing under way, of volumes that are at rest: attached or detached. */
export async function movableLegs(db: Reader, disks: readonly string[]): Promise<readonly MovableLeg[]> {
  if (disks.length === 0) return []
  const rows = await db.all(
    `select m.id, m.disk, m.volume, m.segment, m.bytes, v.redundancy, coalesce(o.host, '') as host, case when o.state = 'ready' and o.leg = 'insync' and o.doubt = 0 and o.moving = 0 then 1 else 0 end as good
     from extents m join volumes v on v.id = m.volume left join extents o on o.volume = m.volume and o.segment = m.segment and o.id <> m.id and o.state <> 'dropping'
     where m.disk in (${disks.map(() => '?').join(', ')}) and m.state = 'ready' and m.leg = 'insync' and m.doubt = 0 and m.moving = 0 and v.phase in ('attached', 'detached') order by m.id`, disks)
  const found = new Map<string, MovableLeg & { readonly others: string[]; readonly redundancy: number; whole: boolean }>()
  for (const row of rows) {
    const extent = textOf(row, 'id')
    let leg = found.get(extent)
    if (!leg) found.set(extent, leg = { extent, disk: textOf(row, 'disk'), volume: textOf(row, 'volume'), segment: numberOf(row, 'segment'), bytes: sizeOf(row, 'bytes'), others: [], redundancy: numberOf(row, 'redundancy'), whole: true })
    const host = textOf(row, 'host')
    if (host === '') continue
    leg.others.push(host)
    leg.whole &&= numberOf(row, 'good') === 1
  }
  return [...found.values()].filter((leg) => leg.whole && leg.others.length === leg.redundancy - 1).map(({ extent, disk, volume, segment, bytes, others }) => ({ extent, disk, volume, segment, bytes, others }))
}
