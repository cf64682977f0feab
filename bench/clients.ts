/**
 * `npm run bench -- --clients`: a manager with 10,000 volumes and 200 clients at once, each with a certificate and a connection of its own (of one
 * peer no more than 64 calls at once are taken), that ask and think in turn: how long answers take, by method, and whether the lease was renewed in
 * time. The clients are a process of their own, the hosts are heard by this one. Options: --clients N (200), --seconds S (300), --volumes N (10000),
 * --think MS (1000; each client waits half to one and a half of it).
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once, setMaxListeners } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { apiMethods } from '../lib/api/methods.js'
import { messageOf } from '../lib/faults.js'
import { loadTls } from '../lib/host/pki.js'
import { createRpcClient } from '../lib/rpc/client.js'
import type { XmlValue } from '../lib/rpc/xmlrpc.js'
import { createDice } from '../tools/thrash/dice.js'
import type { Dice } from '../tools/thrash/dice.js'
import { table } from '../tools/cli/print.js'
import { option, quantile } from './figures.js'
import { certify, fill, hostsOf, someCluster, start } from './large.js'

interface Wish {
  readonly dir: string
  readonly port: number
  readonly clients: number
  readonly seconds: number
  readonly volumes: number
  readonly think: number
}

interface Kind {
  readonly name: string
  /** Of a hundred calls. */
  readonly share: number
  readonly method: string
  readonly params: (dice: Dice, volumes: number) => Readonly<Record<string, XmlValue>>
}

const volume = (dice: Dice, volumes: number): string => `v${dice.between(0, volumes - 1)}`
const kinds: readonly Kind[] = [
  { name: 'volume show', share: 40, method: apiMethods.volumeShow.name, params: (dice, volumes) => ({ volume: volume(dice, volumes) }) },
  { name: 'volume list, 100 rows', share: 30, method: apiMethods.volumeList.name, params: (dice, volumes) => ({ limit: 100, after: volume(dice, volumes) }) },
  { name: 'host list, 100 rows', share: 5, method: apiMethods.hostList.name, params: () => ({ limit: 100 }) },
  { name: 'disk list, 100 rows', share: 5, method: apiMethods.diskList.name, params: () => ({ limit: 100 }) },
  { name: 'event list, 100 rows', share: 10, method: apiMethods.eventList.name, params: () => ({ limit: 100, newest: true }) },
  { name: 'status', share: 5, method: apiMethods.status.name, params: () => ({}) },
  { name: 'setting set', share: 5, method: apiMethods.settingSet.name, params: (dice) => ({ name: 'repair.grace', value: dice.between(60, 160), request: `bench-${randomBytes(8).toString('hex')}` }) },
]

const nameOf = (client: number): string => `client${client + 1}`

