/** Puts the manager's parts together and keeps them going: turns by key, presence, and what a new manager takes up first. */
import { setMaxListeners } from 'node:events'
import type { Clock, Log, Random } from '../../lib/ports.js'
import { createPresence } from '../health/presence.js'
import type { Presence } from '../health/presence.js'
import { allDisks, allHosts } from '../store/hosts.js'
import { pruneEvents } from '../store/events.js'
import { pruneJobs } from '../store/jobs.js'
import { aboutsOpen, pruneRequests } from '../store/requests.js'
import { volumesOnHead, volumesUnderWay } from '../store/volumes.js'
import { DbError } from '../store/db.js'
import { EpochLost } from '../store/store.js'
import type { Store } from '../store/store.js'
import { messageOf } from '../../lib/faults.js'
import { agentMethods } from '../../lib/wire/agent.js'
import type { HostRow } from '../state/rows.js'
import type { Agents } from './agents.js'
import { createAuditTrail, keepAudit } from './audit.js'
import { createExclusively } from './cluster.js'
import type { Cluster } from './cluster.js'
import { diskTurn } from './disk-turn.js'
import type { LeaseGate, Managers } from './gate.js'
import { goneTurn } from './gone-turn.js'
import { headTurn, hostTurn } from './host-turn.js'
import { createProgress } from './progress.js'
import { createSettled } from './settled.js'
import { repairTurn } from './repair.js'
import { spareTurn } from './spare.js'
import { tombstonesTurn } from './tombstones-turn.js'
import { exportsTurn } from './up.js'
import { volumeTurn } from './volume-turn.js'
import { createWork } from './work.js'
import type { Turn } from './work.js'

const KEEP_EVENTS = 100_000
const KEEP_REQUESTS_MS = 24 * 3600 * 1000
const KEEP_JOBS_MS = 7 * 24 * 3600 * 1000
const PRUNE_EVERY_MS = 600_000

export interface ClusterOptions {
  readonly name: string
  readonly version: string
  readonly store: Store
  readonly agents: Agents
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly extentBytes: bigint
  readonly gate: LeaseGate
  readonly managers: Managers
  readonly onEpochLost: (lost: EpochLost) => void
}

export interface RunningCluster {
  readonly cluster: Cluster
  /** Goes on with what was under way, and tells hosts of itself: once, when calls are answered, for it keeps the processors busy. */
  takeUp(): void
  stop(): Promise<void>
}

export async function startCluster(options: ClusterOptions): Promise<RunningCluster> {
  const { clock, log } = options
  const presence = createPresence()
  const hosts = await allHosts(options.store.read)
  for (const host of hosts) presence.expect(host.name, clock.monoMs())
  const stopping = new AbortController()
  setMaxListeners(0, stopping.signal) // while the lease can't be renewed every turn waits on it
  const gated = (turn: Turn): Turn => async (id, attempt, kicked) => {
    await options.gate.open('begin', stopping.signal)
    return turn(id, attempt, kicked)
  }
  const work = createWork({
    volume: gated((id, attempt) => volumeTurn(cluster, id, attempt)),
    exports: gated((id) => exportsTurn(cluster, id)),
    host: gated((id, _, kicked) => hostTurn(cluster, id, kicked)),
    head: gated((id) => headTurn(cluster, id)),
    disk: gated((id) => diskTurn(cluster, id)),
    tombstones: gated((id) => tombstonesTurn(cluster, id)),
    gone: gated((id) => goneTurn(cluster, id)),
    repair: gated(() => repairTurn(cluster)),
    spare: gated((id) => spareTurn(cluster, id)),
  }, { clock, log, onEpochLost: options.onEpochLost })
  let orders = 0
  const cluster: Cluster = {
    ...options, startedAt: clock.nowMs(), presence, work, audit: createAuditTrail(options), seen: new Map(), foreign: new Map(), onTold: new Set(), fenced: new Map(), waiting: new Map(), triedAgain: new Map(), shunned: new Map(), leaving: new Set(), lookedOver: new Map(), compared: new Map(), judged: new Map(), readErrors: new Map(), progress: createProgress(), settled: createSettled(), exclusively: createExclusively(),
    nextOrder: () => { orders += 1; return orders },
  }
  const untold: PresenceChange[] = []
  const watching = guarded(() => patiently(() => watchPresence(cluster, untold, stopping.signal)))
  let taking: Promise<void> | undefined
  const pruning = guarded(() => prune(cluster, stopping.signal))
  const auditing = guarded(() => keepAudit(cluster.audit, options, stopping.signal))

  async function guarded(act: () => Promise<void>): Promise<void> {
    try {
      await act()
    } catch (thrown) {
      if (stopping.signal.aborted) return
      if (thrown instanceof EpochLost) options.onEpochLost(thrown)
      else throw thrown
    }
  }
  /** A database that fails is no end of the manager: it is tried again. */
  async function patiently(act: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await act()
      } catch (thrown) {
        if (stopping.signal.aborted || !(thrown instanceof DbError)) throw thrown
        log.warn('the database failed', { error: messageOf(thrown) })
        await clock.sleep(500, stopping.signal)
      }
    }
  }
  return {
    cluster,
    takeUp() { taking ??= guarded(() => patiently(() => takeUp(cluster))) },
    async stop() {
      stopping.abort(new Error('the manager stops'))
      await Promise.allSettled([watching, taking, pruning, auditing])
      await work.stop()
      await cluster.audit.end()
    },
  }
}

