/**
 * The numbers under which clients of the original API know our objects. Each counter only rises, so a number that was given out never
 * comes to mean something else; a row goes when its object is gone.
 */
import { legStates } from '../../lib/model.js'
import type { LegState } from '../../lib/model.js'
import { numberOf, textOf, wordOf } from './db.js'
import type { Reader, Row, Tx } from './db.js'
import { forgetUnreleased } from './unreleased.js'

/** Volumes, the parts of their trees and extents draw from one counter, as they did in the original. */
const counters = { head: 'hsvr', server: 'ssvr', disk: 'pdsk', volume: 'lvol', origin: 'lvol', linear: 'lvol', mirror: 'lvol', extent: 'lvol' } as const
export type Numbered = keyof typeof counters

/** The last number that is given out: clients read signed 32-bit integers, and the original stopped one short of the last. */
export const LAST_ID = 0x7ffffffe

/** All numbers of a counter have been given out. */
export class NumbersSpent extends Error {
  override readonly name = 'NumbersSpent'
}

export interface NumberRow {
  readonly id: number
  /** The name of a host, or our id. */
  readonly ours: string
  /** The boot in which its host was last registered by a classic client; empty: never. */
  readonly registered: string
  /** The incarnation of its host's agent that was told that all is shut down; empty: none. */
  readonly halted: string
}

function numberRow(row: Row): NumberRow {
  return { id: numberOf(row, 'id'), ours: textOf(row, 'ours'), registered: textOf(row, 'registered'), halted: textOf(row, 'halted') }
}

/** All of a kind, by what they are of ours. */
export async function numbersOf(db: Reader, what: Numbered): Promise<ReadonlyMap<string, NumberRow>> {
  return new Map((await db.all('select * from classic_ids where what = ? order by id', [what])).map((row) => [textOf(row, 'ours'), numberRow(row)]))
}

/** Those of one volume's tree and its extents: `what ours` → number. */
export async function numbersOfVolume(db: Reader, volume: string): Promise<ReadonlyMap<string, number>> {
  const rows = await db.all('select what, ours, id from classic_ids where owner = ?', [volume])
  return new Map(rows.map((row) => [`${textOf(row, 'what')} ${textOf(row, 'ours')}`, numberOf(row, 'id')]))
}

export async function numberOfOurs(db: Reader, what: Numbered, ours: string): Promise<number | undefined> {
  const row = await db.get('select id from classic_ids where what = ? and ours = ?', [what, ours])
  return row && numberOf(row, 'id')
}

/** What a number stands for: the name of a host, or our id; undefined when it stands for nothing, or for something else. */
export async function oursOfNumber(db: Reader, what: Numbered, id: number): Promise<string | undefined> {
  const row = await db.get('select ours from classic_ids where counter = ? and id = ? and what = ?', [counters[what], id, what])
  return row && textOf(row, 'ours')
}

/** Gives the next number. `owner`: the volume whose tree it is in. Throws NumbersSpent. */
export async function giveNumber(tx: Tx, what: Numbered, ours: string, owner = ''): Promise<number> {
  const counter = counters[what]
  const row = await tx.get('select next from classic_counters where counter = ?', [counter])
  const id = row ? numberOf(row, 'next') : 1
  if (id > LAST_ID) throw new NumbersSpent(`all numbers ${counter}-… have been given out`)
  await tx.run('insert into classic_counters (counter, next) values (?, ?) on conflict (counter) do update set next = excluded.next', [counter, id + 1])
  await tx.run('insert into classic_ids (counter, id, what, ours, owner) values (?, ?, ?, ?, ?)', [counter, id, what, ours, owner])
  return id
}

/** How many numbers the counter that volumes draw from still has. */
export async function volumeNumbersLeft(db: Reader): Promise<number> {
  const row = await db.get('select next from classic_counters where counter = ?', [counters.volume])
  return LAST_ID + 1 - (row ? numberOf(row, 'next') : 1)
}

export interface Unnumbered {
  readonly heads: readonly string[]
  readonly servers: readonly string[]
  readonly disks: readonly string[]
  readonly volumes: readonly { readonly id: string; readonly segments: number }[]
}

