/**
 * The head role: makes a volume exist in this kernel exactly as the manager says, changes its layout under running I/O, and takes it
 * away again. All calls converge. What is up when the agent starts is adopted by its device-mapper uuid; nothing is changed by itself.
 */
import { Fault, messageOf } from '../../lib/faults.js'
import { createRun } from '../../lib/host/run.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import type { ForeignSeen, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import { createDmsetup, safeToAsk } from '../dm/dmsetup.js'
import { createDmEvents } from '../dm/events.js'
import { devicesPresent } from '../dm/present.js'
import type { DevicePresent } from '../dm/present.js'
import { formatSegment, nameOf, readUuid, segmentOf } from '../dm/table.js'
import type { Part } from '../dm/table.js'
import { createSessions } from '../iscsi/sessions.js'
import type { HeadRole, StillMine } from '../roles.js'
import { createBuilder } from './build.js'
import { canRemember, createChanges, LIST_MS, withoutMemory } from './changes.js'
import { createCopyLogs } from './copy-logs.js'
import { createFlush } from './flush.js'
import { withCutOff } from './cut-off.js'
import { createHeld } from './held.js'
import { createFindLegs, withLost } from './leg-devices.js'
import { refuseForeignLinks, removeLinks } from './link.js'
import { copiedBytes, devicesOf, justMade, legsInUse, notReached, seenAfter, seenByStatus, seenOf, thereByStatus, thereOf } from './look.js'
import { createNewest } from './newest.js'
import { createPatience } from './patience.js'
import { createMend } from './mend.js'
import { checkWish, devicesWanted, partsWatched, stagesOf } from './plan.js'
import type { DeviceThere } from './plan.js'
import { openVolumeRecords } from './record.js'
import { refuseForeign, refuseStale } from './refuse.js'
import { createStuck } from './stuck.js'
import { createThrottle } from './throttle.js'
import { usersOf } from './users.js'
import { createWriteCaches } from './write-cache.js'

export interface HeadOptions {
  readonly stateDir: string
  readonly udev: boolean
  readonly run: Run
  readonly log: Log
  readonly clock: Clock
  /** The logical volume of an extent that this very host stores for itself. */
  readonly localDevice: (extent: string) => Promise<string | undefined>
  /** Something happened to these volumes (a leg failed, a copy ended): the manager should hear of it at once. */
  readonly onEvent: (volumes: readonly VolumeSeen[]) => void
}

/** How old a status may be for an order, ms. */
const STATUS_FRESH_MS = 2000
/** How often tables are read though they should be as recorded, ms. */
const VERIFY_MS = 30_000

