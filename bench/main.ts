/**
 * `npm run bench`: what a volume costs, as ratios to one raw LUN over the same network, all from one run in the lab. Rounds alternate
 * between the candidates, so that what else the machine does hits all of them. Options: --rounds N (3), --seconds S (3), --repeats N (20).
 * `--repair`: what losses cost instead (bench/repair.ts).
 */
import { cpus, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { VolumeView } from '../lib/api/views.js'
import { Lab } from '../tools/lab/lab.js'
import { defaultWish } from '../tools/lab/plan.js'
import { table } from '../tools/cli/print.js'
import { repairBench } from './repair.js'
import { option, quantile } from './figures.js'

const NAME = 'bench'
const dist = dirname(dirname(fileURLToPath(import.meta.url)))

const rounds = option('rounds', 3)
const seconds = option('seconds', 3)
const repeats = option('repeats', 20)

interface Job {
  readonly name: string
  readonly args: readonly string[]
  readonly of: 'read' | 'write'
}

const jobs: readonly Job[] = [
  { name: '4k random write, depth 1', of: 'write', args: ['--rw=randwrite', '--bs=4k', '--iodepth=1'] }, { name: '4k random write, depth 16', of: 'write', args: ['--rw=randwrite', '--bs=4k', '--iodepth=16'] },
  { name: '4k random read, depth 1', of: 'read', args: ['--rw=randread', '--bs=4k', '--iodepth=1'] }, { name: '4k random read, depth 16', of: 'read', args: ['--rw=randread', '--bs=4k', '--iodepth=16'] },
  { name: '128k sequential write, depth 8', of: 'write', args: ['--rw=write', '--bs=128k', '--iodepth=8'] }, { name: '128k sequential read, depth 8', of: 'read', args: ['--rw=read', '--bs=128k', '--iodepth=8'] },
]

/** Operations a second of one fio run. */
async function fio(lab: Lab, host: string, device: string, job: Job): Promise<number> {
  const text = await lab.must(host, [
    'fio', '--name=j', `--filename=${device}`, '--direct=1', '--ioengine=libaio', `--runtime=${seconds}`, '--time_based', '--size=192M', '--output-format=json', '--thread', ...job.args,
  ], { timeoutMs: (seconds + 30) * 1000 })
  const parsed = JSON.parse(text.slice(text.indexOf('{'))) as { jobs: readonly Record<'read' | 'write', { iops: number }>[] }
  return parsed.jobs[0]?.[job.of].iops ?? 0
}

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

/** A volume on hd1; gives its device. `remembers`: what is written is remembered, as it is unless somebody says otherwise. */
async function volume(lab: Lab, name: string, legs: number, remembers: boolean): Promise<string> {
  await lab.json(['volume', 'create', name, '--size', '256MiB', '--redundancy', String(legs)])
  if (!remembers) await lab.json(['setting', 'set', 'volume.changes', '0', '--volume', name])
  return (await lab.json<VolumeView>(['volume', 'attach', name, '--host', 'hd1'])).device
}

async function throughput(lab: Lab): Promise<void> {
  const targets: { name: string; device: string }[] = []
  for (const legs of [1, 2, 3]) targets.push({ name: `${legs} ${legs === 1 ? 'leg' : 'legs'}`, device: await volume(lab, `legs${legs}`, legs, true) })
  targets.push({ name: '2 legs, no memory', device: await volume(lab, 'forgetful', 2, false) })
  // The raw LUN: one of a volume of its own, used through its SCSI disk with no device-mapper above it.
  await volume(lab, 'raw', 1, false)
  const raw = await lab.json<VolumeView>(['volume', 'show', 'raw'])
  const disk = await lab.must('hd1', ['bash', '-c', `dmsetup remove vsky-${raw.id} vsky-${raw.id}-body vsky-${raw.id}-s0 && for d in /sys/block/sd*; do tail -c +5 $d/device/vpd_pg80 | grep -q ${raw.segments[0]?.legs[0]?.extent ?? '?'} && echo /dev/\${d##*/}; done`])
  const all = [{ name: 'raw LUN', device: disk.trim() }, ...targets]
  await lab.service('mgr1', 'stop') // it would put the taken-down volume right again
  for (const { device } of all) await lab.must('hd1', ['dd', 'if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=192', 'oflag=direct', 'status=none'], { timeoutMs: 120_000 })
  const results = new Map<string, number[]>()
  for (let round = 0; round < rounds; round += 1) {
    for (const job of jobs) {
      const order = round % 2 === 0 ? all : [...all].reverse()
      for (const { name, device } of order) {
        const key = `${job.name}|${name}`
        results.set(key, [...results.get(key) ?? [], await fio(lab, 'hd1', device, job)])
      }
    }
    console.log(`round ${round + 1} of ${rounds} done`)
  }
  const median = (job: Job, name: string): number => quantile(results.get(`${job.name}|${name}`) ?? [], 0.5)
  console.log(`\nfio on hd1, ${rounds} rounds of ${seconds} s, O_DIRECT; medians of operations a second, in brackets the ratio to the raw LUN:`)
  console.log(table(jobs, [
    { title: 'JOB', of: (job) => job.name }, ...all.map(({ name }) => ({
      title: name.toUpperCase(), right: true, of: (job: Job) => (name === 'raw LUN' ? median(job, name).toFixed(0) : `${median(job, name).toFixed(0)} (${(median(job, name) / Math.max(1, median(job, 'raw LUN'))).toFixed(2)})`),
    })),
  ]))
  const small = jobs.filter((job) => job.of === 'write')
  console.log('\nWhat remembering changes costs: the rate of 2 legs with it, to that without, of each round:')
  console.log(table(small, [
    { title: 'JOB', of: (job) => job.name },
    { title: 'RATIOS', of: (job) => (results.get(`${job.name}|2 legs`) ?? []).map((value, round) => (value / Math.max(1, results.get(`${job.name}|2 legs, no memory`)?.[round] ?? 1)).toFixed(2)).join(' ') },
  ]))
}

console.log(`Conditions: ${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, Node ${process.version};`)
console.log('every host is a user-mode-linux kernel on these same cores, disks in memory: ratios mean something, absolute figures do not.')
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
try {
  const lab = await Lab.up({ ...defaultWish, name: NAME, heads: 1, diskBytes: 1536n * 1024n ** 2n, dist }, (line) => { console.log(line) })
  await new Promise((resolve) => setTimeout(resolve, 10_000)) // the disks are cleaned in the background meanwhile
  await latencies(lab)
  await throughput(lab)
} finally {
  await Lab.down(NAME)
}
