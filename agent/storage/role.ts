/**
 * The storage role: disks become pools, pools give extents, extents are exported to the initiators that the manager names. What was
 * wanted is remembered, so that a rebooted server exports again by itself.
 */
import { join } from 'node:path'
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import { targetName } from '../../lib/wire/agent.js'
import type { Chap, ExtentSeen, ExtentWanted } from '../../lib/wire/agent.js'
import { createLio } from '../lio/configfs.js'
import type { Lio } from '../lio/configfs.js'
import { targetSteps } from '../lio/target.js'
import type { TargetTree } from '../lio/target.js'
import { createLvm, lvPath } from '../lvm/lvm.js'
import type { PoolReport } from '../lvm/report.js'
import type { StorageRole } from '../roles.js'
import { createNewer } from './newer.js'
import { createPools, LEAVING } from './pools.js'
import type { Pools } from './pools.js'
import { openRecord } from './record.js'
import type { StorageRecord } from './record.js'

export interface StorageOptions {
  readonly host: string
  /** This host's own initiator name: its extents for itself are used directly, not exported. */
  readonly initiator: string
  readonly stateDir: string
  readonly dataAddresses: readonly string[]
  readonly udev: boolean
  readonly lvmTypes: readonly string[]
  readonly run: Run
  readonly log: Log
  readonly clock: Clock
}

/** A session ends as soon as its ACL is gone; this bounds the proof. */
const BAN_WAIT_MS = 5000

export async function createStorageRole(options: StorageOptions): Promise<StorageRole> {
  const { host, initiator, stateDir, dataAddresses, run, log, clock } = options
  const record = await openRecord(stateDir)
  const lvm = createLvm({ run, clock, dir: join(stateDir, 'lvm'), udev: options.udev, types: options.lvmTypes })
  const pools = createPools({ lvm, run, record, clock, log })
  const lio = createLio({ run, clock, target: targetName(host), addresses: dataAddresses })
  return storageRole({ initiator, target: targetName(host), addresses: dataAddresses, record, pools, lio, log, clock })
}

export interface Parts {
  readonly initiator: string
  readonly target: string
  readonly addresses: readonly string[]
  readonly record: StorageRecord
  readonly pools: Pools
  readonly lio: Lio
  readonly log: Log
  readonly clock: Clock
}

/** After a boot, how long exports wait for a manager's word before they come back as they were, ms. */
const TOLD_MS = 10_000

