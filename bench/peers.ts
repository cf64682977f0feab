/**
 * `npm run bench -- --peers`: our volumes beside DRBD 8.4 and the kernel's raid1, in one lab and in rounds that alternate: rates, how long a
 * writer waits when a server loses power, what is left of the rates without it, and how fast a leg is copied. Prints tables and writes
 * them to docs/benchmarks.md. Options: --rounds N (5) and --seconds S (3) of fio, --repeats N (3) of the power failure and of the copies.
 *
 * Two positions are compared. On a head both legs are behind the network, and everything is a ratio to one raw LUN. On a storage server one
 * leg is its own disk and the other is behind the network, which is where DRBD stands: everything there is a ratio to DRBD.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { StatusView, VolumeSummary, VolumeView } from '../lib/api/views.js'
import { table } from '../tools/cli/print.js'
import { Lab } from '../tools/lab/lab.js'
import { defaultWish } from '../tools/lab/plan.js'
import { startWriter } from '../tools/lab/trial.js'
import { startRaid } from './dm-raid.js'
import type { DmRaid } from './dm-raid.js'
import { startDrbd } from './drbd.js'
import type { Drbd } from './drbd.js'
import { median } from './figures.js'
import { fio, fioJobs, randomRead, randomWrite } from './fio.js'
import type { FioJob } from './fio.js'
import { bareLun, copyRates, fill, lastEvent, makeVolume, scsiDiskOf } from './volumes.js'
import { waitFor } from './wait.js'

const NAME = 'bench'
const MEBIBYTES = 256
const MIB = 1024n * 1024n
/** DRBD notices a dead peer by a ping that it sends after ten idle seconds; all of it must be over by then. */
const WAIT_MS = 20_000

export interface PeersOptions {
  readonly dist: string
  readonly rounds: number
  readonly seconds: number
  readonly repeats: number
  /** Lines about the machine. */
  readonly conditions: readonly string[]
}

interface Candidate {
  readonly name: string
  readonly host: string
  readonly device: string
  /** What its figures are ratios to. */
  readonly base: string
}

interface Field {
  readonly all: readonly Candidate[]
  readonly drbd: Drbd
  readonly raid: DmRaid
  /** The extent of its LUN on st2. */
  readonly raidExtent: string
  /** What is copied in turn with the others, and what has to make room for that. */
  readonly copied: string
  readonly others: readonly string[]
}

const RAW = 'raw LUN'
const DRBD = 'DRBD C'
const RAID = 'dm-raid, 2 LUNs'

/**
 * hd1: our volumes behind the network. st1: those with one local leg, and DRBD. hd2: a raw LUN and dm-raid, on an agent's sessions with its
 * timers; the agent is stopped then, as it would put its volumes' devices back. Every mirror has a leg on st2, which is the one to lose power.
 */
async function field(lab: Lab): Promise<Field> {
  const drbd = await startDrbd(lab, ['st1', 'st2'], (BigInt(MEBIBYTES) + 8n) * MIB)
  const ours = (name: string, head: string, legs: number, on: readonly string[]): Promise<VolumeView> => makeVolume(lab, name, { legs, head, mebibytes: MEBIBYTES, on })
  const [remote2, remote3] = [await ours('remote2', 'hd1', 2, ['st2']), await ours('remote3', 'hd1', 3, [])]
  const [local2, local3] = [await ours('local2', 'st1', 2, ['st1', 'st2']), await ours('local3', 'st1', 3, [])]
  const bare: VolumeView[] = []
  for (const [name, on] of [['bare1', 'st3'], ['bare2', 'st2'], ['bare3', 'st3']] as const) bare.push(await makeVolume(lab, name, { legs: 1, head: 'hd2', mebibytes: MEBIBYTES, on: [on], remembers: false }))
  await lab.service('hd2', 'stop')
  const [raw = '', ...luns] = await Promise.all(bare.map((view) => bareLun(lab, view)))
  const raid = await startRaid(lab, 'hd2', [luns[1] ?? '', luns[0] ?? ''], MEBIBYTES)
  return {
    drbd, raid, raidExtent: bare[1]?.segments[0]?.legs[0]?.extent ?? '', copied: remote2.name, others: [remote3.name, local2.name, local3.name],
    all: [
      { name: RAW, host: 'hd2', device: raw, base: RAW }, { name: '2 remote legs', host: 'hd1', device: remote2.device, base: RAW }, { name: '3 remote legs', host: 'hd1', device: remote3.device, base: RAW },
      { name: RAID, host: 'hd2', device: raid.device, base: RAW }, { name: DRBD, host: 'st1', device: drbd.device, base: DRBD },
      { name: '2 legs, 1 local', host: 'st1', device: local2.device, base: DRBD }, { name: '3 legs, 1 local', host: 'st1', device: local3.device, base: DRBD },
    ],
  }
}

/** Figures of each round, by what was measured and of whom. */
class Figures {
  readonly #values = new Map<string, number[]>()

