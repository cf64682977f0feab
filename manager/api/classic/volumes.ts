/** Volumes made, attached, detached and deleted by the original's rules. The work itself is what ours do (manager/api/volumes.ts). */
import { Fault } from '../../../lib/faults.js'
import type { XmlValue } from '../../../lib/rpc/xmlrpc.js'
import { layOutVolume, sizeProblem } from '../../plan/volume-layout.js'
import type { Cluster } from '../../run/cluster.js'
import { numberOfOurs, volumeNumbersLeft } from '../../store/classic.js'
import { findVolume, volumeById } from '../../store/volumes.js'
import { openRequestAbout } from '../../store/requests.js'
import type { Caller } from '../caller.js'
import { volumeAttach, volumeCreate, volumeDelete, volumeDetach } from '../volumes.js'
import { inClassicWords, refusal } from './faults.js'
import { volumeAskedFor } from './find.js'
import { loadFleet } from './fleet.js'
import { numberAll } from './ids.js'
import { neededId, given, wholeNumber } from './params.js'
import type { Members } from './params.js'
import { patiently } from './wait.js'
import { CAPACITY_MAX, GB, bindingOf, isVolumeName, label, priorities, redundancies, takesExtents } from './words.js'

/** Whoever reaches that door may do all that it has. */
const classicCaller: Caller = { who: 'a client of the original API', role: 'operator' }

/** What the configuration says to this API. */
export interface ClassicRules {
  /** Capacities are rounded up to a multiple of this, GB. */
  readonly stepGb: number
}

function nameOf(value: XmlValue | undefined, what: string): string {
  if (typeof value !== 'string' || !isVolumeName(value)) throw refusal('EINVAL', `${what}: 1 to 64 of the characters A-Z a-z 0-9 . - _ are needed, and nothing that looks like an id`)
  return Buffer.from(value).toString()
}

/** Numbers that the tree of a volume takes beside those of its mirrors: volume, origin, linear. */
const NODES = 3

/** In this order: redundancy, name, capacity, a name that is taken, room. */
export async function createLogicalVolume(cluster: Cluster, members: Members, signal: AbortSignal, { stepGb }: ClassicRules): Promise<XmlValue> {
  const redundancy = members.redundancy === undefined ? redundancies.initial : wholeNumber(members.redundancy)
  if (redundancy === undefined || redundancy < redundancies.min || redundancy > redundancies.max) throw refusal('EINVAL', `redundancy: ${redundancies.min} to ${redundancies.max} is needed`)
  const name = nameOf(members.lvolname, 'lvolname')
  const asked = wholeNumber(members.capacity)
  const capacity = asked === undefined ? 0 : Math.ceil(asked / stepGb) * stepGb
  if (capacity < 1 || capacity > CAPACITY_MAX) throw refusal('EINVAL', `capacity: a whole number of GB is needed, rounded up to a multiple of ${stepGb} from 1 to ${CAPACITY_MAX}`)
  if ((await findVolume(cluster.store.read, name))?.name === name) throw refusal('EEXIST', `there is a volume ${name} already`)
  const bytes = BigInt(capacity) * GB
  const wrong = sizeProblem(bytes)
  if (wrong !== undefined) throw refusal('ENOSPC', wrong)
  if (await volumeNumbersLeft(cluster.store.read) < NODES + layOutVolume(bytes, cluster.extentBytes).length) throw refusal('ENOSPC', 'all numbers lvol-… have been given out')
  const { servers, disks } = await loadFleet(cluster)
  const usable = servers.filter((server) => takesExtents(server.priority) && disks.some((disk) => disk.server.id === server.id && takesExtents(disk.priority)))
  if (usable.length < redundancy) throw refusal('ENOSPC', `${redundancy} copies need as many storage servers with a usable disk; there are ${usable.length}`)
  const made = await inClassicWords(patiently(cluster, signal, (request) => volumeCreate(cluster, { name, bytes, redundancy, request }, signal)), { 'bad parameter': 'ENOSPC', 'host offline': 'internal' })
  await numberAll(cluster)
  const id = await numberOfOurs(cluster.store.read, 'volume', made.id)
  if (id === undefined) throw refusal('internal', `volume ${name} was deleted as soon as it was made`)
  return id
}

/** Checked as the original did, then refused: there are no snapshots yet, and none is pretended. */
export async function createSnapshot(cluster: Cluster, members: Members): Promise<XmlValue> {
  if (!given(members.origin_lvolid) && !given(members.origin_lvolname)) throw refusal('EINVAL', 'origin_lvolid or origin_lvolname is needed')
  const name = nameOf(members.snapshot_lvolname, 'snapshot_lvolname')
  const origin = await volumeAskedFor(cluster, members, 'origin_')
  if ((await findVolume(cluster.store.read, name))?.name === name) throw refusal('EEXIST', `there is a volume ${name} already`)
  throw refusal('EOPNOTSUPP', `snapshots are not supported yet: none was taken of ${origin.name}, nothing has changed`)
}

/** The volume is gone at once, and its name is free; its extents are overwritten and removed afterwards, as the original did it. */
export async function deleteLogicalVolume(cluster: Cluster, members: Members): Promise<XmlValue> {
  const volume = await volumeAskedFor(cluster, members)
  const dontWait = AbortSignal.abort() // for the overwriting
  try {
    await volumeDelete(cluster, { volume: volume.id, request: `classic-${cluster.random.hex(16)}` }, dontWait)
  } catch (thrown) {
    const goes = thrown instanceof Fault && thrown.fault === 'timed out' && await volumeById(cluster.store.read, volume.id) === undefined
    if (!goes) await inClassicWords(Promise.reject(thrown))
  }
  return 0
}

/** In this order: hsvrid there, the volume, attached or on its way, hsvrid known, that head in use. */
export async function attachLogicalVolume(cluster: Cluster, members: Members, signal: AbortSignal): Promise<XmlValue> {
  const hsvrid = neededId(members, 'hsvrid')
  const volume = await volumeAskedFor(cluster, members)
  if (volume.phase !== 'detached') throw refusal('EBUSY', `${volume.name} is ${volume.phase}${volume.head === '' ? '' : ` (${volume.head})`}`)
  const head = (await loadFleet(cluster)).heads.find((each) => each.id === hsvrid)
  if (!head) throw refusal('EINVAL', `there is no ${label('hsvr', hsvrid)}`)
  if (head.priority !== priorities.high) throw refusal('EINVAL', `${head.row.name} is not in use, does not answer, or was shut down`)
  await inClassicWords(patiently(cluster, signal, (request) => volumeAttach(cluster, { volume: volume.id, host: head.row.name, request }, signal, { caller: classicCaller })))
  return 0
}

/** One that is not attached is detached. EAGAIN while something is under way; EBUSY while it is in use on its head: then nothing has changed. */
export async function detachLogicalVolume(cluster: Cluster, members: Members, signal: AbortSignal): Promise<XmlValue> {
  const volume = await volumeAskedFor(cluster, members)
  const binding = bindingOf(volume, await openRequestAbout(cluster.store.read, volume.id) !== undefined)
  if (binding === 'unbound') return 0
  if (binding === 'binding' || binding === 'unbinding') throw refusal('EAGAIN', `${volume.name} is ${volume.phase}`)
  await inClassicWords(patiently(cluster, signal, (request) => volumeDetach(cluster, { volume: volume.id, request }, signal, { caller: classicCaller })), { 'volume busy': 'EAGAIN' })
  return 0
}
