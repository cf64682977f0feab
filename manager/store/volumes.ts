/** Volumes, their segments and their extents (legs): rows and the queries on them. */
import { legStates } from '../../lib/model.js'
import type { LegState } from '../../lib/model.js'
import { flagOf, numberOf, sizeOf, textOf, wordOf } from './db.js'
import type { Reader, Row, Tx } from './db.js'
import { storedPhases } from '../state/rows.js'
import type { ExtentRow, SegmentRow, VolumeRow } from '../state/rows.js'

export function volumeOf(row: Row): VolumeRow {
  return {
    id: textOf(row, 'id'),
    name: textOf(row, 'name'),
    bytes: sizeOf(row, 'bytes'),
    redundancy: numberOf(row, 'redundancy'),
    phase: wordOf(row, 'phase', storedPhases),
    head: textOf(row, 'head'),
    attachEpoch: numberOf(row, 'attach_epoch'),
    attachBoot: textOf(row, 'attach_boot'),
    device: textOf(row, 'device'),
    problem: textOf(row, 'problem'),
    createdAt: numberOf(row, 'created_at'),
    layout: numberOf(row, 'layout'),
    copyHead: textOf(row, 'copy_head'),
    copyBoot: textOf(row, 'copy_boot'),
    nextHead: textOf(row, 'next_head'),
    remembers: flagOf(row, 'remembers'),
    settled: numberOf(row, 'settled'),
    sinceBirth: flagOf(row, 'since_birth'),
  }
}

export function segmentOf(row: Row): SegmentRow {
  return {
    volume: textOf(row, 'volume'), index: numberOf(row, 'idx'), offset: sizeOf(row, 'first_byte'), bytes: sizeOf(row, 'bytes'),
    generation: numberOf(row, 'generation'),
  }
}

export function extentOf(row: Row): ExtentRow {
  return {
    id: textOf(row, 'id'),
    disk: textOf(row, 'disk'),
    host: textOf(row, 'host'),
    volume: textOf(row, 'volume'),
    segment: numberOf(row, 'segment'),
    slot: numberOf(row, 'slot'),
    bytes: sizeOf(row, 'bytes'),
    lun: numberOf(row, 'lun'),
    state: wordOf(row, 'state', ['planned', 'ready', 'dropping']),
    leg: wordOf(row, 'leg', legStates),
    staleSince: numberOf(row, 'stale_since'),
    retryAt: numberOf(row, 'retry_at'),
    since: numberOf(row, 'since'),
    doubt: flagOf(row, 'doubt'),
    moving: flagOf(row, 'moving'),
  }
}

export async function allVolumes(db: Reader): Promise<readonly VolumeRow[]> {
  return (await db.all('select * from volumes order by name')).map(volumeOf)
}

/** By name or by id. */
export async function findVolume(db: Reader, reference: string): Promise<VolumeRow | undefined> {
  const row = await db.get('select * from volumes where name = ?', [reference]) ?? await db.get('select * from volumes where id = ?', [reference])
  return row && volumeOf(row)
}

export async function volumeById(db: Reader, id: string): Promise<VolumeRow | undefined> {
  const row = await db.get('select * from volumes where id = ?', [id])
  return row && volumeOf(row)
}

/** Volumes on their way from one state to another: what a new manager takes up first. */
export async function volumesUnderWay(db: Reader): Promise<readonly VolumeRow[]> {
  return (await db.all(`select * from volumes where phase not in ('detached', 'attached') or id in (select about from requests where state = 'open')`)).map(volumeOf)
}

/** Volumes attached to a head, or on their way, and detached ones whose legs it copies. */
export async function volumesOnHead(db: Reader, head: string): Promise<readonly VolumeRow[]> {
  return (await db.all(`select * from volumes where (head = ? and head <> '') or (copy_head = ? and copy_head <> '') order by name`, [head, head])).map(volumeOf)
}

export async function addVolume(tx: Tx, volume: Pick<VolumeRow, 'id' | 'name' | 'bytes' | 'redundancy' | 'createdAt'>): Promise<void> {
  await tx.run(
    `insert into volumes (id, name, bytes, redundancy, phase, head, attach_epoch, attach_boot, device, problem, created_at, layout, copy_head, copy_boot, next_head, since_birth)
     values (?, ?, ?, ?, 'creating', '', 0, '', '', '', ?, 1, '', '', '', 1)`,
    [volume.id, volume.name, Number(volume.bytes), volume.redundancy, volume.createdAt],
  )
}

