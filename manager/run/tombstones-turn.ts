/** Extents that are to go, on one host: removed order by order, beside whatever else the host is told. */
import { aboutsOpen } from '../store/requests.js'
import { findHost } from '../store/hosts.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { dropTombstones } from './exports.js'
import type { Next } from './work.js'

export async function tombstonesTurn(cluster: Cluster, name: string): Promise<Next> {
  const host = await findHost(cluster.store.read, name)
  const seen = cluster.seen.get(name)
  if (!host || !seen || !online(cluster, name)) return 'idle' // the host's own turn begins this one
  const ready = new Set(seen.disks.filter((disk) => disk.state === 'ready').map((disk) => disk.disk))
  if (await dropTombstones(cluster, host, (disk) => ready.has(disk)) === 0) return 'idle'
  cluster.work.kick('repair', 'cluster') // there is room again
  for (const about of await aboutsOpen(cluster.store.read)) cluster.work.kick('gone', about)
  return 0
}
