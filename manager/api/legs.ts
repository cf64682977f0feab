/** Segments and legs, across volumes: what lies where. */
import { PAGE_MAX } from '../../lib/api/lists.js'
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { online } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import type { ExtentRow } from '../state/rows.js'
import type { Reader } from '../store/db.js'
import { devicesOf, extentsOfAll, hostsNamed, legsPage, segmentsPage } from '../store/lists.js'
import { knownDisk } from './disks.js'
import { knownHost } from './hosts.js'
import { knownVolume } from './volumes.js'

interface Where {
  readonly volume?: string | undefined
  readonly host?: string | undefined
  readonly disk?: string | undefined
}

/** Ids for references; each that is given has to exist. */
async function known(db: Reader, { volume, host, disk }: Where): Promise<Where> {
  return {
    volume: volume === undefined ? undefined : (await knownVolume(db, volume)).id,
    host: host === undefined ? undefined : (await knownHost(db, host)).name,
    disk: disk === undefined ? undefined : (await knownDisk(db, disk)).id,
  }
}

export async function segmentList(cluster: Cluster, { limit = PAGE_MAX, after, ...where }: ApiParams<'segmentList'>): Promise<ApiResult<'segmentList'>> {
  const db = cluster.store.read
  const segments = await segmentsPage(db, { ...await known(db, where), after: positionOf(after), limit })
  const extents = await extentsOfAll(db, [...new Set(segments.map((segment) => segment.volume))])
  const view = await legViews(cluster, [...extents.values()].flat())
  const bySegment = new Map<string, ExtentRow[]>()
  for (const extent of [...extents.values()].flat()) {
    const key = `${extent.volume}/${extent.segment}`
    const group = bySegment.get(key)
    if (group) group.push(extent)
    else bySegment.set(key, [extent])
  }
  return segments.map(({ volume, name, index, offset, bytes, generation }) => ({
    volume: name, index, offset, bytes, generation, legs: (bySegment.get(`${volume}/${index}`) ?? []).map(view),
  }))
}

export async function legList(cluster: Cluster, { limit = PAGE_MAX, after, state, ...where }: ApiParams<'legList'>): Promise<ApiResult<'legList'>> {
  const db = cluster.store.read
  const legs = await legsPage(db, { ...await known(db, where), state, after, limit })
  const view = await legViews(cluster, legs)
  return legs.map((leg) => ({ ...view(leg), volume: leg.name, segment: leg.segment, slot: leg.slot, extentState: leg.state, lun: leg.lun }))
}

type LegSeen = ApiResult<'segmentList'>[number]['legs'][number]

async function legViews(cluster: Cluster, extents: readonly ExtentRow[]): Promise<(extent: ExtentRow) => LegSeen> {
  const db = cluster.store.read
  const devices = await devicesOf(db, [...new Set(extents.map((extent) => extent.disk))])
  const hosts = await hostsNamed(db, [...new Set(extents.map((extent) => extent.host))])
  return ({ id, leg, disk, host, bytes }) => ({
    extent: id, state: leg, disk, device: devices.get(disk) ?? '', host, zone: hosts.get(host)?.zone ?? '', online: online(cluster, host), bytes,
  })
}

function positionOf(after: string | undefined): { readonly name: string; readonly index: number } | undefined {
  if (after === undefined) return undefined
  const match = /^([^/]+)\/(\d{1,7})$/.exec(after)
  if (!match) throw new Fault('bad parameter', `after: expected VOLUME/INDEX, found ${JSON.stringify(after.slice(0, 80))}`)
  return { name: match[1] ?? '', index: Number(match[2]) }
}
