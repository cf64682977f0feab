/**
 * Makes disks equally full, a few legs at a time. What is written down is that it is wanted (a job), and of each leg on its way that it moves:
 * then a new leg stands beside it, and the repair does with the two what it does when a disk is evacuated. Which leg is the next follows from how full
 * the disks are then (plan/rebalance.ts), so nothing of a plan is kept, and a new manager goes on where the old one was.
 */
import { Rebalancing, sayLevels } from '../plan/rebalance.js'
import type { FillDisk, Levels, Move } from '../plan/rebalance.js'
import { sinceOfSpare } from '../plan/changed.js'
import type { MovableLeg } from '../state/leg.js'
import type { JobRow } from '../state/rows.js'
import type { Settings } from '../state/settings.js'
import type { Reader } from '../store/db.js'
import { findDisk, findHost } from '../store/hosts.js'
import { endRebalance, movableLegs, noteRebalance, openRebalance, setMoving, underWay } from '../store/rebalance.js'
import type { UnderWay } from '../store/rebalance.js'
import type { ChangeTx } from '../store/store.js'
import { addExtent, extentsOf, setSince, setSpare, volumeById } from '../store/volumes.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'
import type { Fleet } from './fleet.js'
import type { Facts } from './repair.js'

/** Of `cluster.shunned`: no leg begins to move before. */
export const RESTS = 'rebalance'
export const REST_MS = 60_000

/** Legs that may be on their way to one disk: one is copied, one is made meanwhile. */
const PER_TARGET = 2
/** Disks whose legs are loaded at once. */
const BATCH = 32
/** Legs that are looked at before others have their turn: some 50 ms. */
const LOOKS = 20_000
/** A plan looks at no more legs than this: it is told then that it is not the whole. */
const PLAN_LEGS = 300_000

export async function rebalanceTurn(cluster: Cluster, facts: Facts, urgent: number): Promise<void> {
  const db = cluster.store.read
  const job = await openRebalance(db)
  if (!job) return
  const wait = urgent > 0 ? `waits: ${urgent === 1 ? 'a segment is' : `${urgent} segments are`} not whole, or to leave a disk or a server, and that comes first`
    : facts.settings.of('resync.paused') === 1 ? 'waits: copies are paused (resync.paused)'
    : (cluster.shunned.get(RESTS) ?? 0) > cluster.clock.monoMs() ? 'waits a minute: a new leg could not be made' : ''
  if (wait !== '') return tell(cluster, job, 'waiting', wait)
  const under = await underWay(db)
  const planner = new Rebalancing({ disks: fillDisks(cluster, facts, under, PER_TARGET, under.behind), zones: zonesOf(facts), oncePerSegment: true })
  const before = say(planner.levels())
  const most = Math.min(facts.settings.limits().perCluster, facts.disks.size)
  const moves = under.moves > most / 2 ? [] : await nextMoves(db, planner, facts.settings, most - under.moves)
  const begun = moves.length === 0 ? [] : await cluster.store.change((tx) => begin(cluster, tx, moves))
  for (const volume of new Set(begun)) cluster.work.kick('spare', volume)
  const moving = under.moves + begun.length
  if (moving > 0) return tell(cluster, job, 'running', `${moving} ${moving === 1 ? 'leg is' : 'legs are'} on the way; ${before}`)
  if (moves.length > 0) return tell(cluster, job, 'running', before) // what was planned was no longer so: the next look finds others
  if (planner.cramped && under.dropping.size > 0) return tell(cluster, job, 'waiting', `waits for what was deleted to be overwritten; ${before}`)
  return end(cluster, planner.balanced() ? before : `no further leg can move so that it gets better; ${before}`)
}

async function tell(cluster: Cluster, job: JobRow, state: 'waiting' | 'running', note: string): Promise<void> {
  if (job.state !== state || job.note !== note) await cluster.store.change((tx) => noteRebalance(tx, state, note, cluster.clock.nowMs()))
}

async function end(cluster: Cluster, note: string): Promise<void> {
  await cluster.store.change(async (tx) => {
    await endRebalance(tx, 'done', note, cluster.clock.nowMs())
    await tx.event({ kind: 'rebalance ended', about: 'manager', name: cluster.name, text: note })
  })
}

function say(levels: Levels | undefined): string {
  return levels ? sayLevels(levels) : 'no disk is in use'
}

/** Disks that can be given legs; those that are away, lost or to be emptied give and take none. */
function fillDisks(cluster: Cluster, { hosts, disks, taken }: Fleet, { leaving }: UnderWay, takes: number, behind: UnderWay['behind'] = new Map()): readonly FillDisk[] {
  return [...disks.values()].filter((disk) => disk.state === 'ready' && disk.duty === 'use' && hosts.get(disk.host)?.duty === 'use' && online(cluster, disk.host)).map((disk) => {
    const given = disk.usedBytes + (taken.get(disk.id) ?? 0n)
    return {
      id: disk.id, host: disk.host, bytes: disk.bytes, usedBytes: given - (leaving.get(disk.id) ?? 0n), freeBytes: disk.bytes > given ? disk.bytes - given : 0n, label: `${disk.host}:${disk.device}`,
      takes: Math.max(0, takes - (behind.get(disk.id) ?? 0)),
    }
  })
}

