/** Volumes: each mutating call checks, records the intent, and waits for the turns to carry it out. */
import { PAGE_MAX } from '../../lib/api/lists.js'
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { limits } from '../../lib/model.js'
import { formatSizeRounded } from '../../lib/units.js'
import { placeLegs } from '../plan/place-legs.js'
import { layOutVolume, sizeProblem } from '../plan/volume-layout.js'
import { healthOf } from '../plan/health.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { loadFacts, reachability, segmentFacts } from '../run/facts.js'
import { stopCopying } from '../run/copying.js'
import { loadFleet, placeDisks } from '../run/fleet.js'
import type { HostRow, VolumeRow } from '../state/rows.js'
import { findHost } from '../store/hosts.js'
import type { Reader } from '../store/db.js'
import type { ChangeTx } from '../store/store.js'
import { endJobsAbout } from '../store/jobs.js'
import { finishRequest } from '../store/requests.js'
import { forgetSettingsOf } from '../store/settings.js'
import { addExtent, addSegment, addVolume, changeLayout, dropExtents, extentsOf, findVolume, removeVolume, updateVolume } from '../store/volumes.js'
import { extentsOfAll, segmentsOfAll, volumesPage } from '../store/lists.js'
import { refuseOthersVolume } from './caller.js'
import type { Asked } from './caller.js'
import { mutate } from './requests.js'
import { showVolume, summarise } from './show.js'

export async function knownVolume(db: Reader, reference: string): Promise<VolumeRow> {
  const volume = await findVolume(db, reference)
  if (!volume) throw new Fault('unknown volume', `there is no volume ${JSON.stringify(reference)}`)
  return volume
}

export async function volumeList(cluster: Cluster, { limit = PAGE_MAX, ...filter }: ApiParams<'volumeList'>): Promise<ApiResult<'volumeList'>> {
  const db = cluster.store.read
  const volumes = await volumesPage(db, { ...filter, limit })
  const ids = volumes.map((volume) => volume.id)
  const [reachable, segments, extents] = await Promise.all([reachability(cluster, db), segmentsOfAll(db, ids), extentsOfAll(db, ids)])
  return volumes.map((volume) => summarise(cluster, { volume, segments: segments.get(volume.id) ?? [], extents: extents.get(volume.id) ?? [] }, reachable))
}

export async function volumeShow(cluster: Cluster, { volume }: ApiParams<'volumeShow'>): Promise<ApiResult<'volumeShow'>> {
  return showVolume(cluster, await knownVolume(cluster.store.read, volume))
}

export function volumeCreate(cluster: Cluster, params: ApiParams<'volumeCreate'>, signal: AbortSignal): Promise<ApiResult<'volumeCreate'>> {
  return mutate({
    cluster, method: 'vsky.volume.create', params, signal,
    async intend(tx) {
      const wrong = sizeProblem(params.bytes, cluster.extentBytes)
      if (wrong !== undefined) throw new Fault('bad parameter', `Cannot create volume ${params.name}: ${wrong}`)
      const taken = await findVolume(tx, params.name)
      if (taken) throw new Fault('name taken', `there is a volume ${params.name} already (${formatSizeRounded(taken.bytes)}, ${taken.phase})`)
      const id = cluster.random.hex(16)
      await plan(cluster, tx, id, params)
      return { about: id, kick: 'volume' }
    },
    answer: (id) => volumeShow(cluster, { volume: id }),
  })
}

