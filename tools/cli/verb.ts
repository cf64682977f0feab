/** A command stands for methods of the registry: what it does, who may and what may go wrong is said there, and only there. */
import type { Command } from 'commander'
import type { ApiName } from '../../lib/api/methods.js'
import { audienceOf } from '../../lib/api/roles.js'
import { apiMethod } from '../../lib/api/system.js'

const stood = new WeakMap<Command, readonly ApiName[]>()

/** Adds `name` to a noun. The first method is the one that the command is about; its help is the command's. */
export function verb(noun: Command, name: string, ...methods: readonly [ApiName, ...ApiName[]]): Command {
  const [first] = methods
  const asked = apiMethod(first)
  const { name: method, help, faults } = asked
  const command = noun.command(name).description(help)
  command.addHelpText('after', `\nMethod ${method}, for the role ${audienceOf(asked)}.${faults.length === 0 ? '' : ` Refused with: ${faults.join(', ')}.`}`)
  stood.set(command, methods)
  return command
}

/** The methods that a command calls; none for one that needs no manager. */
export function methodsOf(command: Command): readonly ApiName[] {
  return stood.get(command) ?? []
}
