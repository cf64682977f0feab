/** What a lab consists of: names, addresses, network links, sizes. Pure, so that every mistake in a wish is told before anything is made. */
import { parseSize } from '../../lib/units.js'

export interface LabWish {
  readonly name: string
  /** More than one: they share a database of PostgreSQL. */
  readonly managers: number
  /** Where managers keep their state: a file of the first one's, or a host of its own. */
  readonly database: 'sqlite' | 'postgres'
  readonly storage: number
  readonly heads: number
  /** Data disks of each storage server. */
  readonly disks: number
  readonly diskBytes: bigint
  /** Storage servers are dealt out over so many zones; 0: no zone labels. */
  readonly zones: number
  /** The first so many storage servers are heads as well. */
  readonly both: number
  readonly extentSize: string
  /** False: only kernels and their exec servers. */
  readonly daemons: boolean
  /** False: disks are there, but not in the agents' configuration. */
  readonly registerDisks: boolean
  /** Folder of compiled JavaScript that the hosts run. */
  readonly dist: string
}

export const defaultWish = {
  name: 'lab', managers: 1, database: 'sqlite', storage: 3, heads: 2, disks: 2, diskBytes: 2n * 1024n ** 3n, zones: 0, both: 0, extentSize: '512MiB', daemons: true, registerDisks: true,
} as const satisfies Omit<LabWish, 'dist'>

export type HostKind = 'database' | 'manager' | 'storage' | 'head' | 'both'

/** Whether a Vsky agent runs there. */
export function hasAgent({ kind }: { readonly kind: HostKind }): boolean {
  return kind !== 'manager' && kind !== 'database'
}

export interface HostPlan {
  readonly name: string
  readonly kind: HostKind
  readonly zone: string
  /** Data plane, where iSCSI runs; control plane, where daemons and the lab talk. */
  readonly dataAddress: string
  readonly controlAddress: string
  /** Network links of the two planes, named in the lab's own name space. */
  readonly dataLink: string
  readonly controlLink: string
  readonly mac: { readonly data: string; readonly control: string }
  readonly disks: number
}

/** The hosts of a lab: db1 at .6, mgrN at .10+N, stN at .20+N, hdN at .60+N. */
export function planHosts(wish: Pick<LabWish, 'managers' | 'database' | 'storage' | 'heads' | 'disks' | 'zones' | 'both'>): readonly HostPlan[] {
  const make = (kind: HostKind, prefix: string, base: number, count: number): readonly HostPlan[] => Array.from({ length: count }, (_, index) => {
    const last = base + index + 1
    const hex = last.toString(16).padStart(2, '0')
    const name = `${prefix}${index + 1}`
    return {
      name, kind: kind === 'storage' && index < wish.both ? 'both' : kind,
      zone: kind === 'storage' && wish.zones > 0 ? `z${(index % wish.zones) + 1}` : '',
      dataAddress: `10.77.0.${last}`, controlAddress: `10.78.0.${last}`, dataLink: `d-${name}`, controlLink: `c-${name}`,
      mac: { data: `02:77:00:00:00:${hex}`, control: `02:78:00:00:00:${hex}` },
      disks: kind === 'storage' ? wish.disks : 0,
    }
  })
  return [...make('database', 'db', 5, wish.database === 'postgres' ? 1 : 0), ...make('manager', 'mgr', 10, wish.managers), ...make('storage', 'st', 20, wish.storage), ...make('head', 'hd', 60, wish.heads)]
}

/** Limits: one address block, and ubd's 16 disks of which the first is the host's own. */
const bounds = { managers: [0, 5], storage: [0, 30], heads: [0, 30], disks: [0, 12], zones: [0, 30], both: [0, 30] } as const

