/**
 * Head servers, storage servers and disks are ours by their agents, which prove with a certificate who they are. A classic
 * registration therefore makes nothing of a host that no agent speaks for; it finds the one that has these addresses, gives its number, and takes it
 * into use again.
 */
import { apiMethods } from '../../../lib/api/methods.js'
import type { XmlValue } from '../../../lib/rpc/xmlrpc.js'
import { changeNoted } from '../../run/audit.js'
import { online } from '../../run/cluster.js'
import type { Cluster } from '../../run/cluster.js'
import { dropRole, extentsOnDisk, forgetNumber, forgetTombstones, numbersOf, setRegistered } from '../../store/classic.js'
import type { Numbered } from '../../store/classic.js'
import { removeDisk } from '../../store/hosts.js'
import type { ChangeTx } from '../../store/store.js'
import { volumesOnHead } from '../../store/volumes.js'
import { diskAdd, diskRemove } from '../disks.js'
import { hostUse } from '../duties.js'
import { inClassicWords, refusal } from './faults.js'
import { loadFleet } from './fleet.js'
import type { ClassicDisk, ClassicHost } from './fleet.js'
import { numberAll } from './ids.js'
import { addressesOf, given, idOf, neededId } from './params.js'
import type { Members } from './params.js'
import { patiently } from './wait.js'
import { label, priorities } from './words.js'

export async function registerHeadServer(cluster: Cluster, members: Members, signal: AbortSignal): Promise<XmlValue> {
  const addresses = addressesOf(members)
  return register(cluster, 'head', (await loadFleet(cluster)).heads, addresses, signal)
}

export async function registerStorageServer(cluster: Cluster, members: Members, signal: AbortSignal): Promise<XmlValue> {
  const addresses = addressesOf(members)
  return register(cluster, 'server', (await loadFleet(cluster)).servers, addresses, signal)
}

/** Once in each boot of a host; again after it counted as failed, or all was shut down. Else EEXIST, as in the original. */
async function register(cluster: Cluster, what: 'head' | 'server', all: readonly ClassicHost[], addresses: readonly string[], signal: AbortSignal): Promise<XmlValue> {
  const known = all.filter((each) => addresses.some((address) => each.addresses.includes(address)))
  const [host] = known
  if (!host) throw refusal('EHOSTDOWN', `no agent has registered a ${what === 'head' ? 'head' : 'storage'} server with ${addresses.join(', ')}: start its agent, then try again`)
  if (known.length > 1 || addresses.some((address) => !host.addresses.includes(address))) throw refusal('EEXIST', `${addresses.join(', ')}: not the addresses of one server; ${host.row.name} has ${host.addresses.join(', ')}`)
  if (!online(cluster, host.row.name)) throw refusal('EHOSTDOWN', `${host.row.name}: its agent is not heard`)
  const asIt = host.priority === priorities.offline || host.priority === priorities.halt
  if (!asIt && host.number.registered === host.row.bootId) throw refusal('EEXIST', `${host.row.name} is registered, and in use`)
  if (host.row.duty === 'failed') await inClassicWords(patiently(cluster, signal, (request) => hostUse(cluster, { host: host.row.name, request }, signal)))
  await changeNoted(cluster, (tx) => setRegistered(tx, what, host.row.name, host.row.bootId))
  return host.id
}

/** Capacity: what is said must be well formed; what counts is what the agent finds. A disk that is not empty is refused: the original overwrote it. */
export async function registerPhysicalDisk(cluster: Cluster, members: Members, signal: AbortSignal): Promise<XmlValue> {
  const { ssvrid, local_path: device, capacity } = members
  if (!given(ssvrid) || typeof device !== 'string') throw refusal('EINVAL', 'ssvrid and local_path are needed')
  if (typeof capacity !== 'string' || !/^\d{1,19}$/.test(capacity) || BigInt(capacity) === 0n) throw refusal('EINVAL', 'capacity: a decimal string of 512-byte sectors is needed')
  const { servers, disks } = await loadFleet(cluster)
  const server = servers.find((each) => each.id === idOf(ssvrid))
  if (!server) throw refusal('EINVAL', 'there is no storage server of that id')
  if (server.priority !== priorities.high) throw refusal('EINVAL', `${server.row.name} is not in use, does not answer, or was shut down: register it first`)
  const known = disks.find((each) => each.server.id === server.id && each.row.device === device)
  if (known) return registerAgain(cluster, known)
  const params = await inClassicWords((async () => apiMethods.diskAdd.params.parse({ host: server.row.name, device, force: false, request: 'classic-0' }, ''))())
  const made = await inClassicWords(patiently(cluster, signal, (request) => diskAdd(cluster, { ...params, request }, signal)), { 'unknown host': 'EINVAL' })
  await numberAll(cluster)
  const number = (await numbersOf(cluster.store.read, 'disk')).get(made.id)
  if (!number) throw refusal('internal', `${server.row.name}:${device} was removed as soon as it was added`)
  await changeNoted(cluster, (tx) => setRegistered(tx, 'disk', made.id, server.row.bootId))
  return number.id
}

