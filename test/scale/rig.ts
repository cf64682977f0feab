/** A manager in this process with the books of a large cluster: its real logic and door, agents by the books, hosts that are heard. */
import { join } from 'node:path'
import { hostsOf } from '../../bench/large.js'
import type { Cluster as Wish } from '../../bench/large.js'
import type { ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { apiMethods } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { systemClock } from '../../lib/host/clock.js'
import { createLog } from '../../lib/host/log.js'
import { loadTls } from '../../lib/host/pki.js'
import { systemRandom } from '../../lib/host/random.js'
import { createRpcClient } from '../../lib/rpc/client.js'
import { startRpcServer } from '../../lib/rpc/server.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { createAccess } from '../../manager/access/access.js'
import { apiDoor, createHandler } from '../../manager/api/door.js'
import { hostHeartbeat, hostRegister } from '../../manager/api/hosts.js'
import type { Cluster } from '../../manager/run/cluster.js'
import { startCluster } from '../../manager/run/loop.js'
import { numberOf } from '../../manager/store/db.js'
import { migrate } from '../../manager/store/schema.js'
import { openSpool } from '../../manager/store/spool.js'
import { openSqlite } from '../../manager/store/sqlite.js'
import { takeOver } from '../../manager/store/store.js'
import { must } from '../../lib/assert.js'
import { onlyOne } from '../support/manager.js'
import { agentsByTheBooks } from './agents.js'
import type { LargeAgents } from './agents.js'

/** Agents that start at the same time. */
const AT_ONCE = 32

export interface Rig {
  readonly agents: LargeAgents
  readonly hosts: readonly string[]
  /** As an admin over TLS; a mutating call gets a request id. */
  call<N extends ApiName>(name: N, params: Omit<ApiParams<N>, 'request'>): Promise<ApiResult<N>>
  /** Until each has registered anew and was looked at. */
  restartAgents(): Promise<void>
  /** Legs that a server has and that still count. */
  legsOn(host: string): Promise<number>
  /** Those of them whose segment has no new leg yet. */
  legsWithoutSpare(host: string): Promise<number>
  stop(): Promise<void>
}

/** `dir` has the certificates (bench/large.ts), `file` the books. */
export async function startRig(dir: string, file: string, wish: Wish): Promise<Rig> {
  const hosts = hostsOf(wish)
  const db = await openSqlite(file)
  await migrate(db)
  const ports = { clock: systemClock, random: systemRandom }
  const log = createLog({ name: 'scale', level: 'error' })
  const agents = agentsByTheBooks(() => cluster)
  const running = await startCluster({
    name: 'mgr1', version: 'test', store: await takeOver(db, 'mgr1', ports), agents, ...ports, log, extentBytes: 8n * 1024n ** 3n,
    gate: { standing: () => 'active', open: () => Promise.resolve() }, managers: onlyOne, onEpochLost: (lost) => { throw lost },
  })
  const cluster: Cluster = running.cluster
  running.takeUp()
  const access = createAccess({ db, ...ports, log })
  const backups = await openSpool({ db, dir: join(dir, 'backups'), clock: systemClock, log, spareBytes: 0 })
  const server = await startRpcServer({ host: '127.0.0.1', port: 0, tls: await loadTls(join(dir, 'tls')), log, closeGraceMs: 200, deadlineMs: 600_000, ...apiDoor(createHandler(cluster, access, undefined, backups), access) })
  const client = createRpcClient({ url: server.url, tls: { ...await loadTls(join(dir, 'admin')), serverRoles: ['manager'] } })
  const incarnations = new Map(hosts.map((name) => [name, 'i']))
  const beat = setInterval(() => {
    for (const name of hosts) void hostHeartbeat(cluster, { name, bootId: 'b', incarnation: incarnations.get(name) ?? '', changed: 0 })
  }, 1000)
  const count = async (sql: string, host: string): Promise<number> => numberOf(must(await db.get(sql, [host]), 'a count is a row'), 'n')

  return {
    agents, hosts,
    async call(name, params) {
      const method = apiMethods[name]
      const full = (method.mutates ? { ...params, request: `scale-${systemRandom.hex(8)}` } : params) as never
      for (;;) {
        try {
          return method.result.parse(await client.call(method.name, [(method.params as { format(value: never): XmlValue }).format(full)], { timeoutMs: 600_000 }), '') as never
        } catch (thrown) {
          if (!method.mutates || !(thrown instanceof Fault) || thrown.fault !== 'timed out') throw thrown // else the same request waits for what goes on
        }
      }
    },
    async restartAgents() {
      const left = [...hosts]
      const one = async (): Promise<void> => {
        for (let name = left.pop(); name !== undefined; name = left.pop()) {
          const row = must((await db.all('select * from hosts where name = ?', [name]))[0], 'a host of the cluster')
          incarnations.set(name, 'anew')
          await hostRegister(cluster, {
            name, roles: JSON.parse(String(row.roles)) as ('storage' | 'head')[], zone: '', address: String(row.address), dataAddresses: ['127.0.0.1'], initiator: String(row.initiator), version: 'test', bootId: 'b',
            incarnation: 'anew', disks: [],
          })
          while (agents.looked.get(name) !== 'anew') await systemClock.sleep(10)
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, one))
    },
    legsOn: (host) => count(`select count(*) as n from extents where host = ? and state <> 'dropping'`, host),
    legsWithoutSpare: (host) => count(
      `select count(*) as n from extents e where e.host = ? and e.state <> 'dropping' and (select count(*) from extents s where s.volume = e.volume and s.segment = e.segment and s.state <> 'dropping') < 4`, host),
    async stop() {
      clearInterval(beat)
      client.close()
      await server.close()
      await running.stop()
      await backups.clear()
      await db.close()
    },
  }
}
