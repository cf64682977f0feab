/** Duties of disks and hosts: evacuated, drained, failed, in use again. Each call only records the intent; the repair does the rest. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { planMove } from '../plan/move.js'
import type { MovePlan, MovingLeg } from '../plan/move.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { loadFleet, placeDisks } from '../run/fleet.js'
import type { DiskDuty, ExtentRow, HostDuty, HostRow } from '../state/rows.js'
import type { Reader } from '../store/db.js'
import { allDisks, setDiskDuty, setHostDuty } from '../store/hosts.js'
import { addJob, endJob } from '../store/jobs.js'
import { extentsBeside, volumesOfAll } from '../store/lists.js'
import { finishRequest } from '../store/requests.js'
import { loadSettings } from '../store/settings.js'
import type { ChangeTx } from '../store/store.js'
import { changeLayout, extentsOnHost, updateVolume, volumesOnHead } from '../store/volumes.js'
import { diskShow, knownDisk } from './disks.js'
import { hostShow, knownHost } from './hosts.js'
import { mutate } from './requests.js'

const MIB = 1024n * 1024n

/** What moving these extents of a host away would do. `leaving` disks take nothing. */
async function planFor(cluster: Cluster, db: Reader, host: string, extents: readonly ExtentRow[], leaving: (disk: string) => boolean): Promise<MovePlan> {
  const legs: MovingLeg[] = []
  const live = extents.filter((each) => each.state !== 'dropping')
  const ids = [...new Set(live.map((each) => each.volume))]
  const [volumes, peers] = [new Map((await volumesOfAll(db, ids)).map((volume) => [volume.id, volume])), await extentsBeside(db, host, ids)]
  for (const extent of live) {
    const volume = volumes.get(extent.volume)
    if (!volume) continue
    const others = (peers.get(`${extent.volume}/${extent.segment}`) ?? []).filter((each) => each.id !== extent.id && !leaving(each.disk))
    legs.push({
      volume: volume.name, segment: extent.segment, bytes: extent.bytes, others: others.map((each) => each.host), redundant: volume.redundancy > 1,
      goodElsewhere: others.filter((each) => each.leg === 'insync' && online(cluster, each.host)).length,
    })
  }
  const room = placeDisks(cluster, await loadFleet(db)).filter((disk) => !leaving(disk.id))
  return planMove(legs, room, BigInt((await loadSettings(db)).of('resync.rate')) * MIB)
}

async function diskPlan(cluster: Cluster, db: Reader, reference: string): Promise<{ readonly id: string; readonly label: string; readonly plan: MovePlan }> {
  const disk = await knownDisk(db, reference)
  const extents = (await extentsOnHost(db, disk.host)).filter((extent) => extent.disk === disk.id)
  return { id: disk.id, label: `${disk.host}:${disk.device}`, plan: await planFor(cluster, db, disk.host, extents, (each) => each === disk.id) }
}

async function hostPlan(cluster: Cluster, db: Reader, host: HostRow): Promise<MovePlan> {
  const mine = new Set((await allDisks(db, host.name)).map((disk) => disk.id))
  return planFor(cluster, db, host.name, await extentsOnHost(db, host.name), (disk) => mine.has(disk))
}

function refuseWithoutRoom(what: string, { problems }: MovePlan): void {
  const [first] = problems
  if (first !== undefined) throw new Fault('no room', `Cannot ${what}: ${problems.length} ${problems.length === 1 ? 'leg has' : 'legs have'} no place to go; ${first}`)
}

export async function diskEvacuationPlan(cluster: Cluster, { disk }: ApiParams<'diskEvacuationPlan'>): Promise<ApiResult<'diskEvacuationPlan'>> {
  return (await diskPlan(cluster, cluster.store.read, disk)).plan
}

export function diskEvacuate(cluster: Cluster, params: ApiParams<'diskEvacuate'>, signal: AbortSignal): Promise<ApiResult<'diskEvacuate'>> {
  return mutate({
    cluster, method: 'vsky.disk.evacuate', params, signal,
    async intend(tx) {
      const { id, label, plan } = await diskPlan(cluster, tx, params.disk)
      refuseWithoutRoom(`evacuate disk ${label}`, plan)
      await setDiskDuty(tx, id, 'evacuate')
      await addJob(tx, { id: cluster.random.hex(16), kind: 'evacuate', about: id, name: label, segment: 0, note: 'its legs are copied elsewhere', bytes: plan.bytes, createdAt: cluster.clock.nowMs() })
      await tx.event({ kind: 'disk evacuation begins', about: 'disk', name: label, text: `${plan.legs} legs of ${plan.volumes.length} volumes, ${plan.bytes} bytes` })
      return { about: id, done: true }
    },
    answer: (id) => diskShow(cluster, { disk: id }),
  })
}

