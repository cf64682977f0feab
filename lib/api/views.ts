/** What the manager's API answers: the stable fields that `--json` shows. Sizes are bytes as decimal strings on the wire. */
import { diskStates, hostRoles, legStates, volumePhases } from '../model.js'
import { byteCount, flag, int, list, record, text, word } from '../rpc/shape.js'
import type { Parsed } from '../rpc/shape.js'

const long = text({ max: 65536 })

export const foreignView = record({ what: text(), name: text(), why: text() })

export const hostView = record({
  name: text(),
  roles: list(word(...hostRoles)),
  /** Failure domain; empty when the host carries none. */
  zone: text(),
  state: word('online', 'offline'),
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
  bytes: byteCount(),
  /** Not given out to any volume. */
  freeBytes: byteCount(),
  /** Of the free part, what is known to be zero and can be given out at once. */
  cleanBytes: byteCount(),
  extents: int(),
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
  name: text(),
  state: word('active', 'standby'),
  epoch: int(),
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
