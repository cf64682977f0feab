/**
 * The cluster's repair: one turn looks at every segment that isn't whole, decides what it needs (plan/repair.ts), places spares, asks
 * the scheduler which copies may run (plan/schedule.ts), commits, and kicks the volumes concerned. It asks no host anything, and waits for
 * one's next heartbeat only before it gives a leg up. Where all is whole, legs may be moved so that disks become equally full (run/rebalance.ts).
 */
import type { Settings } from '../state/settings.js'
import { bySegment } from '../plan/segment.js'
import { planRepair, retryIn } from '../plan/repair.js'
import type { LegPlace, RepairLeg, RepairPlan } from '../plan/repair.js'
import { scheduleCopies } from '../plan/schedule.js'
import type { CopyWish } from '../plan/schedule.js'
import { headOf } from '../plan/exports.js'
import { legAfter } from '../state/leg.js'
import type { DiskRow, ExtentRow, HostRow, SegmentRow, VolumeRow } from '../state/rows.js'
import { must } from '../../lib/assert.js'
import { addJob, endJob, noteJob, openJobs, startJob } from '../store/jobs.js'
import { loadSettings } from '../store/settings.js'
import type { ChangeTx } from '../store/store.js'
import { extentsOfAll, segmentsOfAll, volumesOfAll } from '../store/lists.js'
import { countMoved, stopMoving } from '../store/rebalance.js'
import { addExtent, changeLayout, dropExtent, extentsOf, raiseGeneration, segmentsInDoubt, segmentsOf, setLeg, setSince, setSpare, updateVolume, volumeById } from '../store/volumes.js'
import { copyWanted, sinceOfLost, sinceOfSpare } from '../plan/changed.js'
import type { VolumeFacts } from './facts.js'
import { online, unheardSince } from './cluster.js'
import type { Cluster } from './cluster.js'
import { chooseHead, loadFleet, placeSpares } from './fleet.js'
import type { Fleet } from './fleet.js'
import { sinceNow } from './loss.js'
import { watchMoves } from './moves.js'
import { REST_MS, RESTS, rebalanceTurn } from './rebalance.js'
import { leaveSilent, silentLosses } from './silent-disks.js'
import type { Next } from './work.js'

/** A look without a reason, ms: nothing depends on it. */
const LOOK_AGAIN_MS = 30_000
/** Volumes that are read together. */
const READ_AT_ONCE = 50
/** Phases in which a volume's legs are nobody else's business. */
const steady: ReadonlySet<string> = new Set(['attached', 'detached'])

export interface Facts extends Fleet {
  readonly settings: Settings
}

interface Wish extends CopyWish {
  readonly volume: VolumeRow
  readonly segment: SegmentRow
  readonly extents: readonly string[]
}

