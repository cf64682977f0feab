/** Creating: have every server make its extents; when all stand, the volume is ready. If one can't, nothing of it stays. */
import { Fault, messageOf } from '../../lib/faults.js'
import { legAfter } from '../state/leg.js'
import { finishRequest } from '../store/requests.js'
import { dropExtents, removeVolume, setExtentReady, setLeg, updateVolume } from '../store/volumes.js'
import { AgentSilent } from './agents.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { pushVolume } from './exports.js'
import type { VolumeFacts } from './facts.js'
import type { Next } from './work.js'

/** An agent that was restarted is back well before; one that stays silent fails the creation. */
const ATTEMPTS = 6

export async function createTurn(cluster: Cluster, facts: VolumeFacts, attempt: number): Promise<Next> {
  const { volume, extents, hosts } = facts
  const waiting = [...new Set(extents.filter((extent) => extent.state === 'planned').map((extent) => extent.host))].sort()
  const results = await Promise.all(waiting.map(async (name) => {
    try {
      const host = hosts.get(name)
      if (!host) throw new Fault('unknown host', `${name} is not known`)
      await pushVolume(cluster, host, volume.id)
      await cluster.store.change(async (tx) => {
        for (const extent of extents.filter((each) => each.host === name)) await setExtentReady(tx, extent.id)
      })
      return undefined
    } catch (thrown) {
      if (thrown instanceof Fault || thrown instanceof AgentSilent) return thrown
      throw thrown
    }
  }))
  const failed = results.filter((result) => result !== undefined)
  if (failed.length === 0) {
    await cluster.store.change(async (tx) => {
      for (const extent of extents) await setLeg(tx, extent.id, legAfter(extent.leg, 'made'))
      await updateVolume(tx, volume.id, { phase: 'detached' })
      await finishRequest(tx, volume.id)
      await tx.event({ kind: 'volume created', about: 'volume', name: volume.name, text: `${volume.bytes} bytes, ${volume.redundancy} legs, ${facts.segments.length} segments` })
    })
    return 'idle'
  }
  const refusal = failed.find((each) => each instanceof Fault)
  if (!refusal && attempt < ATTEMPTS) throw failed[0] ?? new Error('no reason')
  await abandon(cluster, facts, refusal ?? new Fault('host offline', failed.map((each) => messageOf(each)).join('; ')))
  return 'idle'
}

/** Takes everything back: tombstones for the extents, no volume, and the reason for whoever waits. */
async function abandon(cluster: Cluster, { volume, extents }: VolumeFacts, why: Fault): Promise<void> {
  await cluster.store.change(async (tx) => {
    await dropExtents(tx, volume.id)
    await removeVolume(tx, volume.id)
    await finishRequest(tx, volume.id, new Fault(why.fault, `Cannot create volume ${volume.name}: ${why.message}`))
    await tx.event({ kind: 'volume creation failed', about: 'volume', name: volume.name, text: why.message })
  })
  for (const host of new Set(extents.map((extent) => extent.host))) if (online(cluster, host)) cluster.work.kick('host', host)
}
