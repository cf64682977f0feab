/** Writing out what disks hold in their caches, where a power failure must not be able to undo what was told as done. */
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { devicesPresent } from '../dm/present.js'
import type { DevicePresent } from '../dm/present.js'
import { nameOf } from '../dm/table.js'

export interface Flush {
  /** Throws when the device can't be written out now: writes that are held for a lost leg would keep this waiting for ever. */
  device(name: string): Promise<void>
  /**
   * A copy has ended when no power failure can undo it: nobody doubts a leg of a detached volume later, and of an attached one only what
   * was written lately. Until its disks have written everything out, one region is told as missing.
   */
  copies(seen: readonly VolumeSeen[], isCopy: (volume: string, segment: number) => boolean): Promise<readonly VolumeSeen[]>
  forget(volume: string): void
}

const FLUSH_MS = 10_000

/** A flush that fails is seen as an event, which is looked at, which asks for the end of the copy again: not faster than this. */
const AGAIN_MS = 1000

export interface FlushOptions {
  readonly run: Run
  readonly log: Log
  readonly clock: Clock
  readonly present?: () => Promise<readonly DevicePresent[]>
  /** Before a copy is written out, with the kernel's name of its mirror: from here on its disks are flushed. */
  readonly beforeCopy?: (kernel: string) => Promise<void>
}

export function createFlush({ run, log, clock, present = devicesPresent, beforeCopy = () => Promise.resolve() }: FlushOptions): Flush {
  /** Segments whose copy's end was written out, by device and layout. */
  const done = new Set<string>()
  /** When such an end could last not be written out, by the same. */
  const failedAtMs = new Map<string, number>()

  async function device(name: string): Promise<void> {
    if (!(await present()).some((each) => each.name === name)) return
    // fsync(2) of a block device sends a flush down to the disks; blockdev --flushbufs only empties this kernel's page cache.
    const result = await run({ file: 'sync', args: [`/dev/mapper/${name}`], timeoutMs: FLUSH_MS, line: `sync ${name}` }) // one that the kernel holds can't be killed
    if (result.exit.kind !== 'code' || result.exit.code !== 0) {
      throw new Fault('agent failed', result.exit.kind === 'timeout' ? `its writes did not end within ${FLUSH_MS / 1000} s: they wait for a lost leg` : `its cache could not be written out: ${result.stderr.trim().slice(0, 200)}`)
    }
  }

  async function segmentOf(volume: VolumeSeen, segment: VolumeSeen['segments'][number]): Promise<VolumeSeen['segments'][number]> {
    const name = nameOf(volume.volume, `s${segment.index}`)
    const key = `${name} ${volume.layout}`
    if (segment.inSync < segment.regions || done.has(key)) return segment
    const unfinished = { ...segment, inSync: segment.regions - 1 }
    if (clock.monoMs() - (failedAtMs.get(key) ?? -Infinity) < AGAIN_MS) return unfinished
    try {
      const mirror = (await present()).find((each) => each.name === name)
      if (mirror) await beforeCopy(mirror.kernel)
      await device(name)
      done.add(key)
      return segment
    } catch (thrown) {
      log.warn('a copy could not be written out yet', { device: name, error: messageOf(thrown) })
      failedAtMs.set(key, clock.monoMs())
      return unfinished
    }
  }

  return {
    device,
    copies: (seen, isCopy) => Promise.all(seen.map(async (volume) => (volume.layout === 0 ? volume : {
      ...volume, segments: await Promise.all(volume.segments.map(async (segment) => (isCopy(volume.volume, segment.index) ? segmentOf(volume, segment) : segment))),
    }))),
    forget(volume) {
      for (const keys of [done, failedAtMs]) for (const key of keys.keys()) if (key.startsWith(nameOf(volume, 'top'))) keys.delete(key)
    },
  }
}