export async function repairTurn(cluster: Cluster): Promise<Next> {
  const db = cluster.store.read
  const facts: Facts = { ...await loadFleet(db), settings: await loadSettings(db) }
  const doubtful = await segmentsInDoubt(db, {
    disks: [...facts.disks.values()].filter((disk) => disk.duty !== 'use' || disk.state !== 'ready').map((disk) => disk.id),
    hosts: [...facts.hosts.values()].filter((host) => host.duty !== 'use' || !online(cluster, host.name)).map((host) => host.name),
  })
  const wishes: Wish[] = []
  let [again, urgent] = [LOOK_AGAIN_MS, 0]
  const add = (id: string, looked: Looked): void => {
    wishes.push(...looked.wishes)
    again = Math.min(again, looked.againInMs)
    urgent += looked.urgent
    if (looked.kick) cluster.work.kick('volume', id)
    if (looked.spares) cluster.work.kick('spare', id)
    for (const host of looked.released) if (online(cluster, host)) cluster.work.kick('host', host)
  }
  const ids = [...doubtful.keys()]
  for (let at = 0; at < ids.length; at += READ_AT_ONCE) {
    const chunk = ids.slice(at, at + READ_AT_ONCE)
    const volumes = new Map((await volumesOfAll(db, chunk)).map((volume) => [volume.id, volume]))
    const [segments, extents] = [await segmentsOfAll(db, chunk), await extentsOfAll(db, chunk)]
    for (const id of chunk) {
      const volume = volumes.get(id)
      const indices = must(doubtful.get(id), 'a volume that was asked for')
      const looked = volume && lookAt(cluster, facts, { volume, segments: segments.get(id) ?? [], extents: extents.get(id) ?? [] }, indices)
      if (looked?.writes === false) {
        if (looked.obstacles !== '') cluster.waiting.set(id, looked.obstacles) // times in it go by
        add(id, { ...looked, kick: false, released: [] })
      }
      if (looked?.writes !== true) continue
      const sinceMs = cluster.clock.monoMs()
      await unheardSince(cluster, looked.left, sinceMs)
      const done = await cluster.store.change((tx) => repairVolume(cluster, tx, facts, id, indices, sinceMs))
      if (done) add(id, done)
    }
  }
  for (const id of cluster.waiting.keys()) if (!doubtful.has(id)) cluster.waiting.delete(id)
  await startCopies(cluster, facts, wishes)
  await watchMoves(cluster)
  await rebalanceTurn(cluster, facts, urgent)
  return again
}

interface Look {
  readonly wishes: readonly Wish[]
  readonly againInMs: number
  /** Segments that aren't whole, and not because a leg of them moves. */
  readonly urgent: number
  /** Extents are to be made. */
  readonly spares: boolean
}

interface Looked extends Look {
  /** Its head is to be told. */
  readonly kick: boolean
  /** Hosts that have tombstones now. */
  readonly released: readonly string[]
}

interface Plans extends Look {
  readonly plans: readonly SegmentPlan[]
  readonly obstacles: string
  readonly writes: boolean
  /** Servers of the good legs that would be left where one is given up. */
  readonly left: readonly string[]
}

/** A volume, with all of its segments and live extents, as they were read together. */
type Rows = Pick<VolumeFacts, 'volume' | 'segments' | 'extents'>

/** What these segments of a volume need, and whether anything of it is to be written down. Changes nothing. */
function lookAt(cluster: Cluster, facts: Facts, { volume, segments, extents }: Rows, indices: ReadonlyMap<number, boolean>): Plans | undefined {
  if (volume.phase === 'creating') return undefined
  const extentsIn = bySegment(extents)
  const plans = segments.filter((segment) => indices.has(segment.index)).map((segment): SegmentPlan => {
    const mine = extentsIn(segment.index)
    const planned = planFor(cluster, facts, volume, mine)
    // A server ends what it has of a leg: the head must have let go of it first.
    return { volume, segment, extents: mine, hadSpares: indices.get(segment.index) ?? false, plan: released(cluster, volume) ? planned : { ...planned, release: [] } }
  })
  const losses = volume.phase === 'attached' ? silentLosses(cluster, facts.disks, plans) : []
  const obstacles = obstaclesOf(plans.map(({ segment, plan }) => ({ index: segment.index, why: steady.has(volume.phase) ? plan.why : '' })))
  return {
    plans, obstacles,
    wishes: plans.flatMap((each) => wishesFor(cluster, facts, each)),
    againInMs: Math.min(LOOK_AGAIN_MS, ...plans.flatMap(({ plan }) => plan.againInMs ?? [])),
    urgent: plans.filter(({ plan }) => !plan.whole && !plan.calm).length,
    spares: plans.some((each) => each.extents.some((extent) => extent.state === 'planned')),
    left: losses.flatMap((loss) => loss.left),
    writes: losses.length > 0
      || plans.some((each) => endsMove(each) || (steady.has(volume.phase) && (isWholeAgain(each) || each.plan.retire.length + each.plan.release.length > 0 || each.plan.spares > 0)))
      || isNews(cluster, volume, obstacles),
  }
}

