/**
 * Shutting out a head that can't be asked (design rule 3): every reachable server of a leg in use removes its initiator, ends its
 * session and confirms. Legs whose servers do not confirm are committed stale first; where none confirms, nothing is changed. Because
 * the old head acknowledges a write only when every leg of its table took it, one confirmed in-sync leg per segment is enough, if its
 * server has not been started anew since.
 */
import { agentMethods } from '../../lib/wire/agent.js'
import { Fault, messageOf } from '../../lib/faults.js'
import { sinceOfOthers } from '../plan/changed.js'
import { chooseSource, decideShutOut } from '../plan/segment.js'
import type { LossDecision } from '../plan/segment.js'
import { legAfter } from '../state/leg.js'
import { findHost } from '../store/hosts.js'
import { finishRequest, openRequestAbout } from '../store/requests.js'
import { noteUnreleased } from '../store/unreleased.js'
import { changeLayout, clearDoubts, extentsOf, forgetChanges, raiseGeneration, segmentsOf, setLeg, setSince, updateVolume, volumeById } from '../store/volumes.js'
import type { ChangeTx } from '../store/store.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { interruptCopies } from './copying.js'
import { pushVolume } from './exports.js'
import { reachability, segmentFacts, serversInUse } from './facts.js'
import type { VolumeFacts } from './facts.js'
import { commitStale, lowerSince, sinceNow } from './loss.js'
import type { Next } from './work.js'

export async function fenceTurn(cluster: Cluster, facts: VolumeFacts): Promise<Next> {
  const { volume, hosts } = facts
  const old = hosts.get(volume.head)
  const refusals = await shutOut(cluster, facts, old?.initiator ?? '')
  const refused = await cluster.store.change((tx) => admit(cluster, tx, facts, refusals))
  if (refused) {
    if (await openRequestAbout(cluster.store.read, volume.id) === undefined) return 3000 // the head counts as failed: tried until a server confirms
    await cluster.store.change(async (tx) => {
      await finishRequest(tx, volume.id, refused)
      if (old?.duty !== 'failed') await updateVolume(tx, volume.id, { phase: 'attached', nextHead: '' })
      await tx.event({ kind: 'fencing refused', about: 'volume', name: volume.name, text: refused.message })
    })
    await reopen(cluster, facts)
    return 3000
  }
  cluster.work.kick('repair', 'cluster')
  return 0
}

/** Server → why it did not confirm. */
async function shutOut(cluster: Cluster, facts: VolumeFacts, initiator: string): Promise<ReadonlyMap<string, string>> {
  const refusals = new Map<string, string>()
  await Promise.all(serversInUse(facts).map(async (name) => {
    const host = facts.hosts.get(name)
    if (!host || !online(cluster, name)) {
      refusals.set(name, 'offline')
      return
    }
    if (name === facts.volume.head) { // it uses its own disks directly: nobody stands between
      refusals.set(name, 'it is the lost head itself')
      return
    }
    try {
      const { bootId } = await cluster.agents.call(host, agentMethods.banInitiator, { initiator, order: cluster.nextOrder() }, { timeoutMs: 15_000 })
      if (bootId !== undefined && bootId !== host.bootId) refusals.set(name, 'it was started anew, and has not told of it yet')
    } catch (thrown) {
      if (thrown instanceof Fault && thrown.fault === 'stale epoch') throw thrown
      refusals.set(name, messageOf(thrown))
    }
  }))
  return refusals
}

/** One transaction: unconfirmed legs stale, one source a segment, the next head. Gives the refusal when a segment has no confirmed leg: then nothing was changed. */
async function admit(cluster: Cluster, tx: ChangeTx, { volume }: VolumeFacts, refusals: ReadonlyMap<string, string>): Promise<Fault | undefined> {
  const now = await volumeById(tx, volume.id)
  if (now?.phase !== 'fencing') return undefined
  const [segments, extents] = [await segmentsOf(tx, volume.id), await extentsOf(tx, volume.id)]
  const facts = segmentFacts({ segments, extents })
  const doubted = new Set(extents.filter((extent) => extent.doubt).map((extent) => extent.id))
  const lossOf = ({ legs }: typeof facts[number]): LossDecision => decideShutOut(legs, (leg) => refusals.get(leg.host), (leg) => doubted.has(leg.extent))
  for (const segment of facts) {
    const loss = lossOf(segment)
    if (loss.kind === 'unavailable') return new Fault('data unavailable', `Cannot shut ${volume.head} out of volume ${volume.name}: segment ${segment.index}: no server of an in-sync leg confirms (${loss.reason})`)
  }
  const reachable = await reachability(cluster, tx)
  const since = await sinceNow(cluster, tx, volume.id)
  if (now.settled === 0) await forgetChanges(tx, volume.id)
  let copies = 0
  for (const segment of facts) {
    const loss = lossOf(segment)
    if (loss.kind === 'drop') await commitStale(cluster, tx, { volume, extents }, segment, loss.extents, loss.extents.map((id) => extents.find((each) => each.id === id)?.host ?? '').map((host) => `${host}: ${refusals.get(host) ?? ''}`).join('; '), { trusted: false })
    const left = segment.legs.filter((leg) => loss.kind !== 'drop' || !loss.extents.includes(leg.extent))
    const others = sinceOfOthers(extents, segment.index, since)
    await lowerSince(tx, extents, segment.index, others)
    for (const extent of chooseSource(left, reachable, (leg) => doubted.has(leg.extent))?.others ?? []) {
      await setLeg(tx, extent, legAfter('insync', 'head lost'))
      await setSince(tx, extent, others)
      copies += 1
    }
    await raiseGeneration(tx, volume.id, segment.index)
  }
  const next = await findHost(tx, now.nextHead) // somebody may have asked for another head while the servers were asked
  if (!next) await interruptCopies(cluster, tx, volume.id, `${volume.head} was lost`)
  await clearDoubts(tx, volume.id)
  await changeLayout(tx, volume.id)
  await updateVolume(tx, volume.id, {
    phase: next ? 'attaching' : 'detached', head: next?.name ?? '', attachEpoch: now.attachEpoch + 1, attachBoot: next?.bootId ?? '', nextHead: '', device: '', problem: '',
  })
  await noteUnreleased(tx, volume.head, { volume: volume.id, attachEpoch: now.attachEpoch })
  await tx.event({ kind: 'head shut out', about: 'volume', name: volume.name, text: `${volume.head} can write no more; ${copies} legs are copied from one source each before they count as in sync again` })
  if (!next) await finishRequest(tx, volume.id)
  return undefined
}

/** The old head keeps the volume: whoever had shut it out lets it in again. */
async function reopen(cluster: Cluster, facts: VolumeFacts): Promise<void> {
  await Promise.allSettled(serversInUse(facts).map(async (name) => {
    const host = facts.hosts.get(name)
    if (host && online(cluster, name)) await pushVolume(cluster, host, facts.volume.id)
  }))
}
