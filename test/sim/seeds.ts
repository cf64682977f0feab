/** Runs seeds one after the other and tells of each; stops at the first that fails. */
import { mixes } from './faults.js'
import type { Mix } from './faults.js'
import { runSeed } from './run.js'
import type { RunOptions } from './run.js'
import { createDice } from '../../tools/thrash/dice.js'

export interface Arguments {
  readonly seed: string
  readonly seeds: string
  readonly servers?: string | undefined
  readonly heads?: string | undefined
  readonly volumes?: string | undefined
  readonly ticks?: string | undefined
  readonly faults: string
  readonly mutant?: string | undefined
  readonly lines: string
  readonly verbose: boolean
}

/** What is not said follows from the seed. */
function optionsOf(seed: number, { servers, heads, volumes, ticks, faults, verbose }: Arguments): RunOptions {
  const dice = createDice(seed, 100)
  const any = mixes.filter((mix) => mix === 'people' || dice.chance(0.6))
  const named = faults.split(',')
  for (const name of named) if (name !== 'all' && name !== 'none' && name !== 'any' && !mixes.some((mix) => mix === name)) throw new Error(`no faults ${name}: there are ${mixes.join(', ')}, all, any and none`)
  const mix: readonly Mix[] = faults === 'all' ? mixes : faults === 'any' ? any : mixes.filter((each) => named.includes(each))
  const number = (text: string | undefined, otherwise: number): number => (text === undefined ? otherwise : Number(text))
  return { seed, faults: mix, echo: verbose, servers: number(servers, dice.between(3, 6)), heads: number(heads, dice.between(1, 3)), volumes: number(volumes, dice.between(1, 6)), ticks: number(ticks, 120) }
}

export async function runSeeds(args: Arguments): Promise<number> {
  const [first, count] = [Number(args.seed), Number(args.seeds)]
  for (let seed = first; seed < first + count; seed += 1) {
    const began = performance.now()
    const options = optionsOf(seed, args)
    const result = await runSeed(options)
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    console.log(`seed ${seed}: ${result.violation === undefined ? 'ok' : 'FAILED'}: ${options.servers} servers, ${options.heads} heads, ${options.volumes} volumes, ${result.faults} faults (${options.faults.join(',')}), ${result.acked} writes, ${(result.virtualMs / 60_000).toFixed(1)} min, ${result.events} events, ${seconds} s, ${result.hash}`)
    if (result.violation === undefined) continue
    if (!args.verbose) console.log(result.lines.slice(-Number(args.lines)).join('\n'))
    const same = (['servers', 'heads', 'volumes', 'ticks', 'mutant'] as const).flatMap((name) => (args[name] === undefined ? [] : [`--${name} ${args[name]}`]))
    console.log(`\n${result.violation}\nthe same again: npm run sim -- --seed ${seed} --faults ${args.faults} ${same.join(' ')}`)
    return 1
  }
  return 0
}
