/**
 * Attaching: let the head in at every server, leave behind the legs whose servers don't answer (committed stale first, and never the
 * last good one), then have the head assemble. The same turn assembles a volume again after its head was rebooted.
 */
import { agentMethods } from '../../lib/wire/agent.js'
import { Fault, messageOf } from '../../lib/faults.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { decideLoss } from '../plan/segment.js'
import type { VolumeRow } from '../state/rows.js'
import { doomRequest, finishRequest, openRequestAbout } from '../store/requests.js'
import { loadSettings } from '../store/settings.js'
import type { ChangeTx } from '../store/store.js'
import { changeLayout, extentsOf, forgetChanges, segmentsOf, setRemembers, setSettled, updateVolume, volumeById } from '../store/volumes.js'
import { AgentSilent } from './agents.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { stopCopying } from './copying.js'
import { pushVolume } from './exports.js'
import { loadFacts, segmentFacts, serversInUse, volumeWanted } from './facts.js'
import type { VolumeFacts } from './facts.js'
import { commitStale } from './loss.js'
import { noteSeen } from './up.js'
import type { Next } from './work.js'

/** How often a silent but living agent is asked again before its legs are left behind: some 8 s where nobody listens; an agent's restart takes less. */
const PATIENCE = 5

export async function attachTurn(cluster: Cluster, facts: VolumeFacts, attempt: number): Promise<Next> {
  const { volume, hosts } = facts
  const head = hosts.get(volume.head)
  if (!head) return giveUp(cluster, facts, new Fault('unknown host', `head ${volume.head} is not known`))
  if (volume.copyHead !== '') {
    await stopCopying(cluster, facts)
    return 0
  }
  const lost = await openServers(cluster, facts, attempt)
  const refusal = await leaveBehind(cluster, facts, lost)
  if (refusal) return giveUp(cluster, facts, refusal)
  const now = await cluster.store.change((tx) => decideRemembering(tx, volume.id))
  if (now?.phase !== 'attaching') return 0
  try {
    const wanted = volumeWanted(await loadFacts(cluster.store.read, now), (name) => online(cluster, name))
    const up = await cluster.agents.call(head, agentMethods.attachVolume, { volume: wanted }, { timeoutMs: 45_000 })
    if (up.unreachable.length > 0) {
      const refused = await leaveBehindLegs(cluster, facts, new Map(up.unreachable.map((leg) => [leg.extent, leg.why])))
      return refused ? await giveUp(cluster, facts, refused) : 0
    }
    noteSeen(cluster, head.name, volume.attachBoot, [up])
    const there = await cluster.store.change(async (tx) => {
      if (!await stillAttaching(tx, volume)) return false // its head counts as lost since: it is being shut out
      await keepSettled(tx, volume.id, up)
      await updateVolume(tx, volume.id, { phase: 'attached', device: up.device, problem: '' })
      await finishRequest(tx, volume.id)
      await tx.event({ kind: 'volume attached', about: 'volume', name: volume.name, text: `to ${head.name} as ${up.device}` })
      return true
    })
    if (!there) return 0
    cluster.work.kick('head', head.name)
    cluster.work.kick('repair', 'cluster')
    return 'idle'
  } catch (thrown) {
    if (thrown instanceof Fault && thrown.fault !== 'stale epoch') return giveUp(cluster, facts, thrown)
    throw thrown
  }
}

/** Whether nobody has decided otherwise while its head and servers were asked. */
async function stillAttaching(tx: ChangeTx, volume: VolumeRow): Promise<boolean> {
  const now = await volumeById(tx, volume.id)
  return now?.phase === 'attaching' && now.attachEpoch === volume.attachEpoch
}

/** As the settings say now. What an attachment that remembers nothing writes makes worthless what was remembered before it. */
async function decideRemembering(tx: ChangeTx, id: string): Promise<VolumeRow | undefined> {
  const remembers = (await loadSettings(tx)).of('volume.changes', id) === 1
  await setRemembers(tx, id, remembers)
  if (!remembers) await forgetChanges(tx, id)
  return volumeById(tx, id)
}