/** As it is now, inside the change: looks again, and writes down what follows. `sinceMs`: whoever was heard since is there. */
async function repairVolume(cluster: Cluster, tx: ChangeTx, facts: Facts, id: string, indices: ReadonlyMap<number, boolean>, sinceMs: number): Promise<Looked | undefined> {
  const read = async (): Promise<Rows | undefined> => {
    const volume = await volumeById(tx, id)
    return volume && { volume, segments: await segmentsOf(tx, id), extents: await extentsOf(tx, id) }
  }
  let rows = await read()
  const left = rows?.volume.phase === 'attached' && await leaveSilent(cluster, tx, facts.disks, { ...rows, segments: rows.segments.filter((segment) => indices.has(segment.index)) }, sinceMs)
  if (left) rows = await read()
  const looked = rows && lookAt(cluster, facts, rows, indices)
  if (!rows || !looked) return undefined
  const { volume } = rows
  const result = { ...looked, kick: left, released: [] as string[] }
  const obstacles: { readonly index: number; readonly why: string }[] = []
  for (const each of looked.plans) {
    const { segment, extents: mine, plan } = each
    if (endsMove(each)) {
      await stopMoving(tx, id, segment.index)
      // Its new leg could not be made: whatever the reason, it is not tried again at once.
      if (plan.whole && mine.length <= volume.redundancy) cluster.shunned.set(RESTS, cluster.clock.monoMs() + REST_MS)
    }
    if (!steady.has(volume.phase)) continue
    if (isWholeAgain(each)) await setSpare(tx, id, segment.index, false)
    const done = await carryOut(cluster, tx, facts, each)
    result.kick ||= done.retired
    result.spares ||= done.spares
    result.released.push(...done.released)
    obstacles.push({ index: segment.index, why: done.refused || plan.why })
  }
  await tellObstacles(cluster, tx, volume, obstaclesOf(obstacles))
  return result
}

function endsMove({ extents, plan }: SegmentPlan): boolean {
  return !plan.calm && extents.some((extent) => extent.moving)
}

/** It is remembered as one with spares, and has none any more. */
function isWholeAgain({ volume, extents, hadSpares }: SegmentPlan): boolean {
  return hadSpares && extents.length <= volume.redundancy && extents.every((extent) => extent.leg === 'insync')
}

function planFor(cluster: Cluster, facts: Facts, volume: VolumeRow, extents: readonly ExtentRow[]): RepairPlan {
  return planRepair({ redundancy: volume.redundancy, graceMs: facts.settings.of('repair.grace', volume.id) * 1000, legs: extents.map((extent) => repairLeg(cluster, facts, extent)) })
}

function repairLeg(cluster: Cluster, facts: Facts, extent: ExtentRow): RepairLeg {
  const [host, disk] = [facts.hosts.get(extent.host), facts.disks.get(extent.disk)]
  const up = host !== undefined && online(cluster, host.name)
  const heard = cluster.presence.lastHeard(extent.host) ?? cluster.clock.monoMs()
  const place = placeOf(host, disk, up)
  return {
    extent: extent.id, host: extent.host, slot: extent.slot, state: extent.leg, made: extent.state === 'ready', place: extent.moving && place === 'here' ? 'moving' : place,
    awayMs: up ? 0 : cluster.clock.monoMs() - heard, reachable: up && disk?.state === 'ready', retryInMs: retryIn(extent.retryAt, cluster.clock.nowMs()),
  }
}

export function placeOf(host: HostRow | undefined, disk: DiskRow | undefined, up: boolean): LegPlace {
  if (!host || !disk || host.duty === 'failed' || disk.duty === 'failed') return 'lost'
  const leaving = host.duty === 'drain' || disk.duty === 'evacuate'
  if (!up) return leaving ? 'lost' : 'away' // who wants it elsewhere does not wait for a dead server
  if (disk.state !== 'ready') return 'lost'
  return leaving ? 'leaving' : 'here'
}

