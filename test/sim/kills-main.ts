/**
 * `npm run sim:kills [-- --story create --process manager|HOST --point 17 --step WORDS --every 1 -v]`: the manager, or an agent, is killed at every
 * step of every story (those whose words contain WORDS), one run for each; names a failing point with the command that does it again.
 */
import { register } from 'node:module'
import { parseArgs } from 'node:util'
import { takeTimers } from './inside.js'
import { changesOf } from './mutants.js'

const { values } = parseArgs({ options: {
  story: { type: 'string' }, process: { type: 'string' }, point: { type: 'string' }, step: { type: 'string', default: '' }, every: { type: 'string', default: '1' }, mutant: { type: 'string' },
  lines: { type: 'string', default: '0' }, verbose: { type: 'boolean', short: 'v', default: false },
} })
register('./hooks.js', import.meta.url, { data: { changes: changesOf(values.mutant) } })
takeTimers()
const { runKills } = await import('./kills-run.js')
process.exitCode = await runKills(values)
