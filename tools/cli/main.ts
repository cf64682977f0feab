/** `vsky`: the command. Nouns first, then verbs; answers for people, or `--json` with the fields of lib/api/views.ts. */
import { Command, CommanderError } from 'commander'
import { contextOf } from './context.js'
import { diskCommands } from './disk.js'
import { eventCommands } from './event.js'
import { exitCodes, explain } from './explain.js'
import { hostCommands } from './host.js'
import { jobCommands } from './job.js'
import { managerCommands } from './manager.js'
import { settingCommands } from './setting.js'
import { settingsFile } from './settings.js'
import { statusCommands } from './status.js'
import { volumeCommands } from './volume.js'

const program = new Command('vsky').description('Vsky, a cluster block store for hypervisors').exitOverride().showHelpAfterError('(--help tells more)')
  .option('--json', 'answer with one JSON document of stable fields').option('--manager <url>', 'https://host:port[,…] or unix:/path (default: $VSKY_MANAGER)')
  .option('--tls-dir <dir>', 'ca.pem, cert.pem and key.pem of a person (default: $VSKY_TLS_DIR, then /etc/vsky/admin)').option('--timeout <seconds>', 'for one call, repeating it included', '120')
  .addHelpText('after', `\nWithout option and environment, manager and tls_dir are taken from ${settingsFile}.\nExit codes: 0 done; ${Object.entries(exitCodes).map(([name, code]) => `${code} ${name}`).join('; ')}.`)
const context = (): ReturnType<typeof contextOf> => contextOf(program)
hostCommands(program, context)
diskCommands(program, context)
volumeCommands(program, context)
eventCommands(program, context)
jobCommands(program, context)
settingCommands(program, context)
managerCommands(program, context)
statusCommands(program, context)
allowGlobalsEverywhere(program)

/** `vsky volume list --json` as well as `vsky --json volume list`. */
function allowGlobalsEverywhere(command: Command): void {
  for (const sub of command.commands) {
    if (sub.commands.length === 0) {
      for (const option of program.options) {
        sub.addOption(option)
        sub.on(`option:${option.attributeName()}`, (value: unknown) => { program.setOptionValue(option.attributeName(), value ?? true) })
        sub.on(`option:${option.name()}`, (value: unknown) => { program.setOptionValue(option.attributeName(), value ?? true) })
      }
    }
    sub.exitOverride()
    allowGlobalsEverywhere(sub)
  }
}

process.stdout.on('error', () => process.exit(0)) // the reader of a pipe has seen enough
try {
  await program.parseAsync()
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exit(thrown.exitCode === 0 ? 0 : exitCodes.usage)
  const { code, text, json } = explain(thrown)
  console.error(program.opts<{ json?: boolean }>().json === true ? JSON.stringify(json) : text)
  process.exit(code)
}
