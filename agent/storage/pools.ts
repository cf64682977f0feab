/**
 * The disks of this server as pools of clean space. The invariant: below the clean mark every free physical extent is zero, so an
 * extent can be given out at once. A new disk is cleaned in the background, range by range; an extent is overwritten before it is
 * removed.
 */
import { stat } from 'node:fs/promises'
import { Fault, messageOf } from '../../lib/faults.js'
import { failureText } from '../../lib/host/failure-text.js'
import { limits } from '../../lib/model.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import type { DiskSeen, ExtentWanted } from '../../lib/wire/agent.js'
import type { StillMine } from '../roles.js'
import type { Lvm } from '../lvm/lvm.js'
import { lvPath, vgName } from '../lvm/lvm.js'
import { isZero } from './is-zero.js'
import { cleanRanges, countOf, take } from '../lvm/report.js'
import type { PoolReport } from '../lvm/report.js'
import { inspectDisk } from './inspect.js'
import type { StorageRecord } from './record.js'

const PE = limits.physicalExtent
/** Cleaned at a time, physical extents: 2 GiB. Little is done twice after a crash, and progress can be seen. */
const RANGE = 512
/** Overwritten at a time, bytes: some seconds, after which a newer manager may say otherwise. */
const ZERO_BYTES = 1024n ** 3n
/** As slow as a disk may be, ms for one piece. */
const ZERO_MS = 5 * 60_000
const WIPE = 'vsky_wipe'
/** A tag of an extent that is being overwritten: from here on its other tags say nothing of what is on it. */
export const LEAVING = 'vsky.leaving'
/** How long a call waits for the cleaner to make enough room, ms. */
const CLEAN_WAIT_MS = 60_000

export interface Pools {
  start(): Promise<void>
  stop(): Promise<void>
  prepare(disk: string, device: string, force: boolean, stillMine: StillMine): Promise<DiskSeen>
  release(disk: string, stillMine: StillMine): Promise<void>
  /**
   * Makes the missing ones of these extents, all on one disk, and their tags right. Throws Fault; what was made by then stays.
   * `stillWanted` throws when they are not, before anything is made.
   */
  ensure(disk: string, extents: readonly ExtentWanted[], stillWanted: () => void): Promise<void>
  /** Overwrites and removes. An absent one is done already. */
  remove(disk: string, extents: readonly string[], stillMine: StillMine): Promise<void>
  /** Newest report of each disk, read anew. */
  look(): Promise<readonly { readonly seen: DiskSeen; readonly pool: PoolReport | undefined }[]>
}

export interface PoolsOptions {
  readonly lvm: Lvm
  readonly run: Run
  readonly record: StorageRecord
  readonly clock: Clock
  readonly log: Log
}

