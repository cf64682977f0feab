/** What stands for choice in a turn: all disks with what is free on them, and the heads that may copy a volume nobody uses. */
import type { RepairPlan } from '../plan/repair.js'
import { placeLegs } from '../plan/place-legs.js'
import type { PlaceDisk } from '../plan/place-legs.js'
import { SparePlacer } from '../plan/place-spares.js'
import type { DiskRow, ExtentRow, HostRow } from '../state/rows.js'
import type { Reader } from '../store/db.js'
import { allDisks, allHosts } from '../store/hosts.js'
import { online } from './cluster.js'
import type { Cluster } from './cluster.js'

/** All hosts and disks: what a placement is made from. */
export interface Fleet {
  readonly hosts: ReadonlyMap<string, HostRow>
  readonly disks: ReadonlyMap<string, DiskRow>
  /** Bytes given out since it was loaded, by disk. */
  readonly taken: Map<string, bigint>
  /** Made when the first spare is needed. */
  readonly spares: { placer?: SparePlacer; refused: number }
  /** Heads that may copy, with the volumes that they have or are to copy; made when the first is looked for. */
  readonly copiers: { list?: { readonly name: string; load: number }[]; readonly chosen: Map<string, string> }
}

export async function loadFleet(db: Reader): Promise<Fleet> {
  const [hosts, disks] = [await allHosts(db), await allDisks(db)]
  return { hosts: new Map(hosts.map((host) => [host.name, host])), disks: new Map(disks.map((disk) => [disk.id, disk])), taken: new Map(), spares: { refused: 0 }, copiers: { chosen: new Map() } }
}

/** To tell why there is no room takes a look at every disk; where it is missing for many segments the first tell it. */
const REFUSALS_TOLD = 20

/** The disks of new legs, or why there are none. */
export function placeSpares(cluster: Cluster, fleet: Fleet, bytes: bigint, { spares, occupied }: RepairPlan): readonly string[] | string {
  const beside = new Set(occupied)
  const placer = fleet.spares.placer ??= new SparePlacer(placeDisks(cluster, fleet))
  const found = placer.place(bytes, spares, beside)
  if (found) return found
  fleet.spares.refused += 1
  if (fleet.spares.refused > REFUSALS_TOLD) return `no further server has a disk with ${bytes} bytes free`
  const placement = placeLegs({ segments: [bytes], redundancy: spares }, placeDisks(cluster, fleet), beside)
  if (placement.kind === 'refused') return placement.reason
  const [legs = []] = placement.legs
  for (const disk of legs) placer.take(disk, bytes)
  return legs
}

export function placeDisks(cluster: Cluster, { hosts, disks, taken }: Fleet): readonly PlaceDisk[] {
  return [...disks.values()].map((disk) => {
    const host = hosts.get(disk.host)
    const used = disk.usedBytes + (taken.get(disk.id) ?? 0n)
    return {
      id: disk.id, host: disk.host, zone: host?.zone ?? '', state: disk.state, online: online(cluster, disk.host), duty: host && host.duty !== 'use' ? `its server: ${host.duty}` : disk.duty,
      bytes: disk.bytes, freeBytes: disk.bytes > used ? disk.bytes - used : 0n, label: `${disk.host}:${disk.device}`,
    }
  })
}

/**
 * For a detached volume: the source's own server if it is a head too, else the living head with the fewest volumes, those counted that it was
 * chosen for since the fleet was loaded. One for all segments of a volume. Empty: there is none.
 */
export function chooseHead(cluster: Cluster, { hosts, copiers }: Fleet, volume: string, source: ExtentRow): string {
  const before = copiers.chosen.get(volume)
  if (before !== undefined) return before
  const list = copiers.list ??= [...hosts.values()].filter((host) => host.roles.includes('head') && host.duty === 'use' && online(cluster, host.name))
    .map(({ name }) => ({ name, load: cluster.seen.get(name)?.volumes.length ?? 0 })).sort((a, b) => (a.name < b.name ? -1 : 1))
  const now = cluster.clock.monoMs()
  let best: { readonly name: string; load: number } | undefined
  for (const head of list) {
    if (best && head.load >= best.load && head.name !== source.host) continue
    if ((cluster.shunned.get(`${volume} ${head.name}`) ?? 0) > now) continue
    best = head
    if (head.name === source.host) break
  }
  if (best) best.load += 1
  copiers.chosen.set(volume, best?.name ?? '')
  return best?.name ?? ''
}
