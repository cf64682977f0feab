/** A manager of a process of its own, with the books of a large cluster that has no hosts: they are made as a backup and restored. */
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
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
const SERVERS = 100
const DISKS = 4
const hosts = [...Array.from({ length: SERVERS }, (_, at) => `st${at + 1}`), ...Array.from({ length: SERVERS / 5 }, (_, at) => `hd${at + 1}`)]

const hex = (kind: string, number: number): string => `${kind}${number.toString(16).padStart(31, '0')}`

type Row = Readonly<Record<string, string | number>>

/** Text of a backup of a cluster of 100 storage servers and 20 heads, with volumes of one segment on three legs, half of them attached. */
function backupOf(volumes: number): string {
  const lines: string[] = []
  const counts: Record<string, number> = { hosts: 0, disks: 0, volumes: 0, segments: 0, extents: 0, requests: 0, jobs: 0, settings: 0, events: 0, classic_counters: 0, classic_ids: 0 }
  const say = (value: unknown): void => { lines.push(`${JSON.stringify(value)}\n`) }
  const add = (name: string, row: Row): void => {
    counts[name] = (counts[name] ?? 0) + 1
    say({ table: name, row })
  }
  say({ vsky: 'backup', format: 1, schema: 4, epoch: 0, madeAt: 0 })
  for (const [at, name] of hosts.entries()) {
    add('hosts', {
      name, roles: JSON.stringify([at < SERVERS ? 'storage' : 'head']), zone: '', address: `127.0.0.1:${at + 1}`, data_addresses: '["127.0.0.1"]', initiator: `iqn.2026-11.io.vsky:host.${name}`, version: '0.1.0',
      boot_id: 'b', incarnation: 'i', chap_user: name, chap_password: 'abcdefghijkl', duty: 'use',
    })
  }
  for (let at = 0; at < SERVERS * DISKS; at += 1) {
    add('disks', { id: hex('d', at), host: hosts[Math.floor(at / DISKS)] ?? '', device: `/dev/sd${at % DISKS}`, state: 'ready', problem: '', bytes: 16_384 * GIB, clean_bytes: 0, force: 0, duty: 'use', read_errors: 0 })
  }
  for (let at = 0; at < volumes; at += 1) {
    add('volumes', {
      id: hex('a', at), name: `v${at}`, bytes: 8 * GIB, redundancy: LEGS, phase: at % 2 === 0 ? 'attached' : 'detached', head: at % 2 === 0 ? hosts[SERVERS + (at / 2) % (SERVERS / 5)] ?? '' : '', attach_epoch: 1, attach_boot: 'b',
      device: '', problem: '', created_at: 0, layout: 1, copy_head: '', copy_boot: '', next_head: '', remembers: 0, settled: 0, since_birth: 0,
    })
  }
  for (let at = 0; at < volumes; at += 1) add('segments', { volume: hex('a', at), idx: 0, first_byte: 0, bytes: 8 * GIB, generation: 1, spare: 0 })
  for (let at = 0; at < volumes * LEGS; at += 1) {
    const [volume, slot] = [Math.floor(at / LEGS), at % LEGS]
    const disk = (volume + slot * DISKS) % (SERVERS * DISKS)
    add('extents', {
      id: hex('e', at), disk: hex('d', disk), host: hosts[Math.floor(disk / DISKS)] ?? '', volume: hex('a', volume), segment: 0, slot, bytes: 8 * GIB, lun: Math.floor(at / LEGS), state: 'ready', leg: 'insync',
      stale_since: 0, retry_at: 0, doubt: 0, since: 0,
    })
  }
  const text = lines.join('')
  return `${text}${JSON.stringify({ end: true, rows: counts, sha256: createHash('sha256').update(text).digest('hex') })}\n`
}

export interface Place {
  readonly dir: string
  /** Lines of its configuration. */
  readonly database: string
}

export interface Managed {
  readonly client: RpcClient
  readonly port: number
  readonly pid: number
  /** From the start of the process until it says that it is active, s. */
  readonly startS: number
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
    client, port, pid: child.pid ?? 0, startS: (performance.now() - from) / 1000,
    async stop() {
      client.close()
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

/** Certificates of the manager (`tls`) and of an admin (`admin`), in folders of `dir`. */
export async function certify(dir: string): Promise<void> {
  const run = createRun()
  const authority = await createAuthority(run, join(dir, 'ca'), { name: 'bench' })
  await issueCertificate(run, authority, { commonName: 'm1', role: 'manager', hosts: ['127.0.0.1'], outDir: join(dir, 'tls') })
  await issueCertificate(run, authority, { commonName: 'admin', role: 'admin', hosts: [], outDir: join(dir, 'admin') })
}

/** Puts so many volumes into the empty databases of these places. */
export async function fill(dir: string, places: readonly Place[], volumes: number): Promise<void> {
  const file = join(dir, 'cluster.backup')
  await writeFile(file, backupOf(volumes), { mode: 0o600 })
  for (const place of places) {
    await promisify(execFile)(process.execPath, [main, '--config', await configure(dir, place, 1), 'restore', file, '--lost', hosts.join(',')])
    await (await start(dir, place)).stop() // the first start waits until nobody can have the lease that the backup speaks of
  }
}
