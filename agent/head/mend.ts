/**
 * A leg that could not be read somewhere is written anew there from a good one: a disk then puts another sector in the place of the bad one.
 * Where that is the kernel says in its log alone, as the first sector of a request that failed; so all that one request may have covered is
 * written. Meanwhile the segment stands still: what is copied is what both legs should have.
 */
import { readFile, realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { Fault, messageOf } from '../../lib/faults.js'
import type { Log, Run } from '../../lib/ports.js'
import type { Dmsetup } from '../dm/dmsetup.js'

/** A piece of a segment or of what is remembered of changes: one mirror, and where it begins on its legs. Sectors. */
export interface MendPart {
  readonly name: string
  readonly table: readonly string[]
  readonly start: bigint
  readonly length: bigint
}

export interface MendCase {
  readonly parts: readonly MendPart[]
  /** Block devices, as path or major:minor. */
  readonly bad: string
  readonly good: readonly string[]
}

export interface Mended {
  readonly bytes: bigint
  /** Why nothing was written, for people. */
  readonly why: string
}

export interface Mend {
  (what: MendCase): Promise<Mended>
}

/** Copied in units of 4 KiB, the largest sectors that disks have. */
const UNIT_SECTORS = 8n
/** More than so many places at once is no bad sector but a bad disk. */
const PLACES_MAX = 64
const COPY_MS = 15_000

export interface Place {
  readonly begin: bigint
  readonly end: bigint
}

/**
 * Sectors at which reads of a disk failed, by the kernel's log since `sinceS` (seconds of its clock), with the time of the last line.
 * Source of the line: Linux block/blk-mq.c blk_print_req_error(), operation 0 is a read.
 */
export function readFailures(log: string, disk: string, sinceS: number): { readonly sectors: readonly bigint[]; readonly lastS: number } {
  const sectors = new Set<bigint>()
  let lastS = sinceS
  for (const line of log.split('\n')) {
    const match = /^\[\s*(\d+\.\d+)\] .*\berror, dev (\S+), sector (\d+) op 0x0:\(READ\)/.exec(line)
    if (match?.[2] !== disk || Number(match[1]) <= sinceS) continue
    sectors.add(BigInt(match[3] ?? ''))
    lastS = Number(match[1])
  }
  return { sectors: [...sectors], lastS }
}

/** What requests of at most `most` sectors that begin there may cover within a part; on its legs. Overlapping ones are joined. */
export function placesIn({ start, length }: Pick<MendPart, 'start' | 'length'>, sectors: readonly bigint[], most: bigint): readonly Place[] {
  const end = start + length
  const places: Place[] = []
  for (const sector of [...sectors].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))) {
    const place = { begin: sector - (sector % UNIT_SECTORS), end: sector + most > end ? end : sector + most }
    if (sector < start || sector >= end) continue
    const begin = place.begin < start ? start : place.begin
    const last = places.at(-1)
    if (last && begin <= last.end) places[places.length - 1] = { begin: last.begin, end: place.end > last.end ? place.end : last.end }
    else places.push({ begin, end: place.end })
  }
  return places
}

export function createMend({ dm, run, log }: { readonly dm: Pick<Dmsetup, 'suspend' | 'resume' | 'load'>; readonly run: Run; readonly log: Log }): Mend {
  /** Disk → until when its failures have been dealt with, seconds of the kernel's clock. */
  const done = new Map<string, number>()

  async function kernelLog(): Promise<string> {
    const result = await run({ file: 'dmesg', args: [], timeoutMs: 10_000 })
    if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', `the kernel's log can't be read: ${result.stderr.trim().slice(0, 200)}`)
    return result.stdout
  }

  async function copy(from: string, to: string, { begin, end }: Place): Promise<string> {
    const args = [`if=${from}`, `of=${to}`, 'bs=64K', `skip=${begin * 512n}`, `seek=${begin * 512n}`, `count=${(end - begin) * 512n}`, 'iflag=direct,skip_bytes,count_bytes', 'oflag=direct,seek_bytes', 'conv=notrunc,fsync', 'status=none']
    const result = await run({ file: 'dd', args, timeoutMs: COPY_MS, untilGone: true }) // a late write of what was good then would undo a newer one
    return result.exit.kind === 'code' && result.exit.code === 0 ? '' : result.exit.kind === 'timeout' ? `not done within ${COPY_MS / 1000} s` : result.stderr.trim().slice(0, 200)
  }

  async function rewrite(part: MendPart, places: readonly Place[], bad: string, good: readonly string[]): Promise<Mended> {
    let [bytes, why] = [0n, '']
    await dm.suspend(part.name)
    try {
      for (const place of places) {
        for (const source of good) {
          why = await copy(source, bad, place)
          if (why !== '') continue
          bytes += (place.end - place.begin) * 512n
          break
        }
        if (why !== '') break
      }
      await dm.load(part.name, part.table) // the same: but the kernel gives the leg another chance to be read
    } finally {
      await dm.resume(part.name)
    }
    return { bytes, why }
  }

  return async ({ parts, bad, good }) => {
    const disk = await kernelName(bad)
    const most = BigInt((await readFile(`/sys/block/${disk}/queue/max_sectors_kb`, 'utf8').catch(() => '512')).trim()) * 2n
    const { sectors, lastS } = readFailures(await kernelLog(), disk, done.get(disk) ?? 0)
    let [bytes, why] = [0n, `the kernel's log does not say where ${disk} could not be read`]
    for (const part of parts) {
      const places = placesIn(part, sectors, most)
      if (places.length > PLACES_MAX) return { bytes, why: `${disk} could not be read at ${places.length} places: that is no bad sector, but a bad disk` }
      if (places.length === 0) continue
      const mended = await rewrite(part, places, await pathOf(bad), await Promise.all(good.map(pathOf)))
      bytes += mended.bytes
      why = mended.why
      if (why !== '') {
        log.warn('a leg could not be mended', { disk, why })
        return { bytes, why }
      }
    }
    done.set(disk, lastS)
    if (bytes > 0n) log.info('a leg was mended', { disk, bytes: String(bytes) })
    return { bytes, why: bytes > 0n ? '' : why }
  }
}

async function kernelName(device: string): Promise<string> {
  try {
    return basename(await realpath(/^\d+:\d+$/.test(device) ? `/sys/dev/block/${device}` : device))
  } catch (thrown) {
    throw new Fault('agent failed', `${device} is not there any more: ${messageOf(thrown)}`)
  }
}

async function pathOf(device: string): Promise<string> {
  return `/dev/${await kernelName(device)}`
}
