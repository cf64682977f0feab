/** After a delete: done when no server that answers holds a tombstone of the volume on a disk that is well. All others are cleaned when they return. */
import { finishRequest } from '../store/requests.js'
import { hostsDropping, volumeById } from '../store/volumes.js'
import { findDisk } from '../store/hosts.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import type { Next } from './work.js'

export async function goneTurn(cluster: Cluster, volume: string): Promise<Next> {
  if (await volumeById(cluster.store.read, volume) || await findDisk(cluster.store.read, volume)) return 'idle' // the request is about something that lives
  const waiting = (await hostsDropping(cluster.store.read, volume)).filter((host) => online(cluster, host))
  if (waiting.length > 0) {
    for (const host of waiting) cluster.work.kick(cluster.seen.has(host) ? 'tombstones' : 'host', host)
    return 5000 // the removals start this one again as soon as they are done
  }
  await cluster.store.change((tx) => finishRequest(tx, volume))
  return 'idle'
}
