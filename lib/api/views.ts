/** What the manager's API answers: the stable fields that `--json` shows. Sizes are bytes as decimal strings on the wire. */
import { diskStates, hostRoles, legStates, volumePhases } from '../model.js'
import { byteCount, flag, int, list, optional, record, text, word } from '../rpc/shape.js'
import type { Parsed } from '../rpc/shape.js'
import { tokenRoles, userRoles } from './roles.js'

const long = text({ max: 65536 })

export const foreignView = record({ what: text(), name: text(), why: text() })

export const hostView = record({
  name: text(),
  roles: list(word(...hostRoles)),
  /** Failure domain; empty when the host carries none. */
  zone: text(),
  state: word('online', 'offline'),
  /** `drain`: its legs move away and nothing new is placed; `failed`: they count as lost. */
  duty: word('use', 'drain', 'failed'),
  /** Where its agent listens, host:port. */
  address: text(),
  dataAddresses: list(text()),
  initiator: text(),
  version: text(),
  bootId: text(),
  /** Milliseconds since its last heartbeat. */
  lastSeenMs: int(),
  disks: int(),
  /** Names of the volumes attached to it. */
  attached: list(text()),
  foreign: list(foreignView),
})
export type HostView = Parsed<typeof hostView>

export const diskView = record({
  id: text(),
  host: text(),
  device: text(),
  zone: text(),
  state: word(...diskStates),
  problem: long,
  /** `evacuate`: its legs move away and nothing new is placed; `failed`: they count as lost. */
  duty: word('use', 'evacuate', 'failed'),
  bytes: byteCount(),
  /** Not given out to any volume. */
  freeBytes: byteCount(),
  /** Of the free part, what is known to be zero and can be given out at once. */
  cleanBytes: byteCount(),
  extents: int(),
  /** How often a leg on it could not be read somewhere, and was written anew there, since it was taken into use. */
  readErrors: int(),
})
export type DiskView = Parsed<typeof diskView>

export const legView = record({
  extent: text(),
  /** `insync` legs hold the data; `stale` ones missed a write. */
  state: word(...legStates),
  disk: text(),
  device: text(),
  host: text(),
  zone: text(),
  /** Whether its server answers now. */
  online: flag(),
  bytes: byteCount(),
})

export const segmentView = record({
  index: int(),
  /** Where it begins in the volume. */
  offset: byteCount(),
  bytes: byteCount(),
  /** Rises by one whenever a leg is committed stale. */
  generation: int(),
  legs: list(legView),
})

/** A segment in a list, with the name of its volume. */
export const segmentRow = record({ volume: text(), ...segmentView.fields })
export type SegmentRowView = Parsed<typeof segmentRow>

/** A leg in a list. */
export const legRow = record({
  /** Name of its volume; empty when that is deleted. */
  volume: text(),
  segment: int(),
  /** Order within the segment. */
  slot: int(),
  ...legView.fields,
  /** `planned`: being made; `dropping`: to be overwritten and removed. */
  extentState: word('planned', 'ready', 'dropping'),
  lun: int(),
})
export type LegRowView = Parsed<typeof legRow>

const volumeFields = {
  id: text(),
  name: text(),
  bytes: byteCount(),
  redundancy: int(),
  state: word(...volumePhases),
  /** The head that it is, or is being, attached to; empty when detached. */
  head: text(),
  /** The device on that head; empty when it isn't up. */
  device: text(),
  attachEpoch: int(),
  /** `full`, `degraded` (fewer good legs than asked for), `unavailable` (a segment without a reachable good leg). */
  health: word('full', 'degraded', 'unavailable'),
  /** Why it is not what was asked for; empty when all is well. */
  problem: long,
  createdAt: int(),
} as const

export const volumeSummary = record(volumeFields)
export type VolumeSummary = Parsed<typeof volumeSummary>

export const volumeView = record({ ...volumeFields, segments: list(segmentView) })
export type VolumeView = Parsed<typeof volumeView>

export const eventView = record({
  seq: int(),
  /** Epoch milliseconds. */
  atMs: int(),
  /** `volume attached`, `host offline`, … */
  kind: text(),
  /** What it is about: `volume`, `host`, `disk`, `manager`, and its name. */
  about: text(),
  name: text(),
  text: long,
})
export type EventView = Parsed<typeof eventView>

