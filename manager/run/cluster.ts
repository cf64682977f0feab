/** What every turn and every API call works with: the state, the way to the agents, who is alive, and the hand that starts turns. */
import { Fault } from '../../lib/faults.js'
import type { Clock, Log, Random } from '../../lib/ports.js'
import type { ForeignSeen, Observation } from '../../lib/wire/agent.js'
import type { Presence } from '../health/presence.js'
import type { Store } from '../store/store.js'
import { AgentSilent } from './agents.js'
import type { Agents } from './agents.js'
import type { AuditTrail, Call } from './audit.js'
import type { LeaseGate, Managers } from './gate.js'
import type { Progress } from './progress.js'
import type { Settled } from './settled.js'
import type { Work } from './work.js'

const SILENT_LOOK_MS = 200

export interface Cluster {
  readonly name: string
  readonly version: string
  readonly startedAt: number
  readonly store: Store
  readonly agents: Agents
  readonly presence: Presence
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Size of a full segment, bytes. */
  readonly extentBytes: bigint
  readonly work: Work
  readonly gate: LeaseGate
  readonly managers: Managers
  readonly audit: AuditTrail
  /** The call on whose behalf this is done: its first change carries its entry in the audit log. Absent: a turn. */
  readonly call?: Call
  /** Of the newest observation of each host, and what is foreign there. Only hints: each turn that needs certainty looks itself. */
  readonly seen: Map<string, HostSeen>
  readonly foreign: Map<string, readonly ForeignSeen[]>
  /** Called after a head told of volumes. */
  readonly onTold: Set<() => void>
  /** How far changes of volumes were settled when. */
  readonly settled: Settled
  /** How fast copies go, by volume and segment. */
  readonly progress: Progress
  /** Why segments of a volume are not being made whole, by volume; empty or absent when nothing stands in the way. */
  readonly waiting: Map<string, string>
  /** When waiting I/O of a volume was last taken up again, by the monotonic clock. */
  readonly triedAgain: Map<string, number>
  /** Legs that gave read errors: not mended before, by the monotonic clock. */
  readonly readErrors: Map<string, number>
  /** Volumes that are being deleted: no copy of them is begun. */
  readonly leaving: Set<string>
  /** Volume and head that refused to copy it: not asked again before, by the monotonic clock. */
  readonly shunned: Map<string, number>
  /** Incarnations of agents that have taken this manager's epoch. */
  readonly fenced: Map<string, string>
  /** When a host was last compared with the database and was found right, by the monotonic clock; absent when it may not be. */
  readonly compared: Map<string, number>
  /** Of volumes that are up, by volume: a digest of what their heads told, when a turn last found nothing to do about it. */
  readonly judged: Map<string, string>
  /** When the turns of all volumes of a head were last begun, by the monotonic clock. */
  readonly lookedOver: Map<string, number>
  /** Numbers for orders about who is let in, each larger than all before it. Drawn before the database is asked what the order should say. */
  readonly nextOrder: () => number
  /** One at a time per key. */
  readonly exclusively: <T>(key: string, work: () => Promise<T>) => Promise<T>
}

/** For whoever asks while the lease can't be renewed. */
export function stateUnavailable(cluster: Pick<Cluster, 'name' | 'gate'>): Fault {
  return new Fault('state unavailable', `${cluster.name} can't renew its lease: ${cluster.gate.standing() === 'frozen' ? 'it does nothing until it can' : 'it begins nothing new until it can'}`)
}

/** What is kept of an observation: of its extents a server has thousands, and only the turn that looks at it needs them. */
export type HostSeen = Pick<Observation, 'host' | 'bootId' | 'disks' | 'volumes'>

export function keepSeen(cluster: Pick<Cluster, 'seen'>, name: string, { host, bootId, disks, volumes }: HostSeen): void {
  cluster.seen.set(name, { host, bootId, disks, volumes })
}

export function online(cluster: Cluster, host: string): boolean {
  return cluster.presence.online(host, cluster.clock.monoMs())
}

/**
 * As long as the host is heard: a call to one without power may take a minute to fail, and a leg fails before its server counts as silent.
 * What was begun goes on.
 */
export async function whileHeard<T>(cluster: Pick<Cluster, 'clock' | 'presence'>, host: string, work: Promise<T>): Promise<T> {
  const settled = new AbortController()
  const silent = (async (): Promise<never> => {
    while (cluster.presence.online(host, cluster.clock.monoMs())) await cluster.clock.sleep(SILENT_LOOK_MS, settled.signal)
    throw new AgentSilent(`${host} has fallen silent`)
  })()
  silent.catch(() => undefined)
  work.catch(() => undefined)
  try {
    return await Promise.race([work, silent])
  } finally {
    settled.abort()
  }
}

/** Whether it was, in the start that is known of it. */
export function heardSince({ presence }: Pick<Cluster, 'presence'>, host: string, sinceMs: number): boolean {
  return (presence.proved(host) ?? Number.NEGATIVE_INFINITY) >= sinceMs
}

/**
 * Those of these hosts that were not heard since, after all that count as online were, or fell silent. That a host was started anew meanwhile
 * is known only from itself: who chooses between legs by it waits for its word first, a heartbeat at most.
 */
export async function unheardSince(cluster: Pick<Cluster, 'clock' | 'presence'>, hosts: readonly string[], sinceMs: number): Promise<ReadonlySet<string>> {
  const unheard = (): readonly string[] => hosts.filter((host) => !heardSince(cluster, host, sinceMs))
  while (unheard().some((host) => cluster.presence.online(host, cluster.clock.monoMs()))) await cluster.clock.sleep(SILENT_LOOK_MS)
  return new Set(unheard())
}

/** A mutex per key: calls that carry a host's desired exports must not overtake each other. */
export function createExclusively(): Cluster['exclusively'] {
  const tails = new Map<string, Promise<unknown>>()
  return (key, work) => {
    const mine = (tails.get(key) ?? Promise.resolve()).then(work, work)
    const tail = mine.then(() => undefined, () => undefined).then(() => {
      if (tails.get(key) === tail) tails.delete(key)
    })
    tails.set(key, tail)
    return mine
  }
}
