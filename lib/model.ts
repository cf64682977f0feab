/**
 * The nouns: what a host, a disk, a volume and a leg may be, and the limits on them. Words only; who may change what is said in
 * manager/state.
 */

export const hostRoles = ['storage', 'head'] as const
export type HostRole = (typeof hostRoles)[number]

export const diskStates = ['preparing', 'ready', 'missing', 'failed', 'removing'] as const
export type DiskState = (typeof diskStates)[number]

/** `creating` and `deleting` own extents without being usable; between `detached` and `attached` a head is at work; `fencing`: a lost head is shut out. */
export const volumePhases = ['creating', 'detached', 'attaching', 'attached', 'detaching', 'fencing', 'deleting'] as const
export type VolumePhase = (typeof volumePhases)[number]

/**
 * What the database knows of a leg's data. `allocated`: nothing was ever read from it (all legs of a new volume are equal, so it
 * becomes `insync` when the volume is ready). `stale`: it missed a write, or may have. `syncing`: the target of a copy.
 */
export const legStates = ['allocated', 'insync', 'stale', 'syncing'] as const
export type LegState = (typeof legStates)[number]

export const limits = {
  /** dm-mirror takes 2 to 9 legs (mirror_ctr: DM_KCOPYD_MAX_REGIONS + 1); a single leg is a dm-linear. */
  legsMax: 9,
  defaultRedundancy: 3,
  /** Smallest volume, bytes. */
  volumeMin: 1024n * 1024n,
  /** Largest volume, bytes: 64 TiB, so that a volume's table stays within what one `dmsetup create` takes. */
  volumeMax: 64n * 1024n ** 4n,
  volumeStep: 512n,
  /** Segments of one volume: placing and writing them down is one transaction, in which nothing else happens. 64 TiB of the usual 8 GiB are 8192. */
  segmentsMax: 16_384,
  /** Characters of a volume's name. The device-mapper name limit is 127; the name becomes /dev/vsky/NAME. */
  nameMax: 63,
  /** LVM physical extent, bytes: the unit in which a disk is given out. */
  physicalExtent: 4n * 1024n * 1024n,
  /**
   * Beside segment 0 of every volume, on the same extents, bytes: where its head remembers what was written when. Enough for 2^18 blocks
   * (dm-era keeps four bytes of each, and a bit for each era that is not yet counted in; seen to suffice).
   */
  changesBytes: 4n * 1024n * 1024n,
} as const

/** Where that begins on the legs of segment 0, bytes: after its data, at a page of the largest sectors that disks have. */
export function changesStart(segmentBytes: bigint): bigint {
  return ((segmentBytes + 4095n) / 4096n) * 4096n
}

/** Letters, digits, `.`, `_`, `-`; begins with a letter or digit. It stands in paths and tables, so nothing else is let in. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
export const nameRule = '1 to 63 letters, digits, dots, underscores and dashes, beginning with a letter or a digit'

/** What clients of the original API may call a volume; theirs go on to be called so. Not `.` or `..`, for it is a name in a directory. */
export const anyVolumeName = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/

/** Ids of volumes, disks and extents: 32 random lower-case hex digits. The kernel's WWN of a LUN shows the first 25 (LIO, VPD 0x83). */
export const idPattern = /^[0-9a-f]{32}$/
