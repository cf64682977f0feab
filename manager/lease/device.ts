/**
 * The lease on a shared block device, or in a file: for sites that have a LUN which all managers reach. There is no compare-and-set on a
 * disk, so a taking is read, write, wait, read again, as for a delta lease: whoever read the old record together with us has written by
 * then, and the last one to write is the one that both of us read. Who takes longer than that from his reading to the end of his writing
 * counts as not having it, and so does who finds another's record later. Two that both believe to have it for a moment differ in epoch or
 * incarnation, and the database takes one of them (store/store.ts, claimEpoch).
 *
 * Sectors go past the page cache (O_DIRECT): another host's writes are not in ours. That needs memory at a page's boundary; Node has it
 * nowhere but in WebAssembly's pages. A file system that can't (tmpfs) is shared with nobody, and gets O_DSYNC alone.
 *
 * Don't put it on a volume that the hosts mirror themselves, a Vsky volume among them: there two hosts can write two truths.
 */
import { constants } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { messageOf } from '../../lib/faults.js'
import { isErrno } from '../../lib/host/files.js'
import type { Clock } from '../../lib/ports.js'
import { decodeSector, encodeSector, SECTOR_BYTES } from './sector.js'
import { LeaseStoreError } from './store.js'
import type { LeaseStore, Term } from './store.js'
import { sameRecord } from './timeline.js'
import type { LeaseRecord } from './timeline.js'

/** As Node has it; the language's library does not say so. */
declare const WebAssembly: { readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer } }

/** Room for what may be kept there one day. */
const DEVICE_MIN_BYTES = 1024 * 1024

/** `ioMs`: how long a read or a write takes at most; the half of what a taking waits. Throws LeaseStoreError, in one line, for what can't be used. */
export async function openDeviceLease(path: string, { clock, ioMs }: { readonly clock: Clock; readonly ioMs: number }): Promise<LeaseStore> {
  const { file, sectorBytes } = await openDevice(path)
  const page = alignedBytes(SECTOR_BYTES)
  let tail: Promise<unknown> = Promise.resolve()

  /** One at a time: there is one buffer. */
  function exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = tail.then(work, work)
    tail = mine.catch(() => undefined)
    return mine
  }
  async function read(): Promise<LeaseRecord | undefined> {
    const { bytesRead } = await file.read(page, 0, SECTOR_BYTES, 0)
    if (bytesRead < SECTOR_BYTES) throw new LeaseStoreError(`lease device ${path} gave ${bytesRead} bytes instead of ${SECTOR_BYTES}`)
    return decodeSector(page, path)
  }
  async function write(record: LeaseRecord): Promise<void> {
    encodeSector(record, sectorBytes).copy(page)
    const { bytesWritten } = await file.write(page, 0, sectorBytes, 0)
    if (bytesWritten < sectorBytes) throw new LeaseStoreError(`lease device ${path} took ${bytesWritten} bytes instead of ${sectorBytes}`)
  }
  const isMine = (found: LeaseRecord | undefined, { epoch, incarnation }: Term): found is LeaseRecord => found?.epoch === epoch && found.incarnation === incarnation
  const changeMine = (mine: Term, change: (found: LeaseRecord) => LeaseRecord): Promise<boolean> => exclusively(async () => {
    const found = await read()
    if (!isMine(found, mine)) return false
    await write(change(found))
    return true
  })

  try {
    await exclusively(read) // foreign data is told at the start
  } catch (thrown) {
    await file.close()
    throw thrown
  }
  return {
    read: () => exclusively(read),
    take: (seen, mine) => exclusively(async () => {
      const startedMs = clock.monoMs()
      if (!sameRecord(await read(), seen)) return false
      await write(mine)
      if (clock.monoMs() - startedMs > 2 * ioMs) return false // others may have gone by our old record for too long
      await clock.sleep(2 * ioMs)
      return isMine(await read(), mine)
    }),
    beat: (mine) => changeMine(mine, (found) => ({ ...found, beat: found.beat + 1 })),
    release: (mine, next) => changeMine(mine, (found) => ({ ...found, released: true, next })),
    close: () => exclusively(() => file.close()),
  }
}

async function openDevice(path: string): Promise<{ readonly file: FileHandle; readonly sectorBytes: number }> {
  const found = await stat(path).catch((thrown: unknown) => { throw new LeaseStoreError(`lease device ${path} can't be reached: ${messageOf(thrown)}`, { cause: thrown }) })
  if (!found.isBlockDevice() && !found.isFile()) throw new LeaseStoreError(`lease device ${path} is neither a block device nor a file`)
  const file = await openPastCache(path, found.isBlockDevice())
  try {
    const bytes = found.isFile() ? found.size : await sizeOf(found.rdev)
    if (bytes < DEVICE_MIN_BYTES) throw new LeaseStoreError(`lease device ${path} is too small: it has ${bytes} bytes, ${DEVICE_MIN_BYTES} are needed`)
    return { file, sectorBytes: found.isFile() ? SECTOR_BYTES : await logicalSector(found.rdev, path) }
  } catch (thrown) {
    await file.close()
    throw thrown
  }
}

async function openPastCache(path: string, mustBeDirect: boolean): Promise<FileHandle> {
  const { O_RDWR, O_DIRECT, O_DSYNC } = constants
  try {
    return await open(path, O_RDWR | O_DIRECT | O_DSYNC)
  } catch (thrown) {
    if (!mustBeDirect && isErrno(thrown, 'EINVAL')) return open(path, O_RDWR | O_DSYNC)
    throw new LeaseStoreError(`lease device ${path} can't be opened: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** Of a block device, from its number (makedev(3)). A partition has its queue in its disk's folder. */
function sysfsOf(rdev: number): string {
  const number = BigInt(rdev)
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & ~0xfffn)
  const minor = (number & 0xffn) | ((number >> 12n) & ~0xffn & 0xffffffffn)
  return `/sys/dev/block/${major}:${minor}`
}

async function sizeOf(rdev: number): Promise<number> {
  return 512 * Number(await readFile(`${sysfsOf(rdev)}/size`, 'utf8'))
}

async function logicalSector(rdev: number, path: string): Promise<number> {
  const place = sysfsOf(rdev)
  const text = await readFile(`${place}/queue/logical_block_size`, 'utf8').catch(() => readFile(`${place}/../queue/logical_block_size`, 'utf8'))
  const bytes = Number(text)
  if (bytes !== 512 && bytes !== SECTOR_BYTES) throw new LeaseStoreError(`lease device ${path} has sectors of ${text.trim()} bytes: 512 or ${SECTOR_BYTES} are possible`)
  return bytes
}

function alignedBytes(count: number): Buffer {
  return Buffer.from(new WebAssembly.Memory({ initial: 1 }).buffer, 0, count)
}