/** What the head remembers counts from its first word on, which it gives before anybody is told that the volume is there. */
async function keepSettled(tx: ChangeTx, id: string, { changes }: VolumeSeen): Promise<void> {
  const volume = await volumeById(tx, id)
  if (volume?.remembers === true && changes && !changes.broken && changes.settled > 0) await setSettled(tx, id, Math.max(volume.settled, changes.settled))
  else await forgetChanges(tx, id)
  if (changes?.broken === true) await changeLayout(tx, id) // only an order tells the head that nobody relies on it
}

/** Lets the head in everywhere. Gives the servers that can't be used now, with the reason. */
async function openServers(cluster: Cluster, facts: VolumeFacts, attempt: number): Promise<ReadonlyMap<string, string>> {
  const lost = new Map<string, string>()
  await Promise.all(serversInUse(facts).map(async (name) => {
    const host = facts.hosts.get(name)
    if (!host || !online(cluster, name)) {
      lost.set(name, 'offline')
      return
    }
    try {
      await pushVolume(cluster, host, facts.volume.id)
    } catch (thrown) {
      if (thrown instanceof Fault && thrown.fault === 'stale epoch') throw thrown // says something of us, nothing of the leg
      if (thrown instanceof AgentSilent && attempt < PATIENCE) throw thrown
      if (!(thrown instanceof AgentSilent) && !(thrown instanceof Fault)) throw thrown
      lost.set(name, messageOf(thrown))
    }
  }))
  return lost
}

/** Commits the legs on lost servers as stale. Gives the reason when a segment would have no good leg left: then nothing was changed. */
function leaveBehind(cluster: Cluster, facts: VolumeFacts, lost: ReadonlyMap<string, string>): Promise<Fault | undefined> {
  return leaveBehindLegs(cluster, facts, new Map(facts.extents.flatMap((extent) => {
    const why = lost.get(extent.host)
    return why === undefined ? [] : [[extent.id, `${extent.host}: ${why}`] as const]
  })))
}

/** The same by leg: extent → why it can't be used. */
export async function leaveBehindLegs(cluster: Cluster, facts: VolumeFacts, lost: ReadonlyMap<string, string>): Promise<Fault | undefined> {
  if (lost.size === 0) return undefined
  return cluster.store.change(async (tx) => {
    const [segments, extents] = [await segmentsOf(tx, facts.volume.id), await extentsOf(tx, facts.volume.id)]
    const decisions = segmentFacts({ segments, extents }).map((segment) => ({ segment, decision: decideLoss(segment.legs, (leg) => lost.get(leg.extent)) }))
    for (const { segment, decision } of decisions) {
      if (decision.kind === 'unavailable') return new Fault('data unavailable', `segment ${segment.index} of ${facts.volume.name}: ${decision.reason}`)
    }
    for (const { segment, decision } of decisions) {
      if (decision.kind !== 'drop') continue
      const why = decision.extents.map((extent) => lost.get(extent) ?? '').join('; ')
      await commitStale(cluster, tx, { volume: facts.volume, extents }, segment, decision.extents, why)
    }
    return undefined
  })
}

/** Somebody waits for it: it fails, and is taken apart again. Nobody does (the head came back from a reboot): it is tried again. */
async function giveUp(cluster: Cluster, { volume }: VolumeFacts, why: Fault): Promise<Next> {
  const waited = await openRequestAbout(cluster.store.read, volume.id)
  if (waited === undefined) {
    if (volume.problem !== why.message) {
      await cluster.store.change(async (tx) => {
        await updateVolume(tx, volume.id, { problem: why.message })
        await tx.event({ kind: 'volume not up', about: 'volume', name: volume.name, text: why.message })
      })
    }
    return 3000
  }
  await cluster.store.change(async (tx) => {
    if (!await stillAttaching(tx, volume)) return
    await doomRequest(tx, volume.id, new Fault(why.fault, `Cannot attach volume ${volume.name} to ${volume.head}: ${why.message}`))
    await updateVolume(tx, volume.id, { phase: 'detaching' })
  })
  return 0
}
