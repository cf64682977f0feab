/** The words of the original API: numbers that clients index their tables by, its units, and how our states are told in them. Pure. */
import type { LegState } from '../../../lib/model.js'
import type { DiskRow, HostRow, VolumeRow } from '../../state/rows.js'

/** Every method's `ver` must be this. */
export const API_VERSION = 5

export const priorities = { high: 1, low: 2, evacuate: 3, offline: 4, faulty: 5, halt: 6 } as const
/** A client's table has no other number: anything else ends it. */
export type Priority = (typeof priorities)[keyof typeof priorities]

export const volumeTypes = { volume: 0, linear: 1, mirror: 2, extent: 3, snapshotOrigin: 6 } as const
export const mirrorStatus = { none: 0, allocated: 1, insync: 2, spare: 3 } as const
export const targets = { head: 1, server: 2, disk: 3, extent: 4 } as const

export const GB = 1024n ** 3n
/** On a physical disk the original kept 1 MiB of each GB for itself; a disk's capacity is told so still: ten of them take a volume's ten GB. */
export const DISK_GB = 1025n * 1024n ** 2n

export const redundancies = { min: 2, max: 9, initial: 3 } as const
/** GB; after rounding up. */
export const CAPACITY_MAX = 1_048_576

/** Whole GB that are surely there: a client takes capacity × 2^30 for the size. */
export function wholeGb(bytes: bigint): number {
  return Number(bytes / GB)
}

export function diskGb(bytes: bigint): number {
  return Number((bytes < 0n ? 0n : bytes) / DISK_GB)
}

/** 1 to 64 of these characters; not `.` or `..`; nothing that could be read as an id. The last range is ASCII `0` to `f`, as in the original. */
export function isVolumeName(name: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(name) && name !== '.' && name !== '..' && !/^lvol-[0-f]+$/.test(name)
}

export function label(prefix: 'lvol' | 'hsvr' | 'ssvr' | 'pdsk', id: number): string {
  return `${prefix}-${id.toString(16).padStart(8, '0')}`
}

/** `YYYY-MM-DDThh:mm:ss`, UTC. */
export function timeText(epochMs: number): string {
  return new Date(epochMs).toISOString().slice(0, 19)
}

/** `halted`: all was shut down, and its agent has not been started anew since. */
export function headPriority({ duty }: Pick<HostRow, 'duty'>, { online, halted }: { readonly online: boolean; readonly halted: boolean }): Priority {
  if (!online || duty === 'failed' || halted) return priorities.offline
  return duty === 'drain' ? priorities.evacuate : priorities.high
}

export function serverPriority(host: Pick<HostRow, 'duty'>, now: { readonly online: boolean; readonly halted: boolean }): Priority {
  return now.halted && now.online && host.duty !== 'failed' ? priorities.halt : headPriority(host, now)
}

/** A disk is FAULTY for itself, even while its server is away; the original forgot it then. */
export function diskPriority(disk: Pick<DiskRow, 'duty' | 'state' | 'readErrors'>, server: Priority, halted: boolean): Priority {
  if (disk.duty === 'failed' || disk.state === 'failed') return priorities.faulty
  if (disk.state !== 'ready' || server === priorities.offline) return priorities.offline
  if (halted) return priorities.halt
  if (disk.duty === 'evacuate' || server === priorities.evacuate) return priorities.evacuate
  return disk.readErrors > 0 ? priorities.low : priorities.high
}

/** Whether new extents may be made there. */
export function takesExtents(priority: Priority): boolean {
  return priority === priorities.high || priority === priorities.low
}

/** A leg is ALLOCATED until its volume was used for the first time; whatever is not in sync needs a resync, or has one. */
export function legStatus(leg: LegState, volume: Pick<VolumeRow, 'attachEpoch'>): number {
  if (leg !== 'insync') return mirrorStatus.spare
  return volume.attachEpoch === 0 ? mirrorStatus.allocated : mirrorStatus.insync
}

/** What a volume's attachment is doing. `error`: it is not up, nobody waits for it, and a detach may be tried. */
export type Binding = 'unbound' | 'binding' | 'bound' | 'unbinding' | 'error'

export const bindings: Readonly<Record<Binding, { readonly bind_status: number; readonly bind_event: number }>> = {
  unbound: { bind_status: 0, bind_event: 0 }, binding: { bind_status: 1, bind_event: 1 }, bound: { bind_status: 1, bind_event: 0 },
  unbinding: { bind_status: 1, bind_event: 2 }, error: { bind_status: 2, bind_event: 0 },
}

/** `waited`: a caller waits for what is under way. Without one a volume that is coming up is one whose head was started anew. */
export function bindingOf({ phase, problem }: Pick<VolumeRow, 'phase' | 'problem'>, waited: boolean): Binding {
  switch (phase) {
    case 'creating': case 'detached': return 'unbound'
    case 'attaching': return waited || problem === '' ? 'binding' : 'error'
    case 'attached': return 'bound'
    case 'detaching': case 'fencing': return 'unbinding'
  }
}
