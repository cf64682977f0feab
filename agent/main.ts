/** The agent: reads its configuration, brings up what it served before, opens its door, registers. Composition only. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import { Command } from 'commander'
import { messageOf } from '../lib/faults.js'
import { systemClock } from '../lib/host/clock.js'
import { sweepTemporaries } from '../lib/host/files.js'
import { createLog } from '../lib/host/log.js'
import { loadTls } from '../lib/host/pki.js'
import { systemRandom } from '../lib/host/random.js'
import { createRun } from '../lib/host/run.js'
import { startRpcServer } from '../lib/rpc/server.js'
import { ConfigError, readConfig } from './config.js'
import { createAgentHandler } from './core/door.js'
import { epochFile, openEpochs } from './core/epoch.js'
import { createJournal } from './core/journal.js'
import { createRegistration } from './core/registration.js'
import { join } from './join.js'
import type { JoinWish } from './join.js'
import { createHeadRole } from './head/role.js'
import { createStorageRole } from './storage/role.js'

const version = versionOf()

function versionOf(): string {
  for (const up of ['../package.json', '../../package.json']) {
    const path = new URL(up, import.meta.url)
    if (!existsSync(path)) continue // run from the sources or from dist: one of the two is there
    const found: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof found === 'object' && found !== null && 'version' in found && typeof found.version === 'string') return found.version
  }
  return 'unknown'
}

/** Start time of a process, in clock ticks since boot: with the pid it names a process for ever. */
async function startOf(pid: string): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

/** Two agents of one host would fight over its devices: the second is refused. Tells whether an agent has run here since the host was started. */
async function lockState(stateDir: string, bootId: string): Promise<{ readonly sameBoot: boolean }> {
  const path = joinPath(stateDir, 'agent.lock')
  const [pid = '', start = '', boot = ''] = (await readFile(path, 'utf8').catch(() => '')).trim().split(' ')
  if (boot === bootId && pid !== String(process.pid) && start !== '' && await startOf(pid) === start) throw new ConfigError(`another agent runs with ${stateDir} already (process ${pid})`)
  await writeFile(path, `${process.pid} ${await startOf(String(process.pid)) ?? ''} ${bootId}\n`)
  return { sameBoot: boot === bootId }
}

async function serve(path: string): Promise<void> {
  const config = await readConfig(path)
  const log = createLog({ name: 'vsky-agent', level: 'info' }).child({ host: config.name })
  await mkdir(config.stateDir, { recursive: true, mode: 0o700 })
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  const { sameBoot } = await lockState(config.stateDir, bootId)
  await sweepTemporaries(config.stateDir)
  const tls = await loadTls(config.tlsDir)
  const epochs = await openEpochs(epochFile(config.stateDir))
  const journal = createJournal(config.stateDir, { clock: systemClock, log })
  const incarnation = systemRandom.hex(8)
  const initiator = `iqn.2026-11.io.vsky:host.${config.name}`
  const run = createRun({ log })
  const shared = { stateDir: config.stateDir, udev: config.udev, run, log, clock: systemClock }
  const storage = config.roles.includes('storage')
    ? await createStorageRole({ ...shared, host: config.name, initiator, dataAddresses: config.dataAddresses, lvmTypes: config.lvmTypes })
    : undefined
  let changes = 0
  const registration = createRegistration({
    managers: config.managers, tls, changed: () => changes, clock: systemClock, log,
    self: {
      name: config.name, roles: config.roles, zone: config.zone, address: config.listen, dataAddresses: config.dataAddresses, initiator, version, bootId, incarnation, disks: config.disks,
    },
  })
  const head = config.roles.includes('head')
    ? await createHeadRole({ ...shared, onEvent: (volumes) => { registration.report(volumes) }, localDevice: (extent) => storage?.localDevice(extent) ?? Promise.resolve(undefined) })
    : undefined
  await storage?.start(sameBoot)
  await head?.start()
  const colon = config.listen.lastIndexOf(':')
  const server = await startRpcServer({
    host: config.listen.slice(0, colon), port: Number(config.listen.slice(colon + 1)), tls, log,
    handle: createAgentHandler({ host: config.name, self: { zone: config.zone, dataAddresses: config.dataAddresses, initiator, version }, bootId, incarnation, epochs, journal, storage, head, clock: systemClock, log, onChange: () => { changes += 1 }, onManager: (url) => { registration.follow(url) } }),
  })
  const stopping = new AbortController()
  const registered = registration.keep(stopping.signal)
  log.info('serving', { roles: config.roles, address: server.url, epoch: epochs.current(), version })
  const stop = (signal: string): void => {
    log.info('stopping: devices and exports stay up', { signal })
    void (async () => {
      stopping.abort()
      await server.close()
      await registered
      await Promise.all([storage?.stop(), head?.stop(), journal.flush()])
      process.exit(0)
    })()
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

process.on('unhandledRejection', (thrown) => {
  console.error(`vsky-agent: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`)
  process.exit(70) // a bug: the service manager starts it again; the kernel goes on serving meanwhile
})
try {
  const program = new Command('vsky-agent').description('The Vsky agent: makes this host match what the manager wants').version(version)
    .option('--config <file>', 'configuration file', '/etc/vsky/agent.toml').action(async ({ config }: { config: string }) => { await serve(config) })
  const list = (text: string): readonly string[] => text.split(',').filter((each) => each !== '')
  program.command('join').description('joins a cluster with an invitation (vsky host invite), which is read from a file or standard input: a certificate, and a configuration where there is none')
    .option('--invitation <file>', 'default: standard input').option('--name <name>', 'of this host, as it was invited', '').option('--roles <roles>', 'storage, head or both, with a comma', list, [])
    .option('--listen <address>', 'host:port of the agent, as managers reach it', '').option('--data-addresses <list>', 'where a storage server is reached by iSCSI, with commas', list, [])
    .option('--zone <zone>', 'failure domain', '').option('--disks <list>', 'devices to give to the cluster at once, with commas', list, []).option('--tls-dir <dir>', 'where certificate and key go', '/etc/vsky/tls')
    .action(async ({ invitation, ...wish }: Omit<JoinWish, 'invitation' | 'config'> & { readonly invitation?: string }) => {
      const text = invitation === undefined ? await readAll(process.stdin) : await readFile(invitation, 'utf8')
      console.log(await join({ ...wish, invitation: text, config: program.opts<{ config: string }>().config }, { run: createRun(), clock: systemClock }))
    })
  await program.parseAsync()
} catch (thrown) {
  console.error(`vsky-agent: ${messageOf(thrown)}`)
  process.exit(thrown instanceof ConfigError ? 78 : 70)
}
