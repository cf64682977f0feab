/**
 * A manager in this process: its real logic over SQLite in memory, its real door (mutual TLS) on loopback, agents that obey, and a clock that stands
 * still, so that nobody falls silent and nothing is done twice.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { apiMethods } from '../../lib/api/methods.js'
import { createLog } from '../../lib/host/log.js'
import { createAuthority, createSigner, issueCertificate, loadTls } from '../../lib/host/pki.js'
import type { Authority, CertificateRole, TlsMaterial } from '../../lib/host/pki.js'
import { systemRandom } from '../../lib/host/random.js'
import { createRun } from '../../lib/host/run.js'
import type { Clock, Log } from '../../lib/ports.js'
import { createRpcClient } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import { startRpcServer } from '../../lib/rpc/server.js'
import type { RpcServer, Stranger } from '../../lib/rpc/server.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { createAccess } from '../../manager/access/access.js'
import { strangerAtDoor } from '../../manager/api/audited.js'
import { apiDoor, createHandler } from '../../manager/api/door.js'
import type { Cluster } from '../../manager/run/cluster.js'
import { startCluster } from '../../manager/run/loop.js'
import type { Db } from '../../manager/store/db.js'
import { textOf } from '../../manager/store/db.js'
import { migrate } from '../../manager/store/schema.js'
import { openSpool } from '../../manager/store/spool.js'
import { openSqlite } from '../../manager/store/sqlite.js'
import { takeOver } from '../../manager/store/store.js'
import { obedientAgents } from './agents.js'

export const personRoles = ['viewer', 'operator', 'admin'] as const
/** Whose certificates there are: each of a person's roles, and the agents of st1 (an agent speaks for its own host). */
export const callers = [...personRoles, 'agent'] as const
export type Caller = (typeof callers)[number]

const MIB = 1024n * 1024n
/** Of scrypt; what the product takes is made to be slow. */
const quick = { n: 16, r: 1, p: 1 }

/** Time does not pass; a sleep ends by its signal alone. */
export const stillClock: Clock = {
  nowMs: () => 1_700_000_000_000,
  monoMs: () => 1_000_000,
  sleep: (_, signal) => new Promise((_resolve, reject) => {
    if (signal?.aborted === true) reject(signal.reason)
    else signal?.addEventListener('abort', () => { reject(signal.reason) }, { once: true })
  }),
}

/** A manager without others. */
export const onlyOne: Cluster['managers'] = {
  list: () => [{ name: 'mgr1', state: 'active', version: 'test', address: '' }], lease: () => ({ ageMs: 0, ttlMs: 6000, address: '' }), handOver: () => Promise.resolve(),
}

export interface ManagerRig {
  readonly cluster: Cluster
  readonly server: RpcServer
  readonly db: Db
  /** What was logged, one JSON object a line. */
  readonly lines: string[]
  readonly authority: Authority
  tls(caller: Caller): TlsMaterial
  client(caller: Caller): RpcClient
  /** Calls as an admin would, or as the agent for an agent's methods; a mutating call gets a request id. */
  call<N extends ApiName>(name: N, params: Omit<ApiParams<N>, 'request'>): Promise<ApiResult<N>>
  /** Everything that the database holds, but the audit log, in one number. */
  state(): Promise<string>
  /** Waits until no turn is about to do anything. */
  settle(): Promise<void>
  stop(): Promise<void>
}

export interface ManagerOptions {
  readonly servers?: number
  readonly volumes?: number
  readonly deadlineMs?: number
  /** For tokens, users and their attempts; default: it stands still. */
  readonly accessClock?: Clock
}