const columns = {
  phase: 'phase', head: 'head', attachEpoch: 'attach_epoch', attachBoot: 'attach_boot', device: 'device', problem: 'problem',
  copyHead: 'copy_head', copyBoot: 'copy_boot', nextHead: 'next_head',
} as const
export type VolumeChange = Partial<Pick<VolumeRow, keyof typeof columns>>

export async function updateVolume(tx: Tx, id: string, change: VolumeChange): Promise<void> {
  const names = (Object.keys(columns) as (keyof typeof columns)[]).filter((name) => change[name] !== undefined)
  if (names.length === 0) return
  await tx.run(`update volumes set ${names.map((name) => `${columns[name]} = ?`).join(', ')} where id = ?`,
    [...names.map((name) => change[name] ?? null), id])
}

/** Removes the volume and its segments; its extents must be tombstones already. */
export async function removeVolume(tx: Tx, id: string): Promise<void> {
  await tx.run('delete from segments where volume = ?', [id])
  await tx.run('delete from volumes where id = ?', [id])
}

export async function segmentsOf(db: Reader, volume: string): Promise<readonly SegmentRow[]> {
  return (await db.all('select * from segments where volume = ? order by idx', [volume])).map(segmentOf)
}

export async function addSegment(tx: Tx, segment: SegmentRow): Promise<void> {
  await tx.run('insert into segments (volume, idx, first_byte, bytes, generation, spare) values (?, ?, ?, ?, ?, 0)',
    [segment.volume, segment.index, Number(segment.offset), Number(segment.bytes), segment.generation])
}

/** Whether it may have a leg too many: it is looked at as long as that is so. */
export async function setSpare(tx: Tx, volume: string, index: number, spare: boolean): Promise<void> {
  await tx.run('update segments set spare = ? where volume = ? and idx = ?', [spare ? 1 : 0, volume, index])
}

export async function raiseGeneration(tx: Tx, volume: string, index: number): Promise<void> {
  await tx.run('update segments set generation = generation + 1 where volume = ? and idx = ?', [volume, index])
  await changeLayout(tx, volume)
}

/** The live extents of a volume, tombstones left out. */
export async function extentsOf(db: Reader, volume: string): Promise<readonly ExtentRow[]> {
  return (await db.all(`select * from extents where volume = ? and state <> 'dropping' order by segment, slot`, [volume])).map(extentOf)
}

export async function extentsOnHost(db: Reader, host: string): Promise<readonly ExtentRow[]> {
  return (await db.all('select * from extents where host = ? order by volume, segment, slot', [host])).map(extentOf)
}

export async function droppingOnHost(db: Reader, host: string): Promise<readonly ExtentRow[]> {
  return (await db.all(`select * from extents where host = ? and state = 'dropping' order by id`, [host])).map(extentOf)
}

/** Hosts that still hold tombstones of a volume, on disks that are well. */
export async function hostsDropping(db: Reader, volume: string): Promise<readonly string[]> {
  return (await db.all(
    `select distinct e.host as host from extents e join disks d on d.id = e.disk where e.volume = ? and e.state = 'dropping' and d.state not in ('missing', 'failed') order by e.host`, [volume],
  )).map((row) => textOf(row, 'host'))
}

export async function addExtent(tx: Tx, extent: Omit<ExtentRow, 'lun' | 'state' | 'leg' | 'staleSince' | 'retryAt' | 'since' | 'doubt' | 'moving'>, leg: LegState): Promise<void> {
  await tx.run(
    `insert into extents (id, disk, host, volume, segment, slot, bytes, lun, state, leg, stale_since, retry_at, doubt) values (?, ?, ?, ?, ?, ?, ?, ?, 'planned', ?, 0, 0, 0)`,
    [extent.id, extent.disk, extent.host, extent.volume, extent.segment, extent.slot, Number(extent.bytes), await freeLun(tx, extent.host), leg],
  )
}

/**
 * The lowest LUN number from 1 that no extent of this host has. Not 0: where LUN 0 is not mapped for an initiator the kernel's target
 * answers with a dummy disk of its own (tpg_virt_lun0), which a scan then takes for the LUN.
 */
async function freeLun(tx: Tx, host: string): Promise<number> {
  const row = await tx.get(
    `select case when not exists (select 1 from extents where host = ? and lun = 1) then 1 else
       (select min(e.lun) + 1 from extents e where e.host = ? and not exists
         (select 1 from extents n where n.host = e.host and n.lun = e.lun + 1)) end as lun`, [host, host])
  return numberOf(row ?? {}, 'lun')
}

