/**
 * DRBD 8.4 between two hosts of the lab: the module of the lab's kernel, Debian's tools, protocol C, everything else as it comes. Each has
 * a disk of its own for it, of the same kind as Vsky's.
 */
import type { Lab } from '../tools/lab/lab.js'
import { waitFor } from './wait.js'

const CONFIG = '/run/drbd-peers.conf'
const ADM = ['/usr/lib/drbd/drbdadm-84', '-c', CONFIG]
const RESOURCE = 'peer'

export interface Drbd {
  readonly device: string
  /** After its host was without power. */
  rejoin(host: string): Promise<void>
  /** Until both sides are up to date; Error when that takes longer. */
  whole(timeoutMs?: number): Promise<void>
  /** Copies all of it to the second host anew; gives the seconds that took. */
  copyAll(): Promise<number>
}

export async function startDrbd(lab: Lab, hosts: readonly [string, string], bytes: bigint): Promise<Drbd> {
  const [first, second] = hosts
  const disks = new Map<string, string>()
  for (const host of hosts) disks.set(host, await lab.faults.add(host, bytes))
  const sides = hosts.map((host) => `  on ${host} { disk ${disks.get(host) ?? ''}; address ${lab.host(host).dataAddress}:7789; }`)
  const config = ['global { usage-count no; }', `resource ${RESOURCE} {`, '  protocol C;', '  device /dev/drbd0;', '  meta-disk internal;', ...sides, '}', ''].join('\n')

  const adm = (host: string, ...args: readonly string[]): Promise<string> => lab.must(host, [...ADM, ...args], { timeoutMs: 60_000 })
  const stateOf = async (): Promise<string> => /ds:(\S+)/.exec(await lab.must(first, ['cat', '/proc/drbd']))?.[1] ?? 'no state'
  const configure = (host: string): Promise<string> => lab.must(host, ['bash', '-c', `modprobe drbd && mkdir -p /var/lib/drbd /run/drbd && cat > ${CONFIG}`], { stdin: config })
  async function whole(timeoutMs = 180_000): Promise<void> {
    await waitFor('DRBD is whole', stateOf, (state) => state === 'UpToDate/UpToDate', { limitMs: timeoutMs })
  }

  for (const host of hosts) {
    await configure(host)
    await adm(host, 'create-md', '--force', RESOURCE)
    await adm(host, 'up', RESOURCE)
  }
  await adm(first, 'primary', '--force', RESOURCE)
  await whole()
  return {
    device: '/dev/drbd0', whole,
    async rejoin(host) {
      await configure(host)
      await adm(host, 'up', RESOURCE)
    },
    async copyAll() {
      const from = performance.now()
      await adm(second, 'invalidate', RESOURCE)
      await whole()
      return (performance.now() - from) / 1000
    },
  }
}
