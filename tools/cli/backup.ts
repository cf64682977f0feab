/** A backup of the cluster's state, taken from the active manager piece by piece into a local file, which is there under its name only when it is whole. */
import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { link, lstat, open, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { BackupView, ManagerView } from '../../lib/api/views.js'
import { Fault, messageOf } from '../../lib/faults.js'
import { isErrno, syncDirectory } from '../../lib/host/files.js'
import { TransportError } from '../../lib/rpc/client.js'
import type { Manager } from './connect.js'
import { UsageError } from './settings.js'

export interface BackupTaken extends Omit<BackupView, 'backup' | 'pieces' | 'pieceBytes'> {
  readonly file: string
}

/**
 * Writes `path` with mode 0600: first `path.partial`, then under its name when length and hash are as they were told and all is on the disk. Throws
 * UsageError when either is there already, before any manager is asked; whatever goes wrong later, nothing is left behind.
 */
export async function takeBackup(manager: Manager, path: string, status: () => Promise<ManagerView>): Promise<BackupTaken> {
  const part = `${path}.partial`
  await refuseThere(path)
  const file = await open(part, 'wx', 0o600).catch((thrown: unknown) => {
    throw new UsageError(isErrno(thrown, 'EEXIST') ? `${part} is there: another backup is being written to it, or broke off; remove it when none is` : `Cannot write ${part}: ${messageOf(thrown)}`, { cause: thrown })
  })
  const interrupted = (): void => {
    rmSync(part, { force: true })
    process.exit(130)
  }
  for (const signal of endings) process.once(signal, interrupted)
  let made: BackupView | undefined
  try {
    made = await manager.call('managerBackup', {}, { untilDone: true })
    await fetchInto(file, manager, made)
    await file.sync()
    await file.close()
    await putUnder(part, path)
    const { bytes, sha256, rows, manager: from, epoch, madeAt } = made
    return { file: path, bytes, sha256, rows, manager: from, epoch, madeAt }
  } catch (thrown) {
    const why = await explained(thrown, made, status)
    if (thrown instanceof Fault || thrown instanceof TransportError) made = undefined // nobody has to be asked again: it is removed when nobody asks for it
    throw why
  } finally {
    await file.close().catch(() => undefined)
    await rm(part, { force: true })
    for (const signal of endings) process.removeListener(signal, interrupted)
    if (made) await manager.call('managerBackupEnd', { backup: made.backup }).catch(() => undefined)
  }
}

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

async function refuseThere(path: string): Promise<void> {
  const there = await lstat(path).then(() => true, (thrown: unknown) => {
    if (isErrno(thrown, 'ENOENT')) return false
    throw new UsageError(`Cannot write ${path}: ${messageOf(thrown)}`, { cause: thrown })
  })
  if (there) throw new UsageError(`${path} is there already, and nothing is written over: name another file`)
}

async function fetchInto(file: FileHandle, manager: Manager, { backup, bytes, sha256, pieces, manager: from }: BackupView): Promise<void> {
  const hash = createHash('sha256')
  let got = 0n
  for (let piece = 0; piece < pieces && got <= bytes; piece += 1) {
    const chunk = Buffer.from((await manager.call('managerBackupPiece', { backup, piece }, { patient: true })).data, 'base64')
    hash.update(chunk)
    got += BigInt(chunk.length)
    await file.writeFile(chunk) // from where the last one ended
  }
  if (got !== bytes || hash.digest('hex') !== sha256) throw new Fault('backup failed', `what came from ${from} is not the backup that it made: ${got} bytes of ${bytes}${got === bytes ? ', with another hash' : ''}`)
}

/** Never over another file that has come there meanwhile, where the file system can say so in one step. */
async function putUnder(part: string, path: string): Promise<void> {
  try {
    await link(part, path)
  } catch (thrown) {
    if (isErrno(thrown, 'EEXIST')) return refuseThere(path)
    await refuseThere(path) // a file system without links
    await rename(part, path)
  }
  await syncDirectory(dirname(path))
}

/** Another manager than the one that made it knows nothing of it. */
async function explained(thrown: unknown, made: BackupView | undefined, status: () => Promise<ManagerView>): Promise<unknown> {
  if (!(thrown instanceof Fault) || thrown.fault !== 'unknown backup') return thrown
  const now = await status().catch(() => undefined)
  const why = made && now && now.epoch !== made.epoch ? `${now.holder || now.name} is the active manager now (epoch ${now.epoch}), and ${made.manager} was when it was begun (epoch ${made.epoch}): the backup went with it` : thrown.message
  return new Fault('unknown backup', `The backup broke off and nothing of it was kept: ${why}`, { cause: thrown })
}
