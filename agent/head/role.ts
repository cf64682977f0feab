/**
 * The head role: makes a volume exist in this kernel exactly as the manager says, changes its layout under running I/O, and takes it
 * away again. All calls converge. What is up when the agent starts is adopted by its device-mapper uuid; nothing is changed by itself.
 */
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import { bytes, sectorsExactly } from '../../lib/units.js'
import type { ForeignSeen, VolumeWanted } from '../../lib/wire/agent.js'
import { createDmsetup } from '../dm/dmsetup.js'
import type { NewDevice } from '../dm/dmsetup.js'
import { devicesPresent } from '../dm/present.js'
import type { DevicePresent } from '../dm/present.js'
import { formatConcatenation, formatSegment, readUuid, segmentName, topName, uuidOf } from '../dm/table.js'
import { createSessions } from '../iscsi/sessions.js'
import type { HeadRole, StillMine } from '../roles.js'
import { makeLink, refuseForeignLink, removeLinks } from './link.js'
import { devicesOf, justMade, seenOf, thereOf } from './look.js'
import { checkWish, planVolume } from './plan.js'
import type { VolumeThere } from './plan.js'
import { openVolumeRecords } from './record.js'
import { usersOf } from './users.js'

export interface HeadOptions {
  readonly stateDir: string
  readonly udev: boolean
  readonly run: Run
  readonly log: Log
  readonly clock: Clock
  /** The logical volume of an extent that this very host stores for itself. */
  readonly localDevice: (extent: string) => Promise<string | undefined>
}

/** Looks at what is left and tries again, when a device vanished under our hands. */
const REMOVE_ATTEMPTS = 5

