/** One verdict on the cluster, from what may not be whole: volumes that nothing speaks against are not looked at one by one. */
import type { ApiResult } from '../../lib/api/methods.js'
import type { LegFacts } from '../plan/segment.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { reachability, segmentFacts } from '../run/facts.js'
import type { VolumeFacts } from '../run/facts.js'
import { numberOf } from '../store/db.js'
import { allHosts, doubtfulDisks, wornDisks } from '../store/hosts.js'
import { openJobs } from '../store/jobs.js'
import { extentsOfAll, segmentsOfAll, volumesOfAll } from '../store/lists.js'
import { loadSettings } from '../store/settings.js'
import { segmentsInDoubt, volumesUnderWay } from '../store/volumes.js'
import { showJob } from './jobs.js'
import { summarise } from './show.js'

type StatusView = ApiResult<'status'>

/** Lines and jobs that are told one by one: the loss of a server may make tens of thousands, which nobody reads. */
const TOLD_MAX = 200

/** Volumes that are read at a time: as many as are quickly put together, so that others are answered in between. */
const BATCH = 200

interface Looking { readonly now: Promise<StatusView>; next?: Promise<StatusView> }

const looking = new WeakMap<Cluster['presence'], Looking>()

/**
 * When much is lost many ask at once, and that is when a look is long. So there is one at a time: who comes while one is under way shares the next,
 * which begins after he came.
 */
export async function status(cluster: Cluster): Promise<StatusView> {
  const before = looking.get(cluster.presence)
  if (before) return before.next ??= before.now.then(() => undefined, () => undefined).then(() => look(cluster))
  return look(cluster)
}

function look(cluster: Cluster): Promise<StatusView> {
  const mine: Looking = { now: lookNow(cluster) }
  looking.set(cluster.presence, mine)
  const over = (): void => { if (!mine.next) looking.delete(cluster.presence) }
  mine.now.then(over, over)
  return mine.now
}

async function lookNow(cluster: Cluster): Promise<StatusView> {
  const db = cluster.store.read
  const hostsOffline = (await allHosts(db)).filter((host) => !online(cluster, host.name)).map((host) => host.name)
  const doubtful = await segmentsInDoubt(db, { hosts: hostsOffline, disks: await doubtfulDisks(db) })
  const underWay = await volumesUnderWay(db)
  const lists = { degraded: [] as string[], oneCopy: [] as string[], unavailable: [] as string[] }
  const reasons: string[] = hostsOffline.map((host) => `${host} is offline`)
  const worn = await wornDisks(db, (await loadSettings(db)).of('disk.read_errors'))
  reasons.push(...worn.map((disk) => `${disk.host}:${disk.device} had ${disk.readErrors} read errors: vsky disk evacuate ${disk.host}:${disk.device}`))
  const reachable = await reachability(cluster, db)
  const ids = [...new Set([...doubtful.keys(), ...underWay.filter((volume) => volume.phase !== 'creating').map((volume) => volume.id)])]
  for (let at = 0; at < ids.length; at += BATCH) {
    const batch = ids.slice(at, at + BATCH)
    const [volumes, segments, extents] = [await volumesOfAll(db, batch), await segmentsOfAll(db, batch), await extentsOfAll(db, batch)]
    for (const volume of volumes) judge(cluster, { volume, segments: segments.get(volume.id) ?? [], extents: extents.get(volume.id) ?? [] }, reachable, lists, reasons)
  }
  const open = [...await openJobs(db)].sort((a, b) => Number(b.state === 'running') - Number(a.state === 'running')) // the sort is stable: among equals the oldest first
  const jobs = await Promise.all(open.slice(0, TOLD_MAX).map((job) => showJob(cluster, job)))
  const told = reasons.length <= TOLD_MAX ? reasons : [...reasons.slice(0, TOLD_MAX - 1), `… and ${reasons.length - TOLD_MAX + 1} more like these`]
  if (open.length > jobs.length) told.push(`${open.length} jobs are open, those that are told are the first: vsky job list`)
  const acting = open.some((job) => job.state === 'running') || underWay.length > 0
  const verdict = lists.unavailable.length > 0 ? 'unavailable' : lists.oneCopy.length > 0 || ((lists.degraded.length > 0 || worn.length > 0) && !acting) ? 'at risk' : acting || open.length > 0 ? 'acting' : 'healthy'
  return { verdict, reasons: told, ...lists, hostsOffline, jobs, volumes: numberOf(await db.get('select count(*) as n from volumes') ?? {}, 'n') }
}

function judge(
  cluster: Cluster, facts: Pick<VolumeFacts, 'volume' | 'segments' | 'extents'>, reachable: (leg: LegFacts) => boolean, lists: { degraded: string[]; oneCopy: string[]; unavailable: string[] }, reasons: string[],
): void {
  const { volume } = facts
  const { health, problem } = summarise(cluster, facts, reachable)
  if (health === 'full' && volume.problem === '') return
  if (health === 'unavailable' || volume.problem !== '') lists.unavailable.push(volume.name)
  else lists.degraded.push(volume.name)
  const thin = segmentFacts(facts).some(({ legs }) => legs.filter((leg) => leg.state === 'insync' && reachable(leg)).length < 2)
  if (health === 'degraded' && volume.redundancy > 1 && thin) lists.oneCopy.push(volume.name)
  reasons.push(`${volume.name}: ${problem}`)
}