interface SegmentPlan {
  readonly volume: VolumeRow
  readonly segment: SegmentRow
  readonly extents: readonly ExtentRow[]
  /** It is remembered as one that got spares. */
  readonly hadSpares: boolean
  readonly plan: RepairPlan
}

/** Good legs of a segment that are no longer needed are committed stale; the next look releases them. */
export async function retireSurplus(cluster: Cluster, tx: ChangeTx, volume: VolumeRow, index: number): Promise<void> {
  const facts: Facts = { ...await loadFleet(tx), settings: await loadSettings(tx) }
  const segment = (await segmentsOf(tx, volume.id)).find((each) => each.index === index)
  const extents = (await extentsOf(tx, volume.id)).filter((extent) => extent.segment === index)
  if (!segment) return
  const plan = planFor(cluster, facts, volume, extents)
  if (plan.retire.length > 0) await carryOut(cluster, tx, facts, { volume, segment, extents, hadSpares: false, plan: { ...plan, release: [], spares: 0 } })
}

/** What the plan says that needs no scheduler: legs that go, and spares. */
async function carryOut(cluster: Cluster, tx: ChangeTx, facts: Facts, { volume, segment, extents, plan }: SegmentPlan): Promise<{ retired: boolean; spares: boolean; released: readonly string[]; refused: string }> {
  const find = (id: string): ExtentRow | undefined => extents.find((extent) => extent.id === id)
  const nowMs = cluster.clock.nowMs()
  if (plan.retire.length > 0) {
    await raiseGeneration(tx, volume.id, segment.index)
    const since = await sinceNow(cluster, tx, volume.id)
    for (const id of plan.retire) {
      const extent = must(find(id), 'a leg of this segment')
      await setLeg(tx, id, legAfter(extent.leg, 'missed writes'), nowMs)
      await setSince(tx, id, sinceOfLost(extent, since))
    }
    await tx.event({ kind: 'leg retired', about: 'volume', name: volume.name, text: `segment ${segment.index}: the leg on ${plan.retire.map((id) => find(id)?.host ?? '').join(', ')} is no longer needed: ${volume.redundancy} good ones stand elsewhere` })
  }
  for (const id of plan.release) {
    await dropExtent(tx, id)
    if (find(id)?.moving) await countMoved(tx, find(id)?.bytes ?? 0n)
  }
  if (plan.release.length > 0) {
    await changeLayout(tx, volume.id)
    await tx.event({ kind: 'leg released', about: 'volume', name: volume.name, text: `segment ${segment.index}: the extent on ${plan.release.map((id) => find(id)?.host ?? '').join(', ')} is given back` })
  }
  const released = plan.release.map((id) => find(id)?.host ?? '')
  const retired = plan.retire.length + plan.release.length > 0
  const size = extents[0]?.bytes
  if (plan.spares <= 0 || size === undefined) return { retired, spares: false, released, refused: '' }
  const placed = placeSpares(cluster, facts, size, plan)
  if (typeof placed === 'string') return { retired, spares: false, released, refused: `no spare for ${plan.spares === 1 ? 'a lost leg' : `${plan.spares} lost legs`}: ${placed}` }
  await setSpare(tx, volume.id, segment.index, true)
  let slot = Math.max(...extents.map((extent) => extent.slot)) + 1
  for (const disk of placed) {
    const id = cluster.random.hex(16)
    await addExtent(tx, { id, disk, host: facts.disks.get(disk)?.host ?? '', volume: volume.id, segment: segment.index, slot, bytes: size }, 'allocated')
    await setSince(tx, id, sinceOfSpare(volume))
    facts.taken.set(disk, (facts.taken.get(disk) ?? 0n) + size)
    slot += 1
  }
  const servers = placed.map((disk) => facts.disks.get(disk)?.host ?? '')
  await tx.event({ kind: 'spare allocated', about: 'volume', name: volume.name, text: `segment ${segment.index}: a new leg on ${servers.join(', ')}` })
  return { retired, spares: true, released, refused: '' }
}

