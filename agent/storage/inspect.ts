/** What is on a disk before it becomes ours: anything at all, and it is refused. */
import { constants, open, readFile, readdir, stat } from 'node:fs/promises'
import { Fault, messageOf } from '../../lib/faults.js'
import { kernelNameOf } from '../../lib/host/block-device.js'
import { isErrno } from '../../lib/host/files.js'
import type { Run } from '../../lib/ports.js'

const HEAD_BYTES = 4 * 1024 * 1024
const TAIL_BYTES = 1024 * 1024
/** Room for LVM's label and at least a few physical extents. */
const SMALLEST_BYTES = 64n * 1024n * 1024n

export interface Inspection {
  readonly bytes: bigint
  /** Why it can't be taken even by force; empty when it can. */
  readonly inUse: string
  /** What would be lost; empty for a blank disk. */
  readonly data: string
}

/** Reads only. Throws `bad parameter` for what is no block device. */
export async function inspectDisk(run: Run, device: string): Promise<Inspection> {
  const info = await stat(device).catch((thrown: unknown) => { throw new Fault('bad parameter', `${device}: ${isErrno(thrown, 'ENOENT') ? 'there is no such device on this host' : messageOf(thrown)}`) })
  if (!info.isBlockDevice()) throw new Fault('bad parameter', `${device} is not a block device`)
  const name = await kernelNameOf(device)
  const size = await readFile(`/sys/class/block/${name}/size`, 'utf8').catch(() => '0')
  const bytes = BigInt(size.trim()) * 512n
  if (bytes < SMALLEST_BYTES) throw new Fault('bad parameter', `${device} has ${bytes} bytes: a disk needs at least ${SMALLEST_BYTES}`)
  const inUse = await useOf(device, name, info.rdev)
  if (inUse !== '') return { bytes, inUse, data: '' }
  return { bytes, inUse, data: await signatureOn(run, device) || await contentOf(device, bytes) }
}

async function useOf(device: string, name: string, rdev: number): Promise<string> {
  if ((await readFile(`/sys/class/block/${name}/ro`, 'utf8').catch(() => '0')).trim() === '1') return 'it is read-only'
  const holders = await readdir(`/sys/class/block/${name}/holders`).catch(() => [])
  if (holders.length > 0) return `it is held by ${holders.join(', ')}`
  for (const line of (await readFile('/proc/mounts', 'utf8')).split('\n')) {
    const [source = '', where = ''] = line.split(' ')
    if (source.startsWith('/dev/') && (source === device || (await stat(source).catch(() => undefined))?.rdev === rdev)) return `it is mounted at ${where}`
  }
  try {
    await (await open(device, constants.O_RDONLY | constants.O_EXCL)).close()
  } catch (thrown) {
    return isErrno(thrown, 'EBUSY') ? 'something has it open exclusively' : messageOf(thrown)
  }
  return ''
}

async function signatureOn(run: Run, device: string): Promise<string> {
  const result = await run({ file: 'wipefs', args: ['--no-act', '--noheadings', '--output', 'TYPE,OFFSET,LABEL', device], timeoutMs: 15_000 })
  if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', `Cannot look for signatures on ${device}: ${result.stderr.trim()}`)
  const found = result.stdout.split('\n').map((line) => line.trim().split(/\s+/)).filter(([type]) => type !== undefined && type !== '')
  return found.length === 0 ? '' : `it carries ${found.map(([type, offset]) => `${type} at ${offset ?? '?'}`).join(', ')}`
}

async function contentOf(device: string, bytes: bigint): Promise<string> {
  const file = await open(device, 'r')
  try {
    for (const [at, length] of [[0n, HEAD_BYTES], [bytes - BigInt(TAIL_BYTES), TAIL_BYTES]] as const) {
      const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(length), position: Number(at) })
      const data = buffer.subarray(0, bytesRead)
      if (data.equals(Buffer.alloc(bytesRead))) continue
      const first = data.findIndex((byte) => byte !== 0)
      if (first >= 0) return `it has data (a byte that is not zero at ${at + BigInt(first)})`
    }
    return ''
  } finally {
    await file.close()
  }
}