export async function createHeadRole({ stateDir, udev, run, log, clock, localDevice, onEvent }: HeadOptions): Promise<HeadRole> {
  const holding = createRun({ log, maxParallel: { dmsetup: 4096 } })
  const dm = createDmsetup({ run, waiting: createRun({ log, maxParallel: { dmsetup: 64 } }), holding, udev })
  const sessions = createSessions({ run, clock, log })
  const legDevices = createFindLegs({ sessions, localDevice, log })
  const records = await openVolumeRecords(stateDir)
  const background = new Set<Promise<void>>()
  /**
   * Volumes whose tables are known to be as recorded, with the devices of their legs: then a status line is all that has to be read of
   * them. Each process that is not started makes a writer's wait for a lost leg shorter.
   */
  const verified = new Map<string, ReadonlyMap<string, string>>()
  let verifiedAtMs = Number.NEGATIVE_INFINITY
  let last: { readonly atMs: number; readonly status: ReadonlyMap<string, readonly string[]> } | undefined

  async function readStatus(): Promise<ReadonlyMap<string, readonly string[]>> {
    const atMs = clock.monoMs()
    const status = await dm.status((await devicesPresent()).filter((device) => safeToAsk(device.uuid)).map((device) => device.name))
    last = { atMs, status }
    return status
  }
  const events = createDmEvents({ dm, clock, log, onEvent: tellOf })

  /** Legs of orders that are being carried out: no sweep takes their disks away before they are in a table. */
  const claimed = new Set<string>()
  /** Volumes about which an order is being carried out. */
  const ordered = new Set<string>()
  /** Volumes whose devices are being removed: nothing that happens to those is news. */
  const going = new Set<string>()
  let allowed: bigint | undefined
  const throttle = createThrottle({ clock, log })
  const caches = createWriteCaches({ log })
  const flush = createFlush({ run, log, clock, beforeCopy: (kernel) => caches.restoreBelow(kernel) })
  const logs = createCopyLogs({ run, log })
  // A door of its own: what is asked of it waits as long as metadata can't be written, and must not take the places of what mends that.
  const slow = createDmsetup({ run: createRun({ log, maxParallel: { dmsetup: 32 } }), waiting: run, holding, udev, timeoutMs: LIST_MS })
  const changes = createChanges({ dm, slow, run: createRun({ log, maxParallel: { era_invalidate: 32 } }), flush, logs, clock, log })
  const newest = createNewest()
  const stuck = createStuck({ log, tell: (volume) => tellOf([nameOf(volume, 'top')]) })
  const builder = createBuilder({ dm, run, changes, logs, caches, newest, stuck, clock, log })
  const mend = createMend({ dm, run, log })
  const patience = createPatience({ dm, clock, log, mayForget: (volume) => changes.spoil(volume) })
  /** Whether the kernel and the tools of this host can remember changes. */
  let ableToRemember = false
  const held = createHeld({ clock, log, onFound: tellOf })

  /** Tells of I/O that waits, so that it is tried again. */
  function minding(seen: readonly VolumeSeen[]): void {
    for (const { volume, waiting } of seen) {
      const record = records.get(volume)
      if (!waiting || !record) continue
      const devices = devicesWanted(record)
      const segments = devices.filter(({ table }) => table.kind === 'mirror').map(({ part }) => nameOf(volume, part))
      const queues = devices.flatMap(({ part, table }) => (table.kind === 'queue' ? [{ name: nameOf(volume, part), path: nameOf(volume, table.part as Part), guests: part === 'top' }] : []))
      patience.note(volume, { queues, segments, limitMs: record.waitSeconds * 1000 })
    }
  }

  /** Mirrors are watched as long as they are up: a leg that fails is told within a moment, wherever the manager's own look is. */
  function watch(): void {
    events.watch(records.all().filter(({ volume }) => !going.has(volume)).flatMap((record) => partsWatched(record).map((part) => nameOf(record.volume, part))))
  }

  /** What is told of volumes: what was seen, with copies that have ended only when they are safe, legs that are cut off, and how far changes are settled. */
  async function completed(seen: readonly VolumeSeen[]): Promise<readonly VolumeSeen[]> {
    const flushed = await flush.copies(seen, (volume, index) => records.segment(volume, index)?.copy !== 'none')
    return (await withCutOff(flushed, (volume) => held.legs(volume))).map((volume) => {
      const remembered = changes.seen(volume.volume)
      return remembered ? { ...volume, changes: remembered } : volume
    })
  }

  function tellManager(seen: readonly VolumeSeen[]): void {
    minding(seen)
    onEvent(held.told(stuck.told(seen)))
  }

  async function tellOf(names: readonly string[]): Promise<void> {
    const concerned = records.all().filter((record) => names.some((name) => name.startsWith(nameOf(record.volume, 'top'))))
    if (concerned.length === 0) return
    if (concerned.every((record) => verified.has(record.volume))) {
      const status = await readStatus()
      tellManager(await completed(concerned.map((record) => seenByStatus(record, status))))
      held.search(concerned, names, status)
      return
    }
    const state = await dm.state()
    const seen = await Promise.all(concerned.map((record) => seenOf(record, state)))
    tellManager(await completed(seen))
    held.search(concerned, names, new Map(state.map((each) => [each.name, each.status])))
  }

  /** By their status where the tables are known; once in a while, and where they are not, by everything. */
  async function lookAtAll(present: readonly DevicePresent[]): Promise<readonly VolumeSeen[]> {
    const all = records.all()
    if (clock.monoMs() - verifiedAtMs < VERIFY_MS && all.every((record) => verified.has(record.volume))) {
      const status = all.length === 0 ? new Map<string, readonly string[]>() : await readStatus()
      if (all.every((record) => thereByStatus(record, status, present)?.every((device) => !device.suspended))) return all.map((record) => seenByStatus(record, status))
    }
    const state = await dm.state()
    const seen = await Promise.all(all.map((record) => seenOf(record, state)))
    for (const [index, record] of all.entries()) {
      const inUse = await legsInUse(record.volume, state)
      if (!verified.has(record.volume)) await held.count(record.volume, inUse)
      if (ordered.has(record.volume) || records.get(record.volume) !== record) continue // an order has changed it since
      if (seen[index]?.layout === record.layout) verified.set(record.volume, inUse)
      else verified.delete(record.volume)
    }
    verifiedAtMs = clock.monoMs()
    return seen
  }

  /** Frees what no volume of this head has in its layout. */
  function pruneSessions(): Promise<void> {
    return sessions.prune((extent) => claimed.has(extent) || records.all().some((volume) => volume.segments.some((segment) => segment.legs.some((leg) => leg.extent === extent))))
  }

  /** The server of a leg that left is often dead, and then this takes seconds: the order that dropped the leg is answered before. */
  function pruneLater(): void {
    const work = pruneSessions().catch((thrown: unknown) => { log.warn('disks of legs that left could not be taken away', { error: messageOf(thrown) }) })
      .finally(() => { background.delete(work) })
    background.add(work)
  }

  /** A failed attach leaves what it found, and nothing else. */
  async function undo(wanted: VolumeWanted, record: VolumeWanted | undefined, present: readonly DevicePresent[]): Promise<void> {
    const before = new Set(devicesOf(wanted.volume, present).map((device) => device.name))
    if (await builder.takeDown(wanted.volume, before) === 'busy') return
    if (!before.has(nameOf(wanted.volume, 'top'))) await removeLinks(wanted.volume)
    // With devices still up the record stays: it says which order came last, and an older one must be refused.
    // So it does after a reboot: of an attachment that was up before it may be all that tells which legs were written to last.
    if (before.size === 0 && record?.attachEpoch !== wanted.attachEpoch) await records.remove(wanted.volume)
    await pruneSessions()
  }

  /**
   * Devices of an attachment that is over may hold writes that were never acknowledged, and that somebody else has long overwritten. With
   * new tables under them those would go to the legs, so they fail and go first. What only copied holds nobody's writes, and is taken on.
   */
  async function clearOldAttachment(wanted: VolumeWanted, before: VolumeWanted | undefined, present: readonly DevicePresent[]): Promise<void> {
    const old = devicesOf(wanted.volume, present)
    if (old.length === 0 || before?.attachEpoch === wanted.attachEpoch || (before?.scope === 'copies' && !old.some(({ part }) => part === 'top'))) return
    await builder.giveUp(wanted.volume, before)
    if (await builder.takeDown(wanted.volume) === 'busy') {
      const users = await usersOf(nameOf(wanted.volume, 'top'))
      throw new Fault('volume in use', `${wanted.name}: something here still has the device of an attachment open that is over${users === '' ? '' : ` (${users})`}`)
    }
    await removeLinks(wanted.volume)
    await records.remove(wanted.volume)
    verified.delete(wanted.volume)
  }

  interface Look {
    readonly there: readonly DeviceThere[]
    /** Extent → device, of the legs in use. */
    readonly inUse: ReadonlyMap<string, string>
    readonly status: ReadonlyMap<string, readonly string[]>
  }

  async function lookAt(volume: string, record: VolumeWanted | undefined, present: readonly DevicePresent[]): Promise<Look> {
    const inUse = verified.get(volume)
    if (inUse && record) {
      // The order often answers a report of a moment ago. A leg that has failed since makes an event of its own.
      const status = last && clock.monoMs() - last.atMs < STATUS_FRESH_MS ? last.status : await readStatus()
      const there = thereByStatus(record, status, present)
      if (there) return { there, inUse, status }
    }
    const state = await dm.state()
    return { there: await thereOf(volume, state), inUse: await legsInUse(volume, state), status: new Map(state.map((device) => [device.name, device.status])) }
  }

  const told = async (seen: VolumeSeen): Promise<VolumeSeen> => (await completed([seen]))[0] ?? seen

  /** Where this host can't remember changes they are not asked for, and all is copied; the manager hears of it with the answer. */
  const asAble = (order: VolumeWanted): VolumeWanted => (ableToRemember ? order : withoutMemory(order))

  async function attach(wanted: VolumeWanted, stillMine: StillMine): Promise<VolumeSeen> {
    const before = records.get(wanted.volume)
    refuseStale(wanted, before)
    const present = await devicesPresent()
    refuseForeign(wanted, present)
    await refuseForeignLinks(devicesOf(wanted.volume, present).length > 0 ? { volume: wanted.volume, name: wanted.name } : wanted)
    // Tables cost processes: they are read only where there is something of this volume to read.
    await clearOldAttachment(wanted, before, present)
    const now = await devicesPresent()
    const wasThere = devicesOf(wanted.volume, now).length > 0
    const { there, inUse, status } = wasThere ? await lookAt(wanted.volume, before, now) : { there: [], inUse: new Map<string, string>(), status: new Map<string, readonly string[]>() }
    // Loaded anew even by an order that is not: as one left suspended.
    const doubted = (await withLost(there, inUse)).map((each) => (held.has(nameOf(wanted.volume, each.part)) ? { ...each, failed: true, suspended: true } : each))
    const stages = stagesOf(wanted, doubted, before === undefined || before.layout < wanted.layout)
    const steps = stages.flatMap((stage) => stage.steps)
    const legs = await legDevices(wanted, steps, inUse)
    if (legs.unreachable.length > 0) {
      pruneLater()
      return notReached(wanted, legs.unreachable)
    }
    verified.delete(wanted.volume)
    const used = new Set(wanted.segments.flatMap((segment) => segment.legs.map((leg) => leg.extent)))
    const using = new Map([...inUse, ...legs.devices].filter(([extent]) => used.has(extent)))
    await held.count(wanted.volume, using) // before the new tables try again what was held, which may fail at once
    await records.put(wanted) // before any effect, so that a restarted agent knows what is its own
    try {
      for (const stage of stages) await builder.build(stage.wanted, stage.steps, legs.devices, stillMine)
      held.released(wanted.volume)
    } catch (thrown) {
      await undo(wanted, before, present).catch((second: unknown) => { log.warn('a failed attach could not be taken back', { volume: wanted.name, error: messageOf(second) }) })
      throw thrown
    } finally {
      last = undefined // of tables that are no longer
      watch()
    }
    changes.note(wanted)
    verified.set(wanted.volume, using)
    if (!wasThere) return told(justMade(wanted))
    pruneLater()
    const touched = new Set(steps.map((step) => segmentOf(step.part)))
    return told(seenAfter(wanted, status, touched))
  }

  return {
    async start() {
      // What a distribution's kernel loads on demand only where udev runs.
      const loaded = await run({ file: 'modprobe', args: ['-a', 'dm_mirror', 'dm_multipath', 'dm_round_robin', 'iscsi_tcp', 'sd_mod'], timeoutMs: 30_000 })
      if (loaded.exit.kind !== 'code' || loaded.exit.code !== 0) log.warn('kernel modules could not be loaded', { error: loaded.stderr.trim().slice(0, 300) })
      ableToRemember = await canRemember(run, log)
      await sessions.sweepRecords()
      const present = await devicesPresent()
      for (const record of records.all()) {
        const there = devicesOf(record.volume, present).length
        log.info(there > 0 ? 'a volume was adopted' : 'a volume is not up', { volume: record.name, devices: there })
        if (there > 0) changes.note(record)
      }
      watch()
      pruneLater() // a killed agent may have been about to, and no other order need ever come
    },
    async stop() {
      await Promise.all([events.stop(), patience.stop(), changes.stop(), held.stop()])
      await Promise.all(background) // devices in use stay up: an agent is not in the data path
    },
    recall: () => records.all(),
    async observe(copyRate) {
      const [present, strangers] = await Promise.all([devicesPresent(), sessions.foreign()])
      const seen = await completed(await lookAtAll(present))
      const known = new Set(records.all().map((record) => record.volume))
      const foreign: ForeignSeen[] = present.filter((device) => !device.uuid.startsWith('LVM-') && !known.has(readUuid(device.uuid)?.volume ?? ''))
        .map((device) => ({ what: 'dm device', name: device.name, why: readUuid(device.uuid) ? 'of a volume that this head has no record of' : 'not made by Vsky' }))
      minding(seen)
      if (copyRate !== undefined) allowed = copyRate
      await throttle.look(copiedBytes(seen, (volume, index) => records.segment(volume, index)?.bytes ?? 0n), present.filter((device) => readUuid(device.uuid)?.part === 'top').map((device) => device.kernel), allowed)
      return { volumes: held.told(stuck.told(seen)), foreign: [...foreign, ...strangers] }
    },
    heed: (order) => { newest.heed(order) },
    async attachVolume(order, stillMine) {
      checkWish(order)
      const wanted = asAble(order)
      const legs = [...wanted.segments.flatMap((segment) => segment.legs), ...wanted.changes?.legs ?? []].map((leg) => leg.extent)
      for (const leg of legs) claimed.add(leg)
      ordered.add(wanted.volume)
      try {
        return await attach(wanted, stillMine)
      } finally {
        for (const leg of legs) claimed.delete(leg)
        ordered.delete(wanted.volume)
      }
    },
    async mendVolume({ volume, attachEpoch, layout, segment, extent }, stillMine) {
      const [record, inUse] = [records.get(volume), verified.get(volume)]
      const legs = record?.segments.find((each) => each.index === segment)?.legs ?? []
      if (record?.attachEpoch !== attachEpoch || record.layout !== layout || !inUse || record.segments.some((each) => each.index === segment && each.copy !== 'none') || !legs.some((leg) => leg.extent === extent)) {
        throw new Fault('stale generation', `segment ${segment} of volume ${volume} is not up in layout ${layout} of attachment ${attachEpoch}`)
      }
      const deviceOf = (name: string): string => inUse.get(name) ?? ''
      const parts = devicesWanted(record).filter(({ part }) => segmentOf(part) === segment).flatMap(({ part, table }) => (table.kind !== 'mirror' ? [] : [{
        name: nameOf(volume, part), table: [formatSegment({ ...table.mirror, legs: [deviceOf(table.mirror.legs[0]), ...table.mirror.legs.slice(1).map(deviceOf)] })],
        start: table.mirror.starts?.[0] ?? 0n, length: table.mirror.length,
      }]))
      stillMine()
      return mend({ parts, bad: deviceOf(extent), good: legs.filter((leg) => leg.extent !== extent && leg.state === 'insync').map((leg) => deviceOf(leg.extent)) })
    },
    async detachVolume({ volume, attachEpoch, lost }) {
      const record = records.get(volume)
      if (record && record.attachEpoch > attachEpoch) return // a newer attachment is up: this order is history
      // A disk's cache may hold what no reader has missed yet: from here on it must survive a power failure of its server.
      if (lost === true) await builder.giveUp(volume, record)
      const goOn = await changes.pause(volume)
      try {
        if (lost !== true) await flush.device(nameOf(volume, 'top'))
        going.add(volume)
        watch()
        if (await builder.takeDown(volume) === 'busy') {
          const users = await usersOf(nameOf(volume, 'top'))
          throw new Fault('volume in use', `${record?.name ?? volume} is in use${users === '' ? ': something has its device open' : `: ${users}`}`)
        }
        await removeLinks(volume)
        // Once its devices are gone a volume wants no disks; if the agent dies before they are away, the next one finds them when it starts.
        await records.remove(volume)
      } catch (thrown) {
        goOn()
        throw thrown
      } finally {
        going.delete(volume)
        watch()
      }
      verified.delete(volume)
      for (const each of [flush, changes, patience, newest]) each.forget(volume)
      held.released(volume)
      await pruneSessions()
    },
  }
}
