/**
 * What the manager says to an agent, and what comes back. Every call that changes anything carries the manager's epoch and the
 * operation's id; the agent remembers the highest epoch durably and refuses lower ones (`stale epoch`). All calls converge: they
 * say what should be, so a repeated call finds it done. Members that are unknown are ignored, so that neighbouring releases
 * understand each other.
 */
import { anyVolumeName, hostRoles, idPattern, legStates, namePattern, nameRule } from '../model.js'
import { byteCount, flag, int, list, optional, record, text, word } from '../rpc/shape.js'
import type { Method, Parsed, Shape } from '../rpc/shape.js'

export const id = text({ min: 32, max: 32, pattern: idPattern, describe: 'an id of 32 hex digits' })
export const name = text({ min: 1, max: 63, pattern: namePattern, describe: nameRule })
const device = text({ min: 6, max: 255, pattern: /^\/dev\/[A-Za-z0-9_./:+-]+$/, describe: 'the path of a block device, /dev/…' })
const iqn = text({ min: 5, max: 223, pattern: /^iqn\.[a-z0-9.:-]+$/, describe: 'an iSCSI name, iqn.…' })
const address = text({ min: 2, max: 64, pattern: /^[0-9a-fA-F.:]+$/, describe: 'an IP address' })
const generation = int({ max: 2 ** 40 })

/** `epoch`: the manager's term. `op`: names the operation in both logs and in the agent's journal. */
const header = { epoch: int({ min: 1 }), op: text({ min: 1, max: 64, pattern: /^[A-Za-z0-9._:-]+$/ }) } as const

/** Orders about who is let in carry a number of their manager's, drawn before it looked what they should say: calls may overtake each other. */
const numbered = { order: optional(int({ min: 1 })) } as const

/** Characters that LVM takes in a tag, and no more of them than it takes together with the tag's name. */
const legNote = text({ max: 960, pattern: /^[A-Za-z0-9_+.=:-]*$/, describe: 'at most 960 letters, digits and _ + . = : -' })

/** One extent of one storage server: the logical volume, its tags, its LUN, and who may log in to it. */
export const extentWanted = record({
  extent: id,
  disk: id,
  volume: id,
  segment: int({ max: 2 ** 20 }),
  /** Of the segment, when this leg was last known to be good: kept as a tag, for a rebuild of the database. */
  generation,
  /** Size of the logical volume and of the LUN: a multiple of 4 MiB. */
  bytes: byteCount(),
  /** Unique on this server; 0 to 16383. */
  lun: int({ max: 16383 }),
  /** Kept as a tag, for a rebuild of the database; only the manager reads what is in it. */
  note: optional(legNote),
  /** Initiators that may use it now: none while detached, one while attached, two in a live migration. */
  initiators: list(iqn, { max: 4 }),
})
export type ExtentWanted = Parsed<typeof extentWanted>

/** CHAP for one initiator: a storage server asks it, a head answers it. 12 to 16 characters are portable between targets. */
export const chap = record({
  initiator: iqn,
  user: text({ min: 1, max: 64, pattern: /^[A-Za-z0-9._:-]+$/ }),
  password: text({ min: 12, max: 16, pattern: /^[A-Za-z0-9]+$/ }),
})
export type Chap = Parsed<typeof chap>

/** One leg as the head must find it: over iSCSI at `target`/`lun` on one of `addresses`, or locally as a logical volume. */
export const legWanted = record({
  extent: id,
  disk: id,
  host: name,
  target: iqn,
  addresses: list(address, { max: 8 }),
  lun: int({ max: 16383 }),
  /** The LUN's size, which is checked before it is used; at least the segment's. */
  bytes: byteCount(),
  /** `insync` legs are read; `syncing` legs are written and are the target of a copy; no other state is ever sent. */
  state: word(...legStates),
})
export type LegWanted = Parsed<typeof legWanted>

/** Counts the spans of time in which writes are remembered; a later one has a higher number. 0: not known. */
const era = int({ max: 2 ** 32 - 1 })

/**
 * One segment: a mirror of its legs in this order. The first leg serves the reads and is the source of every copy: it is always
 * in sync. `copy`: `none` when all legs are equal; `all` when every region is to be copied from the in-sync legs to the `syncing` ones;
 * `changed` when those regions suffice that were written in era `since` or later.
 */
export const segmentWanted = record({
  index: int({ max: 2 ** 20 }),
  generation,
  /** Where in the volume it begins; absent: after the one before it. */
  offset: optional(byteCount()),
  bytes: byteCount(),
  copy: word('none', 'all', 'changed'),
  since: optional(era),
  legs: list(legWanted, { max: 9 }),
})
export type SegmentWanted = Parsed<typeof segmentWanted>

