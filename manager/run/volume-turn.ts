/**
 * One turn of one volume: look at its phase, do the next thing, record it. Each phase has its own file; here is only which, and the
 * one question that comes before all: did the head go down without detaching?
 */
import { legAfter } from '../state/leg.js'
import { sinceOfOthers } from '../plan/changed.js'
import { chooseSource, decideLoss } from '../plan/segment.js'
import { findHost } from '../store/hosts.js'
import type { ChangeTx } from '../store/store.js'
import { changeLayout, clearDoubts, extentsOf, forgetChanges, segmentsOf, raiseGeneration, setLeg, setSince, updateVolume, volumeById } from '../store/volumes.js'
import { attachTurn } from './attach.js'
import { copyingTurn } from './copying.js'
import { online, unheardSince } from './cluster.js'
import type { Cluster } from './cluster.js'
import { createTurn } from './create.js'
import { afterDetach, detachTurn } from './detach.js'
import { loadFacts, reachability, segmentFacts } from './facts.js'
import type { VolumeFacts } from './facts.js'
import { fenceTurn } from './fence.js'
import { commitStale, lowerSince, sinceNow } from './loss.js'
import { upTurn } from './up.js'
import type { Next } from './work.js'

export async function volumeTurn(cluster: Cluster, id: string, attempt: number): Promise<Next> {
  const volume = await volumeById(cluster.store.read, id)
  if (!volume) return 'idle'
  const facts = await loadFacts(cluster.store.read, volume)
  if (volume.phase === 'creating') return createTurn(cluster, facts, attempt)
  if (volume.phase === 'detached') {
    // Also where nobody copies any more: its server came back while somebody did.
    if (facts.extents.some((extent) => extent.doubt)) await judgeDoubts(cluster, facts)
    return volume.copyHead === '' ? afterDetach(cluster, facts) : copyingTurn(cluster, facts)
  }
  if (volume.phase === 'fencing') return fenceTurn(cluster, facts)
  const head = await findHost(cluster.store.read, volume.head)
  if (head && head.bootId !== volume.attachBoot) return headWasLost(cluster, facts, head.bootId)
  if (facts.extents.some((extent) => extent.doubt) && head && online(cluster, head.name)) {
    await judgeDoubts(cluster, facts)
    return 0
  }
  switch (volume.phase) {
    case 'attaching': return attachTurn(cluster, facts, attempt)
    case 'attached': return upTurn(cluster, facts)
    case 'detaching': return detachTurn(cluster, facts)
  }
}

/**
 * The head has booted since: whatever was in flight may have reached one leg and not the other. One in-sync leg becomes the source,
 * the others are copied to before they count again (design rule 8); then it is assembled again where it was attached.
 */
async function headWasLost(cluster: Cluster, facts: VolumeFacts, bootId: string): Promise<Next> {
  const { volume } = facts
  let copies = 0
  const servers = segmentFacts(facts).map(({ legs }) => legs.filter((leg) => leg.state === 'insync').map((leg) => leg.host)).filter((hosts) => hosts.length > 1).flat()
  const silent = await unheardSince(cluster, servers, cluster.clock.monoMs())
  await cluster.store.change(async (tx) => {
    const now = await volumeById(tx, volume.id)
    if (now?.phase !== volume.phase || now.attachEpoch !== volume.attachEpoch || now.attachBoot !== volume.attachBoot) return // the next turn sees what is there now
    const [segments, extents] = [await segmentsOf(tx, volume.id), await extentsOf(tx, volume.id)]
    const [reachable, since] = [await reachability(cluster, tx), await sinceNow(cluster, tx, volume.id)]
    const doubted = new Set(extents.filter((extent) => extent.doubt).map((extent) => extent.id))
    if (now.settled === 0) await forgetChanges(tx, volume.id)
    for (const segment of segmentFacts({ segments, extents })) {
      const others = sinceOfOthers(extents, segment.index, since)
      await lowerSince(tx, extents, segment.index, others)
      const choice = chooseSource(segment.legs, (leg) => reachable(leg) && !silent.has(leg.host), (leg) => doubted.has(leg.extent))
      if (choice) copies += await makeSource(tx, volume.id, segment.index, choice, others)
    }
    await clearDoubts(tx, volume.id) // a leg in doubt is copied to now, or all were, and one of them is the truth
    await changeLayout(tx, volume.id)
    await updateVolume(tx, volume.id, { attachBoot: bootId, device: '', ...(volume.phase === 'attached' ? { phase: 'attaching' } : {}) })
    await tx.event({
      kind: 'head restarted', about: 'volume', name: volume.name,
      text: `${volume.head} went down with the volume attached; ${copies} legs are copied from one source each before they count as in sync again`,
    })
  })
  return 0
}

/** The others count again when everything was copied to them that was written since an era (0: everything). Gives how many they are. */
async function makeSource(tx: ChangeTx, volume: string, segment: number, choice: { readonly others: readonly string[] }, since: number): Promise<number> {
  await raiseGeneration(tx, volume, segment)
  for (const extent of choice.others) {
    await setLeg(tx, extent, legAfter('insync', 'head lost'))
    await setSince(tx, extent, since)
  }
  return choice.others.length
}

/**
 * Servers of some legs were started anew while the head went on: their disks' caches may have lost writes that the guest believes to be
 * readable. Such a leg is stale wherever another good one stands, and gets what was not settled when its server was last heard.
 */
async function judgeDoubts(cluster: Cluster, { volume }: VolumeFacts): Promise<void> {
  await cluster.store.change(async (tx) => {
    const [segments, extents] = [await segmentsOf(tx, volume.id), await extentsOf(tx, volume.id)]
    const doubted = new Set(extents.filter((extent) => extent.doubt).map((extent) => extent.id))
    const why = 'its server was started anew: what its disk held in its cache may be gone'
    const [reachable, settled] = [await reachability(cluster, tx), await sinceNow(cluster, tx, volume.id)]
    for (const segment of segmentFacts({ segments, extents })) {
      const loss = decideLoss(segment.legs, (leg) => (doubted.has(leg.extent) ? why : undefined))
      if (loss.kind === 'drop') await commitStale(cluster, tx, { volume, extents }, segment, loss.extents, why)
      if (loss.kind !== 'unavailable' || !segment.legs.some((leg) => doubted.has(leg.extent))) continue
      // All good legs are in doubt, so each may have lost something else: one is the truth from now on, all others are copied from it.
      const targets = segment.legs.filter((leg) => leg.state === 'syncing').map((leg) => leg.extent)
      if (targets.length > 0) await commitStale(cluster, tx, { volume, extents }, segment, targets, 'what they were copied from may have lost something')
      const since = sinceOfOthers(extents, segment.index, settled)
      await lowerSince(tx, extents, segment.index, since)
      const choice = chooseSource(segment.legs, reachable, (leg) => doubted.has(leg.extent))
      if (choice) await makeSource(tx, volume.id, segment.index, choice, since)
    }
    await clearDoubts(tx, volume.id)
  })
  cluster.work.kick('repair', 'cluster')
  cluster.work.kick('exports', volume.id) // one that stays good is let in again
}
