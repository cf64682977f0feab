/**
 * Legs that could not be read somewhere. They miss no write, so they stay in sync: their head writes them anew there from a good leg, and
 * the disk's count says when it should go.
 */
import { agentMethods } from '../../lib/wire/agent.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { Fault } from '../../lib/faults.js'
import type { AttachedDecision } from '../plan/attached.js'
import type { ExtentRow, HostRow } from '../state/rows.js'
import { countReadError, findDisk } from '../store/hosts.js'
import { extentsOf, volumeById } from '../store/volumes.js'
import type { Cluster } from './cluster.js'

/** A leg that was mended is told as unread until the head's next report; one that could not be is not tried for a while, ms. */
const MENDED_MS = 5000
const NOT_MENDED_MS = 300_000

export async function mendLegs(cluster: Cluster, head: HostRow, there: VolumeSeen, readErrors: AttachedDecision['readErrors']): Promise<void> {
  const volume = await volumeById(cluster.store.read, there.volume)
  if (volume?.phase !== 'attached' || volume.layout !== there.layout) return
  const extents = await extentsOf(cluster.store.read, volume.id)
  for (const { segment, extents: legs } of readErrors) {
    // While a segment is copied its tables are another's business; the letter stays until that is over.
    if (extents.some((extent) => extent.segment === segment && extent.leg === 'syncing')) continue
    for (const extent of extents.filter((each) => legs.includes(each.id))) await mendLeg(cluster, head, there, extent)
  }
}

async function mendLeg(cluster: Cluster, head: HostRow, there: VolumeSeen, extent: ExtentRow): Promise<void> {
  if ((cluster.readErrors.get(extent.id) ?? 0) > cluster.clock.monoMs()) return
  const { bytes, why } = await cluster.agents.call(head, agentMethods.mendVolume, { volume: there.volume, attachEpoch: there.attachEpoch, layout: there.layout, segment: extent.segment, extent: extent.id }, { timeoutMs: 45_000 })
    .catch((thrown: unknown) => {
      if (thrown instanceof Fault && thrown.fault === 'agent failed') return { bytes: 0n, why: thrown.message }
      throw thrown
    })
  cluster.readErrors.set(extent.id, cluster.clock.monoMs() + (why === '' ? MENDED_MS : NOT_MENDED_MS))
  const disk = await findDisk(cluster.store.read, extent.disk)
  const label = `${extent.host}:${disk?.device ?? extent.disk}`
  await cluster.store.change(async (tx) => {
    await countReadError(tx, extent.disk)
    await tx.event({
      kind: 'read error', about: 'volume', name: there.name,
      text: `segment ${extent.segment}: the leg on ${label} could not be read somewhere; ${why === '' ? `${bytes} bytes were written there anew from a good leg` : `others are read instead, and it still takes every write (it was not written anew: ${why})`}`,
    })
  })
}
