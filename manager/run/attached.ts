/** Attached: what the head saw last is held against the database; failed legs are committed stale, then the head gets its new layout. */
import { agentMethods } from '../../lib/wire/agent.js'
import { Fault, messageOf } from '../../lib/faults.js'
import { lookAtAttached } from '../plan/attached.js'
import { legAfter } from '../state/leg.js'
import { extentsOf, segmentsOf, setLeg, updateVolume, volumeById } from '../store/volumes.js'
import { commitStale } from './attach.js'
import type { Cluster } from './cluster.js'
import { loadFacts, segmentFacts, serversInUse, volumeWanted } from './facts.js'
import type { VolumeFacts } from './facts.js'
import { pushVolume } from './exports.js'
import type { Next } from './work.js'

export async function attachedTurn(cluster: Cluster, { volume, hosts }: VolumeFacts): Promise<Next> {
  const seen = cluster.seen.get(volume.head)
  const head = hosts.get(volume.head)
  if (!seen || !head || seen.bootId !== volume.attachBoot) return 'idle' // the head's own turn looks, and kicks
  const there = seen.volumes.find((each) => each.volume === volume.id && each.attachEpoch === volume.attachEpoch)
  const reload = await cluster.store.change(async (tx) => {
    const now = { volume, segments: await segmentsOf(tx, volume.id), extents: await extentsOf(tx, volume.id) }
    if (!there) return true // taken down by hand, or the agent lost it: assemble again
    const facts = segmentFacts(now)
    const decision = lookAtAttached(facts, there)
    for (const loss of decision.stale) {
      const segment = facts.find((each) => each.index === loss.segment)
      if (segment) await commitStale(tx, now, segment, loss.extents, loss.why)
    }
    for (const caughtUp of decision.insync) {
      for (const extent of caughtUp.extents) await setLeg(tx, extent, legAfter('syncing', 'copy ended'))
      await tx.event({ kind: 'leg in sync', about: 'volume', name: volume.name, text: `segment ${caughtUp.segment}: the copy has ended, all its legs in use are equal` })
    }
    const problem = decision.unavailable.map((each) => `segment ${each.segment}: no good leg can be reached (${each.reason})`).join('; ')
    if (problem !== volume.problem) {
      await updateVolume(tx, volume.id, { problem })
      if (problem !== '') await tx.event({ kind: 'data unavailable', about: 'volume', name: volume.name, text: problem })
    }
    return decision.reload
  })
  if (reload) await giveLayout(cluster, volume.id)
  return 'idle'
}

/** Tells the head the layout that the database has now. */
async function giveLayout(cluster: Cluster, id: string): Promise<void> {
  const volume = await volumeById(cluster.store.read, id)
  if (!volume || volume.phase !== 'attached') return
  const facts = await loadFacts(cluster.store.read, volume)
  const head = facts.hosts.get(volume.head)
  if (!head) return
  const up = await cluster.agents.call(head, agentMethods.attachVolume, { volume: volumeWanted(facts) }, { timeoutMs: 45_000 })
  await cluster.store.change(async (tx) => {
    await updateVolume(tx, id, { device: up.device })
    await tx.event({ kind: 'layout changed', about: 'volume', name: volume.name, text: `${head.name} goes on with ${facts.segments.map((segment) => segment.generation).join(', ')} as generations` })
  })
  cluster.work.kick('head', head.name)
  // A leg that left is shut out as well; a server that is away is put right when it returns.
  await Promise.allSettled(serversInUse(facts).map(async (name) => {
    const host = facts.hosts.get(name)
    if (host) await pushVolume(cluster, host, id)
  })).then((results) => {
    for (const result of results) {
      if (result.status === 'rejected' && !(result.reason instanceof Fault)) cluster.log.debug('generation tags not updated yet', { volume: id, error: messageOf(result.reason) })
    }
  })
}
