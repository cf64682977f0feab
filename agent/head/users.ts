/** Who has a volume open, as far as the kernel tells: mounts, and devices built on it. For a person's eyes. */
import { readFile, readdir, stat } from 'node:fs/promises'
import { devnoOf } from '../../lib/host/block-device.js'

export async function usersOf(mapperName: string): Promise<string> {
  const device = await stat(`/dev/mapper/${mapperName}`).catch(() => undefined)
  if (!device) return ''
  const number = devnoOf(device)
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' ')).filter((fields) => fields[2] === number).map((fields) => `mounted at ${fields[4] ?? '?'}`)
  const holders = (await readdir(`/sys/block/dm-${number.slice(number.indexOf(':') + 1)}/holders`).catch(() => [])).map((name) => `held by ${name}`)
  return [...mounts, ...holders].join(', ')
}
