/**
 * Copying the legs of a detached volume, on a head chosen for it. That head only reads sources and writes targets, so it may be left
 * at any moment: the targets then count as stale, and whoever exports them makes sure that its writes have ended.
 */
import { agentMethods } from '../../lib/wire/agent.js'
import { Fault, messageOf } from '../../lib/faults.js'
import { legAfter } from '../state/leg.js'
import { interruptJob } from '../store/jobs.js'
import { hostsNamed } from '../store/lists.js'
import type { ChangeTx } from '../store/store.js'
import { noteUnreleased } from '../store/unreleased.js'
import { changeLayout, extentsOf, setLeg, updateVolume, volumeById } from '../store/volumes.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { AgentSilent } from './agents.js'
import { pushVolume } from './exports.js'
import type { VolumeFacts } from './facts.js'
import { upTurn } from './up.js'
import type { Next } from './work.js'

export async function copyingTurn(cluster: Cluster, facts: VolumeFacts): Promise<Next> {
  const { volume, extents, hosts } = facts
  const head = hosts.get(volume.copyHead)
  const gone = !head || head.duty === 'failed' || !online(cluster, head.name) || head.bootId !== volume.copyBoot
  if (gone || !extents.some((extent) => extent.leg === 'syncing')) {
    await stopCopying(cluster, facts)
    return 0
  }
  try {
    return await upTurn(cluster, facts)
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.fault === 'stale epoch') throw thrown
    // This head can't, for a reason of its own: another one is asked, and this one not again for a while.
    cluster.log.warn('a head refuses to copy: another one is looked for', { volume: volume.name, head: head.name, error: thrown.message })
    cluster.shunned.set(`${volume.id} ${head.name}`, cluster.clock.monoMs() + SHUN_MS)
    await stopCopying(cluster, facts)
    return 0
  }
}

const SHUN_MS = 60_000

/** Takes the volume away from the head that copies; what was being copied is stale again. */
export async function stopCopying(cluster: Cluster, { volume, hosts }: VolumeFacts): Promise<void> {
  const head = hosts.get(volume.copyHead)
  let released = false
  try {
    if (head && online(cluster, head.name)) {
      await cluster.agents.call(head, agentMethods.detachVolume, { volume: volume.id, attachEpoch: volume.attachEpoch }, { timeoutMs: 20_000 })
      released = true
    }
  } catch (thrown) {
    if (thrown instanceof Fault && thrown.fault === 'stale epoch') throw thrown
    if (!(thrown instanceof Fault) && !(thrown instanceof AgentSilent)) throw thrown
    cluster.log.info('a head did not stop copying: it is shut out instead', { volume: volume.name, head: volume.copyHead, error: messageOf(thrown) })
  }
  await cluster.store.change(async (tx) => {
    const now = await volumeById(tx, volume.id)
    if (now?.copyHead !== volume.copyHead) return
    await updateVolume(tx, volume.id, { copyHead: '', copyBoot: '' })
    if (!released) await noteUnreleased(tx, volume.copyHead, { volume: volume.id, attachEpoch: volume.attachEpoch })
    await interruptCopies(cluster, tx, volume.id, `${volume.copyHead} no longer copies`)
  })
  cluster.work.kick('repair', 'cluster')
  const servers = new Set((await extentsOf(cluster.store.read, volume.id)).map((extent) => extent.host))
  await Promise.allSettled([...await hostsNamed(cluster.store.read, [...servers])].map(async ([name, host]) => {
    if (online(cluster, name)) await pushVolume(cluster, host, volume.id)
  }))
  if (!released) cluster.work.kick('host', volume.copyHead) // it is shut out now, and what is left there can be taken away
}

/** Targets of copies that nobody makes any more are stale again. */
export async function interruptCopies(cluster: Cluster, tx: ChangeTx, volume: string, why: string): Promise<void> {
  const nowMs = cluster.clock.nowMs()
  for (const extent of (await extentsOf(tx, volume)).filter((each) => each.leg === 'syncing')) {
    await setLeg(tx, extent.id, legAfter('syncing', 'missed writes'), nowMs)
    await interruptJob(tx, 'resync', volume, extent.segment, `interrupted: ${why}`)
  }
  await changeLayout(tx, volume)
}