/** Hosts that are told of a new manager at once, and how long one may take, ms. */
const TOLD_AT_ONCE = 32
const TELL_MS = 3000

/** What was under way when the last manager ended goes on. Hosts follow as they are heard. */
async function takeUp(cluster: Cluster): Promise<void> {
  const db = cluster.store.read
  void tellHosts(cluster, await allHosts(db))
  for (const volume of await volumesUnderWay(db)) cluster.work.kick('volume', volume.id)
  for (const disk of await allDisks(db)) if (disk.state === 'preparing' || disk.state === 'removing') cluster.work.kick('disk', disk.id)
  for (const host of await allHosts(db)) if (host.roles.includes('head')) cluster.work.kick('head', host.name)
  for (const about of await aboutsOpen(db)) cluster.work.kick('gone', about)
  cluster.work.kick('repair', 'cluster')
}

/** Where the manager is now. One that was paused or cut off takes connections and answers nothing, and agents would find that out by waiting. */
async function tellHosts(cluster: Cluster, hosts: readonly HostRow[]): Promise<void> {
  const { address } = cluster.managers.lease()
  const left = [...hosts]
  const tell = async (): Promise<void> => {
    for (let host = left.pop(); host && address !== ''; host = left.pop()) await cluster.agents.call(host, agentMethods.fence, { manager: address }, { timeoutMs: TELL_MS }).catch(() => undefined)
  }
  await Promise.all(Array.from({ length: TOLD_AT_ONCE }, tell))
}

type PresenceChange = ReturnType<Presence['changes']>[number]

/** Turns heartbeats, and their absence, into events and turns. `untold` outlives a failure: what presence has told once it does not tell again. */
async function watchPresence(cluster: Cluster, untold: PresenceChange[], signal: AbortSignal): Promise<void> {
  const { presence, store, clock, work } = cluster
  while (!signal.aborted) {
    if (cluster.gate.standing() !== 'active') {
      await cluster.gate.open('begin', signal)
      presence.presume(clock.monoMs()) // heartbeats may not have been listened to
    }
    untold.push(...presence.changes(clock.monoMs()))
    const known = new Set((await allHosts(store.read)).map((host) => host.name))
    for (let change = untold[0]; change; change = untold[0]) {
      const { host, online } = change
      if (known.has(host)) await store.change((tx) => tx.event({ kind: online ? 'host online' : 'host offline', about: 'host', name: host, text: online ? 'its agent is heard' : 'its agent has not been heard for 4.5 s' }))
      untold.shift()
      if (!known.has(host)) continue
      work.kick('repair', 'cluster')
      if (online) {
        work.kick('host', host)
        work.kick('head', host)
      } else {
        cluster.fenced.delete(host)
        for (const volume of await volumesOnHead(store.read, host)) work.kick('volume', volume.id)
      }
    }
    await clock.sleep(500, signal)
  }
}

async function prune(cluster: Cluster, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await cluster.store.change(async (tx) => {
        await pruneEvents(tx, KEEP_EVENTS)
        await pruneRequests(tx, cluster.clock.nowMs() - KEEP_REQUESTS_MS)
        await pruneJobs(tx, cluster.clock.nowMs() - KEEP_JOBS_MS)
      })
    } catch (thrown) {
      if (thrown instanceof EpochLost) throw thrown
      cluster.log.warn('old events could not be pruned', { error: messageOf(thrown) })
    }
    await cluster.clock.sleep(PRUNE_EVERY_MS, signal)
  }
}
