/**
 * `npm run sim:kills [-- --story create --process manager|HOST --point 17 --step WORDS --every 1 -v]`: the manager, or an agent, is killed at every
 * step of every story (those whose words contain WORDS), one run for each; names a failing point with the command that does it again.
 */
import { register } from 'node:module'
import { parseArgs } from 'node:util'
import { takeTimers } from './inside.js'
import { mutants } from './mutants.js'

const { values } = parseArgs({ options: {
  story: { type: 'string' }, process: { type: 'string' }, point: { type: 'string' }, step: { type: 'string', default: '' }, every: { type: 'string', default: '1' }, mutant: { type: 'string' },
  lines: { type: 'string', default: '0' }, verbose: { type: 'boolean', short: 'v', default: false },
} })
const mutant = values.mutant === undefined ? undefined : mutants.find(({ name }) => name === values.mutant)
if (values.mutant !== undefined && !mutant) throw new Error(`no mutant ${values.mutant}: there are ${mutants.map(({ name }) => name).join(', ')}`)
register('./hooks.js', import.meta.url, { data: { changes: mutant?.changes ?? [] } })
takeTimers()
const { runKills } = await import('./kills-run.js')
process.exitCode = await runKills(values)