export const managerView = record({
  /** Who answers. */
  name: text(),
  /** `soft-stopped`, `frozen`: active, but it can't renew the lease: nothing new is begun; nothing is done at all. */
  state: word('active', 'soft-stopped', 'frozen', 'standby'),
  /** The newest that it knows. */
  epoch: int(),
  /** Who has the lease, and where it is reached; empty when nobody does, or that is not known. */
  holder: text(),
  address: text(),
  /** Since its last renewal that was seen, ms; and how long it is good for, ms. */
  leaseAgeMs: int(),
  ttlMs: int(),
  /** All that are there, by name. `gone`: not seen for three renewals. */
  managers: list(record({ name: text(), address: text(), version: text(), state: word('active', 'standby', 'gone') })),
  version: text(),
  startedAt: int(),
  schema: int(),
  hostsOnline: int(),
  hosts: int(),
  volumes: int(),
  /** Work under way: volumes between two states and extents being cleaned up. */
  underWay: int(),
  extentBytes: byteCount(),
})
export type ManagerView = Parsed<typeof managerView>

export const leaseView = record({
  /** The manager's term: each new one is higher. */
  epoch: int(),
  /** Name of the manager. */
  holder: text(),
  /** New with every start of a manager. */
  incarnation: text(),
  startedAt: int(),
  /** Rises with every renewal. */
  beat: int(),
})
export type LeaseView = Parsed<typeof leaseView>

export const jobKinds = ['resync', 'evacuate', 'drain'] as const
export const jobWorks = ['rebalance'] as const
export const jobStates = ['waiting', 'running', 'done', 'failed', 'cancelled'] as const

export const jobView = record({
  id: text(),
  /** `resync`: one segment's legs are copied to; `evacuate`, `drain`: a disk's or a host's legs move away. */
  kind: word(...jobKinds),
  /** What it is where `kind` has no word for it, as older commands know none: a `rebalance`, which they see as an `evacuate` of `cluster`. */
  work: optional(word(...jobWorks)),
  /** Of the volume, the disk (HOST:DEVICE) or the host. */
  name: text(),
  /** Of a resync. */
  segment: int(),
  state: word(...jobStates),
  /** What it does, or why it waits, or how it ended. */
  note: long,
  bytes: byteCount(),
  doneBytes: byteCount(),
  /** Bytes per second; 0 while it is not known. */
  rate: byteCount(),
  /** Until its end; -1 while it is not known. */
  etaSeconds: int({ min: -1 }),
  createdAt: int(),
  startedAt: int(),
  endedAt: int(),
})
export type JobView = Parsed<typeof jobView>

/** What an evacuation would do. Nothing has been changed. */
export const movePlanView = record({
  legs: int(),
  bytes: byteCount(),
  /** Volumes with legs there. */
  volumes: list(text()),
  /** Of those, the ones whose only good copies are there: they stay at risk until theirs is copied. */
  atRisk: list(text()),
  /** Where legs would go, server by server. */
  targets: list(record({ host: text(), legs: int(), bytes: byteCount() })),
  /** Why some can't move; empty when all can. */
  problems: list(long),
  /** At the rate that is set, 100 MiB/s for each target disk at most. */
  seconds: int(),
})
export type MovePlanView = Parsed<typeof movePlanView>

/** How full a disk is, in thousandths of its size; HOST:DEVICE is empty when no disk is in use. */
const levelView = record({ disk: text(), perMille: int() })
const levelsView = record({ fullest: levelView, emptiest: levelView })

/** What a rebalance would do, if nothing else happened until its end. Nothing has been changed. */
export const rebalancePlanView = record({
  before: levelsView,
  after: levelsView,
  legs: int(),
  bytes: byteCount(),
  /** From which disk (HOST:DEVICE) to which, most bytes first, 200 at most. */
  moves: list(record({ from: text(), to: text(), legs: int(), bytes: byteCount() })),
  /** How many such pairs there are. */
  pairs: int(),
  /** Whether the fullest and the emptiest would differ by no more than 5 % of their size. */
  balanced: flag(),
  /** Whether all legs were looked at; where there are very many it would do more than this. */
  complete: flag(),
  /** At the rate that is set, 100 MiB/s for each target disk at most. */
  seconds: int(),
})
export type RebalancePlanView = Parsed<typeof rebalancePlanView>

