/** Evacuations and drains: their jobs end when nothing is left on the disk or the host. What moves the legs is the repair. */
import { findDisk, findHost } from '../store/hosts.js'
import { endJob, openJobs, startJob } from '../store/jobs.js'
import { extentsOnHost } from '../store/volumes.js'
import type { Cluster } from './cluster.js'

export async function watchMoves(cluster: Cluster): Promise<void> {
  for (const job of await openJobs(cluster.store.read)) {
    if (job.kind === 'resync' || job.kind === 'rebalance') continue
    const [disk, host] = [await findDisk(cluster.store.read, job.about), await findHost(cluster.store.read, job.about)]
    const nowMs = cluster.clock.nowMs()
    if ((job.kind === 'evacuate' && disk?.duty !== 'evacuate') || (job.kind === 'drain' && host?.duty !== 'drain')) {
      await cluster.store.change((tx) => endJob(tx, job.kind, job.about, 0, 'cancelled', 'it is in use again', nowMs))
      continue
    }
    const extents = disk ? (await extentsOnHost(cluster.store.read, disk.host)).filter((extent) => extent.disk === disk.id) : await extentsOnHost(cluster.store.read, job.about)
    const left = extents.filter((extent) => extent.state !== 'dropping')
    await cluster.store.change(async (tx) => {
      if (left.length > 0) {
        await startJob(tx, job.kind, job.about, 0, 'its legs are copied elsewhere', nowMs)
        return
      }
      await endJob(tx, job.kind, job.about, 0, 'done', extents.length === 0 ? 'nothing is left on it' : `${extents.length} extents are left to be overwritten and removed there`, nowMs)
      await tx.event({ kind: job.kind === 'drain' ? 'host drained' : 'disk evacuated', about: job.kind === 'drain' ? 'host' : 'disk', name: job.name, text: 'no volume has a leg on it any more' })
    })
  }
}
