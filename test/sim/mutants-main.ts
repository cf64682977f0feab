/** `npm run sim:mutants [-- --only NAME] [--seeds 40]`: each deliberate fault of the product must be found; tells with which seed. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mutants } from './mutants.js'

const { values } = parseArgs({ options: { only: { type: 'string' }, seeds: { type: 'string', default: '40' } } })
const missed: string[] = []
const run = (...args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } => spawnSync(process.execPath, [join(import.meta.dirname, 'main.js'), '--faults', 'any', '--ticks', '60', '--lines', '0', ...args], { encoding: 'utf8', maxBuffer: 1 << 28 })
for (const { name, args = [] } of mutants.filter((each) => values.only === undefined || each.name === values.only)) {
  const began = performance.now()
  const { status, stdout, stderr } = run('--mutant', name, '--seeds', values.seeds, ...args)
  const seeds = stdout.split('\n').filter((line) => line.startsWith('seed '))
  const seconds = ((performance.now() - began) / 1000).toFixed(0)
  const law = stdout.split('\n').filter((line) => line !== '').at(-2) ?? ''
  const seed = /^seed (\d+): FAILED/.exec(seeds.at(-1) ?? '')?.[1]
  // The fault is what was found only if the same seed is well without it.
  const sound = seed !== undefined && run(...args, '--seed', seed).status === 0
  if (status === 1 && sound) console.log(`caught: ${name}: after ${seeds.length} seeds, ${seconds} s: ${law.slice(0, 160)}`)
  else {
    missed.push(name)
    console.log(`${status === 0 ? 'MISSED' : seed === undefined ? 'BROKEN' : `not told from the product itself (seed ${seed})`}: ${name}: ${seeds.length} seeds, ${seconds} s${status === 0 ? '' : `: ${stderr.slice(0, 400)}`}`)
  }
}
console.log(missed.length === 0 ? 'every mutant was caught' : `missed: ${missed.join(', ')}`)
process.exitCode = missed.length === 0 ? 0 : 1
