/**
 * Block devices for the logs of copies (dm/copy-log.ts): loop devices over small files in memory. They need not outlive the host, for a
 * copy that a head's crash ended is begun anew.
 */
import { constants, mkdir, open, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../lib/faults.js'
import { failureText } from '../../lib/host/failure-text.js'
import type { Log, Run, RunRequest } from '../../lib/ports.js'
import { logBytes, makeLog, regionsOf } from '../dm/copy-log.js'
import type { Span } from '../dm/copy-log.js'

/** In memory. */
const COPIES = '/run/vsky/copies'
const TIMEOUT_MS = 10_000

export interface CopyLog {
  readonly device: string
  /** What is to be copied. */
  write(spans: readonly Span[]): Promise<void>
  /** It is in a table now, or never will be. */
  done(): void
}

/** A small file in memory that becomes a block device. */
export interface Scratch {
  readonly path: string
  /** Once the file has its size. */
  device(): Promise<string>
  /** From now on it goes with the next sweep, if no table uses it. */
  done(): void
}

export interface CopyLogs {
  scratch(name: string): Promise<Scratch>
  /** A log for a mirror of so many sectors, named after its device. */
  make(name: string, length: bigint): Promise<CopyLog>
  /** Takes away those that no table uses. Never throws: what can't go now goes next time. */
  sweep(): Promise<void>
}

export function createCopyLogs({ run, log }: { readonly run: Run; readonly log: Log }): CopyLogs {
  /** Not yet in a table. */
  const fresh = new Set<string>()
  let count = 0

  async function losetup(...args: readonly string[]): Promise<string> {
    const request: RunRequest = { file: 'losetup', args, timeoutMs: TIMEOUT_MS }
    const result = await run(request)
    if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Error(failureText(request, result))
    return result.stdout.trim()
  }

  async function scratch(name: string): Promise<Scratch> {
    await mkdir(COPIES, { recursive: true, mode: 0o700 })
    count += 1
    const path = join(COPIES, `${name}.${process.pid}.${count}`)
    fresh.add(path)
    return { path, device: () => losetup('--find', '--show', path), done() { fresh.delete(path) } }
  }

  return {
    scratch,
    async make(name, length) {
      const file = await scratch(name)
      try {
        await writeAt(file.path, new Uint8Array(logBytes(regionsOf(length))))
        return { device: await file.device(), write: (spans) => writeAt(file.path, makeLog(length, spans)), done() { file.done() } }
      } catch (thrown) {
        file.done()
        throw thrown
      }
    },
    async sweep() {
      const files = await readdir(COPIES).catch(() => [])
      if (files.length === 0) return
      const used = new Set<string>()
      for (const { device, copy, held } of await loopDevices()) {
        if (held || fresh.has(join(COPIES, copy))) used.add(copy)
        else {
          await losetup('--detach', device).catch((thrown: unknown) => {
            used.add(copy) // its file stays as well: by that the next sweep finds it
            log.warn('a copy\'s log stays', { device, error: messageOf(thrown) })
          })
        }
      }
      for (const name of files) if (!used.has(name) && !fresh.has(join(COPIES, name))) await rm(join(COPIES, name), { force: true })
    },
  }
}

/** In place: the loop device must see it. */
async function writeAt(path: string, data: Uint8Array): Promise<void> {
  const file = await open(path, constants.O_CREAT | constants.O_RDWR, 0o600) // without truncation: the size of a device would change
  try {
    await file.write(data, 0, data.length, 0)
  } finally {
    await file.close()
  }
}

/**
 * The name of our file under a loop device. Its folder says nothing: a service has mounts of its own, and of a file that was opened in an agent's
 * former life the kernel tells the rest of its path only, from where a mount stood that is gone.
 */
export function copyUnder(backingFile: string): string | undefined {
  return /(?:^|\/)(vsky-[0-9a-f]{32}-[a-z0-9-]+\.\d+\.\d+)(?: \(deleted\))?$/.exec(backingFile.trim())?.[1]
}

/** Those over our files. */
async function loopDevices(): Promise<readonly { readonly device: string; readonly copy: string; readonly held: boolean }[]> {
  const names = (await readdir('/sys/block')).filter((each) => each.startsWith('loop'))
  const found = await Promise.all(names.map(async (name) => {
    const copy = copyUnder(await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => ''))
    return copy !== undefined ? [{ device: `/dev/${name}`, copy, held: (await readdir(`/sys/block/${name}/holders`).catch(() => [])).length > 0 }] : []
  }))
  return found.flat()
}