/** Hosts are heard, as living ones are; there are no agents behind them that could be asked. */
async function beat(dir: string, port: number, hosts: readonly string[], signal: AbortSignal): Promise<void> {
  await Promise.all(hosts.map(async (name, at) => {
    const client = createRpcClient({ url: `https://127.0.0.1:${port}`, tls: await loadTls(join(dir, name)) })
    try {
      await pause(at * 1000 / hosts.length, undefined, { signal })
      for (;;) {
        await client.call(apiMethods.hostHeartbeat.name, [{ name, bootId: 'b', incarnation: 'i', changed: 0 }], { timeoutMs: 4000 }).catch(() => undefined)
        await pause(1000, undefined, { signal })
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown
    } finally {
      client.close()
    }
  }))
}

type Times = Readonly<Record<string, readonly number[]>>

// ---- the clients

async function live({ dir, port, clients, seconds, volumes, think }: Wish): Promise<{ readonly times: Times; readonly errors: readonly string[] }> {
  const times = Object.fromEntries(kinds.map(({ name }) => [name, [] as number[]]))
  const errors: string[] = []
  const until = performance.now() + seconds * 1000
  await Promise.all(Array.from({ length: clients }, async (_, at) => {
    const dice = createDice(at, 1)
    const client = createRpcClient({ url: `https://127.0.0.1:${port}`, tls: await loadTls(join(dir, nameOf(at))) })
    await pause(dice.next() * think)
    while (performance.now() < until) {
      let left = dice.next() * 100
      const kind = kinds.find(({ share }) => (left -= share) < 0)
      if (!kind) continue
      const from = performance.now()
      try {
        await client.call(kind.method, [kind.params(dice, volumes)], { timeoutMs: 30_000 })
        times[kind.name]?.push(performance.now() - from)
      } catch (thrown) {
        errors.push(`${kind.name}: ${messageOf(thrown)}`)
      }
      await pause(think * (0.5 + dice.next()))
    }
    client.close()
  }))
  return { times, errors }
}

// ---- the benchmark

async function measure(): Promise<void> {
  const [clients, seconds, volumes, think] = [option('clients', 200), option('seconds', 300), option('volumes', 10_000), option('think', 1000)]
  const dir = await mkdtemp(join(tmpdir(), 'vsky-bench-'))
  try {
    const cluster = someCluster(volumes)
    const hosts = hostsOf(cluster)
    await certify(dir, { admin: ['admin', ...Array.from({ length: clients }, (_, at) => nameOf(at))], agent: hosts })
    const place = { dir: join(dir, 'state'), database: '' }
    await fill(dir, [place], cluster)
    const manager = await start(dir, place)
    const over = new AbortController()
    setMaxListeners(hosts.length * 2, over.signal)
    const beats = beat(dir, manager.port, hosts, over.signal)
    const wish: Wish = { dir, port: manager.port, clients, seconds, volumes, think }
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--live', JSON.stringify(wish)], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      let [text, oldestMs, ttlMs] = ['', 0, 0]
      child.stdout.setEncoding('utf8').on('data', (some: string) => { text += some })
      const ended = once(child, 'close')
      let gone = false
      void ended.then(() => { gone = true })
      while (!gone) {
        const now = apiMethods.managerStatus.result.parse(await manager.client.call(apiMethods.managerStatus.name, [{}]), '')
        oldestMs = Math.max(oldestMs, now.leaseAgeMs)
        ttlMs = now.ttlMs
        await pause(100)
      }
      const { times, errors } = JSON.parse(text) as Awaited<ReturnType<typeof live>>
      const count = Object.values(times).reduce((sum, each) => sum + each.length, 0)
      console.log(`${clients} clients for ${seconds} s, a call and then about ${think} ms of thought; ${volumes} volumes on SQLite; ${cpus().length} processors for manager and clients; ${hosts.length} hosts are heard, no agent answers\n`)
      const ms = (value: number): string => `${value.toFixed(1)} ms`
      console.log(table(kinds, [
        { title: 'CALL', of: ({ name }) => name }, { title: 'TIMES', of: ({ name }) => String(times[name]?.length ?? 0), right: true },
        { title: 'P50', of: ({ name }) => ms(quantile(times[name] ?? [], 0.5)), right: true }, { title: 'P99', of: ({ name }) => ms(quantile(times[name] ?? [], 0.99)), right: true },
        { title: 'WORST', of: ({ name }) => ms(quantile(times[name] ?? [], 1)), right: true },
      ]))
      console.log(`\n${Math.round(count / seconds)} calls a second, ${errors.length} failed; oldest lease that was seen: ${oldestMs} ms of ${ttlMs}; manager resident ${Math.round(await manager.residentMiB())} MiB`)
      for (const error of [...new Set(errors)].slice(0, 5)) console.log(`  ${error}`)
    } finally {
      child.kill()
      over.abort()
      await beats
      await manager.stop()
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

if (process.argv[2] === '--live') console.log(JSON.stringify(await live(JSON.parse(process.argv[3] ?? '') as Wish)))
else await measure()
