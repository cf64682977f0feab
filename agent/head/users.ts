/** Who has a volume open, as far as the kernel tells: mounts, and devices built on it. For a person's eyes. */
import { readFile, readdir, stat } from 'node:fs/promises'

export async function usersOf(mapperName: string): Promise<string> {
  const device = await stat(`/dev/mapper/${mapperName}`).catch(() => undefined)
  if (!device) return ''
  const minor = (device.rdev & 0xff) | ((device.rdev >> 12) & 0xfff00)
  const number = `${(device.rdev >> 8) & 0xfff}:${minor}`
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' ')).filter((fields) => fields[2] === number).map((fields) => `mounted at ${fields[4] ?? '?'}`)
  const holders = (await readdir(`/sys/block/dm-${minor}/holders`).catch(() => [])).map((name) => `held by ${name}`)
  return [...mounts, ...holders].join(', ')
}
