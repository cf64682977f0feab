/**
 * `npm run sim -- --seed N [--seeds COUNT] [--processes P] [--servers 5] [--heads 2] [--volumes 6] [--ticks 120] [--faults power,network,upgrade,…|any|all|none] [-v]`
 * Puts the stand-ins in place (hooks.ts), then loads the rest. A seed that fails is told with the command that does the same again.
 */
import { spawn } from 'node:child_process'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { takeTimers } from './inside.js'
import { changesOf } from './mutants.js'

const { values } = parseArgs({ options: {
  seed: { type: 'string', default: '1' }, seeds: { type: 'string', default: '1' }, processes: { type: 'string', default: '1' }, servers: { type: 'string' }, heads: { type: 'string' }, volumes: { type: 'string' },
  ticks: { type: 'string' }, faults: { type: 'string', default: 'all' }, mutant: { type: 'string' }, lines: { type: 'string', default: '60' }, verbose: { type: 'boolean', short: 'v', default: false },
} })

/** Each process takes every P-th part of the seeds, one after the other; when one of them fails the others end. */
async function spread(processes: number): Promise<number> {
  const [first, count] = [Number(values.seed), Number(values.seeds)]
  const began = performance.now()
  const children = Array.from({ length: processes }, (_, at) => {
    const from = first + Math.floor(count * at / processes)
    const more = (['servers', 'heads', 'volumes', 'ticks', 'faults', 'mutant', 'lines'] as const).flatMap((name) => (values[name] === undefined ? [] : [`--${name}`, values[name]]))
    const to = first + Math.floor(count * (at + 1) / processes)
    // Most of what a world makes is gone by the next event: a larger young generation saves a seventh of the time.
    return spawn(process.execPath, ['--max-semi-space-size=64', '--enable-source-maps', fileURLToPath(import.meta.url), '--seed', String(from), '--seeds', String(to - from), ...more], { stdio: 'inherit' })
  })
  let worst = 0
  await Promise.all(children.map((child) => new Promise<void>((resolve) => {
    child.on('close', (code) => {
      if (code !== 0 && worst === 0) {
        worst = 1
        for (const other of children) other.kill()
      }
      resolve()
    })
  })))
  if (worst === 0) console.log(`${count} seeds went well, in ${((performance.now() - began) / 1000).toFixed(0)} s`)
  return worst
}

if (Number(values.processes) > 1) process.exitCode = await spread(Number(values.processes))
else {
  register('./hooks.js', import.meta.url, { data: { changes: changesOf(values.mutant) } })
  takeTimers()
  const { runSeeds } = await import('./seeds.js')
  process.exitCode = await runSeeds(values)
}
