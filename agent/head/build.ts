/**
 * Carrying out what agent/head/plan.ts decided: devices made, given new tables while they are in use, and taken away. A copy of what
 * changed needs the list of it, and that is only whole while the segment stands still: so it is asked for in that moment, and where it
 * can't be had all is copied.
 */
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log, LogFields, Run } from '../../lib/ports.js'
import { sectors } from '../../lib/units.js'
import type { VolumeWanted } from '../../lib/wire/agent.js'
import { spansIn } from '../dm/copy-log.js'
import type { Span } from '../dm/copy-log.js'
import type { Dmsetup, NewDevice, RemoveOutcome } from '../dm/dmsetup.js'
import { blockSectors } from '../dm/era.js'
import { devicesPresent } from '../dm/present.js'
import { readStatus } from '../dm/status.js'
import { formatChanges, formatConcatenation, formatQueue, formatSegment, nameOf, readUuid, segmentOf, uuidOf } from '../dm/table.js'
import type { MirrorTable, Part } from '../dm/table.js'
import type { StillMine } from '../roles.js'
import type { Changes } from './changes.js'
import type { CopyLog, CopyLogs } from './copy-logs.js'
import { makeLinks } from './link.js'
import { devicesOf, hasFailed, thereOf } from './look.js'
import { devicesWanted, layer, META_SECTORS, settled } from './plan.js'
import type { DeviceTable, HeadStep } from './plan.js'
import type { Newest } from './newest.js'
import type { Stuck } from './stuck.js'
import type { WriteCaches } from './write-cache.js'

export interface Builder {
  /** `legs`: extent → block device, of every leg that a step names. */
  build(wanted: VolumeWanted, steps: readonly HeadStep[], legs: ReadonlyMap<string, string>, stillMine: StillMine): Promise<void>
  /** Takes away the devices of a volume, topmost first. `busy`: the volume is open, and nothing was changed. */
  takeDown(volume: string, keep?: ReadonlySet<string>): Promise<'removed' | 'busy'>
  /** Of a volume that is served elsewhere: who still waits here gets an error, so that he can end. */
  giveUp(volume: string, record: VolumeWanted | undefined): Promise<void>
}

export interface BuilderOptions {
  readonly dm: Dmsetup
  readonly run: Run
  readonly changes: Changes
  readonly logs: CopyLogs
  readonly caches: WriteCaches
  readonly newest: Pick<Newest, 'over'>
  readonly stuck: Pick<Stuck, 'note'>
  readonly clock: Clock
  readonly log: Log
}

/** Between two looks at what stands below a device that waits for its new table, ms. */
const SETTLE_MS = 1000
/** So many looks that show nothing, and what is below gets its table anew all the same: no request takes that long by the timers of iSCSI and SCSI. */
const SETTLE_LOOKS = 15

/** Between attempts to remove what is held, the first time; longer each time, ms. */
const BUSY_MS = 300
/** Looks at what is left and tries again, when a device vanished under our hands. */
const REMOVE_ATTEMPTS = 5

