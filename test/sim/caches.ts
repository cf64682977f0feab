/**
 * When a server's disks lose what their caches held, something that was acknowledged may be gone from everywhere: that is no fault of
 * anybody's, unless it had been flushed. Here is said which blocks may go back in time, and how far.
 */
import type { Disk } from './disk.js'
import type { Host } from './host.js'
import { extentRows, placeOf, segmentRows } from './invariants.js'
import type { World } from './world.js'

export function loseCaches(world: World, host: Host, lost: readonly ReturnType<Disk['powerLoss']>[]): void {
  if (lost.some((each) => each.length > 0)) world.cachesLost.set(host.name, world.timeline.now)
  const extents = extentRows(world).filter((extent) => extent.state !== 'dropping')
  for (const volume of world.volumes.values()) {
    for (const segment of segmentRows(world, volume.id)) {
      const legs = extents.filter((extent) => extent.volume === volume.id && extent.segment === segment.idx)
      if (!legs.some((leg) => leg.host === host.name)) continue
      for (const slot of volume.slots) {
        const at = slot - segment.first_byte / 4096
        if (at < 0 || at >= segment.bytes / 4096) continue
        const last = volume.history.lastAcked(slot)
        const has = (leg: (typeof legs)[number]): boolean => {
          const place = placeOf(world, leg)
          return place?.disk.at(place.at(at)) === last
        }
        // A leg whose server was started anew is not asked where another good one stands; that one must have it. Where there is no other nobody can
        // tell which of them lost something, so each of them must have it.
        const good = legs.filter((leg) => leg.leg === 'insync')
        const keepers = good.filter((leg) => leg.doubt === 0 && leg.host !== host.name && !world.rebooted.has(`${leg.host} ${volume.name}`))
        if (keepers.length > 0 ? !keepers.some(has) : !good.every(has)) volume.history.loosen(slot, volume.flushed, world.timeline.now)
      }
    }
    world.rebooted.add(`${host.name} ${volume.name}`)
  }
}
