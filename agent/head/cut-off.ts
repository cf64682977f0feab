/**
 * Legs that a failure takes with it. When a server is gone, or the way to it, the kernel gives up everything behind that session at once;
 * but a mirror learns of it by a write, and a volume's writers would wait segment by segment, each time for another layout. So the legs behind a session
 * that was given up are told with the first that fails.
 */
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { isLost } from '../iscsi/sysfs.js'

/** It takes every write, whatever could not be read from it. */
const works = ({ health }: VolumeSeen['segments'][number]['legs'][number]): boolean => health === 'A' || health === 'R'

/**
 * What is told of volumes. `devicesOf`: a volume's legs, extent → block device. They are told also where none would be left beside one that
 * failed: else that one would be given up for them, whose server may have been started anew meanwhile and have lost what this one has.
 */
export async function withCutOff(
  seen: readonly VolumeSeen[], devicesOf: (volume: string) => ReadonlyMap<string, string>, givenUp: (device: string) => Promise<boolean> = isLost,
): Promise<readonly VolumeSeen[]> {
  return Promise.all(seen.map(async (volume) => {
    const told = volume.segments.flatMap(({ legs }) => legs.filter(({ health }) => health !== 'A'))
    if (told.length === 0) return volume
    const looked = await Promise.all([...devicesOf(volume.volume)].map(async ([extent, device]) => (await givenUp(device) ? extent : '')))
    const gone = new Set([...looked.filter((extent) => extent !== ''), ...volume.unreachable.map(({ extent }) => extent)])
    if (told.every((leg) => leg.health === 'R' && !gone.has(leg.extent))) return volume // a read error alone drops no leg
    const more = volume.segments.flatMap(({ legs }) => (legs.every((leg) => gone.has(leg.extent) && works(leg)) ? [] : legs.filter((leg) => works(leg) && gone.has(leg.extent))))
      .filter((leg) => !volume.unreachable.some(({ extent }) => extent === leg.extent))
    return more.length === 0 ? volume : { ...volume, unreachable: [...volume.unreachable, ...more.map(({ extent }) => ({ extent, why: 'the session to its server was given up' }))] }
  }))
}
