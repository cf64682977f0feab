/**
 * What was written when, of every volume that this head has up: dm-era remembers, for each block, the last era in which it was written.
 * A checkpoint ends an era. Two questions are answered from it. "Which blocks were written since era E?" is asked when a leg that was away,
 * or that lost its head, is to catch up. "Since which era would a leg have to catch up that is lost now?" is the settled era, kept here:
 * all writes of earlier eras have ended, and no disk's cache holds them any more.
 *
 * A checkpoint does not wait for writes in flight. So an era counts as over only at the next checkpoint, a minute later, when every leg is
 * well and a flush has gone through: a write that was under way at the first has ended by then (a leg that keeps one for longer fails, by the
 * timers of iSCSI and SCSI, and is no longer well), and it was in a disk's cache before that flush.
 */
import { readFile } from 'node:fs/promises'
import { Fault, messageOf } from '../../lib/faults.js'
import { failureText } from '../../lib/host/failure-text.js'
import { limits } from '../../lib/model.js'
import type { Clock, Log, Run, RunRequest } from '../../lib/ports.js'
import type { Sectors } from '../../lib/units.js'
import type { VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import type { Dmsetup } from '../dm/dmsetup.js'
import { blockSectors, readBlocks, readEra } from '../dm/era.js'
import type { BlockRange } from '../dm/era.js'
import { devicesPresent } from '../dm/present.js'
import { readQueueFailed, readStatus } from '../dm/status.js'
import { formatChanges, nameOf, uuidOf } from '../dm/table.js'
import type { CopyLogs } from './copy-logs.js'
import type { Flush } from './flush.js'
import { devicesWanted } from './plan.js'

/** Between two checkpoints, ms. */
const CHECKPOINT_MS = 60_000
/** While a list is made a segment stands still: a leg that fails in this moment must not make it stand for longer, ms. */
export const LIST_MS = 5000
/** For what is remembered to be read from a leg, ms. */
const COPY_MS = 20_000

export interface Changes {
  /** For the manager: how far the settled era has come. Undefined when nothing is remembered of the volume. */
  seen(volume: string): VolumeSeen['changes']
  /** A volume is up with this order. */
  note(wanted: VolumeWanted): void
  forget(volume: string): void
  /** No checkpoint from now on, and none under way when this answers: it has the volume open. Until `forget` or the function that it gives. */
  pause(volume: string): Promise<() => void>
  /**
   * What waits to be remembered is to be failed: then blocks may count as remembered that were never written down. Told to the manager as
   * broken; true when a later order shows that it relies on it no longer, and only then may it be done.
   */
  spoil(volume: string): boolean
  /** What is remembered was begun anew though it should have gone on: from the volume's next order on it is told as broken. */
  distrust(volume: string): void
  /** Before `writtenSince`: what an agent that was killed may have left. */
  makeReady(volume: string): Promise<void>
  /** Blocks written in this era or later, everything that has reached a segment included. */
  writtenSince(volume: string, era: number): Promise<readonly BlockRange[]>
  /** After it. */
  release(volume: string): Promise<void>
  /** The same of a volume that nobody has up, from where a head kept it: on this device, from this byte on. Nothing is written there. */
  pastSince(volume: string, kept: { readonly device: string; readonly start: bigint }, length: Sectors, era: number): Promise<readonly BlockRange[]>
  stop(): Promise<void>
}

interface Kept {
  wanted: VolumeWanted
  paused: boolean
  /** A checkpoint that is under way. */
  under: Promise<void>
  /** The layout of the first order: it may have begun all anew, and says then that nothing before it counts. */
  readonly began: number
  settled: number
  broken: boolean
  /** The last checkpoint, when nothing has been in doubt since: the era that it began, and what had been written by then. */
  last: { readonly era: number; readonly atMs: number; readonly written: string } | undefined
}

export interface ChangesOptions {
  readonly dm: Pick<Dmsetup, 'status'>
  /** Another door, for what waits as long as metadata can't be written. */
  readonly slow: Dmsetup
  readonly run: Run
  readonly flush: Pick<Flush, 'device'>
  readonly logs: Pick<CopyLogs, 'scratch' | 'sweep'>
  readonly clock: Clock
  readonly log: Log
  readonly checkpointMs?: number
}

export function createChanges({ dm, slow, run, flush, logs, clock, log, checkpointMs = CHECKPOINT_MS }: ChangesOptions): Changes {
  const all = new Map<string, Kept>()
  const stopping = new AbortController()
  const distrusted = new Set<string>()
  let running: Promise<void> | undefined

  async function must(file: string, args: readonly string[], timeoutMs: number): Promise<string> {
    const request: RunRequest = { file, args, timeoutMs, maxOutputBytes: 64 * 1024 * 1024 }
    const result = await run(request)
    if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', failureText(request, result))
    return result.stdout
  }
  const message = (volume: string, text: string): Promise<void> => slow.message(nameOf(volume, 'changes'), text)

  /** All legs take writes, and nothing waits. */
  async function isWell(wanted: VolumeWanted): Promise<boolean> {
    const names = devicesWanted(wanted).filter(({ table }) => table.kind === 'mirror' || table.kind === 'queue').map(({ part }) => nameOf(wanted.volume, part))
    const status = await dm.status(names)
    return names.every((name) => {
      const line = status.get(name)?.[0]
      return line !== undefined && !readQueueFailed(line) && (readStatus(line)?.legs ?? []).every((leg) => leg.health === 'A' || leg.health === 'R')
    })
  }

  async function checkpoint(volume: string, kept: Kept): Promise<void> {
    const written = await writtenTo(nameOf(volume, 'top'))
    const { last } = kept
    if (last?.written === written) return // nothing since: an idle volume costs nothing
    kept.last = undefined
    if (!await isWell(kept.wanted)) return
    await flush.device(nameOf(volume, 'top'))
    const atMs = clock.monoMs()
    await message(volume, 'checkpoint')
    const name = nameOf(volume, 'changes')
    const era = readEra((await slow.status([name])).get(name)?.[0] ?? '')
    if (era === 'broken' || era === undefined) {
      kept.broken = true
      log.error('what changes is no longer remembered', { volume: kept.wanted.name })
      return
    }
    kept.last = { era, atMs, written }
    if (last && atMs - last.atMs >= checkpointMs - 1000) kept.settled = Math.max(kept.settled, last.era)
  }

  async function keepChecking(): Promise<void> {
    while (all.size > 0 && !stopping.signal.aborted) {
      await clock.sleep(checkpointMs, stopping.signal).catch(() => undefined)
      for (const [volume, kept] of all) {
        if (stopping.signal.aborted || all.get(volume) !== kept || kept.broken || kept.paused) continue
        kept.under = checkpoint(volume, kept).catch((thrown: unknown) => { log.info('no checkpoint of what changes', { volume: kept.wanted.name, error: messageOf(thrown) }) })
        await kept.under
      }
    }
    running = undefined
  }

  return {
    seen(volume) {
      const kept = all.get(volume)
      return kept && { settled: kept.broken ? 0 : kept.settled, broken: kept.broken }
    },
    note(wanted) {
      if (!wanted.changes || wanted.scope === 'copies') {
        all.delete(wanted.volume)
        return
      }
      if (distrusted.has(wanted.volume)) all.delete(wanted.volume)
      const before = all.get(wanted.volume)
      if (before?.wanted.attachEpoch === wanted.attachEpoch) {
        before.wanted = wanted
        before.settled = Math.max(before.settled, wanted.changes.settled)
      } else all.set(wanted.volume, { wanted, paused: false, under: Promise.resolve(), began: wanted.layout, settled: Math.max(1, wanted.changes.settled), broken: distrusted.delete(wanted.volume), last: undefined })
      running ??= keepChecking()
    },
    forget(volume) { all.delete(volume) },
    async pause(volume) {
      const kept = all.get(volume)
      if (kept) kept.paused = true
      await kept?.under
      return () => { if (kept) kept.paused = false }
    },
    spoil(volume) {
      const kept = all.get(volume)
      if (kept) kept.broken = true
      return kept?.wanted.changes?.settled === 0 && kept.wanted.layout > kept.began
    },
    distrust(volume) { distrusted.add(volume) },
    async makeReady(volume) {
      await message(volume, 'drop_metadata_snap').catch(() => undefined) // there seldom is one
    },
    async writtenSince(volume, era) {
      await message(volume, 'take_metadata_snap')
      return readBlocks(await must('era_invalidate', ['--metadata-snapshot', '--written-since', String(era), `/dev/mapper/${nameOf(volume, 'meta-top')}`], LIST_MS))
    },
    async release(volume) {
      await message(volume, 'drop_metadata_snap').catch((thrown: unknown) => { log.info('a snapshot of what changes stays until the next', { volume, error: messageOf(thrown) }) })
    },
    async pastSince(volume, { device, start }, length, era) {
      const [past, origin] = [nameOf(volume, 'past'), nameOf(volume, 'past-origin')]
      const copy = await logs.scratch(past)
      try {
        await must('dd', [`if=${device}`, `of=${copy.path}`, 'bs=64K', `skip=${start}`, `count=${limits.changesBytes}`, 'iflag=direct,skip_bytes,count_bytes', 'status=none'], COPY_MS)
        const loop = await copy.device()
        // The last era is only counted in when the kernel takes its metadata up: so it is given a copy, and nothing below it.
        const table = formatChanges({ device: `/dev/mapper/${origin}`, length, meta: loop, block: blockSectors(length) })
        await slow.create([{ name: origin, uuid: uuidOf(volume, 'past-origin'), table: [`0 ${length} error`] }, { name: past, uuid: uuidOf(volume, 'past'), table: [table] }])
        await slow.message(past, 'take_metadata_snap')
        return readBlocks(await must('era_invalidate', ['--metadata-snapshot', '--written-since', String(era), loop], LIST_MS))
      } finally {
        await slow.remove([past, origin]).catch((thrown: unknown) => { log.warn('a copy of what was remembered stays', { device: past, error: messageOf(thrown) }) })
        copy.done()
        await logs.sweep()
      }
    },
    async stop() {
      stopping.abort()
      await running
    },
  }
}

/** The same without a memory of changes: all is copied. */
export function withoutMemory(order: VolumeWanted): VolumeWanted {
  if (!order.changes) return order
  return { ...order, changes: undefined, segments: order.segments.map((segment) => (segment.copy === 'changed' ? { ...segment, copy: 'all' } : segment)) }
}

/** Whether this host has what remembering needs; said once why not. */
export async function canRemember(run: Run, log: Log): Promise<boolean> {
  const needed: readonly (readonly [file: string, args: readonly string[]])[] = [['modprobe', ['-a', 'dm_era', 'loop']], ['era_invalidate', ['--version']], ['losetup', ['--version']]]
  const results = await Promise.all(needed.map(async ([file, args]) => ({ file, ...await run({ file, args, timeoutMs: 30_000 }) })))
  for (const { file, exit, stderr } of results) {
    if (exit.kind === 'code' && exit.code === 0) continue
    log.warn('changes can\'t be remembered on this host: a leg that was away is copied as a whole', { needs: file, why: exit.kind === 'not started' ? exit.reason : stderr.trim().slice(0, 300) })
    return false
  }
  return true
}

/** What has been written to a device so far, as text to compare: writes and sectors (Linux Documentation/block/stat.rst, fields 5 and 7), and those in flight. */
async function writtenTo(name: string): Promise<string> {
  const device = (await devicesPresent()).find((each) => each.name === name)
  if (!device) throw new Error(`${name} is not there`)
  const fields = (await readFile(`/sys/block/${device.kernel}/stat`, 'utf8')).trim().split(/\s+/)
  return [fields[4], fields[6], fields[8]].join(' ')
}
