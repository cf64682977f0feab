/**
 * `npm run sim -- --seed N [--seeds COUNT] [--servers 5] [--heads 2] [--volumes 6] [--ticks 120] [--faults power,network,…|any|all|none] [-v]`
 * Puts the stand-ins in place (hooks.ts), then loads the rest. A seed that fails is told with the command that does the same again.
 */
import { register } from 'node:module'
import { parseArgs } from 'node:util'
import { takeTimers } from './inside.js'
import { changesOf } from './mutants.js'

const { values } = parseArgs({ options: {
  seed: { type: 'string', default: '1' }, seeds: { type: 'string', default: '1' }, servers: { type: 'string' }, heads: { type: 'string' }, volumes: { type: 'string' },
  ticks: { type: 'string' }, faults: { type: 'string', default: 'all' }, mutant: { type: 'string' }, lines: { type: 'string', default: '60' }, verbose: { type: 'boolean', short: 'v', default: false },
} })
register('./hooks.js', import.meta.url, { data: { changes: changesOf(values.mutant) } })
takeTimers()
const { runSeeds } = await import('./seeds.js')
process.exitCode = await runSeeds(values)