/** What has no number yet, in the order in which it gets one. A volume that is still being made is not there yet. */
export async function unnumbered(db: Reader): Promise<Unnumbered> {
  const hosts = async (role: string, what: Numbered): Promise<readonly string[]> => (await db.all(
    `select name from hosts h where roles like ? and not exists (select 1 from classic_ids c where c.what = ? and c.ours = h.name) order by name`, [`%"${role}"%`, what])).map((row) => textOf(row, 'name'))
  const [heads, servers] = [await hosts('head', 'head'), await hosts('storage', 'server')]
  const disks = await db.all(`select id from disks d where not exists (select 1 from classic_ids c where c.what = 'disk' and c.ours = d.id) order by host, device`)
  const volumes = await db.all(
    `select id, (select count(*) from segments s where s.volume = v.id) as segments from volumes v
     where phase <> 'creating' and not exists (select 1 from classic_ids c where c.what = 'volume' and c.ours = v.id) order by created_at, name`)
  return { heads, servers, disks: disks.map((row) => textOf(row, 'id')), volumes: volumes.map((row) => ({ id: textOf(row, 'id'), segments: numberOf(row, 'segments') })) }
}

/** Forgets the numbers of what is gone. */
export async function pruneNumbers(tx: Tx): Promise<void> {
  await tx.run(`delete from classic_ids where owner <> '' and owner not in (select id from volumes)`)
  await tx.run(`delete from classic_ids where what = 'disk' and ours not in (select id from disks)`)
  await tx.run(`delete from classic_ids where what in ('head', 'server') and ours not in (select name from hosts)`)
}

export async function forgetNumber(tx: Tx, what: Numbered, ours: string): Promise<void> {
  await tx.run('delete from classic_ids where what = ? and ours = ?', [what, ours])
}

/** Registered in this boot of its host, and in use again after a shut-down. An empty boot: it may be registered anew. */
export async function setRegistered(tx: Tx, what: Numbered, ours: string, bootId: string): Promise<void> {
  await tx.run(`update classic_ids set registered = ?, halted = '' where what = ? and ours = ?`, [bootId, what, ours])
}

/** Told that all is shut down, until this agent has been started anew. */
export async function setHalted(tx: Tx, what: Numbered, ours: string, incarnation: string): Promise<void> {
  await tx.run('update classic_ids set halted = ? where what = ? and ours = ?', [incarnation, what, ours])
}

export interface LegRow {
  readonly extent: string
  readonly volume: string
  readonly segment: number
  readonly slot: number
  readonly host: string
  readonly disk: string
  readonly leg: LegState
}

/** Legs of all volumes, in the order of their segments: for lists, where asking volume by volume would take too long. */
export function allLegs(db: Reader): Promise<readonly LegRow[]> {
  return legs(db, '')
}

/** Those that are being copied to. */
export function syncingLegs(db: Reader): Promise<readonly LegRow[]> {
  return legs(db, `and leg <> 'insync' and leg = 'syncing'`) // the first condition finds the index
}

async function legs(db: Reader, condition: string): Promise<readonly LegRow[]> {
  const rows = await db.all(`select id, volume, segment, slot, host, disk, leg from extents where state <> 'dropping' ${condition} order by volume, segment, slot`)
  return rows.map((row) => ({
    extent: textOf(row, 'id'), volume: textOf(row, 'volume'), segment: numberOf(row, 'segment'), slot: numberOf(row, 'slot'), host: textOf(row, 'host'), disk: textOf(row, 'disk'),
    leg: wordOf(row, 'leg', legStates),
  }))
}

/** How many segments each volume has. */
export async function segmentCounts(db: Reader): Promise<ReadonlyMap<string, number>> {
  return new Map((await db.all('select volume, count(*) as segments from segments group by volume')).map((row) => [textOf(row, 'volume'), numberOf(row, 'segments')]))
}

/** A host stops being a head or a storage server; one that is neither is forgotten. Its disks must be gone. */
export async function dropRole(tx: Tx, host: { readonly name: string; readonly roles: readonly string[] }, role: 'head' | 'storage'): Promise<void> {
  const roles = host.roles.filter((each) => each !== role)
  if (role === 'head') await forgetUnreleased(tx, host.name)
  if (roles.length === 0) await tx.run('delete from hosts where name = ?', [host.name])
  else await tx.run('update hosts set roles = ? where name = ?', [JSON.stringify(roles), host.name])
}

/** Extents of a disk: those that volumes have, and tombstones. */
export async function extentsOnDisk(db: Reader, disk: string): Promise<{ readonly live: number; readonly dropping: number }> {
  const rows = await db.all(`select case when state = 'dropping' then 1 else 0 end as gone, count(*) as count from extents where disk = ? group by 1`, [disk])
  const of = (gone: number): number => rows.filter((row) => numberOf(row, 'gone') === gone).reduce((sum, row) => sum + numberOf(row, 'count'), 0)
  return { live: of(0), dropping: of(1) }
}

/** For a disk that won't come back: nobody is left who could confirm that its extents are gone. */
export async function forgetTombstones(tx: Tx, disk: string): Promise<void> {
  await tx.run(`delete from extents where disk = ? and state = 'dropping'`, [disk])
}
