/** What dmsetup reports, read. Pure. Source of the status grammar: drivers/md/dm-raid1.c mirror_status(). */

export const legHealths = ['A', 'D', 'F', 'S', 'R', 'U'] as const
export type LegHealth = (typeof legHealths)[number]

export interface MirrorStatus {
  readonly legs: readonly { readonly device: string; readonly health: LegHealth }[]
  readonly inSync: number
  readonly regions: number
}

/** `0 65536 mirror 2 254:0 254:1 63/64 1 AD 1 core`. A linear has one leg that is well. Undefined for other targets. */
export function readStatus(line: string): MirrorStatus | undefined {
  const words = line.trim().split(/\s+/)
  if (words[2] === 'linear') return { legs: [], inSync: 1, regions: 1 }
  if (words[2] !== 'mirror') return undefined
  const count = Number(words[3])
  const devices = words.slice(4, 4 + count)
  const [inSync = '0', regions = '0'] = (words[4 + count] ?? '').split('/')
  const letters = words[6 + count] ?? ''
  return {
    legs: devices.map((device, index) => ({ device, health: legHealths.find((each) => each === letters[index]) ?? 'U' })),
    inSync: Number(inSync), regions: Number(regions),
  }
}

/** Whether a queue's path has failed: `… 254:8 F 1`. Source: dm-mpath.c multipath_status(). */
export function readQueueFailed(line: string): boolean {
  return / multipath /.test(line) && / \d+:\d+ F \d+\s*$/.test(line)
}

/** `name: 0 1 linear …` lines of `dmsetup table` and `dmsetup status` for all devices: name → its lines. */
export function readNamed(output: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const line of output.split('\n')) {
    const colon = line.indexOf(': ')
    if (colon <= 0) continue
    const name = line.slice(0, colon)
    const rest = line.slice(colon + 2).trim()
    if (rest !== '') found.set(name, [...found.get(name) ?? [], rest]) // a device that was made and never got a table has an empty line
  }
  return found
}

export interface DeviceInfo {
  readonly name: string
  readonly uuid: string
  /** How many have it open, devices built on it included. */
  readonly opens: number
  readonly suspended: boolean
  /** `254:3` */
  readonly devno: string
}

export const INFO_COLUMNS = 'name,uuid,open,suspended,major,minor'

/** `dmsetup info -c --noheadings --separator '|' -o` with INFO_COLUMNS. */
export function readInfo(output: string): readonly DeviceInfo[] {
  return output.split('\n').map((line) => line.split('|').map((field) => field.trim())).filter((fields) => fields.length >= 6)
    .map(([name = '', uuid = '', open = '0', suspended = '', major = '', minor = '']) => ({ name, uuid, opens: Number(open), suspended: suspended === 'Suspended', devno: `${major}:${minor}` }))
}
