/**
 * Pages of long lists: rows in the order of their key, those after one of them, filtered here. Every text is fixed, whatever the filter, so that each
 * is prepared once: a filter that is not given is null.
 */
import { numberOf, textOf } from './db.js'
import type { Reader, Row, SqlValue } from './db.js'
import { DISKS, diskOf, hostOf } from './hosts.js'
import { extentOf, segmentOf, volumeOf } from './volumes.js'
import type { DiskRow, ExtentRow, HostRow, SegmentRow, VolumeRow } from '../state/rows.js'

export interface Page {
  readonly limit: number
}

/** Ids in one question; shorter lists are filled up with the empty id, which nothing has. */
const CHUNK = 50
const MARKS = Array.from({ length: CHUNK }, () => '?').join(', ')

/** By name. `after`: a name. */
export async function volumesPage(
  db: Reader, { after = '', prefix, state, host, limit }: Page & { readonly after?: string | undefined; readonly prefix?: string | undefined; readonly state?: string | undefined; readonly host?: string | undefined },
): Promise<readonly VolumeRow[]> {
  const rows = await db.all(
    `select * from volumes where name > ? and (cast(? as text) is null or substr(name, 1, ?) = ?) and (cast(? as text) is null or phase = ?) and (cast(? as text) is null or head = ?) order by name limit ?`,
    [after, ...prefixed(prefix), ...twice(state), ...twice(host), limit])
  return rows.map(volumeOf)
}

/** By host, then device. `after`: both. */
export async function disksPage(
  db: Reader,
  { after, host, state, duty, limit }: Page & { readonly after?: { readonly host: string; readonly device: string } | undefined; readonly host?: string | undefined; readonly state?: string | undefined; readonly duty?: string | undefined },
): Promise<readonly DiskRow[]> {
  const rows = await db.all(
    `${DISKS} where (d.host > ? or (d.host = ? and d.device > ?)) and (cast(? as text) is null or d.host = ?) and (cast(? as text) is null or d.state = ?) and (cast(? as text) is null or d.duty = ?) order by d.host, d.device limit ?`,
    [after?.host ?? '', after?.host ?? '', after?.device ?? '', ...twice(host), ...twice(state), ...twice(duty), limit])
  return rows.map(diskOf)
}

/** Segments with the name of their volume, by name and index; of one volume, or with a leg on a host or disk. */
export async function segmentsPage(
  db: Reader,
  { after, volume, host, disk, limit }: Page & { readonly after?: { readonly name: string; readonly index: number } | undefined; readonly volume?: string | undefined; readonly host?: string | undefined; readonly disk?: string | undefined },
): Promise<readonly (SegmentRow & { readonly name: string })[]> {
  const rows = await db.all(
    `select s.*, v.name as name from segments s join volumes v on v.id = s.volume where (v.name > ? or (v.name = ? and s.idx > ?)) and (cast(? as text) is null or s.volume = ?)
       and ((cast(? as text) is null and cast(? as text) is null) or exists (select 1 from extents e where e.volume = s.volume and e.segment = s.idx and e.state <> 'dropping' and (cast(? as text) is null or e.host = ?) and (cast(? as text) is null or e.disk = ?)))
     order by v.name, s.idx limit ?`,
    [after?.name ?? '', after?.name ?? '', after?.index ?? -1, ...twice(volume), host ?? null, disk ?? null, ...twice(host), ...twice(disk), limit])
  return rows.map((row) => ({ ...segmentOf(row), name: textOf(row, 'name') }))
}

/** Extents with the name of their volume (empty: it is gone) and their disk's device, by id. */
export async function legsPage(
  db: Reader,
  { after = '', volume, host, disk, state, limit }: Page & { readonly after?: string | undefined; readonly volume?: string | undefined; readonly host?: string | undefined; readonly disk?: string | undefined; readonly state?: string | undefined },
): Promise<readonly (ExtentRow & { readonly name: string; readonly device: string })[]> {
  const rows = await db.all(
    `select e.*, coalesce(v.name, '') as name, coalesce(d.device, '') as device from extents e left join volumes v on v.id = e.volume left join disks d on d.id = e.disk
     where e.id > ? and (cast(? as text) is null or e.volume = ?) and (cast(? as text) is null or e.host = ?) and (cast(? as text) is null or e.disk = ?) and (cast(? as text) is null or e.leg = ?) order by e.id limit ?`,
    [after, ...twice(volume), ...twice(host), ...twice(disk), ...twice(state), limit])
  return rows.map((row) => ({ ...extentOf(row), name: textOf(row, 'name'), device: textOf(row, 'device') }))
}

/** All segments, or live extents, of these volumes, by volume. */
export async function segmentsOfAll(db: Reader, volumes: readonly string[]): Promise<ReadonlyMap<string, readonly SegmentRow[]>> {
  return groupBy(await inChunks(db, `select * from segments where volume in (${MARKS}) order by volume, idx`, volumes), segmentOf, (segment) => segment.volume)
}