function zonesOf({ hosts }: Fleet): ReadonlyMap<string, string> {
  return new Map([...hosts.values()].map((host) => [host.name, host.zone]))
}

async function nextMoves(db: Reader, planner: Rebalancing, settings: Settings, most: number): Promise<readonly Move[]> {
  const moves: Move[] = []
  const givers = planner.givers()
  for (let at = 0; at < givers.length && moves.length < most; at += BATCH) {
    planner.offer(await legsThatMay(db, settings, givers.slice(at, at + BATCH).map((giver) => giver.disk)))
    moves.push(...await all(planner, most - moves.length))
  }
  return moves
}

async function legsThatMay(db: Reader, settings: Settings, disks: readonly string[]): Promise<readonly MovableLeg[]> {
  return (await movableLegs(db, disks)).filter((leg) => settings.of('resync.paused', leg.volume) !== 1)
}

/** In pieces: a manager that hangs would lose its lease. */
async function all(planner: Rebalancing, most: number): Promise<readonly Move[]> {
  const moves: Move[] = []
  for (;;) {
    const { moves: found, ended } = planner.more(Math.min(most - moves.length, LOOKS), LOOKS)
    moves.push(...found)
    if (ended || moves.length >= most) return moves
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Commits that these legs move, as far as that is still as it was when it was planned. Gives their volumes. */
async function begin(cluster: Cluster, tx: ChangeTx, moves: readonly Move[]): Promise<readonly string[]> {
  const begun: string[] = []
  if (!await openRebalance(tx)) return begun // cancelled meanwhile
  for (const { leg, to } of moves) {
    const [volume, disk] = [await volumeById(tx, leg.volume), await findDisk(tx, to)]
    const host = disk && await findHost(tx, disk.host)
    if (!volume || !disk || !host || cluster.leaving.has(volume.id) || (volume.phase !== 'attached' && volume.phase !== 'detached')) continue
    if (disk.state !== 'ready' || disk.duty !== 'use' || host.duty !== 'use' || disk.bytes - disk.usedBytes < leg.bytes) continue
    const legs = (await extentsOf(tx, volume.id)).filter((extent) => extent.segment === leg.segment)
    const from = legs.find((extent) => extent.id === leg.extent)
    const whole = legs.length === volume.redundancy && legs.every((extent) => extent.leg === 'insync' && extent.state === 'ready' && !extent.doubt && !extent.moving)
    if (!from || !whole || legs.some((extent) => extent !== from && extent.host === disk.host)) continue
    await setMoving(tx, from.id, true)
    await setSpare(tx, volume.id, leg.segment, true)
    const id = cluster.random.hex(16)
    await addExtent(tx, { id, disk: disk.id, host: disk.host, volume: volume.id, segment: leg.segment, slot: Math.max(...legs.map((extent) => extent.slot)) + 1, bytes: from.bytes }, 'allocated')
    await setSince(tx, id, sinceOfSpare(volume))
    await tx.event({ kind: 'leg moves', about: 'volume', name: volume.name, text: `segment ${leg.segment}: from a disk of ${from.host} to ${disk.host}:${disk.device}, which is emptier` })
    begun.push(volume.id)
  }
  return begun
}

export interface RebalancePlan {
  readonly before: Levels | undefined
  readonly after: Levels | undefined
  readonly moves: readonly Move[]
  readonly balanced: boolean
  /** All legs were looked at that have to be. */
  readonly complete: boolean
}

/** What it would do from now to its end, if nothing else happened meanwhile. Reads only. */
export async function planRebalance(cluster: Cluster, db: Reader, fleet: Fleet, settings: Settings): Promise<RebalancePlan> {
  const planner = new Rebalancing({ disks: fillDisks(cluster, fleet, await underWay(db), Infinity), zones: zonesOf(fleet), oncePerSegment: false })
  const before = planner.levels()
  const givers = planner.givers()
  let offered = 0
  for (let at = 0; at < givers.length && offered < PLAN_LEGS; at += BATCH) {
    const batch = givers.slice(at, at + BATCH)
    const wanted = new Map(batch.map(({ disk, bytes }) => [disk, 3n * bytes])) // some can't go where there is room
    const legs = (await legsThatMay(db, settings, batch.map((giver) => giver.disk))).filter(({ disk, bytes }) => {
      const left = wanted.get(disk) ?? 0n
      wanted.set(disk, left - bytes)
      return left > 0n
    })
    planner.offer(legs)
    offered += legs.length
  }
  const moves = await all(planner, Infinity)
  return { before, after: planner.levels(), moves, balanced: planner.balanced(), complete: offered < PLAN_LEGS }
}
