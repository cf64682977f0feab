/** The commit that makes a loss safe: "these legs missed writes, generation + 1", with its event, inside a transaction. */
import { legAfter } from '../state/leg.js'
import { interruptJob } from '../store/jobs.js'
import type { ChangeTx } from '../store/store.js'
import { settledEra, sinceOfLost } from '../plan/changed.js'
import { headOf } from '../plan/exports.js'
import { AFTER_LOSS_MS, RETRY_MS } from '../plan/repair.js'
import { must } from '../../lib/assert.js'
import { raiseGeneration, setLeg, setRetry, setSince, volumeById } from '../store/volumes.js'
import type { Cluster } from './cluster.js'
import type { ExtentRow } from '../state/rows.js'
import type { VolumeFacts } from './facts.js'

/** What a leg of this volume lacks that is in sync until now: what was written since. */
export async function sinceNow(cluster: Cluster, tx: ChangeTx, id: string): Promise<number> {
  const volume = must(await volumeById(tx, id), `volume ${id} is there while its legs are judged`)
  const seen = cluster.seen.get(headOf(volume))
  // After a reboot of its head the same attachment may count from the beginning.
  const there = seen?.bootId === volume.attachBoot ? seen.volumes.find((each) => each.volume === id && each.attachEpoch === volume.attachEpoch) : undefined
  return settledEra(volume, there)
}

/** What a source in doubt has lost any leg that was behind may still have, and it would stay: such a leg gets that anew, too. */
export async function lowerSince(tx: ChangeTx, extents: readonly ExtentRow[], segment: number, since: number): Promise<void> {
  for (const extent of extents.filter((each) => each.segment === segment && each.leg !== 'insync' && each.since > since)) await setSince(tx, extent.id, since)
}

/** `trusted` false: it may have taken writes that no other leg has, and that nobody remembers. `failed`: its head had an error of it. */
export async function commitStale(
  cluster: Cluster, tx: ChangeTx, { volume, extents }: Pick<VolumeFacts, 'volume' | 'extents'>, segment: { readonly index: number; readonly generation: number },
  gone: readonly string[], why: string, { trusted = true, failed = false }: { readonly trusted?: boolean; readonly failed?: boolean } = {},
): Promise<void> {
  const nowMs = cluster.clock.nowMs()
  const since = trusted ? await sinceNow(cluster, tx, volume.id) : 0
  await raiseGeneration(tx, volume.id, segment.index)
  for (const extent of extents.filter((each) => gone.includes(each.id))) {
    await setLeg(tx, extent.id, legAfter(extent.leg, 'missed writes'), nowMs)
    await setSince(tx, extent.id, sinceOfLost(extent, since))
    if (extent.leg === 'syncing') {
      await setRetry(tx, extent.id, nowMs + RETRY_MS)
      await interruptJob(tx, 'resync', volume.id, segment.index, `interrupted: ${why}`)
    } else if (failed) await setRetry(tx, extent.id, nowMs + AFTER_LOSS_MS)
  }
  const servers = extents.filter((each) => gone.includes(each.id)).map((each) => each.host)
  await tx.event({
    kind: 'leg stale', about: 'volume', name: volume.name,
    text: `segment ${segment.index}: the leg on ${servers.join(', ')} is stale from generation ${segment.generation + 1} on (${why})`,
  })
}
