/** Jobs: what is being copied and moved, how far it is and how long it takes. */
import { PAGE_MAX } from '../../lib/api/lists.js'
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { JobView } from '../../lib/api/views.js'
import { Fault } from '../../lib/faults.js'
import type { Cluster } from '../run/cluster.js'
import type { JobRow } from '../state/rows.js'
import { findDisk, findHost, setDiskDuty, setHostDuty } from '../store/hosts.js'
import { endJob, findJob, listJobs } from '../store/jobs.js'
import { endRebalance } from '../store/rebalance.js'
import { extentsOnHost } from '../store/volumes.js'
import { mutate } from './requests.js'

export async function jobList(cluster: Cluster, { ended = 20, limit = PAGE_MAX, after, kind, work, state, name }: ApiParams<'jobList'>): Promise<ApiResult<'jobList'>> {
  const fits = (job: JobRow): boolean => (kind === undefined || job.kind === kind) && (work === undefined || job.kind === work) && (state === undefined || job.state === state) && (name === undefined || job.name === name)
  const all = await listJobs(cluster.store.read, ended)
  const at = after === undefined ? -1 : all.findIndex((job) => job.id === after)
  if (after !== undefined && at < 0) throw unknownJob(after)
  return Promise.all(all.slice(at + 1).filter(fits).slice(0, limit).map((job) => showJob(cluster, job)))
}

export async function jobShow(cluster: Cluster, { job }: ApiParams<'jobShow'>): Promise<ApiResult<'jobShow'>> {
  const found = await findJob(cluster.store.read, job)
  if (!found) throw unknownJob(job)
  return showJob(cluster, found)
}

function unknownJob(id: string): Fault {
  return new Fault('unknown job', `there is no job ${JSON.stringify(id)}`)
}

export async function showJob(cluster: Cluster, job: JobRow): Promise<JobView> {
  const share = job.state === 'done' ? 1 : job.kind === 'resync' ? cluster.progress.of(job.about, job.segment)?.share ?? 0 : await moved(cluster, job)
  const perSecond = job.state !== 'running' ? 0 : job.kind === 'resync'
    ? cluster.progress.of(job.about, job.segment)?.perSecond ?? 0
    : share / Math.max(1, (cluster.clock.nowMs() - job.startedAt) / 1000)
  const part = (of: number): bigint => BigInt(Math.round(Number(job.bytes) * of))
  return {
    id: job.id, ...(job.kind === 'rebalance' ? { kind: 'evacuate', work: 'rebalance' } as const : { kind: job.kind }), name: job.name, segment: job.segment, state: job.state, note: job.note, bytes: job.bytes, doneBytes: part(share), rate: part(perSecond),
    etaSeconds: job.state === 'running' && perSecond > 0 ? Math.ceil((1 - share) / perSecond) : -1, createdAt: job.createdAt, startedAt: job.startedAt, endedAt: job.endedAt,
  }
}

/** Of an evacuation, a drain or a rebalance: what share of its bytes is elsewhere. */
async function moved(cluster: Cluster, job: JobRow): Promise<number> {
  if (job.kind === 'rebalance') return job.bytes === 0n ? 0 : Math.min(1, Number(job.moved) / Number(job.bytes))
  const disk = job.kind === 'evacuate' ? await findDisk(cluster.store.read, job.about) : undefined
  const extents = (await extentsOnHost(cluster.store.read, disk?.host ?? job.about)).filter((extent) => (disk ? extent.disk === disk.id : true) && extent.state !== 'dropping')
  const left = extents.reduce((sum, extent) => sum + extent.bytes, 0n)
  return job.bytes === 0n ? 1 : Math.max(0, 1 - Number(left) / Number(job.bytes))
}

export function jobCancel(cluster: Cluster, params: ApiParams<'jobCancel'>, signal: AbortSignal): Promise<ApiResult<'jobCancel'>> {
  return mutate({
    cluster, method: 'vsky.job.cancel', params, signal,
    async intend(tx) {
      const job = await findJob(tx, params.job)
      if (!job) throw unknownJob(params.job)
      if (job.state !== 'waiting' && job.state !== 'running') throw new Fault('job finished', `job ${job.id} (${job.kind} of ${job.name}) is ${job.state} already`)
      if (job.kind === 'resync') throw new Fault('not cancellable', `Cannot cancel job ${job.id}: a resync gives ${job.name} back what it has lost`)
      const why = 'cancelled by a person: what has been moved stays where it is'
      if (job.kind === 'rebalance') {
        await endRebalance(tx, 'cancelled', why, cluster.clock.nowMs())
        await tx.event({ kind: 'job cancelled', about: 'manager', name: cluster.name, text: job.kind })
        return { about: job.id, done: true }
      }
      if (job.kind === 'evacuate' && await findDisk(tx, job.about)) await setDiskDuty(tx, job.about, 'use')
      if (job.kind === 'drain' && await findHost(tx, job.about)) await setHostDuty(tx, job.about, 'use')
      await endJob(tx, job.kind, job.about, 0, 'cancelled', why, cluster.clock.nowMs())
      await tx.event({ kind: 'job cancelled', about: job.kind === 'drain' ? 'host' : 'disk', name: job.name, text: job.kind })
      return { about: job.id, done: true }
    },
    async answer(id) {
      const job = await findJob(cluster.store.read, id)
      if (!job) throw new Fault('unknown job', `job ${id} is forgotten`)
      return showJob(cluster, job)
    },
  })
}
