/**
 * A leg that failed is given up for others, whose servers have to be there: one that was started anew meanwhile may have lost what was in
 * its disks' caches, and the failed leg still has it, for its head has held every write since. That is known only from the server itself, or
 * from the head, whose sessions end with their server.
 */
import { agentMethods } from '../../lib/wire/agent.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { lookAtAttached } from '../plan/attached.js'
import { headOf } from '../plan/exports.js'
import type { HostRow, VolumeRow } from '../state/rows.js'
import { extentsOf } from '../store/volumes.js'
import { heardSince, keepSeen, whileHeard } from './cluster.js'
import type { Cluster, HostSeen } from './cluster.js'
import { segmentFacts } from './facts.js'
import type { VolumeFacts } from './facts.js'

/** After so long without its server a head has given a session up (after 1 + 2 + 1 s), ms. */
const HEAD_KNOWS_MS = 5000
const ASK_MS = 5000
const LOOK_MS = 200

/** What the head told of this attachment. */
export function ofAttachment(seen: HostSeen | undefined, volume: VolumeRow): VolumeSeen | undefined {
  return seen?.volumes.find((each) => each.volume === volume.id && each.attachEpoch === volume.attachEpoch)
}

/**
 * Gives what the head tells of a volume when it can be gone by: `there`, or what it tells later, where all servers stay silent whose legs
 * would be left of a segment. Undefined: one of them was started anew, and that is to be judged first.
 */
export async function sureOfOthers(cluster: Cluster, { volume, segments, extents, hosts }: VolumeFacts, there: VolumeSeen): Promise<VolumeSeen | undefined> {
  const { clock, presence } = cluster
  const sinceMs = clock.monoMs()
  const losses = volume.phase === 'detached' ? [] : lookAtAttached(volume.layout, segmentFacts({ segments, extents }), there).stale
  const left = losses.map((loss) => extents.filter((extent) => extent.segment === loss.segment && extent.leg === 'insync' && !loss.extents.includes(extent.id)).map((extent) => extent.host))
  if (left.length === 0) return there
  const isSure = (servers: readonly string[]): boolean => servers.some((name) => heardSince(cluster, name, sinceMs))
  const isSilent = (servers: readonly string[]): boolean => !isSure(servers) && servers.every((name) => !presence.online(name, clock.monoMs()))

  const asked = new Set<Promise<void>>()
  for (const name of new Set(left.flat())) {
    const mine = ask(cluster, hosts.get(name)).finally(() => { asked.delete(mine) })
    asked.add(mine)
  }
  while (!left.every((servers) => isSure(servers) || isSilent(servers))) {
    await Promise.race([...asked, clock.sleep(LOOK_MS)])
  }
  const head = hosts.get(headOf(volume))
  const silent = left.filter(isSilent).flat()
  const now = silent.length === 0 || !head ? there : await askHead(cluster, head, volume, Math.max(...silent.map((name) => presence.lastHeard(name) ?? 0)) + HEAD_KNOWS_MS)
  // Last of all: one that was silent may be back by now.
  if ((await extentsOf(cluster.store.read, volume.id)).some((extent) => extent.doubt)) {
    await clock.sleep(LOOK_MS) // its head may have fallen silent, and then nobody judges
    return undefined
  }
  return now
}

/** What the head tells of this attachment, asked at this time at the earliest. */
async function askHead(cluster: Cluster, head: HostRow, volume: VolumeRow, atMs: number): Promise<VolumeSeen | undefined> {
  const waitMs = atMs - cluster.clock.monoMs()
  if (waitMs > 0) await cluster.clock.sleep(waitMs)
  keepSeen(cluster, head.name, await cluster.agents.call(head, agentMethods.observe, {}, { timeoutMs: 10_000 }))
  return ofAttachment(cluster.seen.get(head.name), volume)
}

/** Its answer counts as its word when it is of the start that is known; one of another start will tell of that itself. */
async function ask(cluster: Cluster, host: HostRow | undefined): Promise<void> {
  if (!host) return
  try {
    const { bootId } = await whileHeard(cluster, host.name, cluster.agents.call(host, agentMethods.start, {}, { timeoutMs: ASK_MS }))
    if (bootId === host.bootId) cluster.presence.heard(host.name, cluster.clock.monoMs())
  } catch {
    // Its next heartbeat will do, or its silence; and if this manager is over, its next change tells.
  }
}