/** st1… with a disk each, hd1, and volumes v1… of 64 MiB with two legs; v1 is attached. */
export async function startManager({ servers = 3, volumes = 3, deadlineMs = 10_000, accessClock = stillClock }: ManagerOptions = {}): Promise<ManagerRig> {
  const dir = await mkdtemp(join(tmpdir(), 'vsky-manager-'))
  const run = createRun()
  const authority = await createAuthority(run, join(dir, 'ca'), { name: 'test' })
  const issue = async (commonName: string, role: CertificateRole): Promise<TlsMaterial> => {
    await issueCertificate(run, authority, { commonName, role, hosts: ['127.0.0.1'], outDir: join(dir, commonName) })
    return loadTls(join(dir, commonName))
  }
  const own = await issue('mgr1', 'manager')
  const certificates = new Map<Caller, TlsMaterial>()
  for (const caller of callers) certificates.set(caller, await issue(caller === 'agent' ? 'st1' : caller, caller))
  const lines: string[] = []
  const log: Log = createLog({ name: 'test', level: 'info', stream: { write: (line) => { lines.push(line); if (lines.length > 10_000) lines.splice(0, 5_000) } } })
  const db = await openSqlite(':memory:')
  await migrate(db)
  const ports = { clock: stillClock, random: systemRandom }
  const store = await takeOver(db, 'mgr1', ports)
  let address = ''
  const running = await startCluster({
    name: 'mgr1', version: 'test', store, agents: obedientAgents(), ...ports, log, extentBytes: 64n * MIB,
    gate: { standing: () => 'active', open: () => Promise.resolve() }, managers: { ...onlyOne, list: () => onlyOne.list().map((each) => ({ ...each, address })) },
    onEpochLost: (lost) => { throw lost },
  })
  running.takeUp()
  const access = createAccess({ db, ...ports, clock: accessClock, log, costs: { user: quick, token: quick } })
  const backups = await openSpool({ db, dir: join(dir, 'backups'), clock: stillClock, log, spareBytes: 0 })
  const onStranger = (stranger: Stranger): void => { running.cluster.audit.stranger(strangerAtDoor(stranger)) }
  const server = await startRpcServer({ host: '127.0.0.1', port: 0, tls: own, log, closeGraceMs: 200, deadlineMs, onStranger, ...apiDoor(createHandler(running.cluster, access, createSigner(run, authority), backups), access) })
  address = server.url
  const clients = new Map<Caller, RpcClient>()
  const tls = (caller: Caller): TlsMaterial => certificates.get(caller) ?? own
  const rig: ManagerRig = {
    cluster: running.cluster, server, lines, authority, tls,
    client(caller) {
      const known = clients.get(caller) ?? createRpcClient({ url: server.url, tls: { ...tls(caller), serverRoles: ['manager'] } })
      clients.set(caller, known)
      return known
    },
    async call(name, params) {
      const method = apiMethods[name]
      const full = (method.mutates ? { ...params, request: `test-${systemRandom.hex(8)}` } : params) as never
      const answer = await rig.client(method.role === 'agent' ? 'agent' : 'admin').call(method.name, [(method.params as { format(value: never): XmlValue }).format(full)])
      return method.result.parse(answer, '') as never
    },
    db,
    state: () => digestOf(db),
    async settle() {
      for (let quiet = 0, last = ''; quiet < 3; await new Promise((resolve) => setTimeout(resolve, 5))) {
        const now = await digestOf(db)
        quiet = now === last ? quiet + 1 : 0
        last = now
      }
    },
    async stop() {
      for (const client of clients.values()) client.close()
      await server.close()
      await backups.clear()
      await running.stop()
      await db.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
  await fill(rig, servers, volumes)
  return rig
}

export function registration(name: string, role: 'storage' | 'head'): ApiParams<'hostRegister'> {
  return {
    name, roles: [role], zone: '', address: '127.0.0.1:1', dataAddresses: ['127.0.0.1'], initiator: `iqn.2026-11.io.vsky:${name}`, version: 'test', bootId: 'boot-1', incarnation: 'inc-1',
    disks: role === 'storage' ? ['/dev/sdb'] : [],
  }
}

async function fill(rig: ManagerRig, servers: number, volumes: number): Promise<void> {
  const { hostRegister } = await import('../../manager/api/hosts.js')
  for (let at = 1; at <= servers; at += 1) await hostRegister(rig.cluster, registration(`st${at}`, 'storage'))
  await hostRegister(rig.cluster, registration('hd1', 'head'))
  await rig.settle()
  for (let at = 1; at <= volumes; at += 1) await rig.call('volumeCreate', { name: `v${at}`, bytes: 64n * MIB, redundancy: 2 })
  if (volumes > 0) await rig.call('volumeAttach', { volume: 'v1', host: 'hd1' })
  await rig.settle()
}

async function digestOf(db: Db): Promise<string> {
  const hash = createHash('sha256')
  for (const row of await db.all(`select name from sqlite_master where type = 'table' order by name`)) {
    const table = textOf(row, 'name')
    if (table === 'audit') continue // who was refused leaves a trace there, and nowhere else
    hash.update(`${table}\n${JSON.stringify(await db.all(`select * from ${table} order by 1, 2`))}\n`)
  }
  return hash.digest('hex')
}
