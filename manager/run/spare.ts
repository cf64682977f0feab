/** Has servers make the extents of new legs. When one can't, its place is given back and another is looked for. */
import { Fault, messageOf } from '../../lib/faults.js'
import { dropExtent, extentsOf, setExtentReady, volumeById } from '../store/volumes.js'
import { findHost } from '../store/hosts.js'
import { AgentSilent } from './agents.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { pushVolume } from './exports.js'
import type { Next } from './work.js'

const AGAIN_MS = 5000

export async function spareTurn(cluster: Cluster, id: string): Promise<Next> {
  const volume = await volumeById(cluster.store.read, id)
  if (!volume || volume.phase === 'creating') return 'idle'
  const planned = (await extentsOf(cluster.store.read, id)).filter((extent) => extent.state === 'planned')
  let [silent, changed] = [false, false]
  await Promise.all([...new Set(planned.map((extent) => extent.host))].map(async (name) => {
    const mine = planned.filter((extent) => extent.host === name)
    const host = await findHost(cluster.store.read, name)
    try {
      if (!host || !online(cluster, name)) throw new AgentSilent(`${name} does not answer`)
      await pushVolume(cluster, host, id)
      await cluster.store.change(async (tx) => { for (const extent of mine) await setExtentReady(tx, extent.id) })
      changed = true
    } catch (thrown) {
      if (thrown instanceof AgentSilent) silent = true
      else if (thrown instanceof Fault && thrown.fault !== 'stale epoch') {
        await cluster.store.change(async (tx) => {
          for (const extent of mine) await dropExtent(tx, extent.id)
          await tx.event({ kind: 'spare not made', about: 'volume', name: volume.name, text: `${name}: ${messageOf(thrown)}` })
        })
        changed = true
        cluster.work.kick('host', name)
      } else throw thrown
    }
  }))
  if (changed) cluster.work.kick('repair', 'cluster') // not where nobody answered: its look begins this turn, and the two would go round and round
  return silent ? AGAIN_MS : 'idle'
}
