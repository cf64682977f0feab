/**
 * What outside watchers tell. They may be wrong, so a word of theirs never undoes what can be seen here: a host that answers is not lost, the
 * last good copy is never given up, and nothing is copied anew at once that is only away.
 */
import type { XmlValue } from '../../../lib/rpc/xmlrpc.js'
import { leaveBehindLegs } from '../../run/attach.js'
import { changeNoted } from '../../run/audit.js'
import { online } from '../../run/cluster.js'
import type { Cluster } from '../../run/cluster.js'
import { loadFacts } from '../../run/facts.js'
import { numbersOf, oursOfNumber, setHalted, setRegistered } from '../../store/classic.js'
import { countReadError } from '../../store/hosts.js'
import { allVolumes, extentsOf, volumeById } from '../../store/volumes.js'
import { diskFail, hostFail } from '../duties.js'
import { inClassicWords, refusal } from './faults.js'
import { loadFleet } from './fleet.js'
import { given, idOf, wholeNumber } from './params.js'
import type { Members } from './params.js'
import { patiently } from './wait.js'
import { priorities, takesExtents, targets } from './words.js'

export async function notifyFailure(cluster: Cluster, members: Members, signal: AbortSignal): Promise<XmlValue> {
  const [target, id] = [wholeNumber(members.target), given(members.targetid) ? idOf(members.targetid) : undefined]
  if (target === undefined || id === undefined) throw refusal('EINVAL', 'target and targetid are needed')
  switch (target) {
    case targets.head: return hostFailed(cluster, 'head', id, signal)
    case targets.server: return hostFailed(cluster, 'server', id, signal)
    case targets.disk: return diskFailed(cluster, id, signal)
    case targets.extent: return extentFailed(cluster, id)
    default: throw refusal('EINVAL', `target ${target}: 1 (head server), 2 (storage server), 3 (disk) or 4 (extent) is needed`)
  }
}

/** One that is unknown, or failed already: nothing to do. One that answers stays, and may register anew. */
async function hostFailed(cluster: Cluster, what: 'head' | 'server', id: number, signal: AbortSignal): Promise<XmlValue> {
  const { heads, servers } = await loadFleet(cluster)
  const host = (what === 'head' ? heads : servers).find((each) => each.id === id)
  if (!host || host.row.duty === 'failed') return 0
  const { name } = host.row
  if (online(cluster, name)) {
    await changeNoted(cluster, async (tx) => {
      await setRegistered(tx, what, name, '')
      await tx.event({ kind: 'failure told, not believed', about: 'host', name, text: 'a classic client tells that it has failed; its agent answers' })
    })
    return 0
  }
  await inClassicWords(patiently(cluster, signal, (request) => hostFail(cluster, { host: name, force: false, request }, signal)), { 'host online': 'EAGAIN' })
  return 0
}

async function diskFailed(cluster: Cluster, id: number, signal: AbortSignal): Promise<XmlValue> {
  const disk = await oursOfNumber(cluster.store.read, 'disk', id)
  if (disk === undefined) return 0
  await inClassicWords(patiently(cluster, signal, (request) => diskFail(cluster, { disk, request }, signal)), { 'unknown disk': 'EAGAIN' })
  return 0
}

/** Of an attached volume: its leg is committed stale before anything else, and copied to again. Never the last good one. */
async function extentFailed(cluster: Cluster, id: number): Promise<XmlValue> {
  const ours = await oursOfNumber(cluster.store.read, 'extent', id)
  const found = ours === undefined ? undefined : await extentWithVolume(cluster, ours)
  if (!found) throw refusal('ENOENT', 'no volume has an extent of that id')
  const { extent, volume } = found
  if (volume.phase === 'detached' || extent.leg !== 'insync') return 0
  if (volume.phase !== 'attached') throw refusal('internal', `${volume.name} is ${volume.phase}: tell it again when that is over`)
  await changeNoted(cluster, () => Promise.resolve()) // what follows is a turn's change
  const kept = await leaveBehindLegs(cluster, await loadFacts(cluster.store.read, volume), new Map([[extent.id, 'a classic client tells that it has failed']]))
  if (kept) await changeNoted(cluster, (tx) => tx.event({ kind: 'failure told, leg kept', about: 'volume', name: volume.name, text: kept.message }))
  cluster.work.kick('volume', volume.id)
  cluster.work.kick('repair', 'cluster')
  return 0
}