function wishesFor(cluster: Cluster, facts: Facts, { volume, segment, extents, plan }: SegmentPlan): readonly Wish[] {
  const running = extents.filter((extent) => extent.leg === 'syncing').map((extent) => extent.id)
  const targets = running.length > 0 ? running : plan.copy
  if (targets.length === 0 || (running.length === 0 && !steady.has(volume.phase))) return []
  const good = extents.filter((extent) => extent.leg === 'insync')
  const source = good.find((extent) => online(cluster, extent.host)) ?? good[0]
  if (!source) return []
  const head = volume.phase === 'detached' && volume.copyHead === '' ? chooseHead(cluster, facts, volume.id, source) : headOf(volume)
  const ready = running.length > 0 || volume.phase === 'detached' || upToDate(cluster, volume)
  return [{
    volume, segment, extents: targets, key: `${volume.id} ${segment.index}`, running: running.length > 0, good: good.length,
    since: Math.min(...extents.filter((extent) => targets.includes(extent.id)).map((extent) => extent.staleSince || volume.createdAt)),
    source: { disk: source.disk, host: source.host }, targets: extents.filter((extent) => targets.includes(extent.id)).map(({ disk, host }) => ({ disk, host })),
    head: ready ? head : '', paused: facts.settings.of('resync.paused', volume.id) === 1, calm: plan.calm,
  }]
}

/** Whether the head of a volume, or who copies it, is known to use no leg that is not in its layout. */
function released(cluster: Cluster, volume: VolumeRow): boolean {
  return headOf(volume) === '' || (volume.phase !== 'attached' && volume.phase !== 'detached') || upToDate(cluster, volume)
}

/** A copy is begun only on top of a layout that the head is known to have: what it reports then is about this copy. */
function upToDate(cluster: Cluster, volume: VolumeRow): boolean {
  const head = headOf(volume)
  const there = cluster.seen.get(head)?.volumes.find((each) => each.volume === volume.id && each.attachEpoch === volume.attachEpoch)
  return online(cluster, head) && there?.layout === volume.layout
}

/** Jobs that are written down in one transaction: the loss of a server makes tens of thousands. */
const NOTES_AT_ONCE = 100

async function startCopies(cluster: Cluster, facts: Facts, wishes: readonly Wish[]): Promise<void> {
  const { start, hold, giveWay } = scheduleCopies(wishes, facts.settings.limits())
  const byKey = new Map(wishes.map((wish) => [wish.key, wish]))
  const open = new Map((await openJobs(cluster.store.read)).filter((job) => job.kind === 'resync').map((job) => [`${job.about} ${job.segment}`, job]))
  const nowMs = cluster.clock.nowMs()
  const held = hold.flatMap(({ key, why }) => {
    const [wish, job] = [byKey.get(key), open.get(key)]
    return wish && job?.note !== why ? [{ wish, job, why }] : []
  })
  for (let at = 0; at < held.length; at += NOTES_AT_ONCE) {
    await cluster.store.change(async (tx) => {
      for (const { wish, job, why } of held.slice(at, at + NOTES_AT_ONCE)) await (job ? noteJob(tx, job.id, why) : addJob(tx, newJob(cluster, wish, why, nowMs)))
    })
  }
  for (const key of start) {
    const wish = byKey.get(key)
    if (wish && await cluster.store.change((tx) => startCopy(cluster, tx, facts, wish))) cluster.work.kick('volume', wish.volume.id)
  }
  for (const key of giveWay) {
    const wish = byKey.get(key)
    if (wish) await cluster.store.change((tx) => stopMoving(tx, wish.volume.id, wish.segment.index))
  }
  if (giveWay.length > 0) cluster.work.kick('repair', 'cluster') // what was copied goes again
  const left = [...open].flatMap(([key, job]) => (byKey.has(key) ? [] : [job])) // of segments that are whole again, or gone
  const extentsOfLeft = await extentsOfAll(cluster.store.read, [...new Set(left.map((job) => job.about))])
  for (const job of left) {
    const extents = extentsOfLeft.get(job.about)?.filter((extent) => extent.segment === job.segment) ?? []
    if (extents.some((extent) => extent.leg !== 'insync')) continue
    await cluster.store.change((tx) => endJob(tx, 'resync', job.about, job.segment, extents.length > 0 ? 'done' : 'cancelled', extents.length > 0 ? 'nothing is left to copy' : 'its volume is gone', nowMs))
  }
}

