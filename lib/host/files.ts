/**
 * Small files that must survive a power failure: a highest epoch, a certificate, a configuration. Written whole or not at all:
 * a temporary file in the same directory, fsync, rename over the old one, fsync of the directory (rename(2); fsync(2) says why
 * the directory needs its own).
 */
import { randomBytes } from 'node:crypto'
import { open, readFile, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/**
 * Replaces `path` by `text`. When it resolves the new text is on the disk; when it rejects (the operating system's error) or
 * power is lost on the way, the old text is still there. `mode` is exact, whatever the umask; default 0644.
 */
export async function writeDurably(path: string, text: string, mode = 0o644): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    // Born unreadable for others: a secret must not be open even for the moment before chmod.
    const file = await open(temporary, 'wx', mode & 0o600)
    try {
      await file.writeFile(text)
      await file.chmod(mode)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (thrown) {
    await rm(temporary, { force: true })
    throw thrown
  }
  await syncDirectory(dirname(path))
}

/** Removes what writes left in a directory whose process died in the middle. While anybody writes there it must not be called. */
export async function sweepTemporaries(directory: string): Promise<void> {
  for (const name of await readdir(directory)) if (/\.[0-9a-f]{12}\.tmp$/.test(name)) await rm(join(directory, name), { force: true })
}

/** The text of a file, or undefined when there is no such file. Other errors of the operating system are thrown. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return undefined
    throw thrown
  }
}

/** Makes renames and new names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** Whether something thrown is the operating system's error of that name, such as `ENOENT`. */
export function isErrno(thrown: unknown, code: string): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === code
}
