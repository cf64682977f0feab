/** One verdict on the cluster, from what may not be whole: volumes that nothing speaks against are not looked at one by one. */
import type { ApiResult } from '../../lib/api/methods.js'
import type { LegFacts } from '../plan/segment.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { loadFacts, reachability, segmentFacts } from '../run/facts.js'
import type { VolumeFacts } from '../run/facts.js'
import { numberOf } from '../store/db.js'
import { allDisks, allHosts } from '../store/hosts.js'
import { openJobs } from '../store/jobs.js'
import { loadSettings } from '../store/settings.js'
import { segmentsInDoubt, volumeById, volumesUnderWay } from '../store/volumes.js'
import { showJob } from './jobs.js'
import { summarise } from './show.js'

type StatusView = ApiResult<'status'>

export async function status(cluster: Cluster): Promise<StatusView> {
  const db = cluster.store.read
  const [hosts, disks] = [await allHosts(db), await allDisks(db)]
  const hostsOffline = hosts.filter((host) => !online(cluster, host.name)).map((host) => host.name)
  const doubtful = await segmentsInDoubt(db, { hosts: hostsOffline, disks: disks.filter((disk) => disk.state !== 'ready' || disk.duty === 'failed').map((disk) => disk.id) })
  const underWay = await volumesUnderWay(db)
  const lists = { degraded: [] as string[], oneCopy: [] as string[], unavailable: [] as string[] }
  const reasons: string[] = hostsOffline.map((host) => `${host} is offline`)
  const most = (await loadSettings(db)).of('disk.read_errors')
  const worn = disks.filter((disk) => disk.readErrors >= most && disk.duty === 'use' && disk.extents > 0)
  reasons.push(...worn.map((disk) => `${disk.host}:${disk.device} had ${disk.readErrors} read errors: vsky disk evacuate ${disk.host}:${disk.device}`))
  const reachable = await reachability(cluster, db)
  for (const id of new Set([...doubtful.keys(), ...underWay.filter((volume) => volume.phase !== 'creating').map((volume) => volume.id)])) {
    const volume = await volumeById(db, id)
    if (volume) judge(cluster, await loadFacts(db, volume), reachable, lists, reasons)
  }
  const jobs = await Promise.all((await openJobs(db)).map((job) => showJob(cluster, job)))
  const acting = jobs.some((job) => job.state === 'running') || underWay.length > 0
  const verdict = lists.unavailable.length > 0 ? 'unavailable' : lists.oneCopy.length > 0 || ((lists.degraded.length > 0 || worn.length > 0) && !acting) ? 'at risk' : acting || jobs.length > 0 ? 'acting' : 'healthy'
  return { verdict, reasons, ...lists, hostsOffline, jobs, volumes: numberOf(await db.get('select count(*) as n from volumes') ?? {}, 'n') }
}

function judge(cluster: Cluster, facts: VolumeFacts, reachable: (leg: LegFacts) => boolean, lists: { degraded: string[]; oneCopy: string[]; unavailable: string[] }, reasons: string[]): void {
  const { volume } = facts
  const { health, problem } = summarise(cluster, facts, reachable)
  if (health === 'full' && volume.problem === '') return
  if (health === 'unavailable' || volume.problem !== '') lists.unavailable.push(volume.name)
  else lists.degraded.push(volume.name)
  const thin = segmentFacts(facts).some(({ legs }) => legs.filter((leg) => leg.state === 'insync' && reachable(leg)).length < 2)
  if (health === 'degraded' && volume.redundancy > 1 && thin) lists.oneCopy.push(volume.name)
  reasons.push(`${volume.name}: ${problem}`)
}
