/** Writes a rebuilt cluster (plan/rebuild.ts) into an empty database. */
import type { ClusterRows } from '../state/rows.js'
import { insertRow, refuseFull, setEpoch } from './backup.js'
import type { Db } from './db.js'

/** All or nothing. Throws BackupRefused when there is a cluster in it. */
export async function refill(db: Db, { epoch, hosts, disks, volumes, segments, extents }: ClusterRows, nowMs: number): Promise<void> {
  await db.tx(async (tx) => {
    await refuseFull(tx)
    for (const host of hosts) {
      await insertRow(tx, 'hosts', {
        name: host.name, roles: JSON.stringify(host.roles), zone: host.zone, address: host.address, data_addresses: JSON.stringify(host.dataAddresses), initiator: host.initiator, version: host.version,
        boot_id: host.bootId, incarnation: host.incarnation, chap_user: host.chapUser, chap_password: host.chapPassword, duty: host.duty,
      })
    }
    for (const disk of disks) {
      await insertRow(tx, 'disks', {
        id: disk.id, host: disk.host, device: disk.device, state: disk.state, problem: disk.problem, bytes: Number(disk.bytes), clean_bytes: Number(disk.cleanBytes), force: 0, duty: disk.duty, read_errors: disk.readErrors,
      })
    }
    for (const volume of volumes) {
      await insertRow(tx, 'volumes', {
        id: volume.id, name: volume.name, bytes: Number(volume.bytes), redundancy: volume.redundancy, phase: volume.phase, head: volume.head, attach_epoch: volume.attachEpoch, attach_boot: volume.attachBoot,
        device: volume.device, problem: volume.problem, created_at: volume.createdAt, layout: volume.layout, copy_head: '', copy_boot: '', next_head: '', remembers: volume.remembers ? 1 : 0, settled: volume.settled, since_birth: 0,
      })
    }
    for (const segment of segments) {
      await insertRow(tx, 'segments', { volume: segment.volume, idx: segment.index, first_byte: Number(segment.offset), bytes: Number(segment.bytes), generation: segment.generation, spare: 0 })
    }
    for (const extent of extents) {
      await insertRow(tx, 'extents', {
        id: extent.id, disk: extent.disk, host: extent.host, volume: extent.volume, segment: extent.segment, slot: extent.slot, bytes: Number(extent.bytes), lun: extent.lun, state: extent.state, leg: extent.leg,
        stale_since: extent.staleSince, retry_at: 0, doubt: 0, since: 0,
      })
    }
    await tx.run(`insert into events (seq, at_ms, kind, about, name, text) values (1, ?, 'database rebuilt', 'manager', '', ?)`, [nowMs, `${volumes.length} volumes from ${hosts.length} hosts`])
    await setEpoch(tx, epoch, nowMs)
  })
}
