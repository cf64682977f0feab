/** The manager: reads its configuration, opens the state, takes the epoch, serves. Composition only. */
import { mkdir } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '../lib/host/clock.js'
import { createLog } from '../lib/host/log.js'
import { loadTls } from '../lib/host/pki.js'
import { systemRandom } from '../lib/host/random.js'
import { createRun } from '../lib/host/run.js'
import { messageOf } from '../lib/faults.js'
import { startRpcServer } from '../lib/rpc/server.js'
import { createHandler } from './api/door.js'
import { ConfigError, readConfig } from './config.js'
import { initCluster, issue } from './init.js'
import { createAgents } from './run/agents.js'
import { startCluster } from './run/loop.js'
import { migrate } from './store/schema.js'
import { openSqlite } from './store/sqlite.js'
import { takeOver } from './store/store.js'

const version = versionOf()

function versionOf(): string {
  for (const up of ['../package.json', '../../package.json']) {
    try {
      const found: unknown = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'))
      if (typeof found === 'object' && found !== null && 'version' in found && typeof found.version === 'string') return found.version
    } catch {
      continue // run from the sources or from dist: one of the two is there
    }
  }
  return 'unknown'
}

async function serve(path: string): Promise<void> {
  const config = await readConfig(path)
  const log = createLog({ name: 'vsky-manager', level: 'info' }).child({ manager: config.name })
  const tls = await loadTls(config.tlsDir)
  await mkdir(config.stateDir, { recursive: true, mode: 0o700 })
  const db = await openSqlite(join(config.stateDir, 'manager.db'))
  await migrate(db)
  const store = await takeOver(db, config.name, { clock: systemClock, random: systemRandom })
  const agents = createAgents({ tls, epoch: store.epoch, random: systemRandom })
  const running = await startCluster({
    name: config.name, version, store, agents, clock: systemClock, random: systemRandom, log, extentBytes: config.extentBytes,
    onEpochLost(lost) {
      log.error('another manager has taken over: this one ends', { error: lost.message })
      process.exit(75)
    },
  })
  await store.change((tx) => tx.event({ kind: 'manager active', about: 'manager', name: config.name, text: `epoch ${store.epoch}, version ${version}` }))
  const server = await startRpcServer({ host: config.host, port: config.port, tls, log, handle: createHandler(running.cluster) })
  log.info('active', { epoch: store.epoch, address: server.url, version })
  const stop = (signal: string): void => {
    log.info('stopping', { signal })
    void (async () => {
      await server.close()
      await running.stop()
      agents.close()
      await db.close()
      process.exit(0)
    })()
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

const program = new Command('vsky-manager').description('The Vsky manager: decides, records, orders').version(version)
const list = (text: string): readonly string[] => text.split(',').filter((each) => each !== '')
program.option('--config <file>', 'configuration file', '/etc/vsky/manager.toml').action(async ({ config }: { config: string }) => { await serve(config) })
program.command('init').description('makes the authority of a new cluster, the certificate of its manager and that of an admin')
  .requiredOption('--name <name>', 'name of the manager').requiredOption('--hosts <list>', 'its addresses and names, with commas', list)
  .option('--dir <dir>', 'where', '/etc/vsky/cluster')
  .action(async (options: { name: string; hosts: readonly string[]; dir: string }) => { console.log(await initCluster(createRun(), options)) })
program.command('issue').description('issues a certificate: for an agent, another manager, or a person')
  .requiredOption('--name <name>', 'name of the host or person').requiredOption('--role <role>', 'manager, agent, admin, operator or viewer')
  .option('--hosts <list>', 'addresses and names under which a server is reached, with commas', list, [])
  .option('--dir <dir>', 'where the authority is', '/etc/vsky/cluster').requiredOption('--out <dir>', 'where ca.pem, cert.pem and key.pem go')
  .action(async (options: { dir: string; name: string; role: string; hosts: readonly string[]; out: string }) => { console.log(await issue(createRun(), options)) })

process.on('unhandledRejection', (thrown) => {
  console.error(`vsky-manager: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`)
  process.exit(70) // a bug: the service manager starts it again, and the next turn cures what was under way
})
try {
  await program.parseAsync()
} catch (thrown) {
  console.error(`vsky-manager: ${messageOf(thrown)}`)
  process.exit(thrown instanceof ConfigError ? 78 : 70)
}
