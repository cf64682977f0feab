/** The manager's command line: reads the configuration and serves, or makes certificates. */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { systemClock } from '../lib/host/clock.js'
import { createLog } from '../lib/host/log.js'
import { systemRandom } from '../lib/host/random.js'
import { createRun } from '../lib/host/run.js'
import { messageOf } from '../lib/faults.js'
import { AuditBroken, verifyAudit } from './audit.js'
import { ConfigError, readConfig } from './config.js'
import { initCluster, issue } from './init.js'
import { LeaseStoreError } from './lease/store.js'
import { backup, rebuild, restore } from './recover.js'
import { serve } from './serve.js'
import { BackupRefused } from './store/backup.js'
import { DatabaseRefused } from './store/open.js'

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

async function start(path: string): Promise<void> {
  const config = await readConfig(path)
  await serve(config, version, createLog({ name: 'vsky-manager', level: 'info' }).child({ manager: config.name }))
}

const program = new Command('vsky-manager').description('The Vsky manager: decides, records, orders').version(version)
const list = (text: string): readonly string[] => text.split(',').filter((each) => each !== '')
program.option('--config <file>', 'configuration file', '/etc/vsky/manager.toml').action(async ({ config }: { config: string }) => { await start(config) })
const recovering = { clock: systemClock, random: systemRandom, say: (line: string) => { console.log(line) } }
const configOf = (): string => program.opts<{ config: string }>().config
program.command('backup <file>').description('writes the state of the cluster to a file, while the manager goes on').action(async (file: string) => { await backup(configOf(), file, recovering) })
program.command('restore <file>').description('fills an empty database from a backup, on either engine; no manager may run')
  .option('--lost <names>', 'hosts that will not come back, with commas', list, []).action(async (file: string, options: { lost: readonly string[] }) => { await restore(configOf(), file, options, recovering) })
program.command('rebuild').description('fills an empty database from what the hosts themselves tell, when there is no backup; no manager may run')
  .requiredOption('--hosts <list>', 'all hosts of the cluster: NAME=HOST:PORT with commas, the port of the agent').option('--lost <names>', 'hosts that will not come back, with commas', list, [])
  .option('--plan', 'only shows what was found, and what is not sure', false).option('--yes', 'does not ask', false)
  .action(async (options: { hosts: string; lost: readonly string[]; plan: boolean; yes: boolean }) => { await rebuild(configOf(), options, recovering) })
program.command('audit').description('the audit log, without a manager').command('verify [backup]').description('reckons the hashes of the audit log anew, of the database or of a backup, and names the first entry that does not fit')
  .option('--anchor <seq:hash>', 'an entry as it was told before, by vsky or in the log of a manager; several times if you like', (text: string, all: readonly string[]) => [...all, text], [] as readonly string[])
  .action(async (file: string | undefined, { anchor }: { anchor: readonly string[] }) => { await verifyAudit(configOf(), { file, anchor }, recovering.say) })
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
  const refused = thrown instanceof ConfigError || thrown instanceof LeaseStoreError || thrown instanceof DatabaseRefused
  process.exit(refused ? 78 : thrown instanceof BackupRefused || thrown instanceof AuditBroken ? 65 : 70)
}
