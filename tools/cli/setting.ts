/** vsky setting … */
import type { Command } from 'commander'
import type { Context } from './context.js'
import { table } from './print.js'
import { UsageError } from './settings.js'
import { verb } from './verb.js'

export function settingCommands(program: Command, context: () => Context): void {
  const setting = program.command('setting').description('what may be set while all runs')
  verb(setting, 'list', 'settingList').option('--volume <volume>', 'as they hold for one volume').action(async ({ volume }: { volume?: string }) => {
    const { ask, show, look } = context()
    show(await ask('settingList', volume === undefined ? {} : { volume }), (all) => table(all, [
      { title: 'NAME', of: (each) => each.name }, { title: 'VALUE', of: (each) => String(each.value), right: true }, { title: 'UNIT', of: (each) => each.unit || '-' },
      { title: 'FROM', of: (each) => String(each.min), right: true, minor: true }, { title: 'TO', of: (each) => String(each.max), right: true, minor: true }, { title: 'MEANING', of: (each) => each.help, elastic: true },
    ], look))
  })
  verb(setting, 'set', 'settingSet').argument('<setting>').argument('[value]', 'a whole number').option('--volume <volume>', 'for one volume only').allowUnknownOption()
    .action(async (name: string, value: string | undefined, { volume }: { volume?: string }) => {
      if (value !== undefined && !/^-?\d{1,15}$/.test(value)) throw new UsageError(`${name} takes a whole number, not ${JSON.stringify(value)}`)
      const { ask, show } = context()
      show(await ask('settingSet', { name, ...(value === undefined ? {} : { value: Number(value) }), ...(volume === undefined ? {} : { volume }) }), (now) => `${now.name} is ${now.value}${now.unit === '' ? '' : ` ${now.unit}`}${volume === undefined ? '' : ` for ${volume}`}`)
    })
}