export async function createHeadRole({ stateDir, udev, run, log, clock, localDevice }: HeadOptions): Promise<HeadRole> {
  const dm = createDmsetup({ run, udev })
  const sessions = createSessions({ run, clock, log })
  const records = await openVolumeRecords(stateDir)
  const background = new Set<Promise<void>>()

  function refuseForeign(wanted: VolumeWanted, present: readonly DevicePresent[]): void {
    const names = new Set([topName(wanted.volume), ...wanted.segments.map((segment) => segmentName(wanted.volume, segment.index))])
    const stranger = present.find((device) => names.has(device.name) && readUuid(device.uuid)?.volume !== wanted.volume)
    if (stranger) throw new Fault('foreign object', `a device-mapper device ${stranger.name} is there that Vsky did not make (uuid ${JSON.stringify(stranger.uuid)})`)
  }

  function refuseStale(wanted: VolumeWanted, before: VolumeWanted | undefined): void {
    if (!before) return
    const order = `volume ${wanted.name}: this order is about`
    if (before.attachEpoch > wanted.attachEpoch) throw new Fault('stale generation', `${order} attachment ${wanted.attachEpoch}, attachment ${before.attachEpoch} is here`)
    for (const { index, generation } of wanted.segments) {
      const here = before.segments[index]?.generation ?? 0
      if (here > generation) throw new Fault('stale generation', `${order} generation ${generation} of segment ${index}, generation ${here} is here`)
    }
  }

  /** Extent → block device, for every leg of these segments. */
  async function legDevices(wanted: VolumeWanted, indices: readonly number[]): Promise<ReadonlyMap<string, string>> {
    const legs = wanted.segments.filter((segment) => indices.includes(segment.index)).flatMap((segment) => segment.legs)
    const found = await Promise.allSettled(legs.map(async (leg) => [leg.extent, await localDevice(leg.extent) ?? await sessions.device(leg, wanted.chap)] as const))
    const failed = found.find((each) => each.status === 'rejected')
    if (failed) throw failed.reason
    return new Map(found.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])))
  }

  function segmentDevice(wanted: VolumeWanted, index: number, devices: ReadonlyMap<string, string>): NewDevice {
    const segment = wanted.segments[index]
    const [primary, ...others] = (segment?.legs ?? []).map((leg) => devices.get(leg.extent) ?? '')
    if (!segment || primary === undefined) throw new Fault('agent failed', `segment ${index} has no legs`)
    const table = formatSegment({ length: sectorsExactly(bytes(segment.bytes)), legs: [primary, ...others], copy: segment.copy })
    return { name: segmentName(wanted.volume, index), uuid: uuidOf(wanted.volume, index), table: [table] }
  }

  function topDevice(wanted: VolumeWanted): NewDevice {
    const parts = wanted.segments.map((segment) => ({ device: `/dev/mapper/${segmentName(wanted.volume, segment.index)}`, length: sectorsExactly(bytes(segment.bytes)) }))
    return { name: topName(wanted.volume), uuid: uuidOf(wanted.volume, 'top'), table: formatConcatenation(parts) }
  }

  async function build(wanted: VolumeWanted, there: VolumeThere, stillMine: StillMine): Promise<void> {
    const plan = planVolume(wanted, there)
    const devices = await legDevices(wanted, [...plan.create, ...plan.reload])
    stillMine()
    for (const index of plan.reload) {
      const { name, table } = segmentDevice(wanted, index, devices)
      await dm.reload(name, table)
    }
    const missing = plan.create.map((index) => segmentDevice(wanted, index, devices))
    await dm.create(plan.top === 'create' ? [...missing, topDevice(wanted)] : missing) // the concatenation last: it stands on them
    if (plan.top === 'reload') await dm.reload(topName(wanted.volume), topDevice(wanted).table)
    await makeLink(wanted.volume, wanted.name)
  }

  /** Takes away the devices of a volume, topmost first. `busy`: the volume is open, and nothing was changed. */
  async function takeDown(volume: string, keep: ReadonlySet<string> = new Set()): Promise<'removed' | 'busy'> {
    for (let attempt = 1; ; attempt += 1) {
      const mine = devicesOf(volume, await devicesPresent()).filter((device) => !keep.has(device.name))
      const outcome = await dm.remove([...mine].sort((a, b) => Number(a.part !== 'top') - Number(b.part !== 'top')).map((device) => device.name))
      if (outcome.kind === 'removed') return 'removed'
      const left = devicesOf(volume, await devicesPresent())
      if (outcome.by === 'busy' && left.some((device) => device.part === 'top')) return 'busy'
      if (outcome.by === 'busy' || attempt === REMOVE_ATTEMPTS) throw new Fault('agent failed', `${left.map((device) => device.name).join(', ')}: held by something else than the volume`)
    }
  }

  /** Frees what no volume of this head has in its layout. */
  function pruneSessions(): Promise<void> {
    return sessions.prune((extent) => records.all().some((volume) => volume.segments.some((segment) => segment.legs.some((leg) => leg.extent === extent))))
  }

  /** The server of a leg that left is often dead, and then this takes seconds: the order that dropped the leg is answered before. */
  function pruneLater(): void {
    const work = pruneSessions().catch((thrown: unknown) => { log.warn('disks of legs that left could not be taken away', { error: messageOf(thrown) }) })
      .finally(() => { background.delete(work) })
    background.add(work)
  }

  /** A failed attach leaves what it found, and nothing else. */
  async function undo(wanted: VolumeWanted, present: readonly DevicePresent[]): Promise<void> {
    const before = new Set(devicesOf(wanted.volume, present).map((device) => device.name))
    if (await takeDown(wanted.volume, before) === 'busy') return
    if (!before.has(topName(wanted.volume))) await removeLinks(wanted.volume)
    // With devices still up the record stays: it says which generations are loaded, and an older order must be refused.
    if (before.size === 0) await records.remove(wanted.volume)
    await pruneSessions()
  }

  return {
    async start() {
      // What a distribution's kernel loads on demand only where udev runs.
      const loaded = await run({ file: 'modprobe', args: ['-a', 'dm_mirror', 'iscsi_tcp', 'sd_mod'], timeoutMs: 30_000 })
      if (loaded.exit.kind !== 'code' || loaded.exit.code !== 0) log.warn('kernel modules could not be loaded', { error: loaded.stderr.trim().slice(0, 300) })
      const present = await devicesPresent()
      for (const record of records.all()) {
        const there = devicesOf(record.volume, present).length
        log.info(there > 0 ? 'a volume was adopted' : 'a volume is not up', { volume: record.name, devices: there })
      }
    },
    async stop() {
      await Promise.all(background) // devices in use stay up: an agent is not in the data path
    },
    async observe() {
      const [state, strangers] = await Promise.all([dm.state(), sessions.foreign()])
      const volumes = await Promise.all(records.all().map((record) => seenOf(record, state)))
      const known = new Set(records.all().map((record) => record.volume))
      const foreign: ForeignSeen[] = state.filter((device) => !device.uuid.startsWith('LVM-') && !known.has(readUuid(device.uuid)?.volume ?? ''))
        .map((device) => ({ what: 'dm device', name: device.name, why: readUuid(device.uuid) ? 'of a volume that this head has no record of' : 'not made by Vsky' }))
      return { volumes: volumes.filter((volume) => volume !== undefined), foreign: [...foreign, ...strangers] }
    },
    async attachVolume(wanted, stillMine) {
      checkWish(wanted)
      const before = records.get(wanted.volume)
      refuseStale(wanted, before)
      const present = await devicesPresent()
      refuseForeign(wanted, present)
      await refuseForeignLink(wanted.volume, wanted.name)
      // Tables cost processes: they are read only where there is something of this volume to read.
      const wasThere = devicesOf(wanted.volume, present).length > 0
      const there: VolumeThere = wasThere ? await thereOf(wanted.volume, await dm.state()) : { segments: [], top: undefined }
      await records.put(wanted) // before any effect, so that a restarted agent knows what is its own
      try {
        await build(wanted, there, stillMine)
      } catch (thrown) {
        await undo(wanted, present).catch((second: unknown) => { log.warn('a failed attach could not be taken back', { volume: wanted.name, error: messageOf(second) }) })
        throw thrown
      }
      if (!wasThere) return justMade(wanted)
      pruneLater()
      return await seenOf(wanted, await dm.state()) ?? justMade(wanted)
    },
    async detachVolume({ volume, attachEpoch }) {
      const record = records.get(volume)
      if (record && record.attachEpoch > attachEpoch) return // a newer attachment is up: this order is history
      if (await takeDown(volume) === 'busy') {
        const users = await usersOf(topName(volume))
        throw new Fault('volume in use', `${record?.name ?? volume} is in use${users === '' ? ': something has its device open' : `: ${users}`}`)
      }
      await removeLinks(volume)
      // Once its devices are gone a volume wants no disks; if the agent dies before they are away, the next order of any volume finds them.
      await records.remove(volume)
      await pruneSessions()
    },
  }
}
