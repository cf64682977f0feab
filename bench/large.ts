/** A manager of a process of its own, with the books of a large cluster that has no hosts: they are made as a backup and restored. */
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { apiMethods } from '../lib/api/methods.js'
import { createAuthority, issueCertificate, loadTls } from '../lib/host/pki.js'
import { createRun } from '../lib/host/run.js'
import { createRpcClient } from '../lib/rpc/client.js'
import type { RpcClient } from '../lib/rpc/client.js'
import { freePort } from '../tools/lab/postgres-server.js'

const dist = dirname(dirname(fileURLToPath(import.meta.url)))
const main = join(dist, 'manager/main.js')
const GIB = 1024 ** 3
const LEGS = 3
const EXTENT = 8 * GIB

/** Storage servers are `st1`, `st2`, …, heads `hd1`, `hd2`, …, volumes `v0`, `v1`, … of three legs, half of them attached. */
export interface Cluster {
  readonly servers: number
  readonly disksEach: number
  readonly heads: number
  readonly volumes: number
  readonly segmentsEach: number
}

/** 100 servers and 20 heads, with volumes of one segment. */
export function someCluster(volumes: number): Cluster {
  return { servers: 100, disksEach: 4, heads: 20, volumes, segmentsEach: 1 }
}

const hex = (kind: string, number: number): string => `${kind}${number.toString(16).padStart(31, '0')}`
const named = (prefix: string, count: number): readonly string[] => Array.from({ length: count }, (_, at) => `${prefix}${at + 1}`)
export const hostsOf = ({ servers, heads }: Cluster): readonly string[] => [...named('st', servers), ...named('hd', heads)]

type Row = Readonly<Record<string, string | number>>

/** Rows of every table, each after those that it names. */
function* rowsOf(cluster: Cluster): Generator<readonly [string, Row]> {
  const { servers, disksEach, heads, volumes, segmentsEach } = cluster
  const disks = servers * disksEach
  for (const [at, name] of hostsOf(cluster).entries()) {
    yield ['hosts', {
      name, roles: JSON.stringify([at < servers ? 'storage' : 'head']), zone: '', address: `127.0.0.1:${at + 1}`, data_addresses: '["127.0.0.1"]', initiator: `iqn.2026-11.io.vsky:host.${name}`, version: '0.1.0',
      boot_id: 'b', incarnation: 'i', chap_user: name, chap_password: 'abcdefghijkl', duty: 'use',
    }]
  }
  for (let at = 0; at < disks; at += 1) {
    yield ['disks', { id: hex('d', at), host: `st${Math.floor(at / disksEach) + 1}`, device: `/dev/sd${at % disksEach}`, state: 'ready', problem: '', bytes: 32_768 * GIB, clean_bytes: 0, force: 0, duty: 'use', read_errors: 0 }]
  }
  for (let at = 0; at < volumes; at += 1) {
    yield ['volumes', {
      id: hex('a', at), name: `v${at}`, bytes: segmentsEach * EXTENT, redundancy: LEGS, phase: at % 2 === 0 ? 'attached' : 'detached', head: at % 2 === 0 ? `hd${(at / 2) % heads + 1}` : '', attach_epoch: 1, attach_boot: 'b',
      device: '', problem: '', created_at: 0, layout: 1, copy_head: '', copy_boot: '', next_head: '', remembers: 0, settled: 0, since_birth: 0,
    }]
  }
  for (let at = 0; at < volumes * segmentsEach; at += 1) yield ['segments', { volume: hex('a', Math.floor(at / segmentsEach)), idx: at % segmentsEach, first_byte: (at % segmentsEach) * EXTENT, bytes: EXTENT, generation: 1, spare: 0 }]
  const luns = new Map<number, number>()
  for (let at = 0; at < volumes * segmentsEach; at += 1) {
    for (let slot = 0; slot < LEGS; slot += 1) {
      const disk = (at + slot * disksEach) % disks
      const server = Math.floor(disk / disksEach)
      const lun = (luns.get(server) ?? 0) + 1
      luns.set(server, lun)
      yield ['extents', {
        id: hex('e', at * LEGS + slot), disk: hex('d', disk), host: `st${server + 1}`, volume: hex('a', Math.floor(at / segmentsEach)), segment: at % segmentsEach, slot, bytes: EXTENT,
        lun, state: 'ready', leg: 'insync', stale_since: 0, retry_at: 0, doubt: 0, since: 0,
      }]
    }
  }
}

