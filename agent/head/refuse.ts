/** Orders that a head refuses before anything is touched: they come too late, or somebody else's device stands in the way. */
import { Fault } from '../../lib/faults.js'
import type { VolumeWanted } from '../../lib/wire/agent.js'
import type { DevicePresent } from '../dm/present.js'
import { nameOf, readUuid } from '../dm/table.js'
import { devicesWanted } from './plan.js'

/** Throws `foreign object` when a device that Vsky did not make has one of the names. */
export function refuseForeign(wanted: VolumeWanted, present: readonly DevicePresent[]): void {
  const names = new Set(devicesWanted(wanted).map(({ part }) => nameOf(wanted.volume, part)))
  const stranger = present.find((device) => names.has(device.name) && readUuid(device.uuid)?.volume !== wanted.volume)
  if (stranger) throw new Fault('foreign object', `a device-mapper device ${stranger.name} is there that Vsky did not make (uuid ${JSON.stringify(stranger.uuid)})`)
}

/** Throws `stale generation` for an order that is older than the one carried out last. */
export function refuseStale(wanted: VolumeWanted, before: VolumeWanted | undefined): void {
  if (!before) return
  const order = `volume ${wanted.name}: this order is about`
  if (before.attachEpoch > wanted.attachEpoch) throw new Fault('stale generation', `${order} attachment ${wanted.attachEpoch}, attachment ${before.attachEpoch} is here`)
  if (before.layout > wanted.layout) throw new Fault('stale generation', `${order} layout ${wanted.layout}, layout ${before.layout} is here`)
  for (const { index, generation } of wanted.segments) {
    const here = before.segments.find((segment) => segment.index === index)?.generation ?? 0
    if (here > generation) throw new Fault('stale generation', `${order} generation ${generation} of segment ${index}, generation ${here} is here`)
  }
}
