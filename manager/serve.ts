/**
 * One manager of any number: it serves its door from the start, watches as a standby, leads while it has the lease, and goes back when it has
 * handed it on. When another has taken the lease the process ends (75): nothing of an old epoch is left in it. Composition only.
 */
import { join } from 'node:path'
import { messageOf } from '../lib/faults.js'
import type { Fault } from '../lib/faults.js'
import { formatAnchor } from '../lib/audit.js'
import { notActive } from '../lib/api/active.js'
import { systemClock } from '../lib/host/clock.js'
import { createSigner, loadTls, openAuthority } from '../lib/host/pki.js'
import { systemRandom } from '../lib/host/random.js'
import { createRun } from '../lib/host/run.js'
import type { Log } from '../lib/ports.js'
import { startRpcServer } from '../lib/rpc/server.js'
import type { RpcHandler, RpcServerOptions } from '../lib/rpc/server.js'
import { createAccess } from './access/access.js'
import { startClassicServer } from './api/classic/door.js'
import { strangerAtDoor } from './api/audited.js'
import { apiDoor, createHandler, createLeavingHandler, createStandbyHandler } from './api/door.js'
import type { ManagerConfig } from './config.js'
import { databaseLease } from './lease/database.js'
import { openDeviceLease } from './lease/device.js'
import { createKeeper } from './lease/keeper.js'
import type { Held } from './lease/keeper.js'
import { createRoster } from './lease/roster.js'
import { leaseTimes } from './lease/timeline.js'
import { startWatchdog } from './lease/watchdog.js'
import { createAgents } from './run/agents.js'
import { startCluster } from './run/loop.js'
import { olderThanCluster } from './run/older.js'
import { keyOfHost } from './store/invitations.js'
import { createLockFile } from './store/lock-file.js'
import { openDatabase } from './store/open.js'
import { schemaVersion } from './store/schema.js'
import { openSpool } from './store/spool.js'
import { claimEpoch, newestEpoch, openStore } from './store/store.js'

/** Another manager is active. */
const EXIT_LOST = 75
const EXIT_BUG = 70
const EXIT_CONFIG = 78
/**
 * How long turns under way may go on: when handing over, and when ending, ms. What goes on after it is refused by the epoch. Those that write
 * end within the first; those that wait for an agent take seconds, and the next manager takes them up: nobody is served meanwhile.
 */
const DRAIN_MS = 300
const LAST_DRAIN_MS = 5000