  add(what: string, whom: string, value: number): void {
    const key = `${what}|${whom}`
    this.#values.set(key, [...this.#values.get(key) ?? [], value])
  }

  of(what: string, whom: string): readonly number[] {
    return this.#values.get(`${what}|${whom}`) ?? []
  }

  /** Median over rounds of one's figure to the other's of the same round. */
  ratio(what: string, whom: string, base: { readonly what?: string; readonly whom?: string }): number {
    const other = this.of(base.what ?? what, base.whom ?? whom)
    return median(this.of(what, whom).map((value, round) => value / Math.max(1e-9, other[round] ?? other.at(-1) ?? 1)))
  }
}

const alternating = <T>(all: readonly T[], round: number): readonly T[] => (round % 2 === 0 ? all : [...all].reverse())

async function rates(lab: Lab, all: readonly Candidate[], jobs: readonly FioJob[], round: number, seconds: number, into: Figures, what = ''): Promise<void> {
  for (const job of jobs) {
    for (const { name, host, device } of alternating(all, round)) into.add(`${what}${job.name}`, name, (await fio(lab, host, device, job, seconds)).rate)
  }
}

/** hd2's agent is stopped on purpose: what counts is the volumes that are served. */
async function full(lab: Lab): Promise<void> {
  await waitFor('all legs are in sync', async () => (await lab.json<readonly VolumeSummary[]>(['volume', 'list'])).filter(({ health }) => health !== 'full').map(({ name }) => name), (others) => others.length === 0)
  await waitFor('no job is under way', async () => (await lab.json<StatusView>(['status'])).jobs.length, (jobs) => jobs === 0)
}

/**
 * After its server was started anew nobody is let in at a leg before its head is there to be told of what may be lost, and open-iscsi gives
 * up a target that refused it once. So the agent of this head works for a moment; the devices that it makes over its LUNs nobody uses. Gives the disk of this LUN.
 */
async function loggedInAgain(lab: Lab, host: string, extent: string): Promise<string> {
  await lab.service(host, 'start')
  const readable = async (disk: string): Promise<boolean> => disk !== '' && (await lab.exec(host, ['dd', `if=${disk}`, 'of=/dev/null', 'bs=4k', 'count=1', 'iflag=direct'])).code === 0
  const disk = await waitFor(`${host} has its LUN again`, async () => { // until then the disk of the session that died may be there still
    const found = await scsiDiskOf(lab, host, extent)
    return await readable(found) ? found : ''
  }, (found) => found !== '', { everyMs: 1000 })
  await lab.service(host, 'stop')
  return disk
}

const mirrorsOf = (all: readonly Candidate[]): readonly Candidate[] => all.filter(({ name }) => name !== RAW)
const degradedJobs = [randomWrite(1), randomWrite(16), randomRead(16)]

/** One power failure of st2, under a writer on each mirror at the same moment. */
async function powerFailure(lab: Lab, { all, drbd, raid, raidExtent }: Field, round: number, seconds: number, into: Figures): Promise<void> {
  const mirrors = mirrorsOf(all)
  const writers = await Promise.all(mirrors.map(async ({ name, host, device }) => ({ name, writer: await startWriter(lab, host, device, 256) })))
  await lab.powerOff('st2')
  await new Promise((resolve) => setTimeout(resolve, WAIT_MS))
  for (const { name, writer } of writers) {
    const { longestMs, error } = await writer.stop()
    if (error !== '') throw new Error(`the writer on ${name} met an error: ${error}`)
    into.add('stall', name, longestMs)
  }
  await rates(lab, mirrors, degradedJobs, round, seconds, into, 'degraded ')
  await lab.powerOn('st2')
  await drbd.rejoin('st2')
  await drbd.whole()
  await full(lab)
  await raid.revive(await loggedInAgain(lab, 'hd2', raidExtent))
  await raid.whole()
}

/** MiB/s of a leg's copy, all of it written, nobody else at work. */
async function copies(lab: Lab, { drbd, raid, copied }: Field, into: Figures): Promise<void> {
  into.add('copy', DRBD, MEBIBYTES / await drbd.copyAll())
  into.add('copy', RAID, raid.mebibytes / await raid.copyAll())
  const segment = (await lab.json<VolumeView>(['volume', 'show', copied])).segments[0]
  const leg = segment?.legs[1]
  const disk = `${leg?.host ?? ''}:${leg?.device ?? ''}`
  const known = await lastEvent(lab)
  await lab.json(['disk', 'fail', disk])
  const rates = await waitFor('the leg is made anew', () => copyRates(lab, copied, known, segment?.bytes ?? 0n), (found) => found.length > 0)
  await full(lab)
  for (const value of rates) into.add('copy', '2 remote legs', value)
  await lab.json(['disk', 'use', disk])
}

type Row = readonly string[]
interface Table {
  readonly title: string
  readonly head: Row
  readonly rows: readonly Row[]
}

