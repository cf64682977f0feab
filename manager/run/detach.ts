/** Detaching: the head lets go (or says that it is in use, and nothing has changed), then every server shuts it out. */
import { Fault } from '../../lib/faults.js'
import { agentMethods } from '../../lib/wire/agent.js'
import { newChapSecret } from '../state/chap.js'
import { rotateSecret } from '../store/hosts.js'
import { requestDoomed, finishRequest, openRequestAbout } from '../store/requests.js'
import type { ChangeTx } from '../store/store.js'
import { extentsOf, setSettled, updateVolume, volumeById } from '../store/volumes.js'
import { AgentSilent } from './agents.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { interruptCopies } from './copying.js'
import { pushNotes, pushVolume } from './exports.js'
import type { VolumeFacts } from './facts.js'
import { sinceNow } from './loss.js'
import { lostWhileDetaching, noteLetGo, settleBeforeDetach } from './up.js'
import type { Next } from './work.js'

export async function detachTurn(cluster: Cluster, facts: VolumeFacts): Promise<Next> {
  const { volume, hosts } = facts
  const head = hosts.get(volume.head)
  if (head) {
    try {
      if (!await requestDoomed(cluster.store.read, volume.id) && await settleBeforeDetach(cluster, facts)) return 0
      // What the head remembers is gone with it, and the servers may be behind: from here on their notes alone tell which legs are good.
      const silent = await pushNotes(cluster, volume.id)
      if (silent.length > 0 && !await requestDoomed(cluster.store.read, volume.id)) throw new Fault('data unavailable', `no server of a good leg of segment ${silent.join(', ')} takes down that it is good`)
      await cluster.agents.call(head, agentMethods.detachVolume, { volume: volume.id, attachEpoch: volume.attachEpoch }, { timeoutMs: 45_000 })
      noteLetGo(cluster, volume)
    } catch (thrown) {
      if (!(thrown instanceof Fault) || thrown.fault === 'stale epoch') throw thrown
      if (await requestDoomed(cluster.store.read, volume.id)) throw thrown // the clean-up of a failed attach goes on until it is done
      if (thrown.fault !== 'volume in use' && await lostWhileDetaching(cluster, head, volume.id)) return 0
      await cluster.store.change(async (tx) => {
        if (!await stillDetaching(tx, volume.id)) return
        await updateVolume(tx, volume.id, { phase: 'attached' })
        await finishRequest(tx, volume.id, new Fault(thrown.fault, `Cannot detach volume ${volume.name} from ${volume.head}: ${thrown.message}`))
      })
      cluster.work.kick('head', volume.head)
      return 'idle'
    }
  }
  await cluster.store.change(async (tx) => {
    if (!await stillDetaching(tx, volume.id)) return // its head counts as lost since: it is being shut out, and somebody may wait for another
    // A server was started anew meanwhile: whether its legs are good is judged while it is known who wrote last; a detached volume's are not judged any more.
    if (head && (await extentsOf(tx, volume.id)).some((extent) => extent.doubt)) return
    const settled = await sinceNow(cluster, tx, volume.id)
    if (settled > 0) await setSettled(tx, volume.id, settled)
    await updateVolume(tx, volume.id, { phase: 'detached', head: '', device: '', problem: '' })
    await rotateSecret(tx, volume.head, newChapSecret(cluster.random))
    await interruptCopies(cluster, tx, volume.id, 'the volume was detached')
    const undone = await requestDoomed(tx, volume.id)
    await tx.event({ kind: undone ? 'attachment undone' : 'volume detached', about: 'volume', name: volume.name, text: `from ${volume.head}` })
  })
  cluster.work.kick('repair', 'cluster')
  return 0
}

async function stillDetaching(tx: ChangeTx, volume: string): Promise<boolean> {
  return (await volumeById(tx, volume))?.phase === 'detaching'
}

/** The database has no head for it any more. A server that is away keeps its old list until it returns and is put right. */
export async function afterDetach(cluster: Cluster, { volume, extents, hosts }: VolumeFacts): Promise<Next> {
  if (await openRequestAbout(cluster.store.read, volume.id) === undefined) return 'idle'
  await Promise.all([...new Set(extents.map((extent) => extent.host))].map(async (name) => {
    const host = hosts.get(name)
    if (!host || !online(cluster, name)) return
    try {
      await pushVolume(cluster, host, volume.id)
    } catch (thrown) {
      if (!(thrown instanceof Fault) && !(thrown instanceof AgentSilent)) throw thrown
      cluster.work.kick('host', name) // tried again there
    }
  }))
  await cluster.store.change((tx) => finishRequest(tx, volume.id))
  return 'idle'
}
