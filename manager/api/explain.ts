/** State, cause, what is being done, and what a person may safely do next: for one volume, host, disk or job. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { VolumeView } from '../../lib/api/views.js'
import { Fault } from '../../lib/faults.js'
import { formatSizeRounded } from '../../lib/units.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import type { DiskRow, HostRow, JobRow, VolumeRow } from '../state/rows.js'
import { findDisk, findHost } from '../store/hosts.js'
import { findJob, openJobs } from '../store/jobs.js'
import { extentsOnHost, findVolume, volumesOnHead } from '../store/volumes.js'
import { showJob } from './jobs.js'
import { showVolume } from './show.js'

type ExplainView = ApiResult<'explain'>

export async function explain(cluster: Cluster, { object }: ApiParams<'explain'>): Promise<ExplainView> {
  const db = cluster.store.read
  const volume = await findVolume(db, object)
  if (volume) return explainVolume(cluster, volume)
  const host = await findHost(db, object)
  if (host) return explainHost(cluster, host)
  const disk = await findDisk(db, object)
  if (disk) return explainDisk(cluster, disk)
  const job = await findJob(db, object)
  if (job) return explainJob(cluster, job)
  throw new Fault('unknown object', `there is no volume, host, disk or job ${JSON.stringify(object)}`)
}

async function jobsAbout(cluster: Cluster, about: readonly string[]): Promise<readonly string[]> {
  const jobs = (await openJobs(cluster.store.read)).filter((job) => about.includes(job.about))
  return Promise.all(jobs.slice(0, 20).map(async (job) => {
    const view = await showJob(cluster, job)
    const how = view.state === 'running' ? `${view.bytes === 0n ? 0 : Number(view.doneBytes * 100n / view.bytes)} %${view.etaSeconds >= 0 ? `, ${view.etaSeconds} s more` : ''}` : `waits: ${view.note}`
    return `${view.work ?? view.kind}${view.kind === 'resync' ? ` of segment ${view.segment}` : ` of ${view.name}`}, ${formatSizeRounded(view.bytes)}: ${how}${view.state === 'running' ? ` (${view.note})` : ''}`
  }))
}

async function explainVolume(cluster: Cluster, volume: VolumeRow): Promise<ExplainView> {
  const view = await showVolume(cluster, volume)
  const doing = [...await jobsAbout(cluster, [volume.id])]
  if (volume.phase !== 'attached' && volume.phase !== 'detached') doing.push(`it is ${volume.phase}${volume.head === '' ? '' : ` (${volume.head})`}`)
  return {
    kind: 'volume', name: volume.name, state: `${view.state}${view.head === '' ? '' : ` to ${view.head}`}, ${view.health}`,
    causes: causesOf(view), doing, next: nextFor(cluster, volume, view),
  }
}

function causesOf(view: VolumeView): readonly string[] {
  const legs = view.segments.flatMap((segment) => segment.legs.filter((leg) => leg.state !== 'insync' || !leg.online).map((leg) => `segment ${segment.index}: the leg on ${leg.host} is ${leg.state}${leg.online ? '' : ', its server is offline'}`))
  return [...view.problem === '' ? [] : [view.problem], ...legs.slice(0, 12), ...legs.length > 12 ? [`and ${legs.length - 12} more legs`] : []]
}

function nextFor(cluster: Cluster, volume: VolumeRow, view: VolumeView): readonly string[] {
  const away = [...new Set(view.segments.flatMap((segment) => segment.legs.filter((leg) => !leg.online).map((leg) => leg.host)))]
  const next = away.map((host) => `start ${host} again; if it will not come back: vsky host fail ${host}`)
  if (volume.head !== '' && !online(cluster, volume.head)) {
    next.push(`its head ${volume.head} is offline: start it again, or move the volume: vsky volume attach ${volume.name} --host HOST --force-from-dead-host`)
  }
  if (/no spare/.test(view.problem)) next.push('make room: vsky disk add HOST DEVICE on a server without a leg of this volume, or delete what is not needed')
  if (next.length === 0) next.push(view.health === 'full' ? 'nothing has to be done' : 'wait: vsky job list shows how far it is')
  return next
}

async function explainHost(cluster: Cluster, host: HostRow): Promise<ExplainView> {
  const up = online(cluster, host.name)
  const extents = await extentsOnHost(cluster.store.read, host.name)
  const attached = (await volumesOnHead(cluster.store.read, host.name)).filter((volume) => volume.head === host.name)
  const next: string[] = []
  if (!up) next.push(`start it again${host.duty === 'failed' ? '' : `; if it will not come back: vsky host fail ${host.name}`}`)
  if (!up) next.push(...attached.map((volume) => `move ${volume.name} to another head: vsky volume attach ${volume.name} --host HOST --force-from-dead-host`))
  if (up && host.duty !== 'use') next.push(`vsky host use ${host.name} takes it into use again`)
  if (next.length === 0) next.push('nothing has to be done')
  return {
    kind: 'host', name: host.name, state: `${up ? 'online' : 'offline'}${host.duty === 'use' ? '' : `, ${host.duty}`}; ${extents.filter((extent) => extent.state !== 'dropping').length} legs on it, ${attached.length} volumes attached to it`,
    causes: [...up ? [] : ['its agent has not been heard'], ...(cluster.foreign.get(host.name) ?? []).map((each) => `not made by Vsky: ${each.what} ${each.name} (${each.why})`)],
    doing: await jobsAbout(cluster, [host.name, ...new Set(extents.map((extent) => extent.volume))]), next,
  }
}

async function explainDisk(cluster: Cluster, disk: DiskRow): Promise<ExplainView> {
  const extents = (await extentsOnHost(cluster.store.read, disk.host)).filter((extent) => extent.disk === disk.id)
  const name = `${disk.host}:${disk.device}`
  const next: string[] = []
  if (disk.state !== 'ready' && disk.duty === 'use') next.push(`if it will not come back: vsky disk fail ${name}`)
  if (disk.duty !== 'use' && extents.length === 0) next.push(`vsky disk remove ${name} gives it back`)
  if (disk.duty !== 'use') next.push(`vsky disk use ${name} takes it into use again`)
  if (next.length === 0) next.push('nothing has to be done')
  return {
    kind: 'disk', name, state: `${disk.state}${disk.duty === 'use' ? '' : `, ${disk.duty}`}; ${extents.length} extents`,
    causes: [...disk.problem === '' ? [] : [disk.problem], ...online(cluster, disk.host) ? [] : [`its server ${disk.host} is offline`]],
    doing: await jobsAbout(cluster, [disk.id, ...new Set(extents.map((extent) => extent.volume))]), next,
  }
}

async function explainJob(cluster: Cluster, job: JobRow): Promise<ExplainView> {
  const open = job.state === 'waiting' || job.state === 'running'
  return {
    kind: 'job', name: job.id, state: `${job.kind} of ${job.name}: ${job.state}`, causes: [job.note], doing: open ? await jobsAbout(cluster, [job.about]) : [],
    next: [open ? (job.kind === 'resync' ? 'wait, or hold it: vsky setting set resync.paused 1' : `vsky job cancel ${job.id} ends it; what has been moved stays`) : 'nothing has to be done'],
  }
}
