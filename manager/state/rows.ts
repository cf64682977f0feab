/**
 * The records that the database keeps, as the planners see them: one noun each, readonly. Deleting is not a phase here: the volume's
 * row goes at once, its extents stay as tombstones (`dropping`) until their servers confirm.
 */
import type { DiskState, HostRole, LegState } from '../../lib/model.js'

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
}

export const storedPhases = ['creating', 'detached', 'attaching', 'attached', 'detaching'] as const
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
}