export async function serve(config: ManagerConfig, version: string, log: Log): Promise<void> {
  const [clock, random] = [systemClock, systemRandom]
  const startedAt = clock.nowMs()
  const times = leaseTimes(config.leaseTtlMs)
  const tls = await loadTls(config.tlsDir)
  const authority = config.authorityDir === undefined ? undefined : createSigner(createRun({ log }), await openAuthority(config.authorityDir))
  const db = await openDatabase(config, { ahead: true })
  const { leaseDevice } = config
  // Renewals have a connection of their own: they must not wait behind what turns ask of the database.
  const leaseDb = leaseDevice === undefined && config.database.engine === 'postgres' ? await openDatabase(config) : db
  const leases = leaseDevice === undefined ? databaseLease(leaseDb, () => clock.nowMs()) : await openDeviceLease(leaseDevice, { clock, ioMs: times.ioMs })
  const watchdog = await startWatchdog({
    tickMs: times.tickMs,
    onDeath(why) {
      log.error('without its watchdog this manager may not work: it ends', { why })
      process.exit(EXIT_BUG)
    },
  })
  const lock = createLockFile(join(config.stateDir, 'manager.lock'), { beside: leaseDevice === undefined && config.database.engine === 'sqlite' })
  const keeper = createKeeper({
    store: leases, times, self: { name: config.name, address: config.address }, lock, clock, random, log, watchdog,
    ...(leaseDevice === undefined ? {} : { floor: () => newestEpoch(db) }),
  })
  const roster = createRoster({ db, self: { name: config.name, address: config.address, version }, times, clock, log })
  const stopping = new AbortController()

  const holder = (): { readonly holder: string; readonly address: string } => {
    const { record } = keeper.seen()
    return record && !record.released && record.holder !== config.name ? record : { holder: '', address: '' }
  }
  const standby = createStandbyHandler({
    notActive: (): Fault => notActive(config.name, holder()),
    status() {
      const { record, ageMs } = keeper.seen()
      const now = holder()
      return {
        name: config.name, state: 'standby', epoch: record?.epoch ?? 0, holder: now.holder, address: now.address, leaseAgeMs: ageMs, ttlMs: record?.ttlMs ?? times.ttlMs, managers: roster.list(now.holder),
        version, startedAt, schema: schemaVersion, hostsOnline: 0, hosts: 0, volumes: 0, underWay: 0, extentBytes: config.extentBytes,
      }
    },
  })
  let handle: RpcHandler = standby
  const access = createAccess({ db, clock, random, log })
  const backups = await openSpool({ db, dir: join(config.stateDir, 'backups', config.name), clock, log }) // others may share the folder of the state
  /** Who is not let in is noted by the active manager alone. */
  let onStranger: RpcServerOptions['onStranger']

  /** From the lease in hand to its end. */
  async function lead(held: Held): Promise<void> {
    let leaving = false
    const onLost = (lost: Error): void => {
      if (leaving) return
      log.error('another manager has taken over: this one ends', { error: lost.message })
      process.exit(EXIT_LOST)
    }
    void held.lost.then(onLost)
    const store = openStore(db, held, {
      clock,
      onAuditChanged: (expected, found) => { log.error('the audit log is not as this manager left it: somebody else has changed it. Compare it with a backup and with the heads in this log', { expected: formatAnchor(expected), found: formatAnchor(found) }) },
    })
    const agents = createAgents({
      tls, epoch: held.epoch, random, gate: held, keyOf: (host) => keyOfHost(store.read, host),
      onStaleEpoch(host) {
        olderThanCluster({ db, epoch: held.epoch, agents, nowMs: clock.nowMs() }, host).then((why) => {
          if (why === undefined) return
          log.error(`the database can't be used: ${why}`)
          process.exit(EXIT_CONFIG)
        }, (thrown: unknown) => { log.warn('a host refuses this epoch, and could not be asked why', { host: host.name, error: messageOf(thrown) }) })
      },
    })
    let done: () => void = () => undefined
    const ended = new Promise<void>((resolve) => { done = resolve })
    const [running] = await Promise.all([startCluster({
      name: config.name, version, store, agents, clock, random, log, extentBytes: config.extentBytes, gate: held, onEpochLost: onLost,
      managers: {
        list: () => roster.list(config.name), lease: () => ({ ageMs: keeper.seen().ageMs, ttlMs: times.ttlMs, address: config.address }),
        handOver: (to) => leave(to, DRAIN_MS),
      },
    }), access.refresh()])
    const onStop = (): void => { void leave('', LAST_DRAIN_MS) }

    async function leave(to: string, drainMs: number): Promise<void> {
      if (leaving) return ended
      leaving = true
      handle = createLeavingHandler(handle, standby)
      onStranger = undefined
      await Promise.race([Promise.all([running.stop(), backups.clear()]), clock.sleep(drainMs)])
      handle = standby // before the lease is gone: from then on another may know better
      const released = await held.release(to)
      log.info('the lease was given up', { epoch: held.epoch, to, released })
      agents.close()
      done()
    }
    const noted = store.change((tx) => tx.event({ kind: 'manager active', about: 'manager', name: config.name, text: `epoch ${held.epoch}, version ${version}` })) // before all that is asked for from now on
    handle = createHandler(running.cluster, access, authority, backups)
    log.info('active', { epoch: held.epoch, address: server.url, version })
    await noted
    onStranger = (stranger) => { running.cluster.audit.stranger(strangerAtDoor(stranger)) }
    running.takeUp()
    const classic = config.classic && await startClassicServer(running.cluster, config.classic, { stepGb: config.classic.stepGb }, log)
    if (classic) log.info('clients of the original API are answered, unencrypted and whoever they are', { address: classic.url })
    stopping.signal.addEventListener('abort', onStop, { once: true })
    if (stopping.signal.aborted) onStop()
    await ended
    await classic?.close()
    stopping.signal.removeEventListener('abort', onStop)
  }

  const server = await startRpcServer({
    host: config.host, port: config.port, tls, log, onStranger: (stranger) => { onStranger?.(stranger) }, ...apiDoor((context, method, params) => handle(context, method, params), access),
  })
  log.info('standby', { address: server.url, version, ttlMs: times.ttlMs })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info('stopping', { signal })
      stopping.abort(new Error(`the manager was stopped by ${signal}`))
    })
  }
  const announcing = Promise.allSettled([roster.keep(stopping.signal), access.keep(stopping.signal)])
  while (!stopping.signal.aborted) {
    const held = await keeper.acquire(stopping.signal).catch((thrown: unknown) => {
      if (!stopping.signal.aborted) throw thrown
      return undefined
    })
    if (!held) break
    if (leaseDevice === undefined || await claimEpoch(db, held, config.name, clock)) await lead(held)
    else await held.release('')
  }
  await server.close()
  await Promise.race([Promise.allSettled([announcing, leases.close()]).then(() => Promise.all([...new Set([db, leaseDb])].map((each) => each.close()))), clock.sleep(2000)])
  process.exit(0)
}