/** Places every leg and writes the whole volume down: from here on it exists, and the turn only makes it real. */
async function plan(cluster: Cluster, tx: ChangeTx, id: string, { name, bytes, redundancy = limits.defaultRedundancy }: ApiParams<'volumeCreate'>): Promise<void> {
  const segments = layOutVolume(bytes, cluster.extentBytes)
  const fleet = await loadFleet(tx)
  const placement = placeLegs({ segments: segments.map((segment) => segment.extentBytes), redundancy }, placeDisks(cluster, fleet))
  if (placement.kind === 'refused') throw new Fault(placement.why, `Cannot create volume ${name}: ${placement.reason}`)
  await addVolume(tx, { id, name, bytes, redundancy, createdAt: cluster.clock.nowMs() })
  for (const segment of segments) {
    await addSegment(tx, { volume: id, index: segment.index, offset: segment.offset, bytes: segment.bytes, generation: 1 })
    for (const [slot, disk] of (placement.legs[segment.index] ?? []).entries()) {
      await addExtent(tx, { id: cluster.random.hex(16), disk, host: fleet.disks.get(disk)?.host ?? '', volume: id, segment: segment.index, slot, bytes: segment.extentBytes }, 'allocated')
    }
  }
}

export function volumeAttach(cluster: Cluster, params: ApiParams<'volumeAttach'>, signal: AbortSignal, { caller }: Pick<Asked, 'caller'>): Promise<ApiResult<'volumeAttach'>> {
  if (caller.role === 'hypervisor' && params.fromDeadHost === true) throw new Fault('denied', `${caller.who} can't take a volume from another host: an operator has to`)
  return mutate({
    cluster, method: 'vsky.volume.attach', params, signal,
    async intend(tx) {
      const volume = await knownVolume(tx, params.volume)
      const head = await findHost(tx, params.host)
      if (!head) throw new Fault('unknown host', `there is no host ${JSON.stringify(params.host)}`)
      if (!head.roles.includes('head')) throw new Fault('wrong role', `${head.name} is not a head server (its role: ${head.roles.join(', ')})`)
      if (params.fromDeadHost === true && volume.head !== '') return shutOutFirst(cluster, tx, volume, head)
      refuseUnused(head)
      if (volume.phase === 'attached') throw new Fault('volume attached', `${volume.name} is attached to ${volume.head} already`)
      if (volume.phase !== 'detached') throw new Fault('volume busy', `${volume.name} is ${volume.phase}`)
      if (!online(cluster, head.name)) throw new Fault('host offline', `${head.name} does not answer`)
      const facts = await loadFacts(tx, volume)
      const health = healthOf(segmentFacts(facts), volume.redundancy, await reachability(cluster, tx))
      if (health.health === 'unavailable') throw new Fault('data unavailable', `Cannot attach volume ${volume.name}: ${health.problem}`)
      await updateVolume(tx, volume.id, { phase: 'attaching', head: head.name, attachEpoch: volume.attachEpoch + 1, attachBoot: head.bootId, problem: '', ...(volume.copyHead === head.name ? { copyHead: '', copyBoot: '' } : {}) })
      await changeLayout(tx, volume.id)
      return { about: volume.id, kick: 'volume' }
    },
    answer: (id) => volumeShow(cluster, { volume: id }),
  })
}

export function volumeDetach(cluster: Cluster, params: ApiParams<'volumeDetach'>, signal: AbortSignal, { caller }: Pick<Asked, 'caller'>): Promise<ApiResult<'volumeDetach'>> {
  return mutate({
    cluster, method: 'vsky.volume.detach', params, signal,
    async intend(tx) {
      const volume = await knownVolume(tx, params.volume)
      if (volume.phase === 'detached') return { about: volume.id, kick: 'volume' } // as asked already: answered at once
      refuseOthersVolume(caller, volume)
      if (volume.phase === 'creating' || volume.phase === 'detaching') throw new Fault('volume busy', `${volume.name} is ${volume.phase}`)
      if (volume.phase === 'attaching' && await busyWith(tx, volume.id)) throw new Fault('volume busy', `${volume.name} is being attached to ${volume.head}`)
      if (!online(cluster, volume.head)) throw new Fault('host offline', `Cannot detach volume ${volume.name}: its head ${volume.head} does not answer`)
      await updateVolume(tx, volume.id, { phase: 'detaching' })
      return { about: volume.id, kick: 'volume' }
    },
    answer: (id) => volumeShow(cluster, { volume: id }),
  })
}