export async function setExtentReady(tx: Tx, id: string): Promise<void> {
  await tx.run(`update extents set state = 'ready' where id = ? and state = 'planned'`, [id])
}

/** `nowMs` is when it became stale, if it did. */
export async function setLeg(tx: Tx, id: string, leg: LegState, nowMs = 0): Promise<void> {
  await tx.run(`update extents set leg = ?, stale_since = ?${leg === 'insync' ? ', since = 0' : ''} where id = ?`, [leg, leg === 'stale' ? nowMs : 0, id])
}

/** What a leg that is no longer in sync lacks: what was written in this era or later; 0: anything. */
export async function setSince(tx: Tx, id: string, era: number): Promise<void> {
  await tx.run('update extents set since = ? where id = ?', [era, id])
}

export async function setSettled(tx: Tx, volume: string, era: number): Promise<void> {
  await tx.run('update volumes set settled = ? where id = ?', [era, volume])
}

export async function setRemembers(tx: Tx, volume: string, remembers: boolean): Promise<void> {
  await tx.run('update volumes set remembers = ? where id = ?', [remembers ? 1 : 0, volume])
}

/** Nothing that is remembered of a volume's writes counts from now on: its legs that are not in sync lack anything. */
export async function forgetChanges(tx: Tx, volume: string): Promise<void> {
  await tx.run('update volumes set settled = 0, since_birth = 0 where id = ?', [volume])
  await tx.run('update extents set since = 0 where volume = ?', [volume])
}

/**
 * Its server was started anew while its volume was in use: what the disk's cache held may be gone, if it was written in this era or later;
 * 0: whenever.
 */
export async function setDoubt(tx: Tx, id: string, since: number): Promise<void> {
  await tx.run(
    `update extents set since = case when leg <> 'insync' or (doubt = 1 and since < ?) then since else ? end, doubt = 1 where id = ? and leg in ('insync', 'syncing')`,
    [since, since, id],
  )
}

export async function clearDoubts(tx: Tx, volume: string): Promise<void> {
  await tx.run(`update extents set doubt = 0, since = case when leg = 'insync' then 0 else since end where volume = ? and doubt = 1`, [volume])
}

export async function setRetry(tx: Tx, id: string, atMs: number): Promise<void> {
  await tx.run('update extents set retry_at = ? where id = ?', [atMs, id])
}

/** Whatever the head should have of this volume has changed: it is to be told, and what it reported before proves nothing any more. */
export async function changeLayout(tx: Tx, volume: string): Promise<void> {
  await tx.run('update volumes set layout = layout + 1 where id = ?', [volume])
}

/**
 * Segments that may need a repair: with a leg that is not in sync, or one on these disks or servers, or that got spares; not those of volumes that are just
 * being made. By volume and index; with each, whether it is remembered as one that got spares.
 */
export async function segmentsInDoubt(db: Reader, { disks, hosts }: { readonly disks: readonly string[]; readonly hosts: readonly string[] }): Promise<ReadonlyMap<string, ReadonlyMap<number, boolean>>> {
  const marks = (values: readonly string[]): string => (values.length === 0 ? 'null' : values.map(() => '?').join(', ')) // PostgreSQL takes no empty list
  // Each part by an index of its own: of millions of legs few are in doubt.
  const live = `state <> 'dropping' and volume not in (select id from volumes where phase not in ('detached', 'attached') and phase = 'creating')`
  const rows = await db.all(
    `select volume, segment, 0 as spare from extents where leg <> 'insync' and ${live} union select volume, segment, 0 as spare from extents where disk in (${marks(disks)}) and ${live}
     union select volume, segment, 0 as spare from extents where host in (${marks(hosts)}) and ${live} union select volume, idx as segment, 1 as spare from segments where spare = 1 order by spare`, [...disks, ...hosts])
  const found = new Map<string, Map<number, boolean>>()
  for (const row of rows) {
    const volume = textOf(row, 'volume')
    found.set(volume, (found.get(volume) ?? new Map<number, boolean>()).set(numberOf(row, 'segment'), numberOf(row, 'spare') === 1))
  }
  return found
}

/** Makes tombstones: they keep their LUN and their place until the server confirms. */
export async function dropExtents(tx: Tx, volume: string): Promise<void> {
  await tx.run(`update extents set state = 'dropping' where volume = ?`, [volume])
}

export async function dropExtent(tx: Tx, id: string): Promise<void> {
  await tx.run(`update extents set state = 'dropping' where id = ?`, [id])
}

export async function removeExtent(tx: Tx, id: string): Promise<void> {
  await tx.run(`delete from extents where id = ? and state = 'dropping'`, [id])
}
