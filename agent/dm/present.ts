/** Which device-mapper devices there are, from sysfs: a look that costs no process. Tables, status and open counts need dmsetup. */
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'

export interface DevicePresent {
  readonly name: string
  /** Empty when its maker gave none. */
  readonly uuid: string
  readonly suspended: boolean
  /** The kernel's name of it: dm-3. */
  readonly kernel: string
}

/** Source: Linux Documentation/ABI/testing/sysfs-block-dm. */
export async function devicesPresent(sysBlock = '/sys/block'): Promise<readonly DevicePresent[]> {
  const blocks = (await readdir(sysBlock)).filter((each) => each.startsWith('dm-'))
  const found = await Promise.all(blocks.map(async (block): Promise<readonly DevicePresent[]> => {
    try {
      const [name, uuid, suspended] = await Promise.all(['name', 'uuid', 'suspended'].map((each) => readFile(join(sysBlock, block, 'dm', each), 'utf8')))
      return [{ name: (name ?? '').trim(), uuid: (uuid ?? '').trim(), suspended: (suspended ?? '').trim() === '1', kernel: block }]
    } catch {
      return [] // it has just gone
    }
  }))
  return found.flat()
}
