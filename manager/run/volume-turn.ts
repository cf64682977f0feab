/**
 * One turn of one volume: look at its phase, do the next thing, record it. Each phase has its own file; here is only which, and the
 * one question that comes before all: did the head go down without detaching?
 */
import { legAfter } from '../state/leg.js'
import { chooseSource, decideLoss } from '../plan/segment.js'
import { findHost } from '../store/hosts.js'
import { changeLayout, clearDoubts, extentsOf, segmentsOf, raiseGeneration, setLeg, updateVolume, volumeById } from '../store/volumes.js'
import { attachTurn } from './attach.js'
import { copyingTurn } from './copying.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { createTurn } from './create.js'
import { afterDetach, detachTurn } from './detach.js'
import { loadFacts, segmentFacts } from './facts.js'
import type { VolumeFacts } from './facts.js'
import { fenceTurn } from './fence.js'
import { commitStale } from './loss.js'
import { upTurn } from './up.js'
import type { Next } from './work.js'

export async function volumeTurn(cluster: Cluster, id: string, attempt: number): Promise<Next> {
  const volume = await volumeById(cluster.store.read, id)
  if (!volume) return 'idle'
  const facts = await loadFacts(cluster.store.read, volume)
  if (volume.phase === 'creating') return createTurn(cluster, facts, attempt)
  if (volume.phase === 'detached') return volume.copyHead === '' ? afterDetach(cluster, facts) : copyingTurn(cluster, facts)
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
  await cluster.store.change(async (tx) => {
    for (const segment of segmentFacts(facts)) {
      const choice = chooseSource(segment.legs, (host) => online(cluster, host))
      if (!choice) continue
      await raiseGeneration(tx, volume.id, segment.index)
      for (const extent of choice.others) {
        await setLeg(tx, extent, legAfter('insync', 'head lost'))
        copies += 1
      }
    }
    await clearDoubts(tx, volume.id) // whoever lost the head has lost what was not flushed, on every leg
    await changeLayout(tx, volume.id)
    await updateVolume(tx, volume.id, { attachBoot: bootId, device: '', ...(volume.phase === 'attached' ? { phase: 'attaching' } : {}) })
    await tx.event({
      kind: 'head restarted', about: 'volume', name: volume.name,
      text: `${volume.head} went down with the volume attached; ${copies} legs are copied from one source each before they count as in sync again`,
    })
  })
  return 0
}

/**
 * Servers of some legs were started anew while the head went on: their disks' caches may have lost writes that the guest believes to be
 * readable. Such a leg is stale wherever another good one stands.
 */
async function judgeDoubts(cluster: Cluster, { volume }: VolumeFacts): Promise<void> {
  await cluster.store.change(async (tx) => {
    const [segments, extents] = [await segmentsOf(tx, volume.id), await extentsOf(tx, volume.id)]
    const doubted = new Set(extents.filter((extent) => extent.doubt).map((extent) => extent.id))
    const why = 'its server was started anew: what its disk held in its cache may be gone'
    for (const segment of segmentFacts({ segments, extents })) {
      const loss = decideLoss(segment.legs, (leg) => (doubted.has(leg.extent) ? why : undefined))
      if (loss.kind === 'drop') await commitStale(cluster, tx, { volume, extents }, segment, loss.extents, why)
    }
    await clearDoubts(tx, volume.id)
  })
  cluster.work.kick('repair', 'cluster')
}