/** Lines of a backup of it; of a large one there are too many for a text of their own. */
function* backupOf(cluster: Cluster): Generator<string> {
  const counts: Record<string, number> = { hosts: 0, disks: 0, volumes: 0, segments: 0, extents: 0, requests: 0, jobs: 0, settings: 0, events: 0, classic_counters: 0, classic_ids: 0 }
  const sum = createHash('sha256')
  const line = (value: unknown): string => {
    const text = `${JSON.stringify(value)}\n`
    sum.update(text)
    return text
  }
  yield line({ vsky: 'backup', format: 1, schema: 4, epoch: 0, madeAt: 0 })
  for (const [table, row] of rowsOf(cluster)) {
    counts[table] = (counts[table] ?? 0) + 1
    yield line({ table, row })
  }
  yield `${JSON.stringify({ end: true, rows: counts, sha256: sum.digest('hex') })}\n`
}

export interface Place {
  readonly dir: string
  /** Lines of its configuration. */
  readonly database: string
}

export interface Managed {
  readonly client: RpcClient
  readonly port: number
  /** From the start of the process until it says that it is active, s. */
  readonly startS: number
  residentMiB(): Promise<number>
  stop(): Promise<void>
}

async function configure(dir: string, { dir: state, database }: Place, port: number): Promise<string> {
  const config = join(dir, 'manager.toml')
  await mkdir(state, { recursive: true })
  await writeFile(config, [`name = "m1"`, `listen = "127.0.0.1:${port}"`, `state_dir = "${state}"`, `tls_dir = "${join(dir, 'tls')}"`, 'extent_size = "8GiB"', database, ''].join('\n'))
  return config
}

export async function start(dir: string, place: Place): Promise<Managed> {
  const port = await freePort()
  const config = await configure(dir, place, port)
  const client = createRpcClient({ url: `https://127.0.0.1:${port}`, tls: await loadTls(join(dir, 'admin')) })
  const from = performance.now()
  const child = spawn(process.execPath, [main, '--config', config], { stdio: ['ignore', 'ignore', 'inherit'] })
  for (;;) {
    const state = await client.call(apiMethods.managerStatus.name, [{}], { timeoutMs: 1000 }).then((answer) => apiMethods.managerStatus.result.parse(answer, ''), () => undefined)
    if (state?.state === 'active') break
    if (child.exitCode !== null) throw new Error(`the manager ended with ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    client, port, startS: (performance.now() - from) / 1000,
    residentMiB: async () => Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${child.pid ?? 0}/status`, 'utf8'))?.[1] ?? 0) / 1024,
    async stop() {
      client.close()
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

/** Certificates of the manager (`tls`), and of admins and agents, in folders of `dir` that are called as they are. */
export async function certify(dir: string, { admin = ['admin'], agent = [] }: { readonly admin?: readonly string[]; readonly agent?: readonly string[] } = {}): Promise<void> {
  const run = createRun()
  const authority = await createAuthority(run, join(dir, 'ca'), { name: 'bench' })
  await issueCertificate(run, authority, { commonName: 'm1', role: 'manager', hosts: ['127.0.0.1'], outDir: join(dir, 'tls') })
  for (const [role, names] of [['admin', admin], ['agent', agent]] as const) for (const name of names) await issueCertificate(run, authority, { commonName: name, role, hosts: [], outDir: join(dir, name) })
}

/** Puts a cluster into the empty databases of these places. */
export async function fill(dir: string, places: readonly Place[], cluster: Cluster): Promise<void> {
  const file = join(dir, 'cluster.backup')
  await pipeline(Readable.from(backupOf(cluster)), createWriteStream(file, { mode: 0o600 }))
  for (const place of places) {
    await promisify(execFile)(process.execPath, [main, '--config', await configure(dir, place, 1), 'restore', file, '--lost', hostsOf(cluster).join(',')])
    await (await start(dir, place)).stop() // the first start waits until nobody can have the lease that the backup speaks of
  }
}
