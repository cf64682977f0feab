/** `vsky-manager backup`, `restore` and `rebuild`: the state of the cluster as a file, back from it, and back from the hosts alone. */
import { createInterface } from 'node:readline/promises'
import type { Clock, Random } from '../lib/ports.js'
import { readConfig } from './config.js'
import { loadTls } from '../lib/host/pki.js'
import { laterThan } from './plan/older.js'
import { newChapSecret } from './state/chap.js'
import { planRebuild } from './plan/rebuild.js'
import type { Rebuilt } from './plan/rebuild.js'
import { askHosts, hostsNamed } from './run/ask-hosts.js'
import { BackupRefused, readBackup, restoreBackup, writeBackup } from './store/backup.js'
import type { BackupHead } from './store/backup.js'
import { numberOf, textOf } from './store/db.js'
import { openDatabase } from './store/open.js'
import { refill } from './store/refill.js'

export interface Ports {
  readonly clock: Clock
  readonly random: Random
  readonly say: (line: string) => void
}

/** Beside the manager, which goes on. */
export async function backup(config: string, file: string, { clock, say }: Ports): Promise<void> {
  const db = await openDatabase(await readConfig(config))
  try {
    const rows = await writeBackup(db, file, clock.nowMs())
    say(`wrote ${file}: ${Object.entries(rows).map(([table, count]) => `${count} ${table}`).join(', ')}`)
  } finally {
    await db.close()
  }
}

/** `lost`: hosts that will not come back; all others that the backup names must answer, so that a state that is too old is not taken. */
export async function restore(config: string, file: string, { lost }: { readonly lost: readonly string[] }, { clock, say }: Ports): Promise<void> {
  const { head, hosts, volumes, segments } = await stateIn(file)
  const settings = await readConfig(config)
  const { told, silent } = await askHosts(hosts.filter(({ name }) => !lost.includes(name)), await loadTls(settings.tlsDir))
  const later = laterThan({ epoch: head.epoch, volumes, segments }, told)
  if (later.length > 0) throw new BackupRefused(`Cannot restore ${file}: it is older than the cluster: ${later.slice(0, 3).join('; ')}${later.length > 3 ? `; and ${later.length - 3} more` : ''}. Take a newer backup, or "vsky-manager rebuild"`)
  if (silent.size > 0) throw new BackupRefused(`Cannot restore ${file}: ${[...silent].map(([name, why]) => `${name} did not answer (${why})`).join('; ')}: whether it is older than the cluster can't be said; start the agents, or name those that will not come back with --lost`)
  const db = await openDatabase(settings)
  try {
    const lease = await db.get(`select epoch from lease where name = 'manager'`)
    const there = lease ? numberOf(lease, 'epoch') : 0
    if (there > head.epoch) throw new BackupRefused(`Cannot restore ${file}: it is of epoch ${head.epoch}, and this database has seen epoch ${there}`)
    await restoreBackup(db, file, { epoch: Math.max(there, ...told.map(({ seen }) => seen.epoch)), nowMs: clock.nowMs() })
    say(`restored ${file}: ${hosts.length} hosts, ${volumes.length} volumes; the next manager's epoch is above ${head.epoch}`)
    say('tokens and users are those of that moment: what was revoked since is good again, so look at "vsky token list" and "vsky user list"')
  } finally {
    await db.close()
  }
}

async function stateIn(file: string): Promise<{ readonly head: BackupHead; readonly hosts: { name: string; address: string }[]; readonly volumes: { id: string; name: string; attachEpoch: number }[]; readonly segments: { volume: string; index: number; generation: number }[] }> {
  const [hosts, volumes, segments]: [{ name: string; address: string }[], { id: string; name: string; attachEpoch: number }[], { volume: string; index: number; generation: number }[]] = [[], [], []]
  const head = await readBackup(file, (table, row) => {
    if (table === 'hosts') hosts.push({ name: textOf(row, 'name'), address: textOf(row, 'address') })
    else if (table === 'volumes') volumes.push({ id: textOf(row, 'id'), name: textOf(row, 'name'), attachEpoch: numberOf(row, 'attach_epoch') })
    else if (table === 'segments') segments.push({ volume: textOf(row, 'volume'), index: numberOf(row, 'idx'), generation: numberOf(row, 'generation') })
    return Promise.resolve()
  })
  return { head, hosts, volumes, segments }
}

