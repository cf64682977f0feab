/** raid1 of the kernel's md code (dm-raid), made by hand over two LUNs, its metadata in front of the data on each. */
import type { Lab } from '../tools/lab/lab.js'
import { waitFor } from './wait.js'

const NAME = 'peer-raid'
const META_MIB = 4
const SECTORS = 2048

export interface DmRaid {
  readonly device: string
  readonly mebibytes: number
  /** After the second LUN was away, and is back as this disk. */
  revive(lun: string): Promise<void>
  whole(timeoutMs?: number): Promise<void>
  /** Copies all of it to the second LUN anew; gives the seconds that took. */
  copyAll(): Promise<number>
}

export async function startRaid(lab: Lab, host: string, luns: readonly [string, string], lunMebibytes: number): Promise<DmRaid> {
  const mebibytes = lunMebibytes - META_MIB
  const legs = luns.map((_, index) => `/dev/mapper/${NAME}-m${index} /dev/mapper/${NAME}-d${index}`).join(' ')
  const table = `0 ${mebibytes * SECTORS} raid raid1 4 0 sync region_size 1024 2 ${legs}`
  const dm = (...args: readonly string[]): Promise<string> => lab.must(host, ['dmsetup', ...args])
  async function whole(timeoutMs = 180_000): Promise<void> {
    await waitFor('dm-raid is whole', () => dm('status', NAME), (status) => / raid1 2 AA (\d+)\/\1 idle /.test(status), { limitMs: timeoutMs })
  }

  /** Made anew on empty metadata it copies all of the first LUN to the second. */
  async function emptyMetadata(): Promise<void> {
    for (const index of luns.keys()) await lab.must(host, ['dd', 'if=/dev/zero', `of=/dev/mapper/${NAME}-m${index}`, 'bs=1M', `count=${META_MIB}`, 'oflag=direct', 'status=none'])
  }

  await lab.must(host, ['modprobe', '-a', 'dm_raid', 'raid1'])
  for (const [index, lun] of luns.entries()) {
    await dm('create', `${NAME}-m${index}`, '--table', `0 ${META_MIB * SECTORS} linear ${lun} 0`)
    await dm('create', `${NAME}-d${index}`, '--table', `0 ${mebibytes * SECTORS} linear ${lun} ${META_MIB * SECTORS}`)
  }
  await emptyMetadata()
  await dm('create', NAME, '--table', table)
  await whole()
  return {
    device: `/dev/mapper/${NAME}`, mebibytes, whole,
    async revive(lun) {
      await dm('suspend', '--noflush', '--nolockfs', NAME)
      for (const [name, table] of [['m1', `0 ${META_MIB * SECTORS} linear ${lun} 0`], ['d1', `0 ${mebibytes * SECTORS} linear ${lun} ${META_MIB * SECTORS}`]] as const) {
        await dm('suspend', '--noflush', '--nolockfs', `${NAME}-${name}`)
        await dm('load', `${NAME}-${name}`, '--table', table)
        await dm('resume', `${NAME}-${name}`)
      }
      await dm('resume', NAME) // takes devices that it had given up, if they can be read
    },
    async copyAll() {
      await dm('remove', NAME) // to have one leg made anew (`rebuild 1`) is refused once it was away and has come back
      await emptyMetadata()
      const from = performance.now()
      await dm('create', NAME, '--table', table)
      await whole()
      return (performance.now() - from) / 1000
    },
  }
}