export const volumeWanted = record({
  volume: id,
  name: text({ min: 1, max: 64, pattern: anyVolumeName, describe: 'the name of a volume' }),
  /** The name by which clients of the original API look for its device, beside its own: `lvol-` and eight hex digits. Absent: none does. */
  classic: optional(text({ min: 13, max: 13, pattern: /^lvol-[0-9a-f]{8}$/, describe: 'lvol- and eight hex digits' })),
  /** Counts the attachments of this volume: an order about an older one is refused. */
  attachEpoch: int({ min: 1 }),
  /** Rises with every change of what the head should have: an older order is refused, and a report about an older layout proves nothing. */
  layout: int({ min: 1 }),
  /** `whole`: the volume, usable at its device. `copies`: only the segments named, so that legs of a detached volume can be copied. */
  scope: word('whole', 'copies'),
  bytes: byteCount(),
  /** How long its I/O may wait for a lost last leg before it gets an error, seconds; 0: for ever. */
  waitSeconds: int({ max: 604_800 }),
  /**
   * What is written is remembered, behind segment 0 on its legs. `settled`: all writes of earlier eras are on every in-sync leg; 0 when
   * what is remembered there is worth nothing, and is begun anew. `legs`: where a head that only copies can read it, any of them. Absent:
   * nothing is remembered.
   */
  changes: optional(record({ settled: era, start: optional(byteCount()), legs: optional(list(legWanted, { max: 9 })) })),
  segments: list(segmentWanted),
  /** What this head answers when a storage server asks for CHAP. */
  chap,
})
export type VolumeWanted = Parsed<typeof volumeWanted>

const diskSeen = record({
  disk: id,
  /** Where the volume group's disk is now; empty when it is missing. */
  device: text(),
  /** `ready`, or `missing` / `failed` with the reason in `problem`. */
  state: word('ready', 'missing', 'failed'),
  problem: text({ max: 4096 }),
  /** Usable for extents in all; not given out; and, of that, known to be zero. */
  bytes: byteCount(),
  freeBytes: byteCount(),
  cleanBytes: byteCount(),
})
export type DiskSeen = Parsed<typeof diskSeen>

const extentSeen = record({
  extent: id,
  disk: id,
  volume: id,
  segment: int(),
  generation,
  bytes: byteCount(),
  /** -1 when it has no LUN. */
  lun: int({ min: -1 }),
  initiators: list(iqn),
  /** As it was ordered; empty when there is none. An older agent does not tell. */
  note: optional(text()),
  /** It is being overwritten, to be removed: what is on it is nobody's any more. */
  leaving: optional(flag()),
})
export type ExtentSeen = Parsed<typeof extentSeen>

const legSeen = record({
  extent: id,
  /** dm-mirror's character: A alive, D write failed, F flush failed, S copy failed, R read failed, U unknown. */
  health: word('A', 'D', 'F', 'S', 'R', 'U'),
})

const segmentSeen = record({
  index: int(),
  generation,
  legs: list(legSeen),
  /** Regions in sync and in all, of the copy if one is under way (equal otherwise, and 1/1 for a single leg). */
  inSync: int(),
  regions: int(),
})
export type SegmentSeen = Parsed<typeof segmentSeen>

export const volumeSeen = record({
  volume: id,
  name: text(),
  attachEpoch: int(),
  /** The layout that the kernel has now; 0 when it differs from the last order. */
  layout: int(),
  scope: word('whole', 'copies'),
  /** `up`: whole and usable at `device`. `partial`: some of its devices exist. */
  state: word('up', 'partial'),
  device: text(),
  /** Who holds it open: the kernel's open count. */
  opens: int(),
  segments: list(segmentSeen),
  /** `settled` as in the order, but as far as it has come; `broken`: what is remembered is worth nothing any more. Absent: nothing is. */
  changes: optional(record({ settled: era, broken: flag() })),
  /** Its I/O waits: something below failed in a way that no other leg could make good. */
  waiting: flag(),
  /** Legs of the order that could not be reached from this head: then nothing was changed, and the manager decides. */
  unreachable: list(record({ extent: id, why: text({ max: 4096 }) })),
})
export type VolumeSeen = Parsed<typeof volumeSeen>

/** Something that Vsky did not make, or can't place: told, never touched. `what`: `dm device`, `iSCSI session`, `export`, … */
const foreignSeen = record({ what: text(), name: text(), why: text() })
export type ForeignSeen = Parsed<typeof foreignSeen>

export const observation = record({
  host: name,
  /** New with every boot of the host: devices of an older boot are gone. */
  bootId: text({ min: 1, max: 64 }),
  /** New with every start of the agent. */
  incarnation: text({ min: 1, max: 64 }),
  /** Highest epoch seen. */
  epoch: int(),
  disks: list(diskSeen),
  extents: list(extentSeen),
  volumes: list(volumeSeen),
  foreign: list(foreignSeen),
})
export type Observation = Parsed<typeof observation>

