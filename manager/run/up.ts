/**
 * A volume that a head has up, whole or only for copying: what the head saw last is held against the database; failed legs are
 * committed stale, copied ones in sync, then the head gets its new layout.
 */
import { createHash } from 'node:crypto'
import { agentMethods } from '../../lib/wire/agent.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { Fault, messageOf } from '../../lib/faults.js'
import { lookAtAttached } from '../plan/attached.js'
import type { AttachedDecision, SegmentFacts } from '../plan/attached.js'
import { headOf } from '../plan/exports.js'
import { legAfter } from '../state/leg.js'
import type { HostRow, VolumeRow } from '../state/rows.js'
import { findHost } from '../store/hosts.js'
import { endJob } from '../store/jobs.js'
import type { ChangeTx } from '../store/store.js'
import { changeLayout, extentsOf, forgetChanges, segmentsOf, setLeg, setSettled, updateVolume, volumeById } from '../store/volumes.js'
import { keepSeen, online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { commitStale } from './loss.js'
import { mendLegs } from './mend.js'
import { ofAttachment, sureOfOthers } from './others.js'
import { retireSurplus } from './repair.js'
import { loadFacts, segmentFacts, volumeWanted } from './facts.js'
import type { VolumeFacts } from './facts.js'
import { pushVolume } from './exports.js'
import type { Next } from './work.js'

/** Between two attempts to take up waiting I/O, ms. */
const TRY_AGAIN_MS = 2000
/** What waits though it was tried again since, waits for something else: longer than a head that lets go waits for its writes, ms. */
const TRIED_LATELY_MS = 30_000

/** A server of whose legs one was lost is looked at, with its disks; so often at most, ms. */
const SERVER_LOOK_MS = 5000

export async function upTurn(cluster: Cluster, facts: VolumeFacts): Promise<Next> {
  const { volume, hosts, extents } = facts
  const name = headOf(volume)
  const seen = cluster.seen.get(name)
  const head = hosts.get(name)
  if (!seen || !head || seen.bootId !== bootOf(volume)) return 'idle' // the head's own turn looks, and kicks
  const told = ofAttachment(seen, volume)
  const there = told && await sureOfOthers(cluster, facts, told)
  if (told && !there) return 0
  const decision = there && await decide(cluster, volume.id, there)
  if (decision === 'elsewhere') return 0
  const stuck = there !== undefined && decision !== undefined && (there.waiting || decision.unavailable.length > 0)
  if (decision && decision.stale.length + decision.insync.length > 0) cluster.work.kick('repair', 'cluster')
  for (const host of new Set(decision?.stale.flatMap((loss) => extents.filter((extent) => loss.extents.includes(extent.id)).map((extent) => extent.host)))) {
    if (cluster.clock.monoMs() - (cluster.compared.get(host) ?? Number.NEGATIVE_INFINITY) > SERVER_LOOK_MS) cluster.work.kick('host', host)
  }
  if (!decision || decision.reload || (stuck && await tryAgain(cluster, volume.id, decision))) await giveLayout(cluster, volume.id)
  else if (there && decision.readErrors.length > 0) await mendLegs(cluster, head, there, decision.readErrors)
  else if (there && !stuck && decision.stale.length + decision.insync.length === 0 && isCalm(there)) cluster.judged.set(volume.id, digestOf(there))
  return 'idle'
}

/** Up, and nothing waits, fails or is being copied. */
export function isCalm(volume: VolumeSeen): boolean {
  return volume.state === 'up' && !volume.waiting && volume.layout > 0 && volume.unreachable.length === 0 && volume.segments.every((segment) => segment.inSync === segment.regions && segment.legs.every((leg) => leg.health === 'A'))
}

/** Whether a turn has looked at just this and found nothing to do: of a hundred thousand volumes that are up, hardly one needs anything. */
export function isJudged(cluster: Cluster, volume: VolumeRow, seen: VolumeSeen | undefined): boolean {
  return seen !== undefined && volume.phase === 'attached' && volume.problem === '' && seen.layout === volume.layout && seen.attachEpoch === volume.attachEpoch && !wantsNote(volume, seen)
    && cluster.judged.get(volume.id) === digestOf(seen)
}

/** Of all that a turn decides by; how far changes are settled is looked at beside. */
function digestOf({ state, layout, attachEpoch, waiting, unreachable, segments }: VolumeSeen): string {
  return createHash('sha1').update(JSON.stringify([state, layout, attachEpoch, waiting, unreachable, segments])).digest('base64')
}

/**
 * A volume that its head is about to let go: a leg that was lost meanwhile is left behind first, as at any other time, for what is still
 * to be written waits for that. True when the head was given a new layout.
 */
export async function settleBeforeDetach(cluster: Cluster, facts: VolumeFacts): Promise<boolean> {
  const { volume } = facts
  const told = ofAttachment(cluster.seen.get(volume.head), volume)
  if (told?.state !== 'up') return false // what is half gone goes
  const there = await sureOfOthers(cluster, facts, told)
  if (!there) return true // what is to be judged first is judged in the next turn
  const decision = await decide(cluster, volume.id, there)
  if (decision === 'elsewhere' || !(decision.reload || (there.waiting && await tryAgain(cluster, volume.id, decision)))) return false
  await giveLayout(cluster, volume.id)
  return true
}

/** Its head has let go of it: what it told last, of how far its changes are settled, counts on until that is committed. */
export function noteLetGo(cluster: Cluster, volume: VolumeRow): void {
  const seen = cluster.seen.get(volume.head)
  cluster.judged.delete(volume.id)
  if (seen) keepSeen(cluster, volume.head, { ...seen, volumes: seen.volumes.map((each) => (each.volume === volume.id ? { ...each, state: 'partial', device: '' } : each)) })
}

/** A head could not let go of a volume: whether that is because of a leg that can be left behind, or of what only waits for a new table and was not tried lately. */
export async function lostWhileDetaching(cluster: Cluster, head: HostRow, id: string): Promise<boolean> {
  keepSeen(cluster, head.name, await cluster.agents.call(head, agentMethods.observe, {}, { timeoutMs: 10_000 }))
  const { read } = cluster.store
  const [volume, segments, extents] = await Promise.all([volumeById(read, id), segmentsOf(read, id), extentsOf(read, id)])
  if (volume?.phase !== 'detaching') return false
  const there = ofAttachment(cluster.seen.get(head.name), volume)
  if (extents.some((extent) => extent.doubt)) return true
  if (there?.state !== 'up') return false
  const triedMs = cluster.clock.monoMs() - (cluster.triedAgain.get(id) ?? Number.NEGATIVE_INFINITY)
  return lookAtAttached(volume.layout, segmentFacts({ segments, extents }), there).reload || (there.waiting && triedMs > TRIED_LATELY_MS)
}

/**
 * I/O waits for legs that the kernel has given up. As soon as a server of a good leg answers in each of those segments, the head gets
 * the same legs as a new layout: nothing was acknowledged meanwhile, so they are as good as they were.
 */
async function tryAgain(cluster: Cluster, id: string, decision: AttachedDecision): Promise<boolean> {
  const now = cluster.clock.monoMs()
  if (now - (cluster.triedAgain.get(id) ?? Number.NEGATIVE_INFINITY) < TRY_AGAIN_MS) return false
  const stuck = new Set(decision.unavailable.map((each) => each.segment))
  return cluster.store.change(async (tx) => {
    const extents = (await extentsOf(tx, id)).filter((extent) => stuck.has(extent.segment) && extent.leg === 'insync' && online(cluster, extent.host))
    if ([...stuck].some((segment) => !extents.some((extent) => extent.segment === segment))) return false
    cluster.triedAgain.set(id, now)
    await changeLayout(tx, id)
    return true
  })
}

export function bootOf(volume: VolumeRow): string {
  return volume.phase === 'detached' ? volume.copyBoot : volume.attachBoot
}

const judged: ReadonlySet<VolumeRow['phase']> = new Set(['attaching', 'attached', 'detaching', 'detached'])

/** Commits what the report shows. The volume is read again inside the transaction: what the turn began with may be over. */
async function decide(cluster: Cluster, id: string, there: VolumeSeen): Promise<AttachedDecision | 'elsewhere'> {
  return cluster.store.change(async (tx) => {
    const volume = await volumeById(tx, id)
    if (!volume || volume.attachEpoch !== there.attachEpoch || !judged.has(volume.phase)) return 'elsewhere'
    const now = { volume, segments: await segmentsOf(tx, id), extents: await extentsOf(tx, id) }
    const facts = segmentFacts(now)
    const decision = volume.phase === 'detached' ? onlyCopies(facts, lookAtAttached(volume.layout, facts, there)) : lookAtAttached(volume.layout, facts, there)
    for (const loss of decision.stale) {
      const segment = facts.find((each) => each.index === loss.segment)
      if (segment) await commitStale(cluster, tx, now, segment, loss.extents, loss.why, { failed: true })
    }
    const forgotten = await noteChanges(tx, volume, there)
    for (const caughtUp of decision.insync) {
      // Its server was started anew while it was copied to, and what was not flushed then is gone, whatever the head flushed since: that is judged first.
      if (now.extents.some((extent) => extent.doubt && caughtUp.extents.includes(extent.id))) continue
      await commitInSync(cluster, tx, volume, caughtUp)
      // In the same commit: a leg that this one replaces, on another disk of its server, must never stand beside it as a good one.
      await retireSurplus(cluster, tx, volume, caughtUp.segment)
    }
    const problem = decision.unavailable.map((each) => `segment ${each.segment}: no good leg can be reached (${each.reason})`).join('; ')
    if (problem !== volume.problem) {
      await updateVolume(tx, id, { problem })
      if (problem !== '') await tx.event({ kind: 'data unavailable', about: 'volume', name: volume.name, text: problem })
    }
    return forgotten ? { ...decision, reload: true } : decision
  })
}

/** Between two notes of how far changes are settled, eras (minutes): after a restart of the manager the last note counts. */
const NOTE_ERAS = 60

/** Whether what its head tells of changes is to be written down. */
export function wantsNote({ settled, phase }: Pick<VolumeRow, 'settled' | 'phase'>, { changes }: VolumeSeen): boolean {
  return settled !== 0 && phase === 'attached' && changes !== undefined && (changes.broken || changes.settled >= settled + NOTE_ERAS)
}

/** True when nothing that was remembered counts any more: the head is told, and may then give up what waits for it. */
async function noteChanges(tx: ChangeTx, volume: VolumeRow, there: VolumeSeen): Promise<boolean> {
  if (!there.changes || !wantsNote(volume, there)) return false
  if (!there.changes.broken) {
    await setSettled(tx, volume.id, there.changes.settled)
    return false
  }
  await forgetChanges(tx, volume.id)
  await changeLayout(tx, volume.id)
  await tx.event({ kind: 'changes forgotten', about: 'volume', name: volume.name, text: 'its head can no longer say what was written when: legs that are behind are copied as a whole until it is attached again' })
  return true
}

/** Nobody writes to a detached volume, so no good leg can miss anything: whatever fails, it is the copy that has to begin again. */
function onlyCopies(facts: readonly SegmentFacts[], decision: AttachedDecision): AttachedDecision {
  const failed = [...decision.stale.map((each) => ({ segment: each.segment, why: each.why })), ...decision.unavailable.map((each) => ({ segment: each.segment, why: each.reason }))]
  // Segments that are not being copied are not up there at all, so nothing is said of them, and nothing is to be done.
  const stale = failed.map(({ segment, why }) => ({ segment, why, extents: facts.find((each) => each.index === segment)?.legs.filter((leg) => leg.state === 'syncing').map((leg) => leg.extent) ?? [] }))
    .filter((each) => each.extents.length > 0)
  return { ...decision, unavailable: [], stale, reload: decision.reload || stale.length > 0 }
}

async function commitInSync(cluster: Cluster, tx: ChangeTx, volume: VolumeRow, { segment, extents }: { readonly segment: number; readonly extents: readonly string[] }): Promise<void> {
  for (const extent of extents) await setLeg(tx, extent, legAfter('syncing', 'copy ended'))
  await changeLayout(tx, volume.id)
  await endJob(tx, 'resync', volume.id, segment, 'done', 'all its legs in use are equal', cluster.clock.nowMs())
  await tx.event({ kind: 'leg in sync', about: 'volume', name: volume.name, text: `segment ${segment}: the copy has ended, all its legs in use are equal` })
  cluster.progress.forget(volume.id, segment)
}

/** Keeps what a head told of volumes, beside what it told before of others. */
export function noteSeen(cluster: Cluster, head: string, bootId: string, volumes: readonly VolumeSeen[]): void {
  const before = cluster.seen.get(head)
  for (const volume of volumes) cluster.progress.note(volume, cluster.clock.monoMs())
  cluster.settled.note(bootId, volumes, cluster.clock.monoMs())
  if (before?.bootId !== bootId) return // the head's own turn looks at all of it first
  const told = new Set(volumes.map((volume) => volume.volume))
  keepSeen(cluster, head, { ...before, volumes: [...before.volumes.filter((volume) => !told.has(volume.volume)), ...volumes] })
  for (const each of [...cluster.onTold]) each()
}

/**
 * The answer to an order; or what its head reports meanwhile, if that costs a leg. An order may wait in the kernel for what a leg holds that
 * has failed just then, and only another order, without that leg, lets it go on: it must not be waited for. What was begun goes on.
 */
async function answerOrReport(cluster: Cluster, facts: VolumeFacts, answer: Promise<VolumeSeen>): Promise<VolumeSeen> {
  const before = ofAttachment(cluster.seen.get(headOf(facts.volume)), facts.volume)
  let look = (): void => undefined
  const report = new Promise<VolumeSeen>((resolve) => {
    look = () => {
      const there = ofAttachment(cluster.seen.get(headOf(facts.volume)), facts.volume)
      if (there && there !== before && there.unreachable.length > 0 && lookAtAttached(facts.volume.layout, segmentFacts(facts), there).stale.length > 0) resolve(there)
    }
  })
  cluster.onTold.add(look)
  answer.catch(() => undefined) // it may come when nobody waits for it any more
  try {
    return await Promise.race([answer, report])
  } finally {
    cluster.onTold.delete(look)
  }
}

/** Tells the head the layout that the database has now. What it answers is looked at in the next turn. */
export async function giveLayout(cluster: Cluster, id: string): Promise<void> {
  const volume = await volumeById(cluster.store.read, id)
  if (!volume) return
  const facts = await loadFacts(cluster.store.read, volume)
  const head = facts.hosts.get(headOf(volume))
  if (!head || (volume.phase === 'detached' && !facts.extents.some((extent) => extent.leg === 'syncing'))) return
  const closed = await openTargets(cluster, facts)
  const wanted = volumeWanted(facts, (name) => online(cluster, name))
  const up = closed.length > 0
    ? { ...(cluster.seen.get(head.name)?.volumes.find((each) => each.volume === id) ?? nothingOf(volume)), unreachable: closed }
    : await answerOrReport(cluster, facts, cluster.agents.call(head, agentMethods.attachVolume, { volume: wanted }, { timeoutMs: 45_000 }))
  noteSeen(cluster, head.name, bootOf(volume), [up])
  if (up.unreachable.length === 0) await updateDevice(cluster, volume, up.device)
  // Copies are begun only on top of what the head is known to have: those that waited for this layout need not wait for the next look.
  if (facts.extents.some((extent) => extent.leg === 'stale' || extent.leg === 'allocated')) cluster.work.kick('repair', 'cluster')
  cluster.work.kick('volume', id)
  cluster.work.kick('exports', id)
}

/** A leg that left is shut out as well, and tags follow. In a turn of its own: the next loss must not wait for a server that is slow to answer. */
export async function exportsTurn(cluster: Cluster, id: string): Promise<Next> {
  const servers = new Set((await extentsOf(cluster.store.read, id)).map((extent) => extent.host))
  await Promise.all([...servers].map(async (name) => {
    const host = await findHost(cluster.store.read, name)
    if (!host || !online(cluster, name)) return // put right when it returns
    await pushVolume(cluster, host, id).catch((thrown: unknown) => {
      if (thrown instanceof Fault && thrown.fault === 'stale epoch') throw thrown
      cluster.log.debug('exports and tags not updated yet', { volume: id, host: name, error: messageOf(thrown) })
    })
  }))
  return 'idle'
}

async function updateDevice(cluster: Cluster, volume: VolumeRow, device: string): Promise<void> {
  if (volume.device === device || volume.phase !== 'attached') return
  await cluster.store.change((tx) => updateVolume(tx, volume.id, { device }))
}

function nothingOf(volume: VolumeRow): VolumeSeen {
  return { volume: volume.id, name: volume.name, attachEpoch: volume.attachEpoch, layout: 0, scope: 'whole', state: 'partial', device: '', opens: 0, segments: [], waiting: false, unreachable: [] }
}

/** Lets the head in at the targets of copies before it is told to copy. Gives those whose servers did not. */
async function openTargets(cluster: Cluster, facts: VolumeFacts): Promise<VolumeSeen['unreachable']> {
  const targets = facts.extents.filter((extent) => extent.leg === 'syncing')
  const there = ofAttachment(cluster.seen.get(headOf(facts.volume)), facts.volume)
  const used = new Set(there?.segments.flatMap((segment) => segment.legs.map((leg) => leg.extent)))
  if (facts.volume.phase !== 'detached' && targets.every((extent) => used.has(extent.id))) return [] // it has them: who copies on must not wait for their servers
  const needed = new Set([...targets, ...facts.volume.phase === 'detached' ? facts.extents.filter((extent) => extent.leg === 'insync' && online(cluster, extent.host)) : []].map((extent) => extent.host))
  const failed = await Promise.all([...needed].map(async (name): Promise<VolumeSeen['unreachable']> => {
    const host = facts.hosts.get(name)
    try {
      if (!host) throw new Fault('unknown host', `${name} is not known`)
      await pushVolume(cluster, host, facts.volume.id)
      return []
    } catch (thrown) {
      if (thrown instanceof Fault && thrown.fault === 'stale epoch') throw thrown
      return targets.filter((extent) => extent.host === name).map((extent) => ({ extent: extent.id, why: `its server did not export it: ${messageOf(thrown)}` }))
    }
  }))
  return failed.flat()
}
