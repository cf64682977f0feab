/** Disks: given to Vsky, listed, taken back. */
import { PAGE_MAX } from '../../lib/api/lists.js'
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import type { DiskRow } from '../state/rows.js'
import type { Reader } from '../store/db.js'
import { addDisk, allHosts, findDisk, findHost, setDiskState } from '../store/hosts.js'
import { disksPage } from '../store/lists.js'
import { knownHost } from './hosts.js'
import { mutate } from './requests.js'
import { showDisk } from './show.js'

export async function knownDisk(db: Reader, reference: string): Promise<DiskRow> {
  const disk = await findDisk(db, reference)
  if (!disk) throw new Fault('unknown disk', `there is no disk ${JSON.stringify(reference)}`)
  return disk
}

export async function diskList(cluster: Cluster, { limit = PAGE_MAX, after, ...filter }: ApiParams<'diskList'>): Promise<ApiResult<'diskList'>> {
  const db = cluster.store.read
  if (filter.host !== undefined) await knownHost(db, filter.host)
  const zones = new Map((await allHosts(db)).map((each) => [each.name, each.zone]))
  const colon = after === undefined ? -1 : after.indexOf(':')
  const behind = after === undefined ? undefined : colon < 0 ? { host: after, device: '' } : { host: after.slice(0, colon), device: after.slice(colon + 1) }
  return (await disksPage(db, { ...filter, after: behind, limit })).map((disk) => showDisk(disk, zones.get(disk.host) ?? ''))
}

export async function diskShow(cluster: Cluster, { disk }: ApiParams<'diskShow'>): Promise<ApiResult<'diskShow'>> {
  const row = await knownDisk(cluster.store.read, disk)
  return showDisk(row, (await findHost(cluster.store.read, row.host))?.zone ?? '')
}

export function diskAdd(cluster: Cluster, params: ApiParams<'diskAdd'>, signal: AbortSignal): Promise<ApiResult<'diskAdd'>> {
  return mutate({
    cluster, method: 'vsky.disk.add', params, signal,
    async intend(tx) {
      const host = await findHost(tx, params.host)
      if (!host) throw new Fault('unknown host', `there is no host ${JSON.stringify(params.host)}`)
      if (!host.roles.includes('storage')) throw new Fault('wrong role', `${host.name} is not a storage server (its role: ${host.roles.join(', ')})`)
      if (!online(cluster, host.name)) throw new Fault('host offline', `${host.name} does not answer`)
      const known = await findDisk(tx, `${params.host}:${params.device}`)
      if (known) throw new Fault('disk taken', `${params.host}:${params.device} is a Vsky disk already (${known.id}, ${known.state})`)
      const id = cluster.random.hex(16)
      await addDisk(tx, { id, host: host.name, device: params.device, force: params.force })
      return { about: id, kick: 'disk' }
    },
    answer: (id) => diskShow(cluster, { disk: id }),
  })
}

export function diskRemove(cluster: Cluster, params: ApiParams<'diskRemove'>, signal: AbortSignal): Promise<ApiResult<'diskRemove'>> {
  return mutate({
    cluster, method: 'vsky.disk.remove', params, signal,
    async intend(tx) {
      const disk = await knownDisk(tx, params.disk)
      const label = `${disk.host}:${disk.device}`
      if (disk.extents > 0) throw new Fault('disk in use', `${label} holds ${disk.extents} extents`)
      if (disk.state === 'preparing' || disk.state === 'removing') throw new Fault('disk in use', `${label} is ${disk.state}`)
      if (!online(cluster, disk.host)) throw new Fault('host offline', `${disk.host} does not answer`)
      await setDiskState(tx, disk.id, 'removing', '')
      return { about: disk.id, kick: 'disk' }
    },
    answer: () => Promise.resolve({}),
  })
}
