/** The commit that makes a loss safe: "these legs missed writes, generation + 1", with its event, inside a transaction. */
import { legAfter } from '../state/leg.js'
import { interruptJob } from '../store/jobs.js'
import type { ChangeTx } from '../store/store.js'
import { raiseGeneration, setLeg, setRetry } from '../store/volumes.js'
import type { Cluster } from './cluster.js'
import type { VolumeFacts } from './facts.js'

/** A leg whose copy failed is left alone for so long, ms: each attempt makes the volume's writers pause for a moment. */
const RETRY_MS = 20_000

export async function commitStale(
  cluster: Cluster, tx: ChangeTx, { volume, extents }: Pick<VolumeFacts, 'volume' | 'extents'>, segment: { readonly index: number; readonly generation: number },
  gone: readonly string[], why: string,
): Promise<void> {
  const nowMs = cluster.clock.nowMs()
  await raiseGeneration(tx, volume.id, segment.index)
  for (const extent of extents.filter((each) => gone.includes(each.id))) {
    await setLeg(tx, extent.id, legAfter(extent.leg, 'missed writes'), nowMs)
    if (extent.leg !== 'syncing') continue
    await setRetry(tx, extent.id, nowMs + RETRY_MS)
    await interruptJob(tx, 'resync', volume.id, segment.index, `interrupted: ${why}`)
  }
  const servers = extents.filter((each) => gone.includes(each.id)).map((each) => each.host)
  await tx.event({
    kind: 'leg stale', about: 'volume', name: volume.name,
    text: `segment ${segment.index}: the leg on ${servers.join(', ')} is stale from generation ${segment.generation + 1} on (${why})`,
  })
}