export function createBuilder({ dm, run, changes, logs, caches, newest, stuck, clock, log }: BuilderOptions): Builder {
  const pathOf = (volume: string, part: string): string => `/dev/mapper/${nameOf(volume, part as Part)}`

  function mirrorOf(volume: string, mirror: MirrorTable, legs: ReadonlyMap<string, string>): MirrorTable {
    const [primary = '', ...others] = mirror.legs.map((leg) => legs.get(leg) ?? pathOf(volume, leg))
    return { ...mirror, legs: [primary, ...others] }
  }

  function tableLines(volume: string, table: DeviceTable, legs: ReadonlyMap<string, string>, copyLog?: CopyLog): readonly string[] {
    switch (table.kind) {
      case 'mirror': return [formatSegment(mirrorOf(volume, table.mirror, legs), copyLog?.device)]
      case 'concatenation': return formatConcatenation(table.pieces.map((piece) => ({ device: pathOf(volume, piece.part), length: sectors(piece.length) })))
      case 'queue': return [formatQueue({ device: pathOf(volume, table.part), length: sectors(table.length) })]
      case 'changes': return [formatChanges({ device: pathOf(volume, table.part), length: sectors(table.length), meta: pathOf(volume, table.meta), block: table.block })]
    }
  }

  function device(volume: string, part: Part, table: DeviceTable, legs: ReadonlyMap<string, string>, copyLog?: CopyLog): NewDevice {
    return { name: nameOf(volume, part), uuid: uuidOf(volume, part), table: tableLines(volume, table, legs, copyLog) }
  }

  /** Logs for the copies of a volume that nobody has up, from what its last head remembered. Without one all is copied. */
  async function pastLogs(wanted: VolumeWanted, steps: readonly HeadStep[], legs: ReadonlyMap<string, string>): Promise<ReadonlyMap<Part, CopyLog>> {
    const made = new Map<Part, CopyLog>()
    const changed = steps.flatMap((step) => ((step.do === 'create' || step.do === 'reload') && step.table.kind === 'mirror' && step.table.mirror.copy === 'changed' ? [{ part: step.part, length: step.table.mirror.length }] : []))
    if (wanted.scope === 'whole' || changed.length === 0) return made
    try {
      const kept = wanted.changes?.legs?.map((leg) => legs.get(leg.extent)).find((each) => each !== undefined)
      if (kept === undefined) throw new Error('no leg that carries it can be reached')
      const places = changed.map(({ part, length }) => ({ part, length, place: placeOf(wanted, segmentOf(part) ?? 0) }))
      const blocks = await changes.pastSince(wanted.volume, { device: kept, start: wanted.changes?.start ?? 0n }, sectors(wanted.bytes / 512n), Math.min(...places.map(({ place }) => place.since)))
      for (const { part, length, place } of places) {
        const copyLog = await logs.make(nameOf(wanted.volume, part), length)
        made.set(part, copyLog)
        const spans = spansIn(place, place.block, blocks)
        await copyLog.write(spans)
        tellCopy(nameOf(wanted.volume, part), place, spans)
      }
      return made
    } catch (thrown) {
      for (const copyLog of made.values()) copyLog.done()
      log.warn('what changed could not be listed: all is copied', { volume: wanted.name, error: messageOf(thrown) })
      return new Map()
    }
  }

  function tellCopy(name: string, place: CopyPlace, spans: readonly Span[], more: LogFields = {}): void {
    const bytes = spans.reduce((sum, span) => sum + span.end - span.begin, 0n) * 512n
    log.info('what changed is copied', { device: name, since: place.since, bytes: String(bytes), of: String(place.length * 512n), ...more })
  }

  async function removeOne(volume: string, part: Part): Promise<void> {
    const name = nameOf(volume, part)
    if ((await dm.remove([name])).kind === 'removed' || !(await devicesPresent()).some((each) => each.name === name)) return
    throw new Fault('agent failed', `${name} is no longer needed, and can't be removed: something holds it`)
  }

  /** A new metadata device of dm-era begins with zeros. */
  async function wipe(volume: string, part: Part): Promise<void> {
    const result = await run({ file: 'dd', args: ['if=/dev/zero', `of=${pathOf(volume, part)}`, 'bs=4096', 'count=1', 'oflag=direct', 'conv=fsync,notrunc'], timeoutMs: 20_000 })
    if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', `what changes could not be begun anew: ${result.stderr.trim().slice(0, 200)}`)
  }

  /**
   * A mirror gets a leg that lacks only what was written since some era. The log's device is made first, for nobody should wait for that;
   * while the mirror stands still nothing reaches its legs, so the list is whole, and what comes after it goes to the new leg as well.
   */
  async function reloadChanged(wanted: VolumeWanted, part: Part, mirror: MirrorTable, legs: ReadonlyMap<string, string>): Promise<void> {
    const name = nameOf(wanted.volume, part)
    const place = placeOf(wanted, segmentOf(part) ?? 0)
    let copied: readonly Span[] | undefined
    const copyLog = await logs.make(name, mirror.length).catch((thrown: unknown) => { log.warn('no log for a copy of changes: all is copied', { device: name, error: messageOf(thrown) }) })
    if (!copyLog) return dm.reload(name, [formatSegment({ ...mirror, copy: 'all' })])
    await changes.makeReady(wanted.volume)
    const beganMs = clock.monoMs()
    await whileSettling(wanted, part, legs, dm.suspend(name))
    try {
      const blocks = await changes.writtenSince(wanted.volume, place.since)
      const spans = spansIn(place, place.block, blocks)
      await copyLog.write(spans)
      await dm.load(name, [formatSegment(mirror, copyLog.device)])
      copied = spans
    } catch (thrown) {
      log.warn('what changed could not be listed: all is copied', { device: name, error: messageOf(thrown) })
      await dm.load(name, [formatSegment({ ...mirror, copy: 'all' })])
    } finally {
      await dm.resume(name)
      copyLog.done()
    }
    if (copied) tellCopy(name, place, copied, { stoodStillMs: Math.round(clock.monoMs() - beganMs) })
    await changes.release(wanted.volume)
    return undefined
  }

  async function reload(wanted: VolumeWanted, part: Part, table: DeviceTable, legs: ReadonlyMap<string, string>, copyLog: CopyLog | undefined): Promise<void> {
    if (table.kind === 'mirror' && table.mirror.copy === 'changed' && wanted.scope === 'whole') await reloadChanged(wanted, part, mirrorOf(wanted.volume, table.mirror, legs), legs)
    else await whileSettling(wanted, part, legs, dm.reload(nameOf(wanted.volume, part), tableLines(wanted.volume, table, legs, copyLog)))
  }

  /** Work that may wait in the kernel for what is held below: that is looked for until the work has ended, now and then `anyway`. */
  async function lookingAfter<T>(work: Promise<T>, look: (anyway: boolean) => Promise<void>, what: LogFields): Promise<T> {
    let done = false
    const ended = work.finally(() => { done = true })
    ended.catch(() => undefined) // told below
    for (let looks = 1; ; looks += 1) {
      await Promise.race([ended, clock.sleep(SETTLE_MS)])
      if (done) return ended
      await look(looks % SETTLE_LOOKS === 0).catch((thrown: unknown) => { log.warn('what is held below a device could not be let go', { ...what, error: messageOf(thrown) }) })
    }
  }

  /**
   * A device gets its new table when what it has handed down has ended. A leg may fail below just then: its server shuts out a leg that
   * is leaving. What is held there goes on with the legs that are still wanted, or this would wait for ever; and where one of those has
   * failed, with those that the next order wants, which waits behind this one; until there is one, that leg is told (stuck.ts). Where nothing
   * but a flush failed the kernel holds it and may show nothing (held.ts), so a mirror that looks well and does not come to its end gets its
   * table anew.
   */
  async function whileSettling(wanted: VolumeWanted, part: Part, legs: ReadonlyMap<string, string>, work: Promise<void>): Promise<void> {
    const low = `${part}-low` as Part
    if (readUuid(uuidOf(wanted.volume, low)) === undefined) return work
    return lookingAfter(work, (anyway) => settleBelow(wanted, low, legs, anyway), { device: nameOf(wanted.volume, low) }).finally(() => { stuck.note(wanted.volume, low, []) })
  }

  async function settleBelow(wanted: VolumeWanted, low: Part, legs: ReadonlyMap<string, string>, anyway: boolean): Promise<void> {
    const name = nameOf(wanted.volume, low)
    const status = readStatus((await dm.status([name])).get(name)?.[0] ?? '')
    const failed = status?.legs.some((leg) => leg.health !== 'A') ?? false
    if (!failed && !(anyway && status)) return
    const there = (await thereOf(wanted.volume, await dm.state())).find((each) => each.part === low)
    for (const step of settled(newest.over(wanted), there && { ...there, failed: true })) {
      if (step.do !== 'reload') continue
      const kept: readonly string[] = step.table.kind === 'mirror' ? step.table.mirror.legs : []
      const stood: readonly string[] = there?.table?.kind === 'mirror' ? there.table.mirror.legs : []
      const inTheWay = stood.filter((leg, at) => kept.includes(leg) && (status?.legs[at]?.health ?? 'A') !== 'A')
      stuck.note(wanted.volume, low, inTheWay)
      if (inTheWay.length > 0) log.warn('a leg that is still wanted failed below a device that gets a new table: it is tried again until there is an order without it', { device: name, failed: inTheWay })
      else if (failed) log.warn('a leg failed below a device that gets a new table: what is held goes on without it', { device: name })
      else log.warn('what is below a device that gets a new table does not come to its end, though its legs look well: it gets its table anew', { device: name })
      await dm.reload(name, tableLines(wanted.volume, step.table, legs))
    }
  }

  /**
   * Makes devices. Where the kernel can't take up what was remembered of changes (its metadata is damaged) that is begun anew: a volume
   * must not be lost for a memory of it. The manager is told that it is worth nothing.
   */
  async function create(volume: string, devices: readonly NewDevice[]): Promise<void> {
    const name = nameOf(volume, 'changes')
    try {
      await dm.create(devices)
    } catch (thrown) {
      const at = devices.findIndex((each) => each.name === name)
      const present = new Set((await devicesPresent()).map((each) => each.name))
      if (at < 0 || present.has(name) || !devices.slice(0, at).every((each) => present.has(each.name))) throw thrown
      log.error('what was remembered of changes is damaged, and is begun anew', { device: name, error: messageOf(thrown) })
      await wipe(volume, 'meta-top')
      await dm.create(devices.slice(at))
      changes.distrust(volume)
    }
  }

  /** Before a mirror gets this table: whoever is copied to is not flushed, whoever is not is. */
  async function setCaches({ table }: { readonly table: DeviceTable }, legs: ReadonlyMap<string, string>): Promise<void> {
    if (table.kind !== 'mirror') return
    const { copy, legs: [primary, ...others] } = table.mirror
    for (const leg of copy === 'none' ? [primary, ...others] : others) {
      const path = legs.get(leg)
      if (path !== undefined) await caches[copy === 'none' ? 'restore' : 'bypass'](path)
    }
  }

  async function carryOut(wanted: VolumeWanted, steps: readonly HeadStep[], legs: ReadonlyMap<string, string>, copyLogs: ReadonlyMap<Part, CopyLog>): Promise<void> {
    for (let at = 0; at < steps.length;) {
      const step = steps[at]
      if (step === undefined) break
      // What is new goes in one batch; what is loaded in place goes one by one, in the plan's order.
      const batch = steps.slice(at).filter((each, index, rest) => each.do === 'create' && rest.slice(0, index).every((earlier) => earlier.do === 'create'))
      for (const each of [step, ...batch]) if (each.do === 'create' || each.do === 'reload') await setCaches(each, legs)
      switch (step.do) {
        case 'create':
          await create(wanted.volume, batch.flatMap((each) => (each.do !== 'create' ? [] : [device(wanted.volume, each.part, each.table, legs, copyLogs.get(each.part))])))
          break
        case 'reload': await reload(wanted, step.part, step.table, legs, copyLogs.get(step.part)); break
        case 'reinstate':
          await dm.message(nameOf(wanted.volume, step.part), 'queue_if_no_path')
          await dm.message(nameOf(wanted.volume, step.part), `reinstate_path ${pathOf(wanted.volume, step.path)}`)
          break
        case 'resume': await dm.resume(nameOf(wanted.volume, step.part)); break
        case 'wipe': await wipe(wanted.volume, step.part); break
        case 'remove': await removeOne(wanted.volume, step.part)
      }
      at += step.do === 'create' ? batch.length : 1
    }
  }

  /**
   * dm-era writes what it has in memory when it goes. A leg that fails just then makes a mirror hold that write, for a table that nobody
   * orders while the volume goes, and the removal waits for ever. What is above is gone, so nobody can write to the volume any more, and
   * all that was written is remembered: what was to be written fails, as in a power failure.
   */
  function removeAll(volume: string, names: readonly string[]): Promise<RemoveOutcome> {
    return lookingAfter(dm.remove(names), (anyway) => letMetadataGo(volume, anyway), { volume })
  }

  async function letMetadataGo(volume: string, anyway: boolean): Promise<void> {
    const there = devicesOf(volume, await devicesPresent())
    const meta = there.filter(({ part }) => part === 'meta-low' || part === 'meta' || part === 'meta-top')
    if (meta.length === 0 || there.some(({ part }) => part === 'top')) return
    const status = await dm.status(meta.map(({ name }) => name))
    if (!anyway && !meta.some(({ name }) => hasFailed(status.get(name)?.[0] ?? ''))) return
    log.warn('what remembers changes waits for a lost leg while its volume goes: what it had still to write is failed', { volume })
    for (const { part, name } of meta) if (part === 'meta-top') await dm.message(name, 'fail_if_no_path')
    for (const part of ['meta-low', 'meta'] as const) if (meta.some((each) => each.part === part)) await dm.fail(nameOf(volume, part), META_SECTORS)
  }

  return {
    async build(wanted, steps, legs, stillMine) {
      const copyLogs = await pastLogs(wanted, steps, legs)
      try {
        stillMine()
        await carryOut(wanted, steps, legs, copyLogs)
      } finally {
        for (const copyLog of copyLogs.values()) copyLog.done()
      }
      if (wanted.scope === 'whole') await makeLinks(wanted)
      await logs.sweep()
    },
    async takeDown(volume, keep = new Set()) {
      for (let attempt = 1; ; attempt += 1) {
        const mine = devicesOf(volume, await devicesPresent()).filter((each) => !keep.has(each.name))
        const outcome = await removeAll(volume, [...mine].sort((a, b) => layer(b.part) - layer(a.part)).map((each) => each.name))
        if (outcome.kind === 'removed') break
        const left = devicesOf(volume, await devicesPresent())
        if (outcome.by === 'busy' && left.some((each) => each.part === 'top')) return 'busy'
        if (attempt < REMOVE_ATTEMPTS && outcome.by === 'busy') await clock.sleep(BUSY_MS * attempt) // one of our own programs is just writing it out
        else if (attempt >= REMOVE_ATTEMPTS) throw new Fault('agent failed', `${left.map((each) => each.name).join(', ')}: held by something else than the volume`)
      }
      await logs.sweep()
      return 'removed'
    },
    async giveUp(volume, record) {
      const there = new Set(devicesOf(volume, await devicesPresent()).map((each) => each.part))
      for (const queue of ['top', 'meta-top'] as const) if (there.has(queue)) await dm.message(nameOf(volume, queue), 'fail_if_no_path')
      const wanted = record ? devicesWanted(record) : []
      for (const { part, table } of wanted) if (there.has(part) && table.kind === 'mirror') await dm.fail(nameOf(volume, part), table.mirror.length)
    },
  }
}

/** Where a segment lies in its volume, sectors; the block in which changes are remembered; since when they are asked for. */
interface CopyPlace {
  readonly offset: bigint
  readonly length: bigint
  readonly block: bigint
  readonly since: number
}

function placeOf(wanted: VolumeWanted, index: number): CopyPlace {
  const before = wanted.segments.filter((segment) => segment.index < index).reduce((sum, segment) => sum + segment.bytes, 0n)
  const segment = wanted.segments.find((each) => each.index === index)
  if (segment === undefined || !wanted.changes) throw new Fault('agent failed', `nothing is remembered of segment ${index} of ${wanted.name}`)
  return { offset: (segment.offset ?? before) / 512n, length: segment.bytes / 512n, block: blockSectors(sectors(wanted.bytes / 512n)), since: segment.since ?? 1 }
}
