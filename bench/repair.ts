/**
 * `npm run bench -- --repair`: how long what was lost takes to be whole again, what a copy costs the writers beside it, and how long a
 * writer waits when something fails. Options: --repeats N (10) of each failure, --servers 3,5,8.
 */
import type { DiskView, StatusView, VolumeView } from '../lib/api/views.js'
import { formatSizeRounded } from '../lib/units.js'
import { table } from '../tools/cli/print.js'
import { Lab } from '../tools/lab/lab.js'
import { defaultWish } from '../tools/lab/plan.js'
import type { LabWish } from '../tools/lab/plan.js'
import { startWriter } from '../tools/lab/trial.js'
import { median } from './figures.js'
import { fio, randomWrite } from './fio.js'
import { copyRates, fill, lastEvent, makeVolume, scsiDiskOf } from './volumes.js'
import { waitFor } from './wait.js'

const NAME = 'bench'
const MIB = 1024n * 1024n
/**
 * When all is in sync again the head still takes down what the copy stood on: here some ten programs of 100 to 400 ms each, which a failure
 * in these seconds would wait for (disk errors then held a writer for 1.9 to 2.6 s, and for 0.5 to 1.0 s otherwise).
 */
const SETTLED_MS = 5000

export interface RepairBenchOptions {
  readonly dist: string
  readonly repeats: number
  readonly servers: readonly number[]
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function inLab<T>(dist: string, wish: Partial<LabWish>, work: (lab: Lab) => Promise<T>): Promise<T> {
  await Lab.down(NAME)
  const lab = await Lab.up({ ...defaultWish, diskBytes: 1024n * MIB, extentSize: '64MiB', ...wish, name: NAME, dist })
  try {
    await pause(8000) // the disks are cleaned in the background meanwhile
    return await work(lab)
  } finally {
    await lab.down()
  }
}

async function healthy(lab: Lab): Promise<void> {
  await waitFor('healthy', () => lab.json<StatusView>(['status']), (status) => status.verdict === 'healthy', { everyMs: 300 })
}

/** Loses the fullest disk; gives what was on it and the seconds until all is whole. */
async function loseDisk(lab: Lab): Promise<{ readonly bytes: bigint; readonly seconds: number }> {
  for (let volume = 0; volume < 6; volume += 1) {
    await lab.json(['volume', 'create', `b${volume}`, '--size', '256MiB', '--redundancy', '2'])
    const head = volume % 2 === 0 ? 'hd1' : 'hd2'
    await lab.json(['volume', 'attach', `b${volume}`, '--host', head])
    await fill(lab, head, `/dev/vsky/b${volume}`, 256)
  }
  const [fullest] = (await lab.json<readonly DiskView[]>(['disk', 'list'])).map((disk) => ({ disk, used: BigInt(disk.bytes) - BigInt(disk.freeBytes) })).sort((a, b) => Number(b.used - a.used))
  const from = performance.now()
  await lab.json(['disk', 'fail', `${fullest?.disk.host ?? ''}:${fullest?.disk.device ?? ''}`])
  await pause(500)
  await healthy(lab)
  return { bytes: fullest?.used ?? 0n, seconds: (performance.now() - from) / 1000 }
}

/** Both kinds of copy go to where nothing was written before: disks in memory take twice as long over a page the first time. */
async function copyRate(lab: Lab): Promise<string> {
  const volume = await lab.json<VolumeView>(['volume', 'create', 'raw', '--size', '1GiB', '--redundancy', '2'])
  await lab.json(['volume', 'attach', 'raw', '--host', 'hd1'])
  await fill(lab, 'hd1', '/dev/vsky/raw', 1024)
  const legs = volume.segments[0]?.legs ?? []
  const rates: number[] = []
  for (let round = 0; round < 3; round += 1) {
    const to = await makeVolume(lab, `to${round}`, { legs: 1, head: 'hd1', mebibytes: 1024 })
    const [target] = to.segments[0]?.legs ?? []
    const source = legs.find((leg) => leg.host !== target?.host)
    const [from, onto] = [await scsiDiskOf(lab, 'hd1', source?.extent ?? '?'), await scsiDiskOf(lab, 'hd1', target?.extent ?? '?')]
    const began = performance.now()
    await lab.must('hd1', ['dd', `if=${from}`, `of=${onto}`, 'bs=1M', 'count=1024', 'iflag=direct', 'oflag=direct', 'status=none'])
    rates.push(1024 / ((performance.now() - began) / 1000))
  }
  const drop = async (name: string): Promise<void> => {
    await lab.json(['volume', 'detach', name])
    await lab.json(['volume', 'delete', name])
  }
  for (const name of ['to0', 'to1', 'to2']) await drop(name)
  await pause(8000) // what they had is cleaned in the background
  const known = await lastEvent(lab)
  await lab.json(['disk', 'fail', `${legs[1]?.host ?? ''}:${legs[1]?.device ?? ''}`])
  await pause(500)
  await healthy(lab)
  const spans = await copyRates(lab, 'raw', known, volume.segments[0]?.bytes ?? 0n)
  await drop('raw')
  return `1 GiB, raw copy between two LUNs ${median(rates).toFixed(0)} MiB/s; resync of a segment ${median(spans).toFixed(0)} MiB/s, layouts included: ${(median(spans) / Math.max(1, median(rates))).toFixed(2)} of it`
}

/** 99th percentile of a write, ms: idle, and while the same volume is being copied. */
async function writersBeside(lab: Lab): Promise<string> {
  const view = await lab.json<VolumeView>(['volume', 'create', 'busy', '--size', '1GiB', '--redundancy', '2'])
  await lab.json(['volume', 'attach', 'busy', '--host', 'hd1'])
  await fill(lab, 'hd1', '/dev/vsky/busy', 1024)
  const p99 = async (): Promise<number> => (await fio(lab, 'hd1', '/dev/vsky/busy', randomWrite(4), 5)).p99Ms
  const idle = await p99()
  const leg = view.segments[0]?.legs[1]
  await lab.json(['disk', 'fail', `${leg?.host ?? ''}:${leg?.device ?? ''}`])
  await pause(1000)
  const copying = await p99()
  await healthy(lab)
  return `4k random writes at depth 4, 99th percentile: ${idle.toFixed(1)} ms idle, ${copying.toFixed(1)} ms while the volume is copied (${(copying / Math.max(0.1, idle)).toFixed(1)} times)`
}

/** Longest wait of a writer for each kind of failure, ms. */
async function stalls(lab: Lab, repeats: number): Promise<readonly { readonly kind: string; readonly values: readonly number[] }[]> {
  await lab.json(['volume', 'create', 'stall', '--size', '64MiB', '--redundancy', '3'])
  await lab.json(['volume', 'attach', 'stall', '--host', 'hd1'])
  const kinds: readonly (readonly [string, (host: string, disk: number) => Promise<void>, (host: string, disk: number) => Promise<void>])[] = [
    ['a server loses power', (host) => lab.powerOff(host), (host) => lab.powerOn(host)],
    ['its link is cut', (host) => lab.cut({ from: 'hd1', to: host, plane: 'data', oneWay: false }), () => lab.heal()],
    ['its disk gives errors', (host, disk) => lab.faults.set(host, disk, { kind: 'fail', direction: 'both' }), (host, disk) => lab.faults.heal(host, disk)],
  ]
  const results: { kind: string; values: number[] }[] = kinds.map(([kind]) => ({ kind, values: [] }))
  for (let round = 0; round < repeats; round += 1) {
    for (const [index, [, fail, mend]] of kinds.entries()) {
      const legs = (await lab.json<VolumeView>(['volume', 'show', 'stall'])).segments[0]?.legs ?? []
      const leg = legs[round % legs.length]
      const [host, disk] = [leg?.host ?? '', Number(/\d+$/.exec(leg?.device ?? '')?.[0] ?? 1)]
      const writer = await startWriter(lab, 'hd1', '/dev/vsky/stall', 256)
      await fail(host, disk)
      await pause(8000)
      results[index]?.values.push((await writer.stop()).longestMs)
      await mend(host, disk)
      await pause(1000)
      await healthy(lab)
      await pause(SETTLED_MS)
    }
  }
  return results
}

export async function repairBench({ dist, repeats, servers }: RepairBenchOptions): Promise<void> {
  const lost: { servers: number; bytes: bigint; seconds: number }[] = []
  for (const count of servers) lost.push({ servers: count, ...await inLab(dist, { storage: count, heads: 2 }, loseDisk) })
  console.log('\nTime to full redundancy after the loss of the fullest disk, 6 volumes of 256 MiB with 2 legs on two heads:')
  console.log(table(lost, [
    { title: 'SERVERS', of: (each) => String(each.servers), right: true }, { title: 'LOST', of: (each) => formatSizeRounded(each.bytes), right: true }, { title: 'SECONDS', of: (each) => each.seconds.toFixed(1), right: true },
    { title: 'MIB/S', of: (each) => (Number(each.bytes / MIB) / each.seconds).toFixed(0), right: true },
  ]))
  // One segment is one copy: of several, each gets a share.
  await inLab(dist, { storage: 4, heads: 1, diskBytes: 2304n * MIB, extentSize: '1GiB' }, async (lab) => {
    console.log(`\n${await copyRate(lab)}`)
    console.log(await writersBeside(lab))
  })
  const waits = await inLab(dist, { storage: 4, heads: 1 }, (lab) => stalls(lab, repeats))
  console.log(`\nLongest wait of a writer (4k, synchronous), ${repeats} times each, ms:`)
  console.log(table(waits, [
    { title: 'WHEN', of: (each) => each.kind }, { title: 'MEDIAN', of: (each) => String(median(each.values)), right: true },
    { title: 'WORST', of: (each) => String(Math.max(...each.values)), right: true },
  ]))
}
