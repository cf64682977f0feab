/**
 * `npm run bench -- --scale`: a manager with the books of clusters that grow: 10, 100 and 1,000 storage servers, for each server 10 disks, 100
 * volumes of 10 segments and 3 legs, and a head for every five. How long it takes from its start until it is active, what it keeps in memory,
 * how long answers take, and for how long nothing else is answered meanwhile. SQLite, no hosts behind it. Options: --servers 10,100,1000, --calls N (200).
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { apiMethods } from '../lib/api/methods.js'
import type { XmlValue } from '../lib/rpc/xmlrpc.js'
import { createDice } from '../tools/thrash/dice.js'
import { table } from '../tools/cli/print.js'
import { median, option, quantile } from './figures.js'
import { certify, fill, start } from './large.js'
import type { Cluster, Managed } from './large.js'

const calls = option('calls', 200)

interface Call {
  readonly name: string
  readonly method: string
  readonly times: number
  readonly params: (volume: string) => Readonly<Record<string, XmlValue>>
}

const asked: readonly Call[] = [
  { name: 'volume list, 100 rows', method: apiMethods.volumeList.name, times: calls, params: (volume) => ({ limit: 100, after: volume }) },
  { name: 'volume show', method: apiMethods.volumeShow.name, times: calls, params: (volume) => ({ volume }) },
  { name: 'leg list of a server, 100 rows', method: apiMethods.legList.name, times: calls, params: () => ({ limit: 100, host: 'st2' }) },
  { name: 'disk list, 100 rows', method: apiMethods.diskList.name, times: calls, params: () => ({ limit: 100 }) },
  { name: 'status', method: apiMethods.status.name, times: 20, params: () => ({}) },
  { name: 'plan to drain a server', method: apiMethods.hostDrainPlan.name, times: 5, params: () => ({ host: 'st1' }) },
]

interface Measured {
  readonly cluster: Cluster
  readonly startS: number
  readonly freshMiB: number
  readonly usedMiB: number
  readonly times: ReadonlyMap<string, readonly number[]>
  /** Longest answer to a small question that was asked beside, ms. */
  readonly blocked: ReadonlyMap<string, number>
}

/** Asks something small all the time until `over`: gives the longest that it waited, ms. */
async function beside({ client }: Managed, over: AbortSignal): Promise<number> {
  let longest = 0
  while (!over.aborted) {
    const from = performance.now()
    await client.call(apiMethods.managerStatus.name, [{}])
    longest = Math.max(longest, performance.now() - from)
    await pause(5)
  }
  return longest
}

async function measure(dir: string, cluster: Cluster): Promise<Measured> {
  const place = { dir: join(dir, `of-${cluster.servers}`), database: '' }
  await fill(dir, [place], cluster)
  const manager = await start(dir, place)
  try {
    await pause(3000) // what it does of its own after a start
    const freshMiB = await manager.residentMiB()
    const dice = createDice(cluster.servers, 1)
    const times = new Map<string, readonly number[]>()
    const blocked = new Map<string, number>()
    for (const { name, method, times: count, params } of asked) {
      const over = new AbortController()
      const longest = beside(manager, over.signal)
      const took: number[] = []
      for (let call = 0; call < count; call += 1) {
        const from = performance.now()
        await manager.client.call(method, [params(`v${dice.between(0, cluster.volumes - 1)}`)], { timeoutMs: 120_000 })
        took.push(performance.now() - from)
      }
      over.abort()
      blocked.set(name, await longest)
      times.set(name, took)
    }
    return { cluster, startS: manager.startS, freshMiB, usedMiB: await manager.residentMiB(), times, blocked }
  } finally {
    await manager.stop()
  }
}

const at = process.argv.indexOf('--servers')
const sizes = (at < 0 ? '10,100,1000' : process.argv[at + 1] ?? '').split(',').map(Number)
if (sizes.some((size) => !Number.isInteger(size) || size < 5 || size > 1000)) throw new Error('--servers takes numbers from 5 to 1000 with commas between them')
const dir = await mkdtemp(join(tmpdir(), 'vsky-bench-'))
try {
  await certify(dir)
  const all: Measured[] = []
  for (const servers of sizes) {
    all.push(await measure(dir, { servers, disksEach: 10, heads: servers / 5, volumes: servers * 100, segmentsEach: 10 }))
    console.log(`measured: ${servers} servers`)
  }
  const ms = (value: number): string => value.toFixed(value < 10 ? 1 : 0)
  const rows: readonly (readonly [string, (of: Measured) => string])[] = [
    ['volumes', ({ cluster }) => String(cluster.volumes)], ['legs', ({ cluster }) => String(cluster.volumes * cluster.segmentsEach * 3)],
    ['start until active, s', ({ startS }) => startS.toFixed(1)], ['resident then, MiB', ({ freshMiB }) => freshMiB.toFixed(0)], ['resident after the calls, MiB', ({ usedMiB }) => usedMiB.toFixed(0)],
    ...asked.flatMap(({ name }): readonly (readonly [string, (of: Measured) => string])[] => [
      [`${name}: median, ms`, ({ times }) => ms(median(times.get(name) ?? []))], ['  99th percentile', ({ times }) => ms(quantile(times.get(name) ?? [], 0.99))], ['  longest wait of others', ({ blocked }) => ms(blocked.get(name) ?? 0)],
    ]),
  ]
  console.log(`\nA manager on SQLite, ${cpus().length} processors for it and its client; ${calls} calls each of those that are quick.\n`)
  console.log(table(rows, [{ title: 'SERVERS', of: ([name]) => name }, ...all.map((each) => ({ title: String(each.cluster.servers), right: true, of: ([, of]: (typeof rows)[number]) => of(each) }))]))
} finally {
  await rm(dir, { recursive: true, force: true })
}
