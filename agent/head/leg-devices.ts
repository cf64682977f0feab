/** Which block device each leg of an order is on this head: one that is in use, a logical volume of this very host, or a LUN that is logged in to. */
import { Fault, messageOf } from '../../lib/faults.js'
import type { Log } from '../../lib/ports.js'
import type { LegWanted, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import type { Sessions } from '../iscsi/sessions.js'
import { isGivenUp, isGone, isLost, takeBack } from '../iscsi/sysfs.js'
import { isLastGood } from './plan.js'
import type { DeviceThere, HeadStep } from './plan.js'

export interface LegDevices {
  /** Extent → block device, for every leg that one of the new tables names. */
  readonly devices: ReadonlyMap<string, string>
  readonly unreachable: VolumeSeen['unreachable']
}

export interface FindLegs {
  (wanted: VolumeWanted, steps: readonly HeadStep[], inUse: ReadonlyMap<string, string>): Promise<LegDevices>
}

export interface FindLegsOptions {
  readonly sessions: Pick<Sessions, 'device' | 'renewed'>
  readonly localDevice: (extent: string) => Promise<string | undefined>
  readonly log: Log
}

/** Legs in use keep their device: no server has to answer for a table that only leaves somebody out. One that the kernel has given up could stand in no new table. */
export function createFindLegs({ sessions, localDevice, log }: FindLegsOptions): FindLegs {
  const anew = async (leg: LegWanted, wanted: VolumeWanted): Promise<string> => await localDevice(leg.extent) ?? await sessions.device(leg, wanted.chap)

  async function deviceOf(leg: LegWanted, wanted: VolumeWanted, used: string | undefined): Promise<string> {
    if (used === undefined) return anew(leg, wanted)
    try {
      if (await isGone(used)) return await anew(leg, wanted)
      return await isGivenUp(used) ? await sessions.renewed(leg, wanted.chap) ?? used : used
    } catch (thrown) {
      if (!(thrown instanceof Fault) || thrown.fault === 'wrong device' || !isLastGood(wanted, leg)) throw thrown
      return used // its segment waits for it, as it did; the others must not
    }
  }

  return async (wanted, steps, inUse) => {
    const named = new Set(steps.flatMap((step) => ((step.do === 'create' || step.do === 'reload') && step.table.kind === 'mirror' ? step.table.mirror.legs : [])))
    const legs = new Map(wanted.segments.flatMap((segment) => segment.legs).filter((leg) => named.has(leg.extent)).map((leg): [string, LegWanted] => [leg.extent, leg]))
    const devices = new Map<string, string>()
    const unreachable: { readonly extent: string; readonly why: string }[] = []
    await Promise.all([...legs.values()].map(async (leg) => {
      try {
        const device = await deviceOf(leg, wanted, inUse.get(leg.extent))
        if (isLastGood(wanted, leg)) await takeBack(device) // its volume waits for it, and a table that has it already takes it as it is
        else if (await isGivenUp(device)) throw new Fault('agent failed', `its disk is offline on this head (${device}): commands to it did not end`)
        devices.set(leg.extent, device)
      } catch (thrown) {
        if (!(thrown instanceof Fault) || (thrown.fault === 'wrong device' && leg.state === 'insync')) throw thrown
        unreachable.push({ extent: leg.extent, why: `${leg.host}: ${thrown.message}` })
      }
    }))
    // One of those that carry what was written when is enough, and without it all is copied.
    for (const leg of wanted.scope === 'copies' && wanted.segments.some((segment) => segment.copy === 'changed') ? wanted.changes?.legs ?? [] : []) {
      if (devices.has(leg.extent)) break
      const device = await anew(leg, wanted).catch((thrown: unknown) => { log.info('a leg that carries what was written can\'t be reached', { volume: wanted.name, host: leg.host, error: messageOf(thrown) }) })
      if (device === undefined) continue
      devices.set(leg.extent, device)
      break
    }
    return { devices, unreachable }
  }
}

/** A device with one leg has no status: whether it needs its table anew is told by the disk under it. */
export async function withLost(there: readonly DeviceThere[], inUse: ReadonlyMap<string, string>): Promise<readonly DeviceThere[]> {
  return Promise.all(there.map(async (each) => {
    const [only, ...others] = each.table?.kind === 'mirror' ? each.table.mirror.legs : []
    if (only === undefined || others.length > 0) return each
    const device = inUse.get(only)
    return device !== undefined && await isLost(device) ? { ...each, failed: true } : each
  }))
}