export function createPools({ lvm, run, record, clock, log }: PoolsOptions): Pools {
  const stopping = new AbortController()
  const cleaners = new Map<string, Promise<void>>()
  const problems = new Map<string, string>()

  function deviceOf(disk: string): string {
    const device = record.deviceOf(disk)
    if (device === undefined) throw new Fault('unknown disk', `disk ${disk} is not one of this server's`)
    return device
  }

  /** The newest report of each disk. Only this process changes these volume groups; a look from time to time would show if not. */
  const known = new Map<string, PoolReport>()

  async function pool(disk: string, commands: readonly string[] = []): Promise<{ pool: PoolReport; complaint: string }> {
    known.delete(disk)
    const result = await lvm.batch(disk, deviceOf(disk), commands)
    if (result.pool) known.set(disk, result.pool)
    if (!result.pool) throw new Fault('agent failed', `disk ${disk} at ${deviceOf(disk)} is not there: ${result.complaint || 'its volume group is not found'}`)
    return { pool: result.pool, complaint: result.complaint }
  }

  async function knownPool(disk: string): Promise<PoolReport> {
    return known.get(disk) ?? (await pool(disk)).pool
  }

  /** Overwriting takes a disk's whole rate: twice at once would only be slower. */
  const removals = new Map<string, Promise<unknown>>()
  function oneRemoval(disk: string, work: () => Promise<void>): Promise<void> {
    const mine = (removals.get(disk) ?? Promise.resolve()).then(work, work)
    removals.set(disk, mine.catch(() => undefined))
    return mine
  }

  /** In pieces: `goOn` throws between two of them when it is not to be ended. */
  async function zero(path: string, bytes: bigint, goOn: () => void): Promise<void> {
    for (let at = 0n; at < bytes; at += ZERO_BYTES) {
      goOn()
      const request = { file: 'blkdiscard', args: ['-z', '-o', String(at), '-l', String(bytes - at < ZERO_BYTES ? bytes - at : ZERO_BYTES), path], timeoutMs: ZERO_MS }
      const result = await run(request)
      if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', failureText(request, result))
    }
  }

  /** Cleans from the mark to the end. A wipe volume left by a crash is removed first: its range is simply done again. */
  async function clean(disk: string): Promise<void> {
    let now = { pool: await knownPool(disk), complaint: '' }
    if (now.pool.volumes.some((each) => each.name === WIPE)) now = await pool(disk, [`lvremove -f ${vgName(disk)}/${WIPE}`])
    while (!stopping.signal.aborted && now.pool.cleanMark < now.pool.physicalExtents) {
      const { cleanMark, physicalExtents } = now.pool
      const end = Math.min(cleanMark + RANGE, physicalExtents)
      now = await pool(disk, [`lvcreate -y -Zn -Wn -ay -n ${WIPE} -l ${end - cleanMark} ${vgName(disk)} ${deviceOf(disk)}:${cleanMark}-${end - 1}`])
      if (!now.pool.volumes.some((each) => each.name === WIPE)) throw new Fault('agent failed', `disk ${disk} can't be cleaned from ${cleanMark} on: ${now.complaint}`)
      // Reading first leaves a new disk, and a thin one, untouched. The wipe volume is new, so nothing of it is in any cache.
      if (!await isZero(lvPath(disk, WIPE))) await zero(lvPath(disk, WIPE), BigInt(end - cleanMark) * PE, () => { stopping.signal.throwIfAborted() })
      now = await pool(disk, [
        `lvremove -f ${vgName(disk)}/${WIPE}`, `vgchange --deltag vsky.clean=${cleanMark} --addtag vsky.clean=${end} ${vgName(disk)}`,
      ])
      if (now.pool.cleanMark !== end) throw new Fault('agent failed', `disk ${disk}: the clean mark can't be moved: ${now.complaint}`)
    }
  }

  function startCleaner(disk: string): void {
    if (cleaners.has(disk)) return
    const work = clean(disk).then(() => { problems.delete(disk) }, (thrown: unknown) => {
      problems.set(disk, messageOf(thrown))
      log.warn('a disk could not be cleaned', { disk, error: messageOf(thrown) })
    }).finally(() => { cleaners.delete(disk) })
    cleaners.set(disk, work)
  }

  function seenOf(disk: string, device: string, report: PoolReport | undefined, problem: string): DiskSeen {
    if (!report) return { disk, device, state: problem.includes('not there') ? 'missing' : 'failed', problem, bytes: 0n, freeBytes: 0n, cleanBytes: 0n }
    const free = report.segments.filter((each) => each.lv === '' || each.lv === WIPE).reduce((sum, each) => sum + each.size, 0)
    return {
      disk, device, state: 'ready', problem: problems.get(disk) ?? '', bytes: BigInt(report.physicalExtents) * PE, freeBytes: BigInt(free) * PE,
      cleanBytes: BigInt(countOf(cleanRanges(report))) * PE,
    }
  }

  return {
    async start() {
      await Promise.all(record.disks().map(async ({ disk }) => {
        try {
          await pool(disk, [`vgchange -ay ${vgName(disk)}`])
          startCleaner(disk)
        } catch (thrown) {
          log.error('a disk is not there', { disk, error: messageOf(thrown) }) // the others come up all the same
        }
      }))
    },
    async stop() {
      stopping.abort()
      await Promise.allSettled(cleaners.values())
    },
    async prepare(disk, device, force, stillMine) {
      const other = record.disks().find((each) => each.device === device && each.disk !== disk)
      if (other) throw new Fault('disk taken', `${device} is disk ${other.disk} of this server already`)
      if (record.deviceOf(disk) !== undefined) {
        const there = await lvm.batch(disk, device, [])
        if (there.pool) { // asked again: it is done
          startCleaner(disk)
          return seenOf(disk, device, there.pool, '')
        }
      } else {
        const found = await inspectDisk(run, device)
        if (found.inUse !== '') throw new Fault('disk in use', `${device} can't be taken: ${found.inUse}`)
        if (found.data !== '' && !force) throw new Fault('disk has data', `${device} is not empty: ${found.data}`)
        stillMine()
        await record.change((draft) => { draft.disks.set(disk, device) })
      }
      try {
        stillMine()
        const wiped = await run({ file: 'wipefs', args: ['--all', '--force', '--quiet', device], timeoutMs: 30_000 })
        if (wiped.exit.kind !== 'code' || wiped.exit.code !== 0) throw new Fault('agent failed', `Cannot erase the signatures on ${device}: ${wiped.stderr.trim()}`)
        // Metadata for an LV takes some 415 bytes: 4 MiB are enough for a small disk, 64 MiB for as many extents as a large one holds.
        const { bytes } = await inspectDisk(run, device)
        const metadata = bytes < 8n * 1024n ** 3n ? '4M' : '64M'
        const made = await lvm.batch(disk, device, [
          `pvcreate -ff -y --metadatasize ${metadata} --pvmetadatacopies 1 ${device}`, `vgcreate -s 4M --addtag vsky --addtag vsky.clean=0 ${vgName(disk)} ${device}`,
        ])
        if (!made.pool) throw new Fault('agent failed', `Cannot make a volume group on ${device}: ${made.complaint}`)
        known.set(disk, made.pool)
        startCleaner(disk)
        return seenOf(disk, device, made.pool, '')
      } catch (thrown) {
        await record.change((draft) => { draft.disks.delete(disk) })
        throw thrown
      }
    },
    async release(disk, stillMine) {
      const device = record.deviceOf(disk)
      if (device === undefined) return
      const held = record.extents().filter((each) => each.disk === disk)
      if (held.length > 0) throw new Fault('disk in use', `disk ${disk} holds ${held.length} extents`)
      const { pool: there } = await lvm.batch(disk, device, [])
      if (there) {
        const volumes = there.volumes.filter((each) => each.name !== WIPE)
        if (volumes.length > 0) throw new Fault('disk in use', `disk ${disk} holds logical volumes: ${volumes.slice(0, 5).map((each) => each.name).join(', ')}`)
        await cleaners.get(disk)
        stillMine()
        const { pool: still, complaint } = await lvm.batch(disk, device, [`vgremove -f ${vgName(disk)}`, `pvremove -y ${device}`])
        if (still) throw new Fault('agent failed', `Cannot remove the volume group of disk ${disk}: ${complaint}`)
      }
      known.delete(disk)
      await record.change((draft) => { draft.disks.delete(disk) })
    },
    async ensure(disk, extents, stillWanted) {
      const until = clock.monoMs() + CLEAN_WAIT_MS
      for (;;) {
        const now = await knownPool(disk)
        stillWanted()
        const { commands, missing } = planExtents(disk, deviceOf(disk), now, extents)
        if (commands.length > 0) {
          const { pool: after, complaint } = await pool(disk, commands)
          const bad = extents.filter((extent) => !missing.includes(extent) && !after.volumes.some((each) => each.name === extent.extent && each.active))
          if (bad.length > 0) throw new Fault('agent failed', `disk ${disk}: ${bad.length} extents could not be made: ${complaint || 'no reason given'}`)
        }
        if (missing.length === 0) return
        if (!cleaners.has(disk) || clock.monoMs() > until) {
          throw new Fault('no room', `disk ${disk} at ${deviceOf(disk)}: ${countOf(cleanRanges(now))} clean physical extents of 4 MiB are free, ${missing.reduce((sum, each) => sum + each.bytes / PE, 0n)} are needed`)
        }
        await clock.sleep(300)
      }
    },
    remove: (disk, extents, stillMine) => oneRemoval(disk, async () => {
      const now = await knownPool(disk)
      const there = extents.filter((extent) => now.volumes.some((each) => each.name === extent))
      if (there.length === 0) return
      const asleep = there.filter((extent) => now.volumes.some((each) => each.name === extent && !each.active))
      const unmarked = there.filter((extent) => now.volumes.some((each) => each.name === extent && !each.tags.includes(LEAVING)))
      const paths = (some: readonly string[]): string => some.map((extent) => `${vgName(disk)}/${extent}`).join(' ')
      stillMine()
      const commands = [...unmarked.length > 0 ? [`lvchange --addtag ${LEAVING} ${paths(unmarked)}`] : [], ...asleep.length > 0 ? [`lvchange -ay ${paths(asleep)}`] : []]
      if (commands.length > 0) {
        const { pool: after, complaint } = await pool(disk, commands)
        const bare = there.filter((extent) => after.volumes.some((each) => each.name === extent && !each.tags.includes(LEAVING)))
        if (bare.length > 0) throw new Fault('agent failed', `disk ${disk}: ${bare.length} extents could not be marked as leaving: ${complaint}`)
      }
      stillMine()
      for (const extent of there) await zero(lvPath(disk, extent), now.volumes.find((each) => each.name === extent)?.bytes ?? 0n, stillMine)
      stillMine()
      const { pool: after, complaint } = await pool(disk, [`lvremove -f ${there.map((extent) => `${vgName(disk)}/${extent}`).join(' ')}`])
      const left = there.filter((extent) => after.volumes.some((each) => each.name === extent))
      if (left.length > 0) throw new Fault('agent failed', `disk ${disk}: ${left.length} extents could not be removed: ${complaint}`)
    }),
    look() {
      return Promise.all(record.disks().map(async ({ disk, device }) => {
        try {
          if (!(await stat(device)).isBlockDevice()) throw new Fault('agent failed', `${device} is not there`)
          const { pool: now } = await pool(disk)
          return { seen: seenOf(disk, device, now, ''), pool: now }
        } catch (thrown) {
          return { seen: seenOf(disk, device, undefined, messageOf(thrown).replace(/^ENOENT.*/, `${device} is not there`)), pool: undefined }
        }
      }))
    },
  }
}