export interface RebuildOptions {
  readonly hosts: string
  readonly lost: readonly string[]
  /** Only shows. */
  readonly plan: boolean
  readonly yes: boolean
}

export async function rebuild(config: string, { hosts, lost, plan: onlyPlan, yes }: RebuildOptions, { clock, random, say }: Ports): Promise<void> {
  const settings = await readConfig(config)
  const named = hostsNamed(hosts)
  if (named.length === 0) throw new BackupRefused('Cannot rebuild: name all hosts of the cluster with --hosts NAME=HOST:PORT,…')
  const { told, silent } = await askHosts(named.filter(({ name }) => !lost.includes(name)), await loadTls(settings.tlsDir))
  const plan = planRebuild({ told, silent: [...silent.keys()].sort(), lost: new Set(lost), nowMs: clock.nowMs() })
  for (const line of rebuiltLines(plan, silent)) say(line)
  if (onlyPlan) return
  if (silent.size > 0) throw new BackupRefused(`Nothing was written: ${[...silent.keys()].join(', ')} did not answer; start the agents, or name those that will not come back with --lost`)
  if (!yes && !await confirmed()) throw new BackupRefused('Nothing was written')
  const db = await openDatabase(settings)
  try {
    await refill(db, { ...plan, hosts: plan.hosts.map((host) => (host.chapPassword === '' ? { ...host, chapPassword: newChapSecret(random) } : host)) }, clock.nowMs())
    say(`wrote ${plan.volumes.length} volumes; the next manager's epoch is above ${plan.epoch}`)
  } finally {
    await db.close()
  }
}

async function confirmed(): Promise<boolean> {
  if (!process.stdin.isTTY) throw new BackupRefused('Nothing was written: say --yes where nobody can be asked')
  const asking = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return await asking.question('Write this into the database? All hosts of the cluster must be in the list above. (yes/no) ') === 'yes'
  } finally {
    asking.close()
  }
}

/** What was found, for a person: hosts, volumes with their good legs, and all that is not sure. */
export function rebuiltLines({ epoch, hosts, volumes, segments, extents, unsure }: Rebuilt, silent: ReadonlyMap<string, string>): readonly string[] {
  return [
    `hosts (${hosts.length} answered, highest epoch ${epoch}):`, ...hosts.map((host) => `  ${host.name}  ${host.roles.join(', ')}  ${host.address}`), ...[...silent].map(([name, why]) => `  ${name}  DID NOT ANSWER: ${why}`),
    `volumes (${volumes.length}):`,
    ...volumes.map((volume) => {
      const mine = extents.filter((extent) => extent.volume === volume.id)
      const good = segments.filter((segment) => segment.volume === volume.id).map((segment) => mine.filter((extent) => extent.segment === segment.index && extent.leg === 'insync').length)
      return `  ${volume.name}  ${volume.bytes} bytes  ${volume.phase === 'attached' ? `attached to ${volume.head}` : 'detached'}  ${good.length} segments, ${Math.min(...good)} to ${Math.max(...good)} good legs of ${volume.redundancy}, ${mine.filter((extent) => extent.leg !== 'insync').length} legs behind`
    }),
    ...(unsure.length === 0 ? ['all of it is sure'] : ['not sure:', ...unsure.map(({ about, why }) => `  ${about}: ${why}`)]),
    'not found again, whatever is written: tokens, users, settings, events, jobs, duties of hosts and disks, times of creation',
  ]
}