export async function extentsOfAll(db: Reader, volumes: readonly string[]): Promise<ReadonlyMap<string, readonly ExtentRow[]>> {
  return groupBy(await inChunks(db, `select * from extents where volume in (${MARKS}) and state <> 'dropping' order by volume, segment, slot`, volumes), extentOf, (extent) => extent.volume)
}

/** Live extents of the segments of these volumes that have one on this host, by VOLUME/SEGMENT: its own and those beside. */
export async function extentsBeside(db: Reader, host: string, volumes: readonly string[]): Promise<ReadonlyMap<string, readonly ExtentRow[]>> {
  const rows = await inChunks(db, `select * from extents p where volume in (${MARKS}) and state <> 'dropping'
    and exists (select 1 from extents e where e.volume = p.volume and e.segment = p.segment and e.host = ? and e.state <> 'dropping') order by volume, segment, slot`, volumes, [host])
  return groupBy(rows, extentOf, (extent) => `${extent.volume}/${extent.segment}`)
}

/** Volumes by their ids; what is gone is left out. */
export async function volumesOfAll(db: Reader, ids: readonly string[]): Promise<readonly VolumeRow[]> {
  return (await inChunks(db, `select * from volumes where id in (${MARKS})`, ids)).map(volumeOf)
}

/** How many disks each of these hosts has; of one without any nothing is told. */
export async function diskCounts(db: Reader, hosts: readonly string[]): Promise<ReadonlyMap<string, number>> {
  return new Map((await inChunks(db, `select host, count(*) as n from disks where host in (${MARKS}) group by host`, hosts)).map((row) => [textOf(row, 'host'), numberOf(row, 'n')]))
}

/** Names of the volumes that these heads have up, or copy, in order; by head. */
export async function volumeNamesOn(db: Reader, heads: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
  const rows = await Promise.all(['head', 'copy_head'].map((column) => inChunks(db, `select ${column} as host, name from volumes where ${column} in (${MARKS}) and ${column} <> ''`, heads)))
  const names = new Map<string, Set<string>>()
  for (const row of rows.flat()) names.set(textOf(row, 'host'), (names.get(textOf(row, 'host')) ?? new Set()).add(textOf(row, 'name')))
  return new Map([...names].map(([host, all]) => [host, [...all].sort()]))
}

/** Ids of the volumes that have live extents on a host. */
export async function volumesWithExtentsOn(db: Reader, host: string): Promise<readonly string[]> {
  return (await db.all(`select distinct volume from extents where host = ? and state <> 'dropping' order by volume`, [host])).map((row) => textOf(row, 'volume'))
}

/** Hosts by their names. */
export async function hostsNamed(db: Reader, names: readonly string[]): Promise<ReadonlyMap<string, HostRow>> {
  return new Map((await inChunks(db, `select * from hosts where name in (${MARKS})`, names)).map(hostOf).map((host) => [host.name, host]))
}

/** Device names of disks, by the disks' ids. */
export async function devicesOf(db: Reader, disks: readonly string[]): Promise<ReadonlyMap<string, string>> {
  return new Map((await inChunks(db, `select id, device from disks where id in (${MARKS})`, disks)).map((row) => [textOf(row, 'id'), textOf(row, 'device')]))
}

export interface LeaseRow {
  readonly epoch: number
  readonly holder: string
  readonly incarnation: string
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly beat: number
}

export async function findLease(db: Reader, name: string): Promise<LeaseRow | undefined> {
  const row = await db.get('select l.epoch, l.holder, l.incarnation, l.started_at, coalesce(b.beat, 0) as beat from lease l left join lease_beat b on b.name = l.name where l.name = ?', [name])
  return row && { epoch: numberOf(row, 'epoch'), holder: textOf(row, 'holder'), incarnation: textOf(row, 'incarnation'), startedAt: numberOf(row, 'started_at'), beat: numberOf(row, 'beat') }
}

/** `more`: what the text asks for behind the ids. */
async function inChunks(db: Reader, sql: string, ids: readonly string[], more: readonly SqlValue[] = []): Promise<readonly Row[]> {
  const rows: Row[] = []
  for (let at = 0; at < ids.length; at += CHUNK) {
    const chunk = ids.slice(at, at + CHUNK)
    rows.push(...await db.all(sql, [...chunk, ...Array.from({ length: CHUNK - chunk.length }, () => ''), ...more]))
  }
  return rows
}

function groupBy<T>(rows: readonly Row[], of: (row: Row) => T, keyOf: (each: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>()
  for (const row of rows) {
    const each = of(row)
    const group = groups.get(keyOf(each))
    if (group) group.push(each)
    else groups.set(keyOf(each), [each])
  }
  return groups
}

function twice(value: string | undefined): readonly SqlValue[] {
  return [value ?? null, value ?? null]
}

function prefixed(prefix: string | undefined): readonly SqlValue[] {
  return [prefix ?? null, prefix === undefined ? 0 : [...prefix].length, prefix ?? null]
}