async function registerAgain(cluster: Cluster, disk: ClassicDisk): Promise<XmlValue> {
  const name = `${disk.server.row.name}:${disk.row.device}`
  if (disk.priority === priorities.faulty) throw refusal('EEXIST', `${name} has failed; delete it, or take it into use with vsky disk use`)
  if (disk.priority === priorities.offline) throw refusal('EHOSTDOWN', `${name} is ${disk.row.state}${disk.row.problem === '' ? '' : `: ${disk.row.problem}`}`)
  if (disk.priority !== priorities.halt && disk.number.registered === disk.server.row.bootId) throw refusal('EEXIST', `${name} is registered, and in use`)
  await changeNoted(cluster, (tx) => setRegistered(tx, 'disk', disk.row.id, disk.server.row.bootId))
  return disk.id
}

const gone: readonly number[] = [priorities.offline, priorities.faulty]

export async function deletePhysicalDisk(cluster: Cluster, members: Members, signal: AbortSignal): Promise<XmlValue> {
  const id = neededId(members, 'pdskid')
  const disk = (await loadFleet(cluster)).disks.find((each) => each.id === id)
  if (!disk) throw refusal('ENOENT', `there is no ${label('pdsk', id)}`)
  if (!gone.includes(disk.priority)) throw refusal('EBUSY', `${disk.server.row.name}:${disk.row.device} is in use`)
  if (disk.row.state === 'ready' && online(cluster, disk.row.host)) { // it can be asked to give it back properly
    await inClassicWords(patiently(cluster, signal, (request) => diskRemove(cluster, { disk: disk.row.id, request }, signal)))
    return 0
  }
  await changeNoted(cluster, (tx) => forgetDisk(tx, disk))
  return 0
}

/** One that nobody can ask any more. Whatever is on it was given up before; should it come back, it is a stranger's, and refused as not empty. */
async function forgetDisk(tx: ChangeTx, { row, server }: ClassicDisk): Promise<void> {
  const label = `${server.row.name}:${row.device}`
  if ((await extentsOnDisk(tx, row.id)).live > 0) throw refusal('EBUSY', `volumes still have legs on ${label}`)
  await forgetTombstones(tx, row.id)
  await removeDisk(tx, row.id)
  await forgetNumber(tx, 'disk', row.id)
  await tx.event({ kind: 'disk deleted', about: 'disk', name: label, text: 'nothing is left of it here; it could not be asked' })
}

export async function deleteHeadServer(cluster: Cluster, members: Members): Promise<XmlValue> {
  const id = neededId(members, 'hsvrid')
  const head = (await loadFleet(cluster)).heads.find((each) => each.id === id)
  if (!head) throw refusal('ENOENT', `there is no ${label('hsvr', id)}`)
  if (!gone.includes(head.priority)) throw refusal('EBUSY', `${head.row.name} is in use`)
  await deleteRole(cluster, head, 'head', async (tx) => {
    const volumes = await volumesOnHead(tx, head.row.name)
    if (volumes.length > 0) throw refusal('EBUSY', `${head.row.name} has volumes: ${volumes.map((volume) => volume.name).join(', ')}`)
  })
  return 0
}

export async function deleteStorageServer(cluster: Cluster, members: Members): Promise<XmlValue> {
  const id = neededId(members, 'ssvrid')
  const { servers, disks } = await loadFleet(cluster)
  const server = servers.find((each) => each.id === id)
  if (!server) throw refusal('ENOENT', `there is no ${label('ssvr', id)}`)
  if (!gone.includes(server.priority)) throw refusal('EBUSY', `${server.row.name} is in use`)
  await deleteRole(cluster, server, 'server', async (tx) => {
    for (const disk of disks.filter((each) => each.server.id === server.id)) {
      if (!gone.includes(disk.priority)) throw refusal('EBUSY', `${server.row.name}:${disk.row.device} is in use`)
      await forgetDisk(tx, disk)
    }
  })
  return 0
}

/** Its agent may register it again: it is then a new one, with a new number. */
async function deleteRole(cluster: Cluster, { row }: ClassicHost, what: Extract<Numbered, 'head' | 'server'>, clear: (tx: ChangeTx) => Promise<void>): Promise<void> {
  const role = what === 'head' ? 'head' : 'storage'
  await changeNoted(cluster, async (tx) => {
    await clear(tx)
    await forgetNumber(tx, what, row.name)
    await dropRole(tx, row, role)
    await tx.event({ kind: 'host deleted', about: 'host', name: row.name, text: `as a ${role} server` })
  })
  if (row.roles.every((each) => each === role)) for (const kept of [cluster.seen, cluster.foreign, cluster.fenced]) kept.delete(row.name)
}
