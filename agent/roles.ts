/**
 * The two roles of an agent as its core sees them. Each brings its own doors to the kernel's tools; the core answers for epochs,
 * for one operation at a time per object, and for the wire.
 */
import type {
  Chap, DiskPrepare, DiskSeen, ExtentSeen, ExtentsEnsure, ExtentsRemove, ForeignSeen, VolumeMend, VolumeSeen, VolumeWanted,
} from '../lib/wire/agent.js'
import type { MadeAt } from './storage/newer.js'

/** Throws `stale epoch` when a newer manager has been heard of. Called right before every step that can't be taken back. */
export type StillMine = () => void

export interface StorageRole {
  /**
   * Opens the volume groups and brings back every export that was wanted when the agent went down: at once if the host went on, and after a
   * boot when no manager has said what is wanted now.
   */
  start(sameBoot: boolean): Promise<void>
  stop(): Promise<void>
  observe(): Promise<{ readonly disks: readonly DiskSeen[]; readonly extents: readonly ExtentSeen[]; readonly foreign: readonly ForeignSeen[] }>
  prepareDisk(wanted: Pick<DiskPrepare, 'disk' | 'device' | 'force'>, stillMine: StillMine): Promise<DiskSeen>
  releaseDisk(disk: string, stillMine: StillMine): Promise<void>
  ensureExtents(extents: ExtentsEnsure['extents'], chap: readonly Chap[], stillMine: StillMine, made?: MadeAt): Promise<{ target: string; addresses: readonly string[] }>
  removeExtents(extents: ExtentsRemove['extents'], stillMine: StillMine): Promise<void>
  banInitiator(initiator: string, stillMine: StillMine, made?: MadeAt): Promise<void>
  /** The path of an extent's logical volume when it is on this host; for a head that is its leg's storage server too. */
  localDevice(extent: string): Promise<string | undefined>
}

export interface HeadRole {
  /** Adopts the volumes that are up already (the agent was restarted, the host was not). */
  start(): Promise<void>
  stop(): Promise<void>
  /** `copyRate`: bytes per second that copies may take together from now on. */
  observe(copyRate?: bigint): Promise<{ readonly volumes: readonly VolumeSeen[]; readonly foreign: readonly ForeignSeen[] }>
  attachVolume(wanted: VolumeWanted, stillMine: StillMine): Promise<VolumeSeen>
  /** Such an order has arrived; `attachVolume` comes when those before it have ended, which may need to know of it. Throws as that does for one that makes no sense. */
  heed?(wanted: VolumeWanted): void
  /** Throws `stale generation` when the volume is not up in just this layout. */
  mendVolume(wanted: Pick<VolumeMend, 'volume' | 'attachEpoch' | 'layout' | 'segment' | 'extent'>, stillMine: StillMine): Promise<{ readonly bytes: bigint; readonly why: string }>
  /** The layouts that it was last given. */
  recall?(): readonly VolumeWanted[]
  detachVolume(wanted: { readonly volume: string; readonly attachEpoch: number; readonly lost?: boolean | undefined }, stillMine: StillMine): Promise<void>
}