function diskDuty(cluster: Cluster, method: string, duty: DiskDuty, text: string, params: ApiParams<'diskFail'>, signal: AbortSignal): Promise<ApiResult<'diskFail'>> {
  return mutate({
    cluster, method, params, signal,
    async intend(tx) {
      const disk = await knownDisk(tx, params.disk)
      // Of a disk that is in use already, a person says that its read errors are over.
      const forgiven = duty === 'use' && disk.readErrors > 0 ? `; its ${disk.readErrors} read errors count no more` : ''
      if (disk.duty !== duty || forgiven !== '') {
        await setDiskDuty(tx, disk.id, duty)
        if (disk.duty === 'evacuate') await endJob(tx, 'evacuate', disk.id, 0, 'cancelled', text, cluster.clock.nowMs())
        await tx.event({ kind: `disk ${duty === 'use' ? 'in use' : duty}`, about: 'disk', name: `${disk.host}:${disk.device}`, text: `${text}${forgiven}` })
      }
      return { about: disk.id, done: true }
    },
    answer: (id) => diskShow(cluster, { disk: id }),
  })
}

export function diskFail(cluster: Cluster, params: ApiParams<'diskFail'>, signal: AbortSignal): Promise<ApiResult<'diskFail'>> {
  return diskDuty(cluster, 'vsky.disk.fail', 'failed', 'its legs count as lost', params, signal)
}

export function diskUse(cluster: Cluster, params: ApiParams<'diskUse'>, signal: AbortSignal): Promise<ApiResult<'diskUse'>> {
  return diskDuty(cluster, 'vsky.disk.use', 'use', 'it is in use again', params, signal)
}

export async function hostDrainPlan(cluster: Cluster, { host }: ApiParams<'hostDrainPlan'>): Promise<ApiResult<'hostDrainPlan'>> {
  return hostPlan(cluster, cluster.store.read, await knownHost(cluster.store.read, host))
}

export function hostDrain(cluster: Cluster, params: ApiParams<'hostDrain'>, signal: AbortSignal): Promise<ApiResult<'hostDrain'>> {
  return mutate({
    cluster, method: 'vsky.host.drain', params, signal,
    async intend(tx) {
      const host = await knownHost(tx, params.host)
      const attached = (await volumesOnHead(tx, host.name)).filter((volume) => volume.head === host.name)
      if (attached.length > 0) throw new Fault('volume attached', `Cannot drain ${host.name}: attached to it: ${attached.map((volume) => volume.name).join(', ')}`)
      const plan = await hostPlan(cluster, tx, host)
      refuseWithoutRoom(`drain ${host.name}`, plan)
      await setHostDuty(tx, host.name, 'drain')
      await addJob(tx, { id: cluster.random.hex(16), kind: 'drain', about: host.name, name: host.name, segment: 0, note: 'its legs are copied elsewhere', bytes: plan.bytes, createdAt: cluster.clock.nowMs() })
      await tx.event({ kind: 'host drain begins', about: 'host', name: host.name, text: `${plan.legs} legs of ${plan.volumes.length} volumes, ${plan.bytes} bytes` })
      return { about: host.name, done: true }
    },
    answer: (name) => hostShow(cluster, { host: name }),
  })
}

function hostDuty(
  cluster: Cluster, method: string, duty: HostDuty, params: { readonly host: string; readonly request: string }, signal: AbortSignal, act: (tx: ChangeTx, host: HostRow) => Promise<string>,
): Promise<ApiResult<'hostShow'>> {
  return mutate({
    cluster, method, params, signal,
    async intend(tx) {
      const host = await knownHost(tx, params.host)
      if (host.duty !== duty) {
        const text = await act(tx, host)
        await setHostDuty(tx, host.name, duty)
        if (host.duty === 'drain') await endJob(tx, 'drain', host.name, 0, 'cancelled', text, cluster.clock.nowMs())
        await tx.event({ kind: `host ${duty === 'use' ? 'in use' : duty}`, about: 'host', name: host.name, text })
      }
      return { about: host.name, done: true }
    },
    answer: async (name) => {
      for (const volume of await volumesOnHead(cluster.store.read, name)) cluster.work.kick('volume', volume.id)
      return hostShow(cluster, { host: name })
    },
  })
}

/** A host that answers is not lost, whatever a person believes, unless he insists. */
export function hostFail(cluster: Cluster, params: ApiParams<'hostFail'>, signal: AbortSignal): Promise<ApiResult<'hostFail'>> {
  return hostDuty(cluster, 'vsky.host.fail', 'failed', params, signal, async (tx, host) => {
    if (!params.force && online(cluster, host.name)) throw new Fault('host online', `Cannot count ${host.name} as lost: it answers (--force insists)`)
    const taken = (await volumesOnHead(tx, host.name)).filter((volume) => volume.head === host.name && volume.phase !== 'fencing')
    for (const volume of taken) {
      if (volume.phase === 'attaching') await finishRequest(tx, volume.id, new Fault('host offline', `${host.name} counts as lost: volume ${volume.name} is not attached to it`))
      await updateVolume(tx, volume.id, { phase: 'fencing', nextHead: '' })
      await changeLayout(tx, volume.id)
    }
    return taken.length === 0 ? 'it counts as lost' : `it counts as lost, and is shut out of ${taken.map((volume) => volume.name).join(', ')}`
  })
}

export function hostUse(cluster: Cluster, params: ApiParams<'hostUse'>, signal: AbortSignal): Promise<ApiResult<'hostUse'>> {
  return hostDuty(cluster, 'vsky.host.use', 'use', params, signal, () => Promise.resolve('it is in use again'))
}
