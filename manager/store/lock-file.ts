/**
 * A lock that lives exactly as long as a process of this host: how a manager that is started anew knows that the one before it is dead.
 *
 * It is the kernel's lock on a file, held by a SQLite transaction on a file of its own that is never ended (Node has no call for file
 * locks, and an abstract socket would be another one in each network name space). Whatever ends the process ends the lock; one that is
 * only stopped or hangs keeps it. Nothing else in the process may open that file: closing it anywhere would end the lock (fcntl(2)).
 *
 * `place` says what the lock proves. Whoever wrote the same place into the lease's record held this very lock then, so who holds it now knows
 * that he is dead. With the lease in the database beside the lock, on a file system that one kernel at a time has, that is true for ever: the
 * place is `beside`. Anything else is true for this kernel and this file only: the place then names the boot and the file.
 */
import { readFile, stat, statfs } from 'node:fs/promises'
import sqlite3 from 'sqlite3'
import { DbError } from './db.js'

export interface LockFile {
  /** Tries to get the lock, once. Empty: another process has it. */
  place(): Promise<string>
  release(): Promise<void>
}

/** A connection that nobody refers to any more would be closed by the garbage collector, and the lock be gone with it. */
const heldByProcess = new Set<sqlite3.Database>()

/** Magic numbers of statfs(2): ext2 to ext4, xfs, btrfs, f2fs, tmpfs, zfs, overlay. */
const localFileSystems: readonly number[] = [0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x01021994, 0x2fc12fc1, 0x794c7630]

/** `beside`: the lease is kept in a database in the same directory. */
export function createLockFile(path: string, { beside }: { readonly beside: boolean }): LockFile {
  let held: { readonly db: sqlite3.Database; readonly place: string } | undefined
  let trying: Promise<string> | undefined

  async function attempt(): Promise<string> {
    const db = await open(path)
    try {
      await exec(db, 'pragma busy_timeout = 0; pragma journal_mode = delete; begin exclusive')
      const { dev, ino } = await stat(path)
      const local = localFileSystems.includes((await statfs(path)).type)
      const place = beside && local ? 'beside' : `${(await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()} ${dev}:${ino}`
      held = { db, place }
      heldByProcess.add(db)
      return place
    } catch (thrown) {
      await close(db)
      if (thrown instanceof Error && /SQLITE_BUSY|SQLITE_LOCKED/.test(thrown.message)) return ''
      throw new DbError('other', `Cannot lock ${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { cause: thrown })
    }
  }

  return {
    place() {
      if (held) return Promise.resolve(held.place)
      return trying ??= attempt().finally(() => { trying = undefined })
    },
    async release() {
      const had = held
      held = undefined
      if (!had) return
      heldByProcess.delete(had.db)
      await close(had.db)
    },
  }
}

function open(path: string): Promise<sqlite3.Database> {
  return new Promise((resolve, reject) => {
    const db = new sqlite3.Database(path, (error) => {
      if (error) reject(new DbError('other', `${error.message} (open ${path})`, { cause: error }))
      else resolve(db)
    })
    db.on('error', () => undefined)
  })
}

function exec(db: sqlite3.Database, sql: string): Promise<void> {
  return new Promise((resolve, reject) => { db.exec(sql, (error) => { if (error) reject(error); else resolve() }) })
}

function close(db: sqlite3.Database): Promise<void> {
  return new Promise((resolve) => { db.close(() => { resolve() }) })
}
