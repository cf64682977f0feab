/** What a lab needs of the outer machine, and what it makes there: image files, and the processes of kernels. */
import { existsSync } from 'node:fs'
import { open, readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { LabError } from './command.js'
import { namespacePids } from './network.js'
import type { LabWish } from './plan.js'

/** For a few hosts with little on their disks; images are sparse. */
const SHM_BYTES_MIN = 2 * 1024 ** 3

export async function makeImage(path: string, bytes: bigint): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.truncate(Number(bytes))
  } finally {
    await file.close()
  }
}

/** Processes of one host's kernel: those in the lab's name space whose command line names it. */
export async function kernelPids(namespace: string, ...marks: readonly string[]): Promise<readonly number[]> {
  const found = await Promise.all((await namespacePids(namespace)).map(async (pid) => {
    const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    const words = text.split(/[\0 ]/)
    return marks.every((mark) => words.includes(mark)) ? [pid] : []
  }))
  return found.flat()
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // ended already
  }
}

/** Debian packages that a lab needs; tools/go.mjs installs them. */
const needed: readonly (readonly [program: string, fromPackage: string])[] = [
  ['linux.uml', 'user-mode-linux'], ['uml_mconsole', 'uml-utilities'], ['modprobe', 'kmod'], ['lvm', 'lvm2'], ['dmsetup', 'dmsetup'], ['iscsid', 'open-iscsi'],
  ['fio', 'fio'], ['ip', 'iproute2'], ['nft', 'nftables'], ['mkfs.ext4', 'e2fsprogs'], ['openssl', 'openssl'],
]

export async function checkMachine({ database }: Pick<LabWish, 'database'>): Promise<void> {
  if (process.getuid?.() !== 0) throw new LabError('the lab needs root: it makes network name spaces and links')
  const missing = needed.filter(([program]) => !['/usr/bin', '/usr/sbin', '/bin', '/sbin'].some((dir) => existsSync(join(dir, program)))).map(([, name]) => name)
  if (database === 'postgres' && !existsSync('/usr/lib/postgresql')) missing.push('postgresql')
  if (missing.length > 0) throw new LabError(`the lab needs Debian packages that are not installed: apt-get install ${missing.join(' ')}`)
  if (!existsSync('/dev/net/tun')) throw new LabError('the lab needs /dev/net/tun: modprobe tun, or let the container have it')
  const { bavail, bsize } = await statfs('/dev/shm')
  if (bavail * bsize < SHM_BYTES_MIN) throw new LabError(`the lab keeps memory and disks of its hosts in /dev/shm, where ${bavail * bsize} bytes are free: it needs ${SHM_BYTES_MIN} at least (mount -o remount,size=8G /dev/shm, or give the container more)`)
}
