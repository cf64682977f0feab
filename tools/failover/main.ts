/**
 * `npm run lab:managers`: two managers on PostgreSQL in a lab of its own, and every trouble for the active one, in rotation, `--rounds` times.
 * The last lines tell how long nobody served, by trouble, and every violation. With `--keep` the lab stays up, for its logs.
 */
import { cpus } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { messageOf } from '../../lib/faults.js'
import { table } from '../cli/print.js'
import { Lab } from '../lab/lab.js'
import { rotate, wish } from './rotation.js'
import type { Outcome, Report } from './rotation.js'
import { troubles } from './troubles.js'
import type { Trouble } from './troubles.js'

const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const started = performance.now()
const say = (text: string): void => { console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${text}`) }

interface Options {
  readonly rounds: number
  readonly lab: string
  readonly only: readonly Trouble[]
  readonly keep?: true
}

const whole = (text: string): number => {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`${JSON.stringify(text)} is not a whole number from 1 to 9999`)
  return Number(text)
}
const troubleList = (text: string): readonly Trouble[] => {
  const unknown = text.split(',').filter((each) => !troubles.some((trouble) => trouble === each))
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}; there are ${troubles.join(', ')}`)
  return troubles.filter((each) => text.split(',').includes(each))
}

function readOptions(): Options {
  const program = new Command('npm run lab:managers --').description('Everything that can happen to a manager, in rotation, on real Linux kernels').showHelpAfterError()
    .addOption(new Option('--rounds <n>', 'times each').argParser(whole).default(1)).addOption(new Option('--only <troubles>', 'only these, with commas').argParser(troubleList).default(troubles, 'all'))
    .addOption(new Option('--lab <name>', 'name of the lab').default('managers')).addOption(new Option('--keep', 'leave the lab up'))
  program.parse()
  return program.opts<{ rounds: number; lab: string; only: readonly Trouble[]; keep?: true }>()
}

function quantile(values: readonly number[], q: number): string {
  const sorted = [...values].sort((a, b) => a - b)
  return `${((sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? 0) / 1000).toFixed(1)} s`
}

function tell(report: Report, only: readonly Trouble[]): void {
  const rows = only.map((trouble): readonly [string, readonly Outcome[]] => [trouble, report.outcomes.filter((each) => each.trouble === trouble)])
  const moved = report.outcomes.filter((each) => each.failedOver && each.trouble !== 'handing over')
  const all = moved.length > 0 ? [...rows, ['all fail-overs', moved] as const] : rows
  const gaps = ([, some]: (typeof all)[number]): readonly number[] => some.map((each) => each.gapMs)
  console.log(`\nNobody served, by what befell the active manager (${cpus().length} processors, all hosts on them):`)
  console.log(table(all, [
    { title: 'ACTIVE MANAGER', of: ([name]) => name }, { title: 'TIMES', of: ([, some]) => String(some.length), right: true }, { title: 'FAILED OVER', of: ([, some]) => String(some.filter((each) => each.failedOver).length), right: true },
    { title: 'MEDIAN', of: (row) => quantile(gaps(row), 0.5), right: true }, { title: 'P99', of: (row) => quantile(gaps(row), 0.99), right: true }, { title: 'WORST', of: (row) => quantile(gaps(row), 1), right: true },
  ]))
  console.log(`\n${report.volumes} volumes lived meanwhile, up to epoch ${report.epoch}; ${report.writes} writes, the longest took ${report.longestWriteMs.toFixed(0)} ms; ${report.refusals.length} calls were refused and given again`)
  for (const refusal of [...new Set(report.refusals.map((each) => each.replace(/^w\d+/, 'a volume')))]) console.log(`  ${refusal}`)
  console.log(report.violations.length === 0 ? 'VERDICT: no violation' : `VERDICT: ${report.violations.length} violations\n  ${report.violations.join('\n  ')}`)
}

const options = readOptions()
try {
  await Lab.down(options.lab)
  const lab = await Lab.up({ ...wish, name: options.lab, dist }, say)
  const report = await rotate(lab, Array.from({ length: options.rounds }, () => options.only).flat(), say)
  tell(report, options.only)
  process.exitCode = report.violations.length === 0 ? 0 : 1
} catch (thrown) {
  console.error(messageOf(thrown))
  process.exitCode = 1
} finally {
  if (options.keep) console.log(`lab ${options.lab} is up: npm run lab -- --lab ${options.lab} logs mgr1, and at last … down`)
  else await Lab.down(options.lab)
}
