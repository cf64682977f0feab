/** All commands of `vsky`. Nouns first, then verbs; answers for people, or `--json` with the fields of lib/api/views.ts. */
import { Command } from 'commander'
import { auditCommands } from './audit.js'
import { completionCommands } from './completion.js'
import { contextOf } from './context.js'
import { credentialCommands } from './credential.js'
import { diskCommands } from './disk.js'
import { eventCommands } from './event.js'
import { exitCodes } from './explain.js'
import { hostCommands } from './host.js'
import { jobCommands } from './job.js'
import { legCommands } from './leg.js'
import { managerCommands } from './manager.js'
import { rebalanceCommands } from './rebalance.js'
import { settingCommands } from './setting.js'
import { settingsFile } from './settings.js'
import { statusCommands } from './status.js'
import { volumeCommands } from './volume.js'

/** The command, ready to be given arguments. It throws CommanderError where commander would exit. */
export function createProgram(): Command {
  const program = new Command('vsky').description('Vsky, a cluster block store for hypervisors').exitOverride().showHelpAfterError('(--help tells more)')
    .option('--json', 'answer with one JSON document of stable fields').option('-y, --yes', 'do not ask whether to go on').option('--manager <url>', 'https://host:port[,…] or unix:/path (default: $VSKY_MANAGER)')
    .option('--tls-dir <dir>', 'ca.pem, cert.pem and key.pem of a person (default: $VSKY_TLS_DIR, then /etc/vsky/admin)')
    .option('--token-file <file>', 'a token, instead of a certificate: of the folder only ca.pem is read then (default: $VSKY_TOKEN_FILE)').option('--timeout <seconds>', 'for one call, repeating it included', '120')
    .addHelpText('after', `\nWithout option and environment, manager, tls_dir and token_file are taken from ${settingsFile}. NO_COLOR turns colours off.\nExit codes: 0 done; ${Object.entries(exitCodes).map(([name, code]) => `${code} ${name}`).join('; ')}.`)
  const context = (): ReturnType<typeof contextOf> => contextOf(program)
  for (const add of [hostCommands, diskCommands, volumeCommands, legCommands, eventCommands, jobCommands, rebalanceCommands, auditCommands, settingCommands, managerCommands, credentialCommands, statusCommands, completionCommands]) add(program, context)
  allowGlobalsEverywhere(program, program)
  return program
}

/** `vsky volume list --json` as well as `vsky --json volume list`. */
function allowGlobalsEverywhere(command: Command, program: Command): void {
  for (const sub of command.commands) {
    if (sub.commands.length === 0) {
      for (const option of program.options) {
        sub.addOption(option)
        sub.on(`option:${option.attributeName()}`, (value: unknown) => { program.setOptionValue(option.attributeName(), value ?? true) })
        sub.on(`option:${option.name()}`, (value: unknown) => { program.setOptionValue(option.attributeName(), value ?? true) })
      }
    }
    sub.exitOverride()
    allowGlobalsEverywhere(sub, program)
  }
}
