/**
 * Backups on their way out. Each is first written to a file here, at the pace of the database: a client that takes it slowly, over hours perhaps, must
 * not keep a snapshot open, and memory holds a piece of it at a time. Then it is given out piece by piece, to who had it made and to nobody else.
 *
 * The files hold secrets, and are of use to this process alone: mode 0600, removed when they were taken or nobody asks any more, and at the start.
 */
import { createHash } from 'node:crypto'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import { readOut } from './backup.js'
import type { Db } from './db.js'

export interface SpoolOptions {
  readonly db: Db
  /** Of this spool alone; all that is in it is removed. */
  readonly dir: string
  readonly clock: Clock
  readonly log: Log
  /** Room that is left to others on its file system, the database perhaps, bytes. Default 64 MiB. */
  readonly spareBytes?: number
}

export interface Made {
  readonly bytes: number
  readonly sha256: string
  readonly pieces: number
  readonly rows: number
  readonly madeAt: number
}

/** All throw the fault `unknown backup` for one that is not there, or is another's. */
export interface Spool {
  /** Throws `backup busy` when as many are there as may be. */
  refuseBusy(): void
  /** Begins to make one. Throws `backup busy`. */
  begin(id: string, who: string): void
  /** Resolves when it is whole; rejects with `backup failed`. */
  made(id: string, who: string): Promise<Made>
  /** Base64, of at most PIECE_BYTES. */
  piece(id: string, who: string, number: number): Promise<string>
  /** False: it was not there. */
  end(id: string, who: string): Promise<boolean>
  /** Ends all; others may be made afterwards. Never rejects. */
  clear(): Promise<void>
}

/** As base64 it is 1 MiB. */
export const PIECE_BYTES = 768 * 1024
/** At once. Each may be as long as the database. */
const BACKUPS_MAX = 2
/** After the last question for one, ms. */
export const IDLE_MS = 300_000
const SPARE_BYTES = 64 * 1024 * 1024
/** Between two looks at the room that is left, bytes. */
const LOOK_BYTES = 16 * 1024 * 1024

interface Entry {
  readonly who: string
  readonly path: string
  readonly stop: AbortController
  readonly made: Promise<Made>
  file: FileHandle | undefined
  /** By the monotonic clock. */
  askedAt: number
}

/** What an earlier process left behind is removed first. */
export async function openSpool({ db, dir, clock, log, spareBytes = SPARE_BYTES }: SpoolOptions): Promise<Spool> {
  await rm(dir, { recursive: true, force: true })
  const entries = new Map<string, Entry>()

  const find = (id: string, who: string): Entry => {
    const entry = entries.get(id)
    if (entry?.who !== who) throw new Fault('unknown backup', `this manager has no backup ${id}: it was removed, or another manager made it`)
    entry.askedAt = clock.monoMs()
    return entry
  }

  async function refuseFull(): Promise<void> {
    const { bavail, bsize } = await statfs(dir)
    if (bavail * bsize < spareBytes) throw new Error(`${dir} has less than ${Math.round(spareBytes / 2 ** 20)} MiB left`)
  }

  async function make(entry: Omit<Entry, 'made'>): Promise<Made> {
    const madeAt = clock.nowMs()
    const hash = createHash('sha256')
    let [bytes, looked] = [0, 0]
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await refuseFull()
    const file = entry.file = await open(entry.path, 'wx+', 0o600)
    const rows = await readOut(db, madeAt, async (text) => {
      entry.stop.signal.throwIfAborted()
      const chunk = Buffer.from(text)
      hash.update(chunk)
      await file.writeFile(chunk) // from where the last one ended
      bytes += chunk.length
      if (bytes - looked < LOOK_BYTES) return
      looked = bytes
      await refuseFull()
    })
    entry.askedAt = clock.monoMs() // whoever waited for it may ask now
    return { bytes, sha256: hash.digest('hex'), pieces: Math.ceil(bytes / PIECE_BYTES), rows: Object.values(rows).reduce((sum, count) => sum + count, 0), madeAt }
  }

  async function remove(id: string, entry: Entry): Promise<void> {
    entries.delete(id)
    entry.stop.abort(new Error('it is wanted no more'))
    await entry.made.catch(() => undefined)
    await entry.file?.close().catch(() => undefined)
    await rm(entry.path, { force: true })
  }

  /** Until it has ended, or nobody has asked for so long. One that is being made is waited for by somebody, or will be asked for soon. */
  async function watch(id: string, entry: Entry): Promise<void> {
    try {
      await entry.made
    } catch (thrown) {
      if (!entry.stop.signal.aborted) log.warn('a backup could not be made', { backup: id, by: entry.who, error: messageOf(thrown) })
      return remove(id, entry)
    }
    for (let left = IDLE_MS; left > 0; left = entry.askedAt + IDLE_MS - clock.monoMs()) await clock.sleep(left, entry.stop.signal)
    log.info('a backup was removed: nobody asks for it any more', { backup: id, by: entry.who })
    return remove(id, entry)
  }

  const spool: Spool = {
    refuseBusy() {
      if (entries.size >= BACKUPS_MAX) throw new Fault('backup busy', `${entries.size} backups are being made or taken already, by ${[...new Set([...entries.values()].map(({ who }) => who))].join(' and ')}`)
    },
    begin(id, who) {
      spool.refuseBusy()
      const begun: Omit<Entry, 'made'> = { who, path: join(dir, id), stop: new AbortController(), file: undefined, askedAt: clock.monoMs() }
      const entry: Entry = Object.assign(begun, { made: make(begun) })
      entries.set(id, entry)
      watch(id, entry).catch((thrown: unknown) => { if (!entry.stop.signal.aborted) log.warn('a backup could not be removed', { backup: id, error: messageOf(thrown) }) })
    },
    async made(id, who) {
      const entry = find(id, who)
      try {
        return await entry.made
      } catch (thrown) {
        throw new Fault('backup failed', `the backup could not be made: ${messageOf(thrown)}`, { cause: thrown })
      }
    },
    async piece(id, who, number) {
      const { file, made } = find(id, who)
      const { bytes } = await made
      const at = number * PIECE_BYTES
      if (!file || at >= bytes) throw new Fault('unknown backup', `backup ${id} has no piece ${number}`)
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, bytes - at))
      for (let got = 0; got < piece.length;) {
        const { bytesRead } = await file.read(piece, got, piece.length - got, at + got).catch((thrown: unknown) => {
          find(id, who) // it may have been removed meanwhile
          throw thrown
        })
        if (bytesRead === 0) throw new Fault('backup failed', `backup ${id} is shorter than it was made`)
        got += bytesRead
      }
      return piece.toString('base64')
    },
    async end(id, who) {
      const entry = entries.get(id)
      if (entry?.who !== who) return false
      await remove(id, entry)
      return true
    },
    async clear() {
      await Promise.allSettled([...entries].map(([id, entry]) => remove(id, entry))) // what stays is removed at the next start
    },
  }
  return spool
}