/** Reads `up`'s options. Gives every problem at once. */
export function readWish(options: Readonly<Record<string, string | boolean | undefined>>, dist: string): { readonly wish: LabWish; readonly problems: readonly string[] } {
  const problems: string[] = []
  const count = (key: keyof typeof bounds): number => {
    const value = options[key]
    if (value === undefined) return defaultWish[key]
    const [min, max] = bounds[key]
    const number = typeof value === 'string' && /^\d{1,3}$/.test(value) ? Number(value) : Number.NaN
    if (number >= min && number <= max) return number
    problems.push(`--${key} takes a number from ${min} to ${max}, not ${JSON.stringify(value)}`)
    return defaultWish[key]
  }
  const size = options.diskSize === undefined ? defaultWish.diskBytes : parseSize(String(options.diskSize))
  if (size === undefined || size < 64n * 1024n ** 2n) problems.push(`--disk-size takes a size of at least 64MiB, not ${JSON.stringify(options.diskSize)}`)
  const database = options.db ?? defaultWish.database
  if (database !== 'sqlite' && database !== 'postgres') problems.push(`--db takes sqlite or postgres, not ${JSON.stringify(database)}`)
  const name = typeof options.lab === 'string' ? options.lab : defaultWish.name
  if (!/^[a-z0-9][a-z0-9-]{0,19}$/.test(name)) problems.push(`--lab takes 1 to 20 lower-case letters, digits and dashes, not ${JSON.stringify(name)}`)
  const wish: LabWish = {
    name, managers: count('managers'), database: database === 'postgres' ? database : 'sqlite', storage: count('storage'), heads: count('heads'), disks: count('disks'), zones: count('zones'), both: count('both'),
    diskBytes: size ?? defaultWish.diskBytes, extentSize: typeof options.extentSize === 'string' ? options.extentSize : defaultWish.extentSize,
    daemons: options.daemons !== false, registerDisks: options.registerDisks !== false, dist: typeof options.dist === 'string' ? options.dist : dist,
  }
  if (database === 'sqlite' && wish.managers > 1) problems.push('--managers: several share a database on a host of its own, which --db postgres makes')
  return { wish, problems }
}

/** Both sides show the certificates that they have anyway. */
function databaseUrl({ controlAddress }: HostPlan): string {
  return `postgres://postgres@${controlAddress}/postgres?sslrootcert=/etc/vsky/tls/ca.pem&sslcert=/etc/vsky/tls/cert.pem&sslkey=/etc/vsky/tls/key.pem`
}

/** The configuration of a host's daemon, as it finds it in /etc/vsky. */
export function configOf(host: HostPlan, hosts: readonly HostPlan[], wish: LabWish): { readonly file: string; readonly text: string } {
  const lines = [`name = "${host.name}"`, `state_dir = "/var/lib/vsky"`, `tls_dir = "/etc/vsky/tls"`]
  if (host.kind === 'manager') {
    const database = hosts.filter((each) => each.kind === 'database').flatMap((each) => [`database = "${databaseUrl(each)}"`, 'database_unreplicated = true'])
    return { file: 'manager.toml', text: [...lines, ...database, `listen = "${host.controlAddress}:8881"`, `extent_size = "${wish.extentSize}"`, 'authority = "/etc/vsky/authority"', ''].join('\n') }
  }
  const roles = host.kind === 'both' ? ['storage', 'head'] : [host.kind]
  const managers = hosts.filter((each) => each.kind === 'manager').map((each) => `https://${each.controlAddress}:8881`)
  const disks = wish.registerDisks ? Array.from({ length: host.disks }, (_, index) => `/dev/mapper/disk${index + 1}`) : []
  return {
    file: 'agent.toml',
    text: [
      ...lines, `roles = ${JSON.stringify(roles)}`, ...(host.zone === '' ? [] : [`zone = "${host.zone}"`]), `managers = ${JSON.stringify(managers)}`,
      `listen = "${host.controlAddress}:8882"`, `data_addresses = ["${host.dataAddress}"]`, `disks = ${JSON.stringify(disks)}`, 'udev = false', 'lvm_types = ["ubd:16"]', '',
    ].join('\n'),
  }
}