export function storageRole({ initiator: self, target, addresses, record, pools, lio, log, clock }: Parts): StorageRole {
  let tail: Promise<unknown> = Promise.resolve()
  /** Changes of the export tree and of the record that it follows happen one at a time. */
  const oneAtATime = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = tail.then(work, work)
    tail = mine.catch(() => undefined)
    return mine
  }
  /** The exclusive open of an exported backstore would keep this host's own mirror from its logical volume: that one is not exported. */
  const exported = (extent: ExtentWanted): boolean => !extent.initiators.includes(self)
  /** Disk by disk, so that one that does not answer holds up no other. Throws what went wrong when all are done. */
  const applyExports = async (extents: readonly ExtentRemoved[]): Promise<void> => {
    const failures: string[] = []
    for (const group of groupByDisk(extents).values()) {
      const ids = new Set(group.map((each) => each.extent))
      const wanted = record.extents().filter((extent) => ids.has(extent.extent) && exported(extent))
        .map((extent) => ({ extent: extent.extent, lun: extent.lun, device: lvPath(extent.disk, extent.extent), initiators: extent.initiators }))
      try {
        const chapOf = (initiator: string): Chap | undefined => record.chapOf(initiator)
        await lio.apply(targetSteps(await lio.read(), wanted, (extent) => ids.has(extent), await lio.outdated(chapOf)), chapOf)
      } catch (thrown) {
        failures.push(messageOf(thrown))
      }
    }
    if (failures.length > 0) throw new Fault('agent failed', failures.join('; '))
  }
  /** Extents that a manager has said something of since the start. */
  const told = new Set<string>()
  /** Extents whose removal was ordered since the start. Their ids are never given again, so an order that wants one was made before. */
  const doomed = new Set<string>()
  function refuseDoomed(extents: readonly ExtentRemoved[]): void {
    const gone = extents.find((each) => doomed.has(each.extent))
    if (gone) throw new Fault('agent failed', `extent ${gone.extent} was removed by a later order`)
  }
  const newer = createNewer()
  const stopping = new AbortController()
  let later: Promise<void> = Promise.resolve()

  async function restore(): Promise<void> {
    await oneAtATime(() => applyExports(record.extents().filter((extent) => !told.has(extent.extent))))
      .catch((thrown: unknown) => { log.error('some exports did not come back', { error: messageOf(thrown) }) })
  }

  return {
    async start(sameBoot) {
      await lio.open()
      await pools.start()
      if (sameBoot) return restore()
      // The disks' caches may have lost something: whose legs may still be read is for a manager to say, if there is one.
      later = clock.sleep(TOLD_MS, stopping.signal).then(restore, () => undefined)
      return undefined
    },
    async stop() {
      stopping.abort()
      await Promise.all([later, pools.stop()])
    },
    async observe() {
      const [disks, tree, foreign] = await Promise.all([pools.look(), lio.read(), lio.foreign()])
      return { disks: disks.map((disk) => disk.seen), extents: disks.flatMap(({ seen, pool }) => (pool ? extentsSeen(seen.disk, pool, tree, record) : [])), foreign }
    },
    prepareDisk: ({ disk, device, force }, stillMine) => pools.prepare(disk, device, force, stillMine),
    releaseDisk: (disk, stillMine) => pools.release(disk, stillMine),
    async ensureExtents(extents, chap, stillMine, made) {
      const byDisk = groupByDisk(extents)
      for (const disk of byDisk.keys()) if (record.deviceOf(disk) === undefined) throw new Fault('unknown disk', `disk ${disk} is not one of this server's`)
      refuseDoomed(extents)
      await Promise.all([...byDisk].map(([disk, some]) => pools.ensure(disk, some, () => { refuseDoomed(some) })))
      await oneAtATime(async () => {
        stillMine()
        refuseDoomed(extents)
        newer.refuseOlder(extents, made) // it may have waited for space meanwhile
        newer.ensured(extents, made)
        await record.change((draft) => {
          for (const each of chap) draft.chap.set(each.initiator, each)
          for (const extent of extents) draft.extents.set(extent.extent, extent)
        })
        for (const { extent } of extents) told.add(extent)
        await applyExports(extents)
      })
      return { target, addresses }
    },
    async removeExtents(extents, stillMine) {
      await oneAtATime(async () => {
        stillMine()
        for (const { extent } of extents) doomed.add(extent)
        await record.change((draft) => { for (const { extent } of extents) draft.extents.delete(extent) })
        await applyExports(extents)
      })
      const failures: string[] = []
      await Promise.all([...groupByDisk(extents)].map(async ([disk, some]) => {
        try {
          if (record.deviceOf(disk) !== undefined) await pools.remove(disk, some.map((each) => each.extent), stillMine)
        } catch (thrown) {
          if (thrown instanceof Fault && thrown.fault === 'stale epoch') throw thrown
          failures.push(messageOf(thrown))
        }
      }))
      if (failures.length > 0) throw new Fault('agent failed', failures.join('; '))
    },
    banInitiator: (initiator, stillMine, made) => oneAtATime(async () => {
      stillMine()
      newer.banned(initiator, made)
      await record.change((draft) => {
        for (const [id, extent] of draft.extents) draft.extents.set(id, { ...extent, initiators: extent.initiators.filter((each) => each !== initiator) })
        draft.chap.delete(initiator)
      })
      const tree = await lio.read()
      const mapped = [...tree.acls.get(initiator) ?? []]
      await lio.apply([...mapped.map((lun) => ({ do: 'unmap', initiator, lun }) as const), { do: 'remove acl', initiator }], () => undefined)
      const until = clock.monoMs() + BAN_WAIT_MS
      while ((await lio.read()).acls.has(initiator) || await lio.hasSession(initiator)) {
        if (clock.monoMs() > until) throw new Fault('agent failed', `the session of ${initiator} did not end within ${BAN_WAIT_MS / 1000} s`)
        await clock.sleep(50)
      }
    }),
    async localDevice(extent) {
      const mine = record.extents().find((each) => each.extent === extent)
      if (!mine?.initiators.includes(self)) return undefined
      return Promise.resolve(lvPath(mine.disk, extent))
    },
  }
}

type ExtentRemoved = Pick<ExtentWanted, 'extent' | 'disk'>

function groupByDisk<E extends ExtentRemoved>(extents: readonly E[]): Map<string, E[]> {
  const groups = new Map<string, E[]>()
  for (const extent of extents) groups.set(extent.disk, [...groups.get(extent.disk) ?? [], extent])
  return groups
}

function extentsSeen(disk: string, pool: PoolReport, tree: TargetTree, record: StorageRecord): readonly ExtentSeen[] {
  const lunOf = new Map([...tree.luns].map(([lun, extent]) => [extent, lun]))
  const wanted = new Map(record.extents().map((extent) => [extent.extent, extent]))
  return pool.volumes.filter((each) => each.tags.includes('vsky.extent')).map((each) => {
    const tag = (name: string): string => each.tags.find((text) => text.startsWith(`vsky.${name}=`))?.slice(`vsky.${name}=`.length) ?? ''
    const lun = lunOf.get(each.name)
    const direct = wanted.get(each.name) // used by this host itself: not in the tree, and as the record says
    return {
      extent: each.name, disk, volume: /^[0-9a-f]{32}$/.test(tag('volume')) ? tag('volume') : '0'.repeat(32), segment: Number(tag('segment') || 0), generation: Number(tag('generation') || 0),
      bytes: each.bytes, lun: lun ?? (direct && direct.initiators.length > 0 ? direct.lun : -1),
      initiators: lun === undefined ? direct?.initiators ?? [] : [...tree.acls].filter(([, mapped]) => mapped.has(lun)).map(([initiator]) => initiator).sort(),
      note: tag('note'), ...(each.tags.includes(LEAVING) ? { leaving: true } : {}),
    }
  })
}
