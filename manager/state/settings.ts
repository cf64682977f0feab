/**
 * What an operator may set while all runs: names, defaults, limits, and what each means. One table; validation, help and use come from
 * it. Those with `volume` may be set for one volume as well.
 */
/** Copies at once, each at least 1. */
export interface CopyLimits {
  readonly perSourceDisk: number
  readonly perServer: number
  readonly perHead: number
  readonly perCluster: number
}

export interface SettingSpec {
  readonly initial: number
  readonly min: number
  readonly max: number
  readonly unit: string
  readonly help: string
  readonly perVolume: boolean
  /** What would let an operator hide what an operator did. */
  readonly adminOnly?: true
}

export const settings = {
  'repair.grace': { initial: 300, min: 0, max: 604_800, unit: 's', perVolume: true, help: 'how long a silent server may come back before its legs are made anew elsewhere' },
  'volume.wait': { initial: 300, min: 0, max: 604_800, unit: 's', perVolume: true, help: 'how long I/O waits for a lost last leg before it gets an error; 0: for ever' },
  'volume.changes': { initial: 1, min: 0, max: 1, unit: '', perVolume: true, help: '1: what is written is remembered, and a leg that was away is brought up to date by it; 0: it is copied whole. From the next attachment on' },
  'disk.read_errors': { initial: 3, min: 1, max: 1_000_000, unit: 'errors', perVolume: false, help: 'so many read errors, and a disk is flagged: its legs should move away' },
  'resync.rate': { initial: 1_000_000, min: 1, max: 1_000_000, unit: 'MiB/s', perVolume: false, help: 'all copies together; 1000000 is as fast as it goes' },
  'resync.paused': { initial: 0, min: 0, max: 1, unit: '', perVolume: true, help: '1: no copy is begun' },
  'resync.per_source_disk': { initial: 2, min: 1, max: 64, unit: 'copies', perVolume: false, help: 'copies that read from one disk at once' },
  'resync.per_server': { initial: 4, min: 1, max: 256, unit: 'copies', perVolume: false, help: 'copies that read from or write to one storage server at once' },
  'resync.per_head': { initial: 4, min: 1, max: 256, unit: 'copies', perVolume: false, help: 'copies that one head server does at once' },
  'resync.per_cluster': { initial: 64, min: 1, max: 100_000, unit: 'copies', perVolume: false, help: 'copies in the whole cluster at once' },
  'audit.days': { initial: 365, min: 1, max: 36_500, unit: 'd', perVolume: false, adminOnly: true, help: 'entries of the audit log are kept so long, if they are not too many; only an admin sets it' },
  'audit.entries': { initial: 200_000, min: 1000, max: 10_000_000, unit: 'entries', perVolume: false, adminOnly: true, help: 'so many entries of the audit log are kept, the newest; only an admin sets it' },
} as const satisfies Readonly<Record<string, SettingSpec>>

export type SettingName = keyof typeof settings
export const settingNames = Object.keys(settings) as readonly SettingName[]

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(settings, name)
}

export function isAdminOnly(name: SettingName): boolean {
  return 'adminOnly' in settings[name]
}

/** What is wrong with a value, or nothing. */
export function settingProblem(name: SettingName, value: number): string | undefined {
  const { min, max, unit } = settings[name]
  return Number.isSafeInteger(value) && value >= min && value <= max ? undefined : `${name} takes a whole number from ${min} to ${max}${unit === '' ? '' : ` (${unit})`}, not ${value}`
}

export interface Settings {
  /** A volume's own value where it has one, else the cluster's. */
  of(name: SettingName, volume?: string): number
  limits(): CopyLimits
}

/** From rows `NAME` and `NAME@VOLUME`. */
export function settingsFrom(rows: ReadonlyMap<string, number>): Settings {
  const of: Settings['of'] = (name, volume) => (volume === undefined ? undefined : rows.get(`${name}@${volume}`)) ?? rows.get(name) ?? settings[name].initial
  return {
    of,
    limits: () => ({ perSourceDisk: of('resync.per_source_disk'), perServer: of('resync.per_server'), perHead: of('resync.per_head'), perCluster: of('resync.per_cluster') }),
  }
}