export const settingView = record({
  name: text(), value: int(), initial: int(), min: int(), max: int(), unit: text(), help: text(), perVolume: flag(),
})
export type SettingView = Parsed<typeof settingView>

export const tokenView = record({
  /** Public: it is a part of the token, and says which one it is. */
  id: text(),
  name: text(),
  role: word(...tokenRoles),
  /** Of a hypervisor: the only host whose attachments it may change; else empty. */
  host: text(),
  createdAt: int(),
  /** From then on it is refused; 0: never. */
  expiresAt: int(),
  expired: flag(),
})
export type TokenView = Parsed<typeof tokenView>

export const userView = record({
  name: text(),
  role: word(...userRoles),
  createdAt: int(),
  /** When the password was set last. */
  changedAt: int(),
})
export type UserView = Parsed<typeof userView>

export const statusView = record({
  /** `healthy`; `acting`: something is being put right; `at risk`: some data has one good copy, or less than asked for and nothing helps; `unavailable`: some data can't be reached. */
  verdict: word('healthy', 'acting', 'at risk', 'unavailable'),
  /** The first 200. */
  reasons: list(long),
  volumes: int(),
  degraded: list(text()),
  /** With fewer than two good copies of something, though more were asked for. */
  oneCopy: list(text()),
  unavailable: list(text()),
  hostsOffline: list(text()),
  /** Open ones, the first 200, those that run before those that wait. */
  jobs: list(jobView),
})
export type StatusView = Parsed<typeof statusView>

export const explainView = record({
  kind: word('volume', 'host', 'disk', 'job'), name: text(), state: text(),
  /** Why it is so; empty when nothing is wrong. */
  causes: list(long),
  /** What is being done about it. */
  doing: list(long),
  /** What a person may safely do next. */
  next: list(long),
})
export type ExplainView = Parsed<typeof explainView>

export const auditEntryView = record({
  seq: int(),
  atMs: int(),
  /** Of the manager that wrote it. */
  epoch: int(),
  /** `call`: somebody called; `outcome`: work that a call began has ended; `refusals`: further calls of one caller that changed nothing, counted only; `stranger`: somebody was not let in: who he claims to be, why he was not, and how often in that minute is in the parameters, and `others` when it is told of so many together; `cut`: older entries were removed; `alarm`: the log was found other than it was written. */
  kind: text(),
  /** The name by which the caller was known; empty when nobody had to say it, or it was not believed. */
  who: text(),
  role: text(),
  /** What proved the name: `certificate`, `token`, `user` or `invitation`; empty: nothing. */
  proof: text(),
  /** The address from which it came. It proves nothing. */
  peer: text(),
  /** `xml-rpc`, `json`, `classic`, `tls` (a handshake); empty: the manager itself. */
  door: text(),
  method: text(),
  /** JSON; long values are cut, secrets left out. */
  params: long,
  /** `ok`, `accepted` (an outcome follows), or the name of the fault. */
  result: text(),
  /** The caller's request id; a call and its outcome have the same. */
  request: text(),
  /** Under which the manager's log tells more. */
  logId: text(),
  /** Hash of the entry before, and its own: see lib/audit.ts. */
  previous: text(),
  hash: text(),
})
export type AuditEntryView = Parsed<typeof auditEntryView>

export const auditHeadView = record({
  /** Number and hash of the newest entry; 0 and 64 zeros when there is none. */
  seq: int(),
  hash: text(),
  /** Number of the oldest entry that is kept; 0 when there is none. */
  first: int(),
})
export type AuditHeadView = Parsed<typeof auditHeadView>

export const backupView = record({
  /** By which its pieces are asked for. */
  backup: text(),
  bytes: byteCount(),
  /** Of all of it, in hex. */
  sha256: text(),
  /** All are of `pieceBytes` but the last; in an answer they are base64. */
  pieces: int(),
  pieceBytes: int(),
  /** Rows of all tables. */
  rows: int(),
  /** Who made it, in which epoch: another manager knows nothing of it. */
  manager: text(),
  epoch: int(),
  /** The moment of which it is. */
  madeAt: int(),
})
export type BackupView = Parsed<typeof backupView>
