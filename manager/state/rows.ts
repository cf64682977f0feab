/**
 * The records that the database keeps, as the planners see them: one noun each, readonly. Deleting is not a phase here: the volume's
 * row goes at once, its extents stay as tombstones (`dropping`) until their servers confirm.
 */
import type { DiskState, HostRole, LegState } from '../../lib/model.js'

export const hostDuties = ['use', 'drain', 'failed'] as const
export type HostDuty = (typeof hostDuties)[number]
export const diskDuties = ['use', 'evacuate', 'failed'] as const
export type DiskDuty = (typeof diskDuties)[number]

export interface HostRow {
  readonly name: string
  readonly roles: readonly HostRole[]
  /** Failure domain; empty when the host carries none. */
  readonly zone: string
  readonly address: string
  readonly dataAddresses: readonly string[]
  readonly initiator: string
  readonly version: string
  readonly bootId: string
  readonly incarnation: string
  readonly chapUser: string
  readonly chapPassword: string
  /** `drain`: its legs move away, nothing new is placed. `failed`: it counts as lost, whatever it says. */
  readonly duty: HostDuty
}

export interface DiskRow {
  readonly id: string
  readonly host: string
  readonly device: string
  readonly state: DiskState
  readonly problem: string
  readonly bytes: bigint
  readonly cleanBytes: bigint
  readonly force: boolean
  /** Given out, tombstones included. */
  readonly usedBytes: bigint
  readonly extents: number
  /** `evacuate`: its legs move away. `failed`: they count as lost. */
  readonly duty: DiskDuty
  /** How often a leg on it could not be read somewhere, since it was last taken into use. */
  readonly readErrors: number
}

export const storedPhases = ['creating', 'detached', 'attaching', 'attached', 'detaching', 'fencing'] as const
export type StoredPhase = (typeof storedPhases)[number]

export interface VolumeRow {
  readonly id: string
  readonly name: string
  readonly bytes: bigint
  readonly redundancy: number
  readonly phase: StoredPhase
  readonly head: string
  readonly attachEpoch: number
  /** The head's boot in which it was assembled: another one means that the head went down without detaching. */
  readonly attachBoot: string
  readonly device: string
  readonly problem: string
  readonly createdAt: number
  /** Rises with every change of what its head should have. */
  readonly layout: number
  /** While it is detached: the head that copies its legs, and that head's boot; empty when none does. */
  readonly copyHead: string
  readonly copyBoot: string
  /** Where it goes when its present head is shut out. */
  readonly nextHead: string
  /** The head of this attachment remembers what is written when. */
  readonly remembers: boolean
  /** Every write of an earlier era is on all in-sync legs; 0: what is remembered is worth nothing, and is begun anew by the next head. */
  readonly settled: number
  /** Whatever was written since the volume was made is remembered: all else is still zero. */
  readonly sinceBirth: boolean
}

export interface SegmentRow {
  readonly volume: string
  readonly index: number
  readonly offset: bigint
  readonly bytes: bigint
  readonly generation: number
}

export interface ExtentRow {
  readonly id: string
  readonly disk: string
  readonly host: string
  readonly volume: string
  readonly segment: number
  /** Order within the segment. */
  readonly slot: number
  /** Of the logical volume and the LUN. */
  readonly bytes: bigint
  readonly lun: number
  readonly state: 'planned' | 'ready' | 'dropping'
  readonly leg: LegState
  /** Epoch ms at which it became stale; 0 when it is not. */
  readonly staleSince: number
  /** No copy to it before, epoch ms: the last one failed. */
  readonly retryAt: number
  /** Not in sync, or in doubt: it lacks only what was written in this era or later; 0: it may lack anything. */
  readonly since: number
  /** Its server was started anew while the volume was in use, and nobody has judged yet what that means. */
  readonly doubt: boolean
  /** It would stand better on another disk: a leg that replaces it is there, or was. */
  readonly moving: boolean
}

/** What a cluster is made of, to be written into an empty database. */
export interface ClusterRows {
  /** Highest epoch that any host has seen: the next manager's must be above. */
  readonly epoch: number
  readonly hosts: readonly HostRow[]
  readonly disks: readonly DiskRow[]
  readonly volumes: readonly VolumeRow[]
  readonly segments: readonly SegmentRow[]
  readonly extents: readonly ExtentRow[]
}

export const jobStates = ['waiting', 'running', 'done', 'failed', 'cancelled'] as const
export type JobState = (typeof jobStates)[number]
export const jobKinds = ['resync', 'evacuate', 'drain', 'rebalance'] as const
export type JobKind = (typeof jobKinds)[number]

/** Work that takes longer than a transaction. A resync is of one segment; an evacuation of a disk or a host; a rebalance of all disks. */
export interface JobRow {
  readonly id: string
  readonly kind: JobKind
  /** Id of the volume or disk, or name of the host; `cluster`. */
  readonly about: string
  /** For people. */
  readonly name: string
  readonly segment: number
  readonly state: JobState
  /** Why it was begun, waits, or ended as it did. */
  readonly note: string
  readonly bytes: bigint
  /** Of a rebalance: what has arrived. */
  readonly moved: bigint
  readonly createdAt: number
  readonly startedAt: number
  readonly endedAt: number
}
