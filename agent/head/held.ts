/**
 * What a mirror holds and the kernel has forgotten. When nothing but a flush fails on a leg, dm-raid1 holds the flush, then finds no region
 * out of sync, takes that for the end of a copy, and calls the leg well again (do_failures() and do_recovery() of Linux 6.1, seen). No
 * status tells of it, and it waits until a table is loaded. All that is left of it: an event, a request that never ends, and on which disk
 * it failed, the SCSI layer's count of errors, or that it lets nothing through. A disk that failed a flush may have dropped what it should
 * have written, so its leg counts as failed, where that tells it from the others.
 */
import { readFile, realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import type { SegmentSeen, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import { devicesPresent } from '../dm/present.js'
import type { DevicePresent } from '../dm/present.js'
import { readStatus } from '../dm/status.js'
import { nameOf } from '../dm/table.js'
import { isGivenUp } from '../iscsi/sysfs.js'
import type { Part } from '../dm/table.js'
import { devicesWanted } from './plan.js'

export interface Held {
  /**
   * Something happened to these devices of these volumes. Mirrors whose status shows nothing of it are looked at for a second, in the
   * background. One that is never idle is taken for one that holds something: a new table costs it a moment, a request that nobody
   * finds costs the volume.
   */
  search(volumes: readonly VolumeWanted[], names: readonly string[], status: ReadonlyMap<string, readonly string[]>): void
  /** Whether this mirror holds something. */
  has(name: string): boolean
  /** What is told of volumes: where mirrors hold something I/O waits, for a new table, which is the manager's to order. */
  told(seen: readonly VolumeSeen[]): readonly VolumeSeen[]
  /** These are its legs from now on, extent → block device: errors that they had before are not counted. To be called before its mirrors try anything on them. */
  count(volume: string, legs: ReadonlyMap<string, string>): Promise<void>
  /** Those that were counted last. */
  legs(volume: string): ReadonlyMap<string, string>
  /** Its mirrors have new tables, or are gone: what was held goes on. */
  released(volume: string): void
  stop(): Promise<void>
}

export interface HeldOptions {
  readonly clock: Clock
  readonly log: Log
  /** Mirrors that are now known to hold something. */
  readonly onFound: (names: readonly string[]) => Promise<void>
  /** By the kernel's name of a device (dm-3): writes and flushes under way in it. */
  readonly writes?: (kernel: string) => Promise<number>
  readonly present?: () => Promise<readonly DevicePresent[]>
  /** Errors that a block device has had so far; undefined where nobody counts. */
  readonly errors?: (device: string) => Promise<number | undefined>
  /** Whether the kernel lets nothing through to a block device any more: such requests fail before anybody counts them (scsi_prep_state_check()). */
  readonly givenUp?: (device: string) => Promise<boolean>
}

interface Blame {
  readonly volume: string
  readonly away: boolean
}

const SAMPLES = 11
const SAMPLE_MS = 100

export function createHeld({ clock, log, onFound, writes = writesUnderWay, present = devicesPresent, errors = errorsOf, givenUp = isGivenUp }: HeldOptions): Held {
  const holding = new Set<string>()
  const background = new Set<Promise<void>>()
  /** Volume → its legs, with their devices and what was counted of them. */
  const counts = new Map<string, readonly { readonly extent: string; readonly device: string; readonly errors: number | undefined }[]>()
  /** Legs on which something failed, of volumes that hold something: extent → volume, and whether nothing gets through to its disk any more. */
  const blamed = new Map<string, Blame>()

  async function blame(volume: string): Promise<void> {
    for (const { extent, device, errors: before } of counts.get(volume) ?? []) {
      const [now, away] = [await errors(device), await givenUp(device)]
      if ((before !== undefined && now !== undefined && now > before) || away) blamed.set(extent, { volume, away })
    }
  }

  async function neverIdle(kernel: string): Promise<boolean> {
    for (let at = 0; at < SAMPLES; at += 1) {
      if (at > 0) await clock.sleep(SAMPLE_MS)
      if (await writes(kernel) === 0) return false
    }
    return true
  }

  async function look(names: readonly string[]): Promise<void> {
    const devices = (await present()).filter(({ name }) => names.includes(name))
    const looked = await Promise.all(devices.map(async ({ name, kernel }) => ({ name, found: await neverIdle(kernel) })))
    const found = looked.filter((each) => each.found && !holding.has(each.name)).map(({ name }) => name)
    if (found.length === 0) return
    for (const volume of counts.keys()) if (found.some((name) => isOf(volume, name))) await blame(volume)
    for (const name of found) holding.add(name)
    log.warn('mirrors hold writes though all their legs look well: a flush failed, and the kernel has forgotten on which leg', { devices: found, failed: [...blamed.keys()] })
    await onFound(found)
  }

  return {
    search(volumes, names, status) {
      const quiet = volumes.flatMap(flatMirrors).filter((name) => names.includes(name) && !holding.has(name) && looksWell(status.get(name)?.[0] ?? ''))
      if (quiet.length === 0) return
      const work = look(quiet).catch((thrown: unknown) => { log.warn('what mirrors hold could not be looked at', { error: messageOf(thrown) }) })
        .finally(() => { background.delete(work) })
      background.add(work)
    },
    has: (name) => holding.has(name),
    told: (seen) => seen.map((each) => ([...holding].some((name) => isOf(each.volume, name)) ? {
      ...each, waiting: true, segments: each.segments.map((segment) => (partsOf(segment.index).some((part) => holding.has(nameOf(each.volume, part))) ? withBlame(segment, blamed) : segment)),
    } : each)),
    async count(volume, legs) {
      counts.set(volume, await Promise.all([...legs].map(async ([extent, device]) => ({ extent, device, errors: await errors(device) }))))
    },
    legs: (volume) => new Map(counts.get(volume)?.map(({ extent, device }) => [extent, device])),
    released(volume) {
      for (const name of holding) if (isOf(volume, name)) holding.delete(name)
      for (const [extent, { volume: of }] of blamed) if (of === volume) blamed.delete(extent)
    },
    async stop() {
      await Promise.all(background)
    },
  }
}

function isOf(volume: string, name: string): boolean {
  return name.startsWith(nameOf(volume, 'top'))
}

/** Mirrors on the legs of a segment: its own, the one below a copy, and what stands beside the first. */
function partsOf(index: number): readonly Part[] {
  return [`s${index}`, `s${index}-low`, ...index === 0 ? ['meta', 'meta-low'] as const : []]
}

/**
 * Where all of them had errors nothing tells the one that failed the flush: then it is only tried again. Of a leg that could not be read
 * somewhere the errors may be just those, and that drops no leg.
 */
function withBlame(segment: SegmentSeen, blamed: ReadonlyMap<string, Blame>): SegmentSeen {
  if (segment.legs.every((leg) => blamed.has(leg.extent))) return segment
  const failed = ({ extent, health }: SegmentSeen['legs'][number]): boolean => (health === 'A' && blamed.has(extent)) || (health === 'R' && blamed.get(extent)?.away === true)
  return { ...segment, legs: segment.legs.map((leg) => (failed(leg) ? { ...leg, health: 'F' } : leg)) }
}

/** A copy has an event at its end, and gets a new table then. */
function flatMirrors(volume: VolumeWanted): readonly string[] {
  return devicesWanted(volume).filter(({ table }) => table.kind === 'mirror' && table.mirror.copy === 'none').map(({ part }) => nameOf(volume.volume, part))
}

/** Whatever happened to this mirror, its status line does not tell: all legs are well, or could not be read once, and there is nothing to copy. */
function looksWell(line: string): boolean {
  const status = readStatus(line)
  return status !== undefined && status.legs.length > 1 && status.inSync === status.regions && status.legs.every((leg) => leg.health === 'A' || leg.health === 'R')
}

/** Source: Linux Documentation/ABI/stable/sysfs-block, `inflight`: reads and writes. */
async function writesUnderWay(kernel: string): Promise<number> {
  const [, writing = '0'] = (await readFile(`/sys/block/${kernel}/inflight`, 'utf8').catch(() => '')).trim().split(/\s+/)
  return Number(writing)
}

/**
 * Source: Linux drivers/scsi/scsi_sysfs.c, in hexadecimal: `ioerr_cnt`, and `iotmo_cnt` for commands that did not end in time, which the
 * first leaves out (scsi_eh_flush_done_q() ends them itself). A leg on this host has no such counts, and older kernels lack the second.
 */
async function errorsOf(device: string): Promise<number | undefined> {
  const name = basename(await realpath(/^\d+:\d+$/.test(device) ? `/sys/dev/block/${device}` : device).catch(() => ''))
  const [errors, timeouts] = await Promise.all(['ioerr_cnt', 'iotmo_cnt'].map(async (count) => {
    const text = await readFile(`/sys/block/${name}/device/${count}`, 'utf8').catch(() => '')
    return /^0x[0-9a-f]+\s*$/.test(text) ? Number(text.trim()) : undefined
  }))
  return errors === undefined ? undefined : errors + (timeouts ?? 0)
}
