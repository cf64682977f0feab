/** The lists of head servers, storage servers and physical disks, by ascending number. */
import type { XmlValue } from '../../../lib/rpc/xmlrpc.js'
import type { Cluster } from '../../run/cluster.js'
import { refusal } from './faults.js'
import { loadFleet, loadResyncs } from './fleet.js'
import type { ClassicHost } from './fleet.js'
import { filterId } from './params.js'
import type { Members } from './params.js'
import { label } from './words.js'

/** All of them, or the one that is asked for. */
function chosen(all: readonly ClassicHost[], prefix: 'hsvr' | 'ssvr', id: number | undefined): readonly ClassicHost[] {
  const some = id === undefined ? all : all.filter((each) => each.id === id)
  if (id !== undefined && some.length === 0) throw refusal('ENOENT', `there is no ${label(prefix, id)}`)
  return some
}

export async function listHeadServers(cluster: Cluster, members: Members): Promise<XmlValue> {
  const id = filterId(members, 'hsvrid')
  const [{ heads }, resyncs] = await Promise.all([loadFleet(cluster), loadResyncs(cluster)])
  return chosen(heads, 'hsvr', id).map((head) => ({ hsvrid: head.id, priority: head.priority, ip_data: head.addresses, resync: resyncs.head(head.row.name) }))
}

export async function listStorageServers(cluster: Cluster, members: Members): Promise<XmlValue> {
  const id = filterId(members, 'ssvrid')
  const [{ servers, disks }, resyncs] = await Promise.all([loadFleet(cluster), loadResyncs(cluster)])
  return chosen(servers, 'ssvr', id).map((server) => {
    const mine = disks.filter((disk) => disk.server.id === server.id)
    const sum = (of: (disk: (typeof mine)[number]) => number): number => mine.reduce((all, disk) => all + of(disk), 0)
    return {
      ssvrid: server.id, priority: server.priority, ip_data: server.addresses, resync: resyncs.server(server.row.name),
      available: sum((disk) => disk.available), capacity: sum((disk) => disk.capacity),
    }
  })
}

/** `iscsi_path` was promised by the documentation alone, `srp_name` is asked for by the command of a variant: with both every client is served. */
export async function listPhysicalDisks(cluster: Cluster, members: Members): Promise<XmlValue> {
  const id = filterId(members, 'ssvrid')
  const [{ servers, disks }, resyncs] = await Promise.all([loadFleet(cluster), loadResyncs(cluster)])
  const wanted = new Set(chosen(servers, 'ssvr', id).map((server) => server.id))
  return disks.filter((disk) => wanted.has(disk.server.id)).map((disk) => ({
    ssvrid: disk.server.id, pdskid: disk.id, priority: disk.priority, local_path: disk.row.device, resync: resyncs.disk(disk.row.id), capacity: disk.capacity, available: disk.available,
    iscsi_path: [], srp_name: '',
  }))
}

/** The original kept no events in this version; ours are told by vsky.event.list. */
export async function listEvents(): Promise<XmlValue> {
  return []
}
