/** Hosts and disks as the original saw them: head servers, storage servers and physical disks, each with its number and priority. */
import { online } from '../../run/cluster.js'
import type { Cluster } from '../../run/cluster.js'
import { headOf } from '../../plan/exports.js'
import type { DiskRow, HostRow } from '../../state/rows.js'
import { numbersOf, syncingLegs } from '../../store/classic.js'
import type { LegRow, NumberRow } from '../../store/classic.js'
import { allDisks, allHosts } from '../../store/hosts.js'
import { allVolumes } from '../../store/volumes.js'
import { diskGb, diskPriority, headPriority, serverPriority, takesExtents } from './words.js'
import type { Priority } from './words.js'

export interface ClassicHost {
  readonly id: number
  readonly row: HostRow
  readonly priority: Priority
  readonly number: NumberRow
  readonly addresses: readonly string[]
}

export interface ClassicDisk {
  readonly id: number
  readonly row: DiskRow
  readonly server: ClassicHost
  readonly priority: Priority
  readonly number: NumberRow
  /** In units of 1025 MiB. */
  readonly capacity: number
  readonly available: number
}

export interface Fleet {
  readonly heads: readonly ClassicHost[]
  readonly servers: readonly ClassicHost[]
  readonly disks: readonly ClassicDisk[]
}

export async function loadFleet(cluster: Cluster): Promise<Fleet> {
  const db = cluster.store.read
  const [hosts, rows, headNumbers, serverNumbers, diskNumbers] = await Promise.all([allHosts(db), allDisks(db), numbersOf(db, 'head'), numbersOf(db, 'server'), numbersOf(db, 'disk')])
  const byNumber = <T extends { readonly id: number }>(all: readonly T[]): readonly T[] => [...all].sort((a, b) => a.id - b.id)
  const of = (role: 'head' | 'storage', numbers: ReadonlyMap<string, NumberRow>, priority: typeof headPriority): readonly ClassicHost[] => byNumber(hosts.flatMap((row) => {
    const number = numbers.get(row.name)
    if (!number || !row.roles.includes(role)) return []
    const now = { online: online(cluster, row.name), halted: isHalted(number, row) }
    return [{ id: number.id, row, number, priority: priority(row, now), addresses: addressesOfHost(row) }]
  }))
  const servers = of('storage', serverNumbers, serverPriority)
  const disks = byNumber(rows.flatMap((row) => {
    const [number, server] = [diskNumbers.get(row.id), servers.find((each) => each.row.name === row.host)]
    if (!number || !server) return []
    const priority = diskPriority(row, server.priority, isHalted(number, server.row))
    return [{ id: number.id, row, server, number, priority, capacity: diskGb(row.bytes), available: takesExtents(priority) && takesExtents(server.priority) ? diskGb(row.bytes - row.usedBytes) : 0 }]
  }))
  return { heads: of('head', headNumbers, headPriority), servers, disks }
}

/** It was told that all is shut down, and its agent has not been started anew since. */
function isHalted({ halted }: NumberRow, { incarnation }: HostRow): boolean {
  return halted !== '' && halted === incarnation
}

/** Where its data goes; a host that names no such address is reached where its agent is. */
function addressesOfHost({ dataAddresses, address }: HostRow): readonly string[] {
  return dataAddresses.length > 0 ? dataAddresses : [address.replace(/:\d+$/, '')]
}

/** Copies under way, counted at the head that does them and at the disk and server that they write to. */
export interface Resyncs {
  readonly head: (name: string) => number
  readonly server: (name: string) => number
  readonly disk: (id: string) => number
}

export async function loadResyncs(cluster: Cluster): Promise<Resyncs> {
  const db = cluster.store.read
  const legs = await syncingLegs(db)
  const heads = new Map(legs.length === 0 ? [] : (await allVolumes(db)).map((volume) => [volume.id, headOf(volume)]))
  const counted = (of: (leg: LegRow) => string) => (name: string): number => legs.filter((leg) => of(leg) === name).length
  return { head: counted((leg) => heads.get(leg.volume) ?? ''), server: counted((leg) => leg.host), disk: counted((leg) => leg.disk) }
}
