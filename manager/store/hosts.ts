/** Hosts and disks: rows and the queries on them. */
import { diskStates, hostRoles } from '../../lib/model.js'
import type { DiskState } from '../../lib/model.js'
import { diskDuties, hostDuties } from '../state/rows.js'
import type { DiskDuty, DiskRow, HostDuty, HostRow } from '../state/rows.js'
import { flagOf, numberOf, sizeOf, textOf, textsOf, wordOf } from './db.js'
import type { Reader, Row, Tx } from './db.js'

export function hostOf(row: Row): HostRow {
  return {
    name: textOf(row, 'name'),
    roles: textsOf(row, 'roles').flatMap((role) => hostRoles.find((known) => known === role) ?? []),
    zone: textOf(row, 'zone'),
    address: textOf(row, 'address'),
    dataAddresses: textsOf(row, 'data_addresses'),
    initiator: textOf(row, 'initiator'),
    version: textOf(row, 'version'),
    bootId: textOf(row, 'boot_id'),
    incarnation: textOf(row, 'incarnation'),
    chapUser: textOf(row, 'chap_user'),
    chapPassword: textOf(row, 'chap_password'),
    duty: wordOf(row, 'duty', hostDuties),
  }
}

/** One disk or all, with what is used of them. */
export const DISKS = `select d.*, coalesce(u.bytes, 0) as used, coalesce(u.extents, 0) as extents from disks d left join disk_use u on u.disk = d.id`

export function diskOf(row: Row): DiskRow {
  return {
    id: textOf(row, 'id'),
    host: textOf(row, 'host'),
    device: textOf(row, 'device'),
    state: wordOf(row, 'state', diskStates),
    problem: textOf(row, 'problem'),
    bytes: sizeOf(row, 'bytes'),
    cleanBytes: sizeOf(row, 'clean_bytes'),
    force: flagOf(row, 'force'),
    usedBytes: sizeOf(row, 'used'),
    extents: numberOf(row, 'extents'),
    duty: wordOf(row, 'duty', diskDuties),
    readErrors: numberOf(row, 'read_errors'),
  }
}

export async function allHosts(db: Reader): Promise<readonly HostRow[]> {
  return (await db.all('select * from hosts order by name')).map(hostOf)
}

export async function findHost(db: Reader, name: string): Promise<HostRow | undefined> {
  const row = await db.get('select * from hosts where name = ?', [name])
  return row && hostOf(row)
}

/** Inserts or replaces what an agent says of its host; the CHAP credentials and the duty stay as they are. */
export async function putHost(tx: Tx, host: Omit<HostRow, 'duty'>): Promise<void> {
  await tx.run(
    `insert into hosts (name, roles, zone, address, data_addresses, initiator, version, boot_id, incarnation, chap_user, chap_password, duty)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'use') on conflict (name) do update set roles = excluded.roles, zone = excluded.zone,
     address = excluded.address, data_addresses = excluded.data_addresses, initiator = excluded.initiator, version = excluded.version,
     boot_id = excluded.boot_id, incarnation = excluded.incarnation`,
    [host.name, JSON.stringify(host.roles), host.zone, host.address, JSON.stringify(host.dataAddresses), host.initiator, host.version,
      host.bootId, host.incarnation, host.chapUser, host.chapPassword],
  )
}

/** A new CHAP secret for a head that has no volume, and so no session that the old one would have to bring back. Others keep theirs. */
export async function rotateSecret(tx: Tx, head: string, secret: string): Promise<void> {
  await tx.run('update hosts set chap_password = ? where name = ? and not exists (select 1 from volumes where head = ? or copy_head = ? or next_head = ?)', [secret, head, head, head, head])
}

export async function allDisks(db: Reader, host?: string): Promise<readonly DiskRow[]> {
  const rows = host === undefined ? await db.all(`${DISKS} order by d.host, d.device`) : await db.all(`${DISKS} where d.host = ? order by d.device`, [host])
  return rows.map(diskOf)
}

/** Ids of disks whose data can't be had: gone, failed, or counted as failed. Asks nothing of extents. */
export async function lostDisks(db: Reader, host?: string): Promise<ReadonlySet<string>> {
  const lost = `select id from disks where (state in ('missing', 'failed') or duty = 'failed')`
  return new Set((host === undefined ? await db.all(lost) : await db.all(`${lost} and host = ?`, [host])).map((row) => textOf(row, 'id')))
}

/** Ids of disks that are not ready, or counted as failed. Asks nothing of extents. */
export async function doubtfulDisks(db: Reader): Promise<readonly string[]> {
  return (await db.all(`select id from disks where state <> 'ready' or duty = 'failed'`)).map((row) => textOf(row, 'id'))
}

/** Disks in use that had so many read errors, with extents on them. */
export async function wornDisks(db: Reader, readErrors: number): Promise<readonly DiskRow[]> {
  return (await db.all(`${DISKS} where d.read_errors >= ? and d.duty = 'use' order by d.host, d.device`, [readErrors])).map(diskOf).filter((disk) => disk.extents > 0)
}

/** By id, or as HOST:DEVICE. */
export async function findDisk(db: Reader, reference: string): Promise<DiskRow | undefined> {
  const colon = reference.indexOf(':')
  const row = colon > 0
    ? await db.get(`${DISKS} where d.host = ? and d.device = ?`, [reference.slice(0, colon), reference.slice(colon + 1)])
    : await db.get(`${DISKS} where d.id = ?`, [reference])
  return row && diskOf(row)
}

export async function addDisk(tx: Tx, disk: { id: string; host: string; device: string; force: boolean }): Promise<void> {
  await tx.run(`insert into disks (id, host, device, state, problem, bytes, clean_bytes, force, duty) values (?, ?, ?, 'preparing', '', 0, 0, ?, 'use')`,
    [disk.id, disk.host, disk.device, disk.force ? 1 : 0])
}

export async function updateDisk(
  tx: Tx, id: string, seen: { device: string; state: DiskState; problem: string; bytes: bigint; cleanBytes: bigint },
): Promise<void> {
  await tx.run('update disks set device = ?, state = ?, problem = ?, bytes = ?, clean_bytes = ? where id = ?',
    [seen.device, seen.state, seen.problem, Number(seen.bytes), Number(seen.cleanBytes), id])
}

export async function setDiskState(tx: Tx, id: string, state: DiskState, problem: string): Promise<void> {
  await tx.run('update disks set state = ?, problem = ? where id = ?', [state, problem, id])
}

/** Taken into use again, its read errors are counted from the beginning. */
export async function setDiskDuty(tx: Tx, id: string, duty: DiskDuty): Promise<void> {
  await tx.run(`update disks set duty = ?${duty === 'use' ? ', read_errors = 0' : ''} where id = ?`, [duty, id])
}

export async function countReadError(tx: Tx, id: string): Promise<void> {
  await tx.run('update disks set read_errors = read_errors + 1 where id = ?', [id])
}

export async function setHostDuty(tx: Tx, name: string, duty: HostDuty): Promise<void> {
  await tx.run('update hosts set duty = ? where name = ?', [duty, name])
}

export async function removeDisk(tx: Tx, id: string): Promise<void> {
  await tx.run('delete from disks where id = ?', [id])
  await tx.run('delete from disk_use where disk = ?', [id])
}