const names = (some: readonly Candidate[]): Row => some.map(({ name, host }) => `${name} (${host})`)
const value = (into: Figures, what: string, { name, base }: Candidate): string => (name === base ? median(into.of(what, name)).toFixed(0) : `${median(into.of(what, name)).toFixed(0)} (${into.ratio(what, name, { whom: base }).toFixed(2)})`)

const ratesTable = (all: readonly Candidate[], into: Figures): Table => ({
  title: 'Rates: operations a second, medians; in brackets the median ratio of the same round, on hd1 and hd2 to the raw LUN, on st1 to DRBD',
  head: ['job', ...names(all)], rows: fioJobs.map(({ name }) => [name, ...all.map((each) => value(into, name, each))]),
})

const stallTable = (mirrors: readonly Candidate[], into: Figures): Table => ({
  title: 'st2 loses power: the longest wait of a synchronous 4k writer, ms, every mirror at the same moment',
  head: ['', ...names(mirrors)], rows: [['median', ...mirrors.map(({ name }) => median(into.of('stall', name)).toFixed(0))], ['worst', ...mirrors.map(({ name }) => Math.max(...into.of('stall', name)).toFixed(0))]],
})

const degradedTable = (mirrors: readonly Candidate[], into: Figures): Table => ({
  title: 'Without st2: operations a second, medians; in brackets the ratio to DRBD on st1, elsewhere to dm-raid, of the same round',
  head: ['job', ...names(mirrors)], rows: degradedJobs.map(({ name }) => [name, ...mirrors.map((each) => value(into, `degraded ${name}`, { ...each, base: each.host === 'st1' ? DRBD : RAID }))]),
})

function copyTable(all: readonly Candidate[], into: Figures): Table {
  const copied = all.filter(({ name }) => into.of('copy', name).length > 0)
  return {
    title: `A leg is copied anew, ${MEBIBYTES} MiB, nobody else at work: MiB/s, medians; in brackets the ratio to DRBD`,
    head: ['', ...names(copied)], rows: [['copy', ...copied.map((each) => value(into, 'copy', { ...each, base: DRBD }))]],
  }
}

export async function peersBench({ dist, rounds, seconds, repeats, conditions }: PeersOptions): Promise<void> {
  await Lab.down(NAME)
  const lab = await Lab.up({ ...defaultWish, name: NAME, both: 1, diskBytes: 1536n * MIB, dist }, (line) => { console.log(line) })
  const into = new Figures()
  const shown: Table[] = []
  const show = (found: Table): void => { // as soon as it is known: an error later on takes nothing of what was measured
    shown.push(found)
    console.log(`\n${found.title}\n${table(found.rows, found.head.map((name, index) => ({ title: name.toUpperCase(), of: (row: Row) => row[index] ?? '', right: index > 0 })))}`)
  }
  try {
    await new Promise((resolve) => setTimeout(resolve, 10_000)) // the disks are cleaned in the background meanwhile
    const cast = await field(lab)
    const { all } = cast
    for (const { name, host, device } of all) await fill(lab, host, device, name === RAID ? cast.raid.mebibytes : MEBIBYTES)
    for (let round = 0; round < rounds; round += 1) {
      await rates(lab, all, fioJobs, round, seconds, into)
      console.log(`rates: round ${round + 1} of ${rounds}`)
    }
    show(ratesTable(all, into))
    for (let round = 0; round < repeats; round += 1) {
      await powerFailure(lab, cast, round, seconds, into)
      console.log(`power failures: ${round + 1} of ${repeats}`)
    }
    show(stallTable(mirrorsOf(all), into))
    show(degradedTable(mirrorsOf(all), into))
    for (const name of cast.others) {
      await lab.json(['volume', 'detach', name])
      await lab.json(['volume', 'delete', name])
    }
    for (let round = 0; round < repeats; round += 1) {
      await copies(lab, cast, into)
      console.log(`copies: ${round + 1} of ${repeats}`)
    }
    show(copyTable(all, into))
  } finally {
    await Lab.down(NAME)
  }
  const cells = (row: Row): string => `| ${row.join(' | ')} |`
  const page = [
    '# Side by side', '', '`npm run bench -- --peers` writes this page: our volumes beside DRBD 8.4 (protocol C, else as it comes) and dm-raid, in one run, in alternating rounds.', '',
    ...conditions.map((line) => `- ${line}`), `- ${rounds} rounds of fio, ${seconds} s each, O_DIRECT; ${repeats} power failures and copies; volumes of ${MEBIBYTES} MiB, every byte written before; changes are remembered, as they are by default.`,
    '- On hd1 and hd2 all legs are behind the network; st1 has one leg on its own disk, which is where DRBD stands. dm-raid uses the sessions of an agent, with its timers.',
    ...shown.flatMap(({ title, head, rows }) => ['', `## ${title}`, '', cells(head), cells(head.map(() => '---')), ...rows.map(cells)]), '',
  ]
  await writeFile(join(dist, '..', 'docs/benchmarks.md'), page.join('\n'))
  console.log('\nWritten to docs/benchmarks.md.')
}
