/** Stands for node:fs/promises in the agent's modules and in those of lib/host that hooks.ts names: the files of the host whose process asks. */
import { Buffer } from 'node:buffer'
import { constants as realConstants } from 'node:fs'
import { errno } from '../files.js'
import type { Entry } from '../files.js'
import { diesAt, here, never } from '../inside.js'

export const constants = realConstants

function need(path: string): Entry {
  const entry = here().files.look(path)
  if (!entry) throw errno('ENOENT', path)
  return entry
}

export async function readFile(path: string, encoding?: string): Promise<string | Uint8Array> {
  let entry = need(path)
  for (let hops = 0; entry.kind === 'link' && hops < 8; hops += 1) entry = need(entry.to)
  if (entry.kind !== 'file') throw errno('EISDIR', path)
  const { text } = entry
  if (encoding === undefined) return typeof text === 'string' ? Buffer.from(text, 'latin1') : Buffer.from(text)
  return typeof text === 'string' ? text : Buffer.from(text).toString('utf8')
}

export async function writeFile(path: string, text: string): Promise<void> {
  await settle(`writing ${path}`, () => here().files.write(path, text))
}

export async function appendFile(path: string, text: string): Promise<void> {
  const process = here()
  const before = process.files.look(path)
  if (diesAt(process, `before appending to ${path}`)) return never()
  await process.files.write(path, `${before?.kind === 'file' ? String(before.text) : ''}${text}`)
  if (diesAt(process, `after appending to ${path}`)) return never()
}

export async function readdir(path: string, options?: { readonly withFileTypes?: boolean }): Promise<readonly unknown[]> {
  const entries = here().files.list(path)
  if (!entries) throw errno('ENOENT', path)
  if (options?.withFileTypes !== true) return entries.map(([name]) => name)
  return entries.map(([name, kind]) => ({ name, isDirectory: () => kind === 'directory', isSymbolicLink: () => kind === 'link', isFile: () => kind === 'file' }))
}

export async function readlink(path: string): Promise<string> {
  const entry = need(path)
  if (entry.kind !== 'link') throw errno('EINVAL', path)
  return entry.to
}

export async function realpath(path: string): Promise<string> {
  const entry = need(path)
  return entry.kind === 'link' ? entry.to : path
}

export async function access(path: string): Promise<void> {
  need(path)
}

export async function stat(path: string): Promise<unknown> {
  let entry = need(path)
  if (entry.kind === 'link') entry = need(entry.to)
  const { kind } = entry
  return { isBlockDevice: () => kind === 'block', isDirectory: () => kind === 'directory', rdev: entry.kind === 'block' ? entry.rdev : 0, size: entry.kind === 'file' ? entry.text.length : 0 }
}

export const mkdir = async (path: string, options: { readonly recursive?: boolean } = {}): Promise<void> => settle(`making ${path}`, () => here().files.mkdir(path, options.recursive === true))
export const rmdir = async (path: string): Promise<void> => settle(`removing ${path}`, () => here().files.rmdir(path))
export const symlink = async (to: string, path: string): Promise<void> => settle(`linking ${path}`, () => here().files.symlink(to, path))
export const unlink = async (path: string): Promise<void> => settle(`unlinking ${path}`, () => here().files.unlink(path))

export async function rm(path: string, options: { readonly recursive?: boolean; readonly force?: boolean } = {}): Promise<void> {
  const process = here()
  const { files } = process
  if (!files.look(path) && options.force !== true) throw errno('ENOENT', path)
  if (files.look(path) && diesAt(process, `before removing ${path}`)) return never()
  files.remove(path, options.recursive === true)
  if (!process.alive) return never()
}

export async function rename(from: string, to: string): Promise<void> {
  await pause()
  const process = here()
  if (diesAt(process, `before renaming to ${to}`)) return never()
  process.files.rename(from, to)
  if (diesAt(process, `after renaming to ${to}`)) return never()
}

/** A file, a directory (to be synced), or a block device. */
export async function open(path: string, flags: string | number = 'r'): Promise<unknown> {
  const process = here()
  const { files } = process
  const entry = files.look(path)
  const creates = (typeof flags === 'string' && flags !== 'r') || (typeof flags === 'number' && (flags & constants.O_CREAT) !== 0)
  if (!entry && !creates) throw errno('ENOENT', path)
  if (entry && flags === 'wx') throw errno('EEXIST', path)
  if (creates && (!entry || flags === 'w')) {
    if (diesAt(process, `before creating ${path}`)) return never()
    await files.write(path, '')
  }
  return {
    async writeFile(text: string): Promise<void> {
      if (diesAt(process, `before filling ${path}`)) return never()
      await files.write(path, text)
    },
    async chmod() { /* everybody here is root */ },
    async sync(): Promise<void> {
      await pause()
      if (diesAt(process, `before syncing ${path}`)) return never()
      files.sync(path)
    },
    async close() { /* nothing is kept open */ },
    async write(data: Uint8Array, from: number, length: number, at: number) {
      const file = files.plain(path)
      if (!file) throw errno('EBADF', path)
      if (diesAt(process, `before writing into ${path}`)) return never()
      const before = typeof file.text === 'string' ? Buffer.from(file.text, 'latin1') : file.text
      const whole = new Uint8Array(Math.max(before.length, at + length))
      whole.set(before)
      whole.set(data.subarray(from, from + length), at)
      file.text = whole
      return { bytesWritten: length }
    },
    /** Only for a disk that is looked at before it becomes ours: whether there is anything on it is all that matters. */
    async read({ buffer, position }: { readonly buffer: Buffer; readonly position: number }) {
      const dirty = here().usedIn(path, position, buffer.length)
      buffer.fill(0)
      if (dirty && buffer.length > 0) buffer[0] = 1
      return { buffer, bytesRead: buffer.length }
    },
  }
}

/** What changes something takes a moment; between two such moments a process can be killed. */
async function settle(what: string, work: () => Promise<void>): Promise<void> {
  const process = here()
  if (diesAt(process, `before ${what}`)) return never()
  await work()
  if (diesAt(process, `after ${what}`)) return never()
  await pause()
}

function pause(): Promise<void> {
  const process = here()
  return new Promise((resolve) => {
    process.timeline.after(0.2, () => {
      if (!process.alive) return
      process.timeline.touch()
      resolve()
    })
  })
}
