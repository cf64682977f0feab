/**
 * The one way by which a storage server learns what it should hold: under the host's mutex the wanted extents are computed from
 * the database as it is now, and sent. So no older order can overtake a newer one.
 */
import { Fault } from '../../lib/faults.js'
import { agentMethods } from '../../lib/wire/agent.js'
import type { Chap, ExtentWanted } from '../../lib/wire/agent.js'
import { extentWanted, headOf } from '../plan/exports.js'
import type { ExtentRow, HostRow } from '../state/rows.js'
import { lostDisks } from '../store/hosts.js'
import { extentsBeside, hostsNamed, segmentsOfAll, volumesOfAll, volumesWithExtentsOn } from '../store/lists.js'
import { droppingOnHost, extentsOf, removeExtent, segmentsOf } from '../store/volumes.js'
import { AgentSilent } from './agents.js'
import { online, whileHeard } from './cluster.js'
import type { Cluster } from './cluster.js'

/** Extents in one call: bounds its time (an extent costs a server some 100 ms) and its message. */
const BATCH = 64

export interface WantedOnHost {
  /** Number of an order that says this. */
  readonly order: number
  readonly extents: readonly ExtentWanted[]
  readonly chap: readonly Chap[]
}

/**
 * All that a host should hold, or what it should hold of one volume. Extents of a volume that is just being created are left out of
 * the former: its own turn makes them, and answers for them.
 */
export async function wantedOnHost(cluster: Cluster, host: string, onlyVolume?: string): Promise<WantedOnHost> {
  const order = cluster.nextOrder()
  const db = cluster.store.read
  // What stands on a disk that is lost can't be made to be anything; it must not keep the rest of the server from being put right.
  const lost = await lostDisks(db, host)
  const ids = onlyVolume === undefined ? await volumesWithExtentsOn(db, host) : [onlyVolume]
  const volumes = new Map((await volumesOfAll(db, ids)).map((volume) => [volume.id, volume]))
  const hosts = await hostsNamed(db, [...new Set([host, ...[...volumes.values()].map(headOf)])].filter((name) => name !== ''))
  const segments = await segmentsOfAll(db, ids)
  // Legs last: one that is left behind meanwhile may be taken for worse than its tag says, and never for better.
  const beside = await extentsBeside(db, host, ids)
  const extents: ExtentWanted[] = []
  const heads = new Map<string, HostRow>()
  for (const [id, volume] of volumes) {
    const mine = segments.get(id) ?? []
    const head = hosts.get(headOf(volume))
    for (const segment of mine) {
      const legs = beside.get(`${id}/${segment.index}`) ?? []
      for (const extent of legs.filter((leg) => leg.host === host)) {
        if ((extent.state === 'ready' && lost.has(extent.disk)) || (onlyVolume === undefined && extent.state === 'planned')) continue
        const wanted = extentWanted(volume, segment, extent, head?.initiator, { segments: mine.length, legs, bootId: hosts.get(host)?.bootId ?? '' })
        if (head && wanted.initiators.length > 0) heads.set(head.name, head)
        extents.push(wanted)
      }
    }
  }
  return { order, extents, chap: [...heads.values()].map((head) => ({ initiator: head.initiator, user: head.chapUser, password: head.chapPassword })) }
}

/** Makes the host hold what it should of one volume. Throws Fault or AgentSilent, that also as soon as it counts as silent. */
export async function pushVolume(cluster: Cluster, host: HostRow, volume: string): Promise<void> {
  try {
    await whileHeard(cluster, host.name, cluster.exclusively(`exports ${host.name}`, async () => {
      await send(cluster, host, await wantedOnHost(cluster, host.name, volume))
    }))
  } catch (thrown) {
    cluster.compared.delete(host.name)
    throw thrown
  }
}

/**
 * Has the servers of a volume's good legs write down that they are good, and which generation that is: before what a head remembers of it is gone.
 * Gives the segments of which no server did: a rebuild of the database could take a leg for good there that is not.
 */
export async function pushNotes(cluster: Cluster, volume: string): Promise<readonly number[]> {
  const good = (await extentsOf(cluster.store.read, volume)).filter((extent) => extent.leg === 'insync')
  const hosts = await hostsNamed(cluster.store.read, [...new Set(good.map((extent) => extent.host))])
  const confirmed = new Set<string>()
  await Promise.all([...new Set(good.map((extent) => extent.host))].map(async (name) => {
    const host = hosts.get(name)
    if (!host || !online(cluster, name)) return
    try {
      await pushVolume(cluster, host, volume)
      confirmed.add(name)
    } catch (thrown) {
      if (!(thrown instanceof Fault || thrown instanceof AgentSilent) || (thrown instanceof Fault && thrown.fault === 'stale epoch')) throw thrown
    }
  }))
  const written = new Set(good.filter((extent) => confirmed.has(extent.host)).map((extent) => extent.segment))
  return (await segmentsOf(cluster.store.read, volume)).map((segment) => segment.index).filter((index) => !written.has(index))
}

/** Sends those of the wanted extents for which `choose` says so; the choice is made under the mutex. */
export async function pushChosen(cluster: Cluster, host: HostRow, choose: (wanted: WantedOnHost) => readonly ExtentWanted[]): Promise<number> {
  return cluster.exclusively(`exports ${host.name}`, async () => {
    const wanted = await wantedOnHost(cluster, host.name)
    const chosen = choose(wanted)
    await send(cluster, host, { ...wanted, extents: chosen })
    return chosen.length
  })
}

async function send(cluster: Cluster, host: HostRow, { order, extents, chap }: WantedOnHost): Promise<void> {
  for (let at = 0; at < extents.length; at += BATCH) {
    const batch = extents.slice(at, at + BATCH)
    const initiators = new Set(batch.flatMap((extent) => extent.initiators))
    await cluster.agents.call(host, agentMethods.ensureExtents,
      { order, extents: batch, chap: chap.filter((each) => initiators.has(each.initiator)) }, { timeoutMs: 90_000 })
  }
}

/** Bytes in one order to remove: at 50 MB/s they are overwritten within the time that a call may take. */
const REMOVAL_BYTES = 16n * 1024n ** 3n
const REMOVAL_MS = 6 * 60_000

/**
 * Has a host remove its tombstones on usable disks, one order's worth, and forgets each when the host has confirmed. Gives how many are gone.
 * Not under the host's mutex: it takes minutes, and the agent refuses an older order that would still want one of them.
 */
export async function dropTombstones(cluster: Cluster, host: HostRow, usable: (disk: string) => boolean): Promise<number> {
  const batch: ExtentRow[] = []
  let bytes = 0n
  for (const extent of await droppingOnHost(cluster.store.read, host.name)) {
    if (!usable(extent.disk) || batch.length === BATCH || (batch.length > 0 && bytes + extent.bytes > REMOVAL_BYTES)) continue
    batch.push(extent)
    bytes += extent.bytes
  }
  if (batch.length === 0) return 0
  await cluster.agents.call(host, agentMethods.removeExtents, { extents: batch.map((extent) => ({ extent: extent.id, disk: extent.disk })) }, { timeoutMs: REMOVAL_MS })
  await cluster.store.change(async (tx) => {
    for (const extent of batch) await removeExtent(tx, extent.id)
  })
  return batch.length
}