async function extentWithVolume(cluster: Cluster, id: string): Promise<{ readonly extent: Awaited<ReturnType<typeof extentsOf>>[number]; readonly volume: NonNullable<Awaited<ReturnType<typeof volumeById>>> } | undefined> {
  const row = await cluster.store.read.get(`select volume from extents where id = ? and state <> 'dropping'`, [id])
  const volume = typeof row?.volume === 'string' ? await volumeById(cluster.store.read, row.volume) : undefined
  const extent = volume && (await extentsOf(cluster.store.read, volume.id)).find((each) => each.id === id)
  return extent && { extent, volume }
}

/**
 * Blocks of 1025 MiB. What lies there is LVM's affair, so no leg is taken away: a leg that can't be read somewhere is written anew there from
 * a good one as soon as its head meets it (run/mend.ts). The disk's read errors are counted, and it is LOW from now on.
 */
export async function notifyBadBlocks(cluster: Cluster, members: Members): Promise<XmlValue> {
  const { pdskid, blocks } = members
  const numbers = Array.isArray(blocks) ? blocks.map(wholeNumber) : undefined
  if (!given(pdskid) || numbers === undefined) throw refusal('EINVAL', 'pdskid and blocks are needed')
  const disk = (await loadFleet(cluster)).disks.find((each) => each.id === idOf(pdskid))
  if (!disk) throw refusal('EINVAL', 'there is no disk of that id')
  if (numbers.some((block) => block === undefined || block < 0 || block >= disk.capacity)) throw refusal('EINVAL', `blocks: numbers from 0 to ${disk.capacity - 1} are needed`)
  if (numbers.length === 0 || disk.priority === priorities.faulty) return 0
  const bad = new Set(numbers).size
  await changeNoted(cluster, async (tx) => {
    for (let left = bad; left > 0; left -= 1) await countReadError(tx, disk.row.id)
    await tx.event({ kind: 'bad blocks told', about: 'disk', name: `${disk.server.row.name}:${disk.row.device}`, text: `a classic client tells of ${bad} bad blocks` })
  })
  return 0
}

/** Nothing stops by it. Detached volumes lose nothing when their servers go; what is told here is that nothing new may be begun until the agents have been started anew. */
export async function shutdownAll(cluster: Cluster): Promise<XmlValue> {
  const { heads, servers, disks } = await loadFleet(cluster)
  await changeNoted(cluster, async (tx) => {
    const attached = (await allVolumes(tx)).filter((volume) => volume.phase !== 'detached' && volume.phase !== 'creating')
    if (attached.length > 0) throw refusal('EBUSY', `attached: ${attached.slice(0, 8).map((volume) => volume.name).join(', ')}${attached.length > 8 ? ` and ${attached.length - 8} more` : ''}`)
    for (const [what, hosts] of [['head', heads], ['server', servers]] as const) for (const { row, priority } of hosts) if (takesExtents(priority)) await setHalted(tx, what, row.name, row.incarnation)
    const known = await numbersOf(tx, 'disk')
    for (const { row, server, priority } of disks) if (takesExtents(priority) && known.has(row.id)) await setHalted(tx, 'disk', row.id, server.row.incarnation)
    await tx.event({ kind: 'shut-down told', about: 'manager', name: cluster.name, text: 'a classic client tells that all hosts are going to be shut down' })
  })
  return 0
}