/** A person has drained it, or counts it as lost. */
function refuseUnused(head: HostRow): void {
  if (head.duty !== 'use') throw new Fault('host not in use', `${head.name} is not in use: its duty is ${head.duty}`)
}

/** To another head than the one that has it, without that one's help: it must be silent, or be known to have failed. */
async function shutOutFirst(cluster: Cluster, tx: ChangeTx, volume: VolumeRow, head: HostRow): Promise<{ about: string; kick: string }> {
  const old = await findHost(tx, volume.head)
  if (head.name === volume.head) throw new Fault('volume attached', `${volume.name} is attached to ${volume.head} already`)
  refuseUnused(head)
  if (!online(cluster, head.name)) throw new Fault('host offline', `${head.name} does not answer`)
  if (old && old.duty !== 'failed' && online(cluster, old.name)) throw new Fault('host online', `Cannot take volume ${volume.name} from ${old.name}: it answers`)
  if (volume.phase === 'fencing' && volume.nextHead !== '') throw new Fault('volume busy', `${volume.name} is being moved to ${volume.nextHead}`)
  // Who waits for the old head is told now: what ends later is the answer to this call.
  await finishRequest(tx, volume.id, new Fault('host offline', `${volume.head} is taken for lost: ${head.name} shall have volume ${volume.name}`))
  await updateVolume(tx, volume.id, { phase: 'fencing', nextHead: head.name })
  await changeLayout(tx, volume.id)
  await tx.event({ kind: 'head to be shut out', about: 'volume', name: volume.name, text: `${volume.head} is taken for lost: ${head.name} shall have the volume` })
  return { about: volume.id, kick: 'volume' }
}

async function busyWith(db: Reader, volume: string): Promise<boolean> {
  return (await db.get(`select 1 as yes from requests where about = ? and state = 'open'`, [volume])) !== undefined
}

export async function volumeDelete(cluster: Cluster, params: ApiParams<'volumeDelete'>, signal: AbortSignal): Promise<ApiResult<'volumeDelete'>> {
  const copied = await findVolume(cluster.store.read, params.volume)
  if (copied) cluster.leaving.add(copied.id) // no copy is begun anew between its end and the deletion
  try {
    if (copied?.phase === 'detached' && copied.copyHead !== '') await stopCopying(cluster, await loadFacts(cluster.store.read, copied))
    return await deleteNow(cluster, params, signal)
  } finally {
    if (copied) cluster.leaving.delete(copied.id)
  }
}

function deleteNow(cluster: Cluster, params: ApiParams<'volumeDelete'>, signal: AbortSignal): Promise<ApiResult<'volumeDelete'>> {
  return mutate({
    cluster, method: 'vsky.volume.delete', params, signal,
    async intend(tx) {
      const volume = await knownVolume(tx, params.volume)
      if (volume.phase === 'attached') throw new Fault('volume attached', `${volume.name} is attached to ${volume.head}`)
      if (volume.phase !== 'detached' || volume.copyHead !== '' || await busyWith(tx, volume.id)) throw new Fault('volume busy', `${volume.name} is ${volume.phase}`)
      const hosts = new Set((await extentsOf(tx, volume.id)).map((extent) => extent.host))
      await dropExtents(tx, volume.id)
      await removeVolume(tx, volume.id)
      await endJobsAbout(tx, volume.id, 'its volume was deleted', cluster.clock.nowMs())
      await forgetSettingsOf(tx, volume.id)
      await tx.event({ kind: 'volume deleted', about: 'volume', name: volume.name, text: `its extents on ${[...hosts].sort().join(', ')} are overwritten and removed` })
      return { about: volume.id, kick: 'gone' }
    },
    answer: () => Promise.resolve({}),
  })
}
