/**
 * `npm run bench`: what a volume costs, as ratios to one raw LUN over the same network, all from one run in the lab. Rounds alternate
 * between the candidates, so that what else the machine does hits all of them. Options: --rounds N (3), --seconds S (3), --repeats N (20).
 * `--memory`: what remembering changes costs instead (bench/memory.ts). `--repair`: what losses cost instead (bench/repair.ts). `--peers`: beside DRBD and dm-raid instead (bench/peers.ts).
 */
import { cpus, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { VolumeView } from '../lib/api/views.js'
import { Lab } from '../tools/lab/lab.js'
import { defaultWish } from '../tools/lab/plan.js'
import { table } from '../tools/cli/print.js'
import { option, quantile } from './figures.js'
import { FIO_MIB, fio, fioJobs } from './fio.js'
import type { FioJob } from './fio.js'
import { memoryBench } from './memory.js'
import { peersBench } from './peers.js'
import { repairBench } from './repair.js'
import { bareLun, fill, makeVolume } from './volumes.js'

const NAME = 'bench'
const dist = dirname(dirname(fileURLToPath(import.meta.url)))

const rounds = option('rounds', 3)
const seconds = option('seconds', 3)
const repeats = option('repeats', 20)

async function latencies(lab: Lab): Promise<void> {
  const times = new Map<string, number[]>()
  const timed = async (name: string, args: readonly string[]): Promise<void> => {
    const from = performance.now()
    await lab.json(args)
    times.set(name, [...times.get(name) ?? [], performance.now() - from])
  }
  for (let round = 0; round < repeats; round += 1) {
    const from = performance.now()
    await timed('create 1 GiB, 3 legs', ['volume', 'create', 'b', '--size', '1GiB', '--redundancy', '3'])
    await timed('attach', ['volume', 'attach', 'b', '--host', 'hd1'])
    times.set('create + attach', [...times.get('create + attach') ?? [], performance.now() - from])
    await timed('detach', ['volume', 'detach', 'b'])
    await timed('delete', ['volume', 'delete', 'b'])
  }
  console.log(`\nThe vsky command, ${repeats} times each, its own start (about 0.25 s) included, ms:`)
  console.log(table([...times], [
    { title: 'COMMAND', of: ([name]) => name }, { title: 'P50', of: ([, values]) => quantile(values, 0.5).toFixed(0), right: true }, { title: 'P99', of: ([, values]) => quantile(values, 0.99).toFixed(0), right: true },
  ]))
}

async function throughput(lab: Lab): Promise<void> {
  const targets: { name: string; device: string }[] = []
  const volume = (name: string, legs: number, remembers: boolean): Promise<VolumeView> => makeVolume(lab, name, { legs, head: 'hd1', mebibytes: 256, remembers })
  for (const legs of [1, 2, 3]) targets.push({ name: `${legs} ${legs === 1 ? 'leg' : 'legs'}`, device: (await volume(`legs${legs}`, legs, true)).device })
  targets.push({ name: '2 legs, no memory', device: (await volume('forgetful', 2, false)).device })
  // The raw LUN: one of a volume of its own, used through its SCSI disk with no device-mapper above it.
  const all = [{ name: 'raw LUN', device: await bareLun(lab, await volume('raw', 1, false)) }, ...targets]
  await lab.service('mgr1', 'stop') // it would put the taken-down volume right again
  for (const { device } of all) await fill(lab, 'hd1', device, FIO_MIB)
  const results = new Map<string, number[]>()
  for (let round = 0; round < rounds; round += 1) {
    for (const job of fioJobs) {
      const order = round % 2 === 0 ? all : [...all].reverse()
      for (const { name, device } of order) {
        const key = `${job.name}|${name}`
        results.set(key, [...results.get(key) ?? [], (await fio(lab, 'hd1', device, job, seconds)).rate])
      }
    }
    console.log(`round ${round + 1} of ${rounds} done`)
  }
  const median = (job: FioJob, name: string): number => quantile(results.get(`${job.name}|${name}`) ?? [], 0.5)
  console.log(`\nfio on hd1, ${rounds} rounds of ${seconds} s, O_DIRECT; medians of operations a second, in brackets the ratio to the raw LUN:`)
  console.log(table(fioJobs, [
    { title: 'JOB', of: (job) => job.name }, ...all.map(({ name }) => ({
      title: name.toUpperCase(), right: true, of: (job: FioJob) => (name === 'raw LUN' ? median(job, name).toFixed(0) : `${median(job, name).toFixed(0)} (${(median(job, name) / Math.max(1, median(job, 'raw LUN'))).toFixed(2)})`),
    })),
  ]))
  const small = fioJobs.filter((job) => job.of === 'write')
  console.log('\nWhat remembering changes costs: the rate of 2 legs with it, to that without, of each round:')
  console.log(table(small, [
    { title: 'JOB', of: (job) => job.name },
    { title: 'RATIOS', of: (job) => (results.get(`${job.name}|2 legs`) ?? []).map((value, round) => (value / Math.max(1, results.get(`${job.name}|2 legs, no memory`)?.[round] ?? 1)).toFixed(2)).join(' ') },
  ]))
}

const conditions = [
  `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, Node ${process.version}`,
  'every host is a user-mode-linux kernel on these same cores, disks in memory: ratios mean something, absolute figures do not',
]
for (const line of conditions) console.log(line)
await Lab.down(NAME)
const stop = (): void => { void Lab.down(NAME).then(() => process.exit(130)) }
process.once('SIGINT', stop).once('SIGTERM', stop)
if (process.argv.includes('--repair')) {
  const at = process.argv.indexOf('--servers')
  const servers = (at < 0 ? '3,5,8' : process.argv[at + 1] ?? '').split(',').map(Number)
  if (servers.some((count) => !Number.isInteger(count) || count < 3 || count > 12)) throw new Error('--servers takes numbers from 3 to 12 with commas between them')
  await repairBench({ dist, repeats: option('repeats', 10), servers })
  process.exit(0)
}
if (process.argv.includes('--memory')) {
  await memoryBench({ dist, rounds: option('rounds', 7), seconds })
  process.exit(0)
}
if (process.argv.includes('--peers')) {
  await peersBench({ dist, rounds: option('rounds', 5), seconds, repeats: option('repeats', 3), conditions })
  process.exit(0)
}
try {
  const lab = await Lab.up({ ...defaultWish, name: NAME, heads: 1, diskBytes: 1536n * 1024n ** 2n, dist }, (line) => { console.log(line) })
  await new Promise((resolve) => setTimeout(resolve, 10_000)) // the disks are cleaned in the background meanwhile
  await latencies(lab)
  await throughput(lab)
} finally {
  await Lab.down(NAME)
}
