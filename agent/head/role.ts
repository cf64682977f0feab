/**
 * The head role: makes a volume exist in this kernel exactly as the manager says, changes its layout under running I/O, and takes it
 * away again. All calls converge. What is up when the agent starts is adopted by its device-mapper uuid; nothing is changed by itself.
 */
import { mkdir, readlink, symlink, unlink } from 'node:fs/promises'
import { Fault, messageOf } from '../../lib/faults.js'
import { isErrno } from '../../lib/host/files.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import { bytes, sectorsExactly } from '../../lib/units.js'
import type { ForeignSeen, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import { createDmsetup } from '../dm/dmsetup.js'
import type { DeviceState } from '../dm/dmsetup.js'
import { readStatus } from '../dm/status.js'
import { formatConcatenation, formatSegment, readSegment, readUuid, segmentName, topName, uuidOf } from '../dm/table.js'
import { createSessions } from '../iscsi/sessions.js'
import type { HeadRole, StillMine } from '../roles.js'
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

const LINKS = '/dev/vsky'

export async function createHeadRole({ stateDir, udev, run, log, clock, localDevice }: HeadOptions): Promise<HeadRole> {
  const dm = createDmsetup({ run, udev })
  const sessions = createSessions({ run, clock, log })
  const records = await openVolumeRecords(stateDir)

  function devicesOf(volume: string, state: readonly DeviceState[]): readonly (DeviceState & { readonly part: 'top' | number })[] {
    return state.flatMap((device) => {
      const mine = readUuid(device.uuid)
      return mine?.volume === volume ? [{ ...device, part: mine.part }] : []
    })
  }

  /** The kernel names legs by device number; the manager by extent. */
  async function translate(line: string): Promise<ReturnType<typeof readSegment>> {
    const table = readSegment(line)
    if (!table) return undefined
    const [primary = '', ...others] = await Promise.all(table.legs.map(async (leg) => await sessions.extentOf(leg) ?? leg))
    return { ...table, legs: [primary, ...others] }
  }

  async function thereOf(volume: string, state: readonly DeviceState[]): Promise<VolumeThere> {
    const mine = devicesOf(volume, state)
    const segments = await Promise.all(mine.flatMap((device) => (device.part === 'top' ? [] : [
      translate(device.table[0] ?? '').then((table) => ({ index: device.part as number, table, suspended: device.suspended })),
    ])))
    return { segments, top: mine.some((device) => device.part === 'top' && device.table.length > 0) }
  }

  function refuseForeign(wanted: VolumeWanted, state: readonly DeviceState[]): void {
    const names = new Set([topName(wanted.volume), ...wanted.segments.map((segment) => segmentName(wanted.volume, segment.index))])
    const stranger = state.find((device) => names.has(device.name) && readUuid(device.uuid)?.volume !== wanted.volume)
    if (stranger) throw new Fault('foreign object', `a device-mapper device ${stranger.name} is there that Vsky did not make (uuid ${JSON.stringify(stranger.uuid)})`)
  }

  async function legDevices(wanted: VolumeWanted, indices: readonly number[]): Promise<ReadonlyMap<string, string>> {
    const legs = wanted.segments.filter((segment) => indices.includes(segment.index)).flatMap((segment) => segment.legs)
    const found = await Promise.allSettled(legs.map(async (leg) => [leg.extent, await localDevice(leg.extent) ?? await sessions.device(leg, wanted.chap)] as const))
    const failed = found.find((each) => each.status === 'rejected')
    if (failed) throw failed.reason
    return new Map(found.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])))
  }

  function tableFor(wanted: VolumeWanted, index: number, devices: ReadonlyMap<string, string>): string {
    const segment = wanted.segments[index]
    const [primary, ...others] = (segment?.legs ?? []).map((leg) => devices.get(leg.extent) ?? '')
    if (!segment || primary === undefined) throw new Fault('agent failed', `segment ${index} has no legs`)
    return formatSegment({ length: sectorsExactly(bytes(segment.bytes)), legs: [primary, ...others], copy: segment.copy })
  }

  async function link(wanted: VolumeWanted): Promise<string> {
    const path = `${LINKS}/${wanted.name}`
    const target = `/dev/mapper/${topName(wanted.volume)}`
    await mkdir(LINKS, { recursive: true })
    try {
      await symlink(target, path)
    } catch (thrown) {
      if (!isErrno(thrown, 'EEXIST')) throw thrown
      const now = await readlink(path).catch(() => 'no link')
      if (now !== target) throw new Fault('foreign object', `${path} is there already (${now})`, { cause: thrown })
    }
    return path
  }

  async function unlinkOurs(volume: string, name: string): Promise<void> {
    const path = `${LINKS}/${name}`
    if (await readlink(path).catch(() => '') === `/dev/mapper/${topName(volume)}`) await unlink(path)
  }

  /** Takes away what exists of a volume, topmost first. Gives `busy` with nothing changed when the volume is open. */
  async function takeDown(volume: string, name: string): Promise<'removed' | 'busy'> {
    const mine = devicesOf(volume, (await dm.info()).map((info) => ({ ...info, table: [], status: [] })))
    if (await dm.remove(mine.filter((device) => device.part === 'top').map((device) => device.name)) === 'busy') return 'busy'
    await unlinkOurs(volume, name)
    const rest = await dm.remove(mine.filter((device) => device.part !== 'top').map((device) => device.name))
    if (rest === 'busy') throw new Fault('agent failed', `a mirror of volume ${name} is held by something else than the volume`)
    return 'removed'
  }

  function extentsOf(volume: VolumeWanted | undefined): ReadonlySet<string> {
    return new Set(volume?.segments.flatMap((segment) => segment.legs.map((leg) => leg.extent)) ?? [])
  }

  /** Devices of legs that no volume of this head uses any more. */
  async function releaseUnused(candidates: ReadonlySet<string>): Promise<void> {
    const used = new Set(records.all().flatMap((volume) => [...extentsOf(volume)]))
    await sessions.release(new Set([...candidates].filter((extent) => !used.has(extent))))
  }

  async function build(wanted: VolumeWanted, state: readonly DeviceState[], stillMine: StillMine): Promise<string> {
    const plan = planVolume(wanted, await thereOf(wanted.volume, state))
    const devices = await legDevices(wanted, [...plan.create, ...plan.reload])
    stillMine()
    for (const index of plan.reload) await dm.reload(segmentName(wanted.volume, index), [tableFor(wanted, index, devices)])
    await dm.create(plan.create.map((index) => ({ name: segmentName(wanted.volume, index), uuid: uuidOf(wanted.volume, index), table: [tableFor(wanted, index, devices)] })))
    if (plan.createTop) {
      const parts = wanted.segments.map((segment) => ({ device: `/dev/mapper/${segmentName(wanted.volume, segment.index)}`, length: sectorsExactly(bytes(segment.bytes)) }))
      await dm.create([{ name: topName(wanted.volume), uuid: uuidOf(wanted.volume, 'top'), table: formatConcatenation(parts) }])
    }
    return link(wanted)
  }

  async function seenOf(record: VolumeWanted, state: readonly DeviceState[]): Promise<VolumeSeen | undefined> {
    const mine = devicesOf(record.volume, state)
    if (mine.length === 0) return undefined
    const top = mine.find((device) => device.part === 'top')
    const there = await thereOf(record.volume, state)
    const plan = planVolume(record, there)
    const segments = await Promise.all(mine.flatMap((device) => (device.part === 'top' ? [] : [segmentSeen(record, device, device.part, plan.reload.includes(device.part))])))
    return {
      volume: record.volume, name: record.name, attachEpoch: record.attachEpoch, state: plan.create.length === 0 && !plan.createTop ? 'up' : 'partial',
      device: top ? `${LINKS}/${record.name}` : '', opens: top?.opens ?? 0, segments: segments.sort((a, b) => a.index - b.index),
    }
  }

  async function segmentSeen(record: VolumeWanted, device: DeviceState, index: number, outdated: boolean): Promise<VolumeSeen['segments'][number]> {
    const status = readStatus(device.status[0] ?? '')
    const wanted = record.segments[index]
    const legs = status && status.legs.length > 0
      ? await Promise.all(status.legs.map(async (leg) => ({ extent: await sessions.extentOf(leg.device) ?? '0'.repeat(32), health: leg.health })))
      : (wanted?.legs ?? []).slice(0, 1).map((leg) => ({ extent: leg.extent, health: 'A' as const }))
    return { index, generation: outdated ? 0 : wanted?.generation ?? 0, legs, inSync: status?.inSync ?? 0, regions: status?.regions ?? 1 }
  }

  return {
    async start() {
      // What a distribution's kernel loads on demand only where udev runs.
      const loaded = await run({ file: 'modprobe', args: ['-a', 'dm_mirror', 'iscsi_tcp', 'sd_mod'], timeoutMs: 30_000 })
      if (loaded.exit.kind !== 'code' || loaded.exit.code !== 0) log.warn('kernel modules could not be loaded', { error: loaded.stderr.trim().slice(0, 300) })
      const state = await dm.info()
      for (const record of records.all()) {
        const there = state.filter((device) => readUuid(device.uuid)?.volume === record.volume).length
        log.info(there > 0 ? 'a volume was adopted' : 'a volume is not up', { volume: record.name, devices: there })
      }
    },
    async stop() {
      await Promise.resolve() // everything stays up: an agent is not in the data path
    },
    async observe() {
      const state = await dm.state()
      const volumes = await Promise.all(records.all().map((record) => seenOf(record, state)))
      const known = new Set(records.all().map((record) => record.volume))
      const foreign: ForeignSeen[] = state.filter((device) => !device.uuid.startsWith('LVM-') && !known.has(readUuid(device.uuid)?.volume ?? ''))
        .map((device) => ({ what: 'dm device', name: device.name, why: readUuid(device.uuid) ? 'of a volume that this head has no record of' : 'not made by Vsky' }))
      return { volumes: volumes.filter((volume) => volume !== undefined), foreign: [...foreign, ...await sessions.foreign()] }
    },
    async attachVolume(wanted, stillMine) {
      checkWish(wanted)
      const before = records.get(wanted.volume)
      if (before && before.attachEpoch > wanted.attachEpoch) throw new Fault('stale generation', `volume ${wanted.name} has attachment ${before.attachEpoch} here, this order is about ${wanted.attachEpoch}`)
      const older = wanted.segments.find((segment) => (before?.segments[segment.index]?.generation ?? 0) > segment.generation)
      if (older) throw new Fault('stale generation', `segment ${older.index} of ${wanted.name} has generation ${before?.segments[older.index]?.generation ?? 0} here, this order is about ${older.generation}`)
      // Each look costs a process: tables are read only where there is something of this volume to read.
      const infos: readonly DeviceState[] = (await dm.info()).map((info) => ({ ...info, table: [], status: [] }))
      refuseForeign(wanted, infos)
      const wasThere = devicesOf(wanted.volume, infos).length > 0
      const state = wasThere ? await dm.state() : infos
      await records.put(wanted) // before any effect, so that a restarted agent knows what is its own
      try {
        await build(wanted, state, stillMine)
      } catch (thrown) {
        if (!wasThere) await undo(wanted).catch((second: unknown) => { log.warn('a failed attach could not be taken back', { volume: wanted.name, error: messageOf(second) }) })
        throw thrown
      }
      await releaseUnused(new Set([...extentsOf(before)].filter((extent) => !extentsOf(wanted).has(extent))))
      if (wasThere) {
        const seen = await seenOf(wanted, await dm.state())
        if (seen) return seen
      }
      return justMade(wanted)
    },
    async detachVolume({ volume, attachEpoch }) {
      const record = records.get(volume)
      if (record && record.attachEpoch > attachEpoch) return // a newer attachment is up: this order is history
      if (!record && devicesOf(volume, (await dm.info()).map((info) => ({ ...info, table: [], status: [] }))).length === 0) return
      if (await takeDown(volume, record?.name ?? '') === 'busy') {
        const users = await usersOf(topName(volume))
        throw new Fault('volume in use', `${record?.name ?? volume} is in use${users === '' ? ': something has its device open' : `: ${users}`}`)
      }
      await records.remove(volume)
      await releaseUnused(extentsOf(record))
    },
  }

  /** A volume whose every device was made a moment ago: all is as it was ordered, and a copy has not got anywhere yet. */
  function justMade(wanted: VolumeWanted): VolumeSeen {
    return {
      volume: wanted.volume, name: wanted.name, attachEpoch: wanted.attachEpoch, state: 'up', device: `${LINKS}/${wanted.name}`, opens: 0,
      segments: wanted.segments.map((segment) => ({
        index: segment.index, generation: segment.generation, legs: segment.legs.map((leg) => ({ extent: leg.extent, health: 'A' as const })),
        inSync: segment.copy === 'none' ? 1 : 0, regions: 1,
      })),
    }
  }

  async function undo(wanted: VolumeWanted): Promise<void> {
    if (await takeDown(wanted.volume, wanted.name) === 'busy') return
    await records.remove(wanted.volume)
    await releaseUnused(extentsOf(wanted))
  }
}