/** What a host would tell a manager that knows nothing: who it is, and the layouts that it was last given, as far as they tell whose data is good. */
export const recollection = record({
  name,
  roles: list(word(...hostRoles), { max: 2 }),
  zone: text({ max: 63 }),
  dataAddresses: list(address, { max: 8 }),
  initiator: text({ max: 223 }),
  version: text({ max: 63 }),
  /** Of a head: the CHAP secret that its sessions were made with; absent where it has no volume. */
  secret: optional(text({ max: 255 })),
  volumes: list(record({
    volume: id, name, attachEpoch: int(), layout: int(), scope: word('whole', 'copies'), bytes: byteCount(), remembers: flag(),
    segments: list(record({ index: int(), generation, bytes: byteCount(), legs: list(record({ extent: id, host: name, state: word(...legStates) })) })),
  })),
})
export type Recollection = Parsed<typeof recollection>

const done = record({})

function method<P, R>(methodName: string, help: string, params: Shape<P>, result: Shape<R>): Method<P, R> {
  return { name: methodName, help, params, result }
}

/** Every method of an agent. Only a certificate with the role `manager` may call them. */
export const agentMethods = {
  observe: method('agent.observe', 'What this host has: disks, extents, exports, volumes, and what is foreign',
    /** Bytes per second that its copies may take together from now on; absent: as before. */
    record({ copyRate: optional(byteCount()) }), observation),
  start: method('agent.start', 'Which start of this host answers: whoever was started anew may have lost what was in its disks\' caches', record({}), record({ bootId: text({ min: 1, max: 64 }) })),
  recall: method('agent.recall', 'Who this host is and what it was last told of volumes: for a manager that has lost its database', record({}), recollection),
  fence: method('agent.fence',
    'Takes this epoch from now on: older managers are refused. Answers when every older operation has ended',
    /** `manager`: where the caller is reached, https://host:port; the agent reports there from now on. */
    record({ ...header, manager: optional(text({ max: 255, pattern: /^https:\/\/[^\s/]+$/, describe: 'https://host:port' })) }), observation),
  prepareDisk: method('agent.disk.prepare',
    'Makes a disk ours: a volume group of one disk, cleaned in the background. A disk with a signature or data is refused unless forced',
    record({ ...header, disk: id, device, force: flag() }), diskSeen),
  releaseDisk: method('agent.disk.release', 'Gives a disk back: removes its empty volume group and label', record({ ...header, disk: id }), done),
  ensureExtents: method('agent.extent.ensure',
    'Makes these extents exist (zeroed, tagged), exports each as its LUN, and lets in exactly the listed initiators',
    record({ ...header, ...numbered, extents: list(extentWanted), chap: list(chap) }),
    record({ target: iqn, addresses: list(address) })),
  removeExtents: method('agent.extent.remove',
    'Takes these extents off the wire, overwrites them with zeros and removes them; an absent one is already removed',
    record({ ...header, extents: list(record({ extent: id, disk: id })) }), done),
  banInitiator: method('agent.initiator.ban',
    'Removes an initiator from every export and ends its session. Answers only when it is certain that it can write no more',
    /** `bootId`: of the start that confirms. One that the manager does not know yet may have lost what was in its disks' caches. */
    record({ ...header, ...numbered, initiator: iqn }), record({ bootId: optional(text({ min: 1, max: 64 })) })),
  attachVolume: method('agent.volume.attach',
    'Makes the volume exist on this head exactly as said, or changes its layout while it is in use', record({ ...header, volume: volumeWanted }), volumeSeen),
  mendVolume: method('agent.volume.mend',
    'Writes a leg that could not be read somewhere anew in that place, from a good one; `why` when it could not',
    record({ ...header, volume: id, attachEpoch: int({ min: 1 }), layout: int({ min: 1 }), segment: int({ max: 2 ** 20 }), extent: id }),
    record({ bytes: byteCount(), why: text({ max: 4096 }) })),
  detachVolume: method('agent.volume.detach',
    'Removes the volume from this head, after a flush. `volume in use` when something has it open: then nothing was changed',
    /** `lost`: the volume is served elsewhere. Nothing is flushed; I/O that waits here gets an error, for it can reach no leg any more. */
    record({ ...header, volume: id, attachEpoch: int({ min: 1 }), lost: optional(flag()) }), done),
} as const

export type DiskPrepare = Parsed<typeof agentMethods.prepareDisk.params>
export type ExtentsEnsure = Parsed<typeof agentMethods.ensureExtents.params>
export type ExtentsRemove = Parsed<typeof agentMethods.removeExtents.params>
export type VolumeAttach = Parsed<typeof agentMethods.attachVolume.params>
export type VolumeMend = Parsed<typeof agentMethods.mendVolume.params>
export type VolumeDetach = Parsed<typeof agentMethods.detachVolume.params>

/** The name under which one storage server's only target is found. */
export function targetName(host: string): string {
  return `iqn.2026-11.io.vsky:storage.${host.toLowerCase().replaceAll('_', '-')}`
}