function newJob(cluster: Cluster, wish: Wish, note: string, nowMs: number): Parameters<typeof addJob>[1] {
  return { id: cluster.random.hex(16), kind: 'resync', about: wish.volume.id, name: wish.volume.name, segment: wish.segment.index, note, bytes: wish.segment.bytes * BigInt(wish.extents.length), createdAt: nowMs }
}

/** Commits that a copy begins; the volume's own turn then tells its head. False when the volume has moved on meanwhile. */
async function startCopy(cluster: Cluster, tx: ChangeTx, facts: Facts, wish: Wish): Promise<boolean> {
  const volume = await volumeById(tx, wish.volume.id)
  if (!volume || cluster.leaving.has(volume.id) || volume.phase !== wish.volume.phase || volume.attachEpoch !== wish.volume.attachEpoch || !steady.has(volume.phase)) return false
  const extents = (await extentsOf(tx, volume.id)).filter((extent) => wish.extents.includes(extent.id) && (extent.leg === 'stale' || extent.leg === 'allocated') && extent.state === 'ready')
  if (extents.length !== wish.extents.length) return false
  if (volume.phase === 'detached' && volume.copyHead === '') {
    const head = facts.hosts.get(wish.head)
    if (!head) return false
    await updateVolume(tx, volume.id, { copyHead: head.name, copyBoot: head.bootId, attachEpoch: volume.attachEpoch + 1 })
  }
  for (const extent of extents) await setLeg(tx, extent.id, legAfter(extent.leg, 'copy begins'))
  await changeLayout(tx, volume.id)
  const what = copyWanted(volume, extents).copy === 'changed' ? 'what changed' : 'all of it'
  const text = `segment ${wish.segment.index}: ${what}, from ${wish.source.host} to ${wish.targets.map((target) => target.host).join(', ')}, on ${wish.head}`
  await addJob(tx, newJob(cluster, wish, text, cluster.clock.nowMs()))
  await startJob(tx, 'resync', volume.id, wish.segment.index, text, cluster.clock.nowMs())
  await tx.event({ kind: 'copy begins', about: 'volume', name: volume.name, text })
  return true
}

/** In one line, those that are alike together. */
function obstaclesOf(segments: readonly { readonly index: number; readonly why: string }[]): string {
  const held = segments.filter(({ why }) => why !== '')
  if (held.length > 1 && new Set(held.map(({ why }) => why)).size === 1) return `${held.length} segments: ${held[0]?.why ?? ''}`
  return held.slice(0, 3).map(({ index, why }) => `segment ${index}: ${why}`).join('; ') + (held.length > 3 ? ` and ${held.length - 3} more` : '')
}

/** Times alone that go by are none. */
function isNews(cluster: Cluster, volume: VolumeRow, obstacles: string): boolean {
  const timeless = (text: string): string => text.replace(/\d+ s/g, '')
  return timeless(obstacles) !== timeless(cluster.waiting.get(volume.id) ?? '')
}

/** Remembers why segments are not being made whole; an event when the reason is a new one. */
async function tellObstacles(cluster: Cluster, tx: ChangeTx, volume: VolumeRow, obstacles: string): Promise<void> {
  const news = isNews(cluster, volume, obstacles)
  if (obstacles === '') cluster.waiting.delete(volume.id)
  else cluster.waiting.set(volume.id, obstacles)
  if (obstacles !== '' && news) await tx.event({ kind: 'repair waits', about: 'volume', name: volume.name, text: obstacles })
}