/** LVM commands that make the wanted extents out of the report; `missing` did not fit into what is clean now. Pure. */
export function planExtents(
  disk: string, device: string, pool: PoolReport, extents: readonly ExtentWanted[],
): { readonly commands: readonly string[]; readonly missing: readonly ExtentWanted[] } {
  const commands: string[] = []
  const missing: ExtentWanted[] = []
  let ranges = cleanRanges(pool)
  for (const extent of extents) {
    const tags = tagsOf(extent)
    const there = pool.volumes.find((each) => each.name === extent.extent)
    if (there) {
      if (there.tags.includes(LEAVING)) throw new Fault('agent failed', `extent ${extent.extent} is being overwritten: it can't be used again`)
      if (there.bytes !== extent.bytes) throw new Fault('wrong device', `extent ${extent.extent} has ${there.bytes} bytes, not ${extent.bytes}`)
      const gone = there.tags.filter((tag) => !tags.includes(tag))
      const added = tags.filter((tag) => !there.tags.includes(tag))
      if (gone.length + added.length > 0) commands.push(`lvchange ${[...gone.map((tag) => `--deltag ${tag}`), ...added.map((tag) => `--addtag ${tag}`)].join(' ')} ${vgName(disk)}/${extent.extent}`)
      if (!there.active) commands.push(`lvchange -ay ${vgName(disk)}/${extent.extent}`)
      continue
    }
    const place = take(ranges, Number(extent.bytes / PE))
    if (!place) {
      missing.push(extent)
      continue
    }
    ranges = place.left
    const where = place.taken.map((range) => `:${range.start}-${range.end}`).join('')
    commands.push(`lvcreate -y -Zn -Wn -ay -n ${extent.extent} -l ${extent.bytes / PE} ${tags.map((tag) => `--addtag ${tag}`).join(' ')} ${vgName(disk)} ${device}${where}`)
  }
  return { commands, missing }
}

export function tagsOf(extent: Pick<ExtentWanted, 'volume' | 'segment' | 'generation' | 'note'>): readonly string[] {
  return ['vsky.extent', `vsky.volume=${extent.volume}`, `vsky.segment=${extent.segment}`, `vsky.generation=${extent.generation}`, ...extent.note === undefined || extent.note === '' ? [] : [`vsky.note=${extent.note}`]]
}
