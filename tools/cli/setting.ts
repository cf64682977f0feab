/** vsky setting … */
import type { Command } from 'commander'
import type { Context } from './context.js'
import { table } from './print.js'
import { UsageError } from './settings.js'

export function settingCommands(program: Command, context: () => Context): void {
  const setting = program.command('setting').description('what may be set while all runs')
  setting.command('list').description('all settings').option('--volume <name>', 'as they hold for one volume').action(async ({ volume }: { volume?: string }) => {
    const { ask, show, width } = context()
    show(await ask('settingList', volume === undefined ? {} : { volume }), (all) => table(all, [
      { title: 'NAME', of: (each) => each.name }, { title: 'VALUE', of: (each) => String(each.value), right: true }, { title: 'UNIT', of: (each) => each.unit || '-' },
      { title: 'FROM', of: (each) => String(each.min), right: true }, { title: 'TO', of: (each) => String(each.max), right: true }, { title: 'MEANING', of: (each) => each.help, elastic: true },
    ], width))
  })
  setting.command('set').description('sets one; without a value it goes back').argument('<name>').argument('[value]', 'a whole number').option('--volume <name>', 'for one volume only').allowUnknownOption()
    .action(async (name: string, value: string | undefined, { volume }: { volume?: string }) => {
      if (value !== undefined && !/^-?\d{1,15}$/.test(value)) throw new UsageError(`${name} takes a whole number, not ${JSON.stringify(value)}`)
      const { ask, show } = context()
      show(await ask('settingSet', { name, ...(value === undefined ? {} : { value: Number(value) }), ...(volume === undefined ? {} : { volume }) }), (now) => `${now.name} is ${now.value}${now.unit === '' ? '' : ` ${now.unit}`}${volume === undefined ? '' : ` for ${volume}`}`)
    })
}
