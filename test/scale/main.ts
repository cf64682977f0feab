/**
 * `npm run bench -- --scale`: the manager of clusters that grow: 10, 100 and 1,000 storage servers, for each server 10 disks, 100 volumes of 10
 * segments with 3 legs, and a head for every five. Its real logic over SQLite in a file, agents that do at once what they are told, every host
 * heard once a second; calls come over TLS from this same process. What each thing takes, and the longest time for which nothing else was done
 * meanwhile. Options: --servers 10,100,1000, --calls N (200).
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { median, option, quantile } from '../../bench/figures.js'
import { certify, fill, start } from '../../bench/large.js'
import type { Cluster as Wish } from '../../bench/large.js'
import { waitFor } from '../../bench/wait.js'
import type { ApiName, ApiParams } from '../../lib/api/methods.js'
import { createDice } from '../../tools/thrash/dice.js'
import { table } from '../../tools/cli/print.js'
import { startRig } from './rig.js'
import type { Rig } from './rig.js'

interface Figure {
  readonly name: string
  readonly text: string
  /** Longest time for which nothing else was done, ms. */
  readonly blockedMs?: number
}

const GIB = 1024n ** 3n
const LONG = { limitMs: 1_800_000, everyMs: 50 }
const ms = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`
const inSeconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} s`

/** Runs it beside a look at the event loop. */
async function watched<T>(work: () => Promise<T>): Promise<{ readonly value: T; readonly seconds: number; readonly blockedMs: number }> {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const from = performance.now()
  const value = await work()
  const seconds = (performance.now() - from) / 1000
  await pause(20)
  delay.disable()
  return { value, seconds, blockedMs: delay.max / 1e6 }
}

async function many<N extends ApiName>(rig: Rig, name: string, method: N, times: number, params: (at: number) => Omit<ApiParams<N>, 'request'>): Promise<Figure> {
  const took: number[] = []
  const { blockedMs } = await watched(async () => {
    for (let at = 0; at < times; at += 1) {
      const from = performance.now()
      await rig.call(method, params(at))
      took.push(performance.now() - from)
    }
  })
  return { name, text: `${ms(median(took))}, p99 ${ms(quantile(took, 0.99))}`, blockedMs }
}

async function once(name: string, work: () => Promise<void>): Promise<Figure> {
  const { seconds, blockedMs } = await watched(work)
  return { name, text: inSeconds(seconds), blockedMs }
}

async function measure(dir: string, wish: Wish, calls: number): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  const say = (figure: Figure): void => {
    figures.push(figure)
    console.log(`${String(wish.servers).padStart(4)} servers  ${figure.name}: ${figure.text}${figure.blockedMs === undefined ? '' : `, longest block ${ms(figure.blockedMs)}`}`)
  }
  const place = { dir: join(dir, `of-${wish.servers}`), database: '' }
  say(await once('a backup of it is restored', () => fill(dir, [place], wish)))
  const alone = await start(dir, place)
  await pause(3000) // what it does of its own after a start, while it presumes all hosts alive
  say({ name: 'from its start until it is active', text: inSeconds(alone.startS) })
  say({ name: 'resident then', text: `${(await alone.residentMiB()).toFixed(0)} MiB` })
  await alone.stop()

  const rig = await startRig(dir, join(place.dir, 'manager.db'), wish)
  try {
    const dice = createDice(wish.servers, 1)
    const volume = (): string => `v${dice.between(0, wish.volumes - 1)}`
    say(await once('every host is looked at once', async () => { await waitFor('all were looked at', () => Promise.resolve(rig.hosts.length - rig.agents.looked.size), (left) => left <= 0, LONG) }))
    say(await many(rig, 'volume list, 100 rows', 'volumeList', calls, () => ({ limit: 100, after: volume() })))
    say(await many(rig, 'volume show', 'volumeShow', calls, () => ({ volume: volume() })))
    say(await many(rig, 'leg list of a server, 100 rows', 'legList', calls, () => ({ limit: 100, host: 'st2' })))
    say(await many(rig, 'disk list, 100 rows', 'diskList', calls, () => ({ limit: 100 })))
    say(await many(rig, 'status', 'status', 10, () => ({})))
    say(await many(rig, 'plan to drain a server', 'hostDrainPlan', 3, () => ({ host: 'st1' })))
    say(await many(rig, 'create 100 GiB with 3 legs', 'volumeCreate', 20, (at) => ({ name: `new${at}`, bytes: 100n * GIB, redundancy: 3 })))
    say(await many(rig, 'attach it', 'volumeAttach', 20, (at) => ({ volume: `new${at}`, host: 'hd1' })))
    say(await many(rig, 'detach it', 'volumeDetach', 20, (at) => ({ volume: `new${at}` })))
    say(await many(rig, 'delete it', 'volumeDelete', 20, (at) => ({ volume: `new${at}` })))
    say(await once('all agents are started anew, one after the other', () => rig.restartAgents()))
    const lost = await rig.legsOn('st1')
    say(await once(`server lost: all its ${lost} legs have a place elsewhere`, async () => {
      await rig.call('hostFail', { host: 'st1', force: true })
      await waitFor('all have one', () => rig.legsWithoutSpare('st1'), (left) => left === 0, LONG)
    }))
    say(await once('  and are copied, which takes no time here', async () => { await waitFor('all are', () => rig.legsOn('st1'), (left) => left === 0, LONG) }))
    say({ name: 'resident in the end, with these agents', text: `${(process.memoryUsage().rss / 1024 ** 2).toFixed(0)} MiB` })
  } finally {
    await rig.stop()
  }
  return figures
}

const at = process.argv.indexOf('--servers')
const sizes = (at < 0 ? '10,100,1000' : process.argv[at + 1] ?? '').split(',').map(Number)
if (sizes.some((size) => !Number.isInteger(size) || size < 5 || size > 1000)) throw new Error('--servers takes numbers from 5 to 1000 with commas between them')
const calls = option('calls', 200)
const dir = await mkdtemp(join(tmpdir(), 'vsky-scale-'))
try {
  await certify(dir)
  const all: (readonly Figure[])[] = []
  for (const servers of sizes) all.push(await measure(dir, { servers, disksEach: 10, heads: Math.floor(servers / 5), volumes: servers * 100, segmentsEach: 10 }, calls))
  console.log(`\nA manager on SQLite, ${cpus().length} processors; for each server 10 disks, 100 volumes and 3,000 legs; in brackets the longest time for which nothing else was done.\n`)
  const names = all[0]?.map(({ name }) => name) ?? []
  const shown = (figure: Figure | undefined): string => (figure === undefined ? '-' : `${figure.text}${figure.blockedMs === undefined ? '' : ` [${ms(figure.blockedMs)}]`}`)
  console.log(table(names, [{ title: 'SERVERS', of: (name) => name }, ...sizes.map((size, column) => ({ title: String(size), right: true, of: (name: string) => shown(all[column]?.[names.indexOf(name)]) }))]))
} finally {
  await rm(dir, { recursive: true, force: true })
}
