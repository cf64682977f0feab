/**
 * `npm run bench -- --rpc`: our XML-RPC against that of the npm package `xmlrpc`, both in this run. Rounds alternate between the two, so that what else
 * the machine does hits both; a ratio is taken in each round, and the median of the rounds is what counts. Each server runs in a process of its
 * own, and the same client asks both: 8 kept connections that send bytes made beforehand and count the bytes of the answers. Options: --rounds N (5),
 * --seconds S (2).
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { createLog } from '../lib/host/log.js'
import { closedLoop } from './load.js'
import { startRpcServer } from '../lib/rpc/server.js'
import { decodeCall, encodeCall } from '../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../lib/rpc/xmlrpc.js'
import { table } from '../tools/cli/print.js'
import { median, option } from './figures.js'

/** As much of the package as is used here; it has no types of its own. */
type Callback = (error: object | null, value?: unknown) => void
interface Outside {
  createServer(options: { host: string; port: number }, onListening: () => void): { on(method: string, handler: (error: null, params: unknown[], callback: Callback) => void): void; readonly httpServer: { address(): { port: number } } }
}
interface Serializer { serializeMethodCall(method: string, params: readonly unknown[]): string }
type Deserializer = new () => { deserializeMethodCall(stream: Readable, done: (error: unknown, method: string, params: unknown[]) => void): void }

const load = createRequire(import.meta.url)

/** Structs as a list of volumes has them, about so many bytes long as XML. */
function sample(bytes: number): readonly XmlValue[] {
  const one = (at: number): XmlValue => ({ name: `volume-${at}`, bytes: '1099511627776', redundancy: 3, state: 'attached', head: 'hd1', health: 'full', problem: 'a < b & c', online: true })
  const each = encodeCall('x', [[one(1)]]).length - encodeCall('x', [[]]).length
  return [Array.from({ length: Math.max(1, Math.round(bytes / each)) }, (_, at) => one(at))]
}

// ---- the servers, each a process

async function serve(which: string): Promise<void> {
  const largeReply = sample(1_000_000)[0] ?? null
  if (which === 'ours') {
    const server = await startRpcServer({ host: '127.0.0.1', port: 0, log: createLog({ name: 'bench', level: 'silent' }), handle: (_, method, params) => Promise.resolve(method === 'large' ? largeReply : params[0] ?? null) })
    console.log(server.address.kind === 'tcp' ? server.address.port : 0)
    return
  }
  const server = (load('xmlrpc') as Outside).createServer({ host: '127.0.0.1', port: 0 }, () => { console.log(server.httpServer.address().port) })
  server.on('echo', (_, params, callback) => { callback(null, params[0]) })
  server.on('large', (_, __, callback) => { callback(null, largeReply) })
}

interface Served { readonly port: number; readonly child: ChildProcess }

async function start(which: string): Promise<Served> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--serve', which], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(child.stdout, 'data') as [Buffer]
  return { port: Number(line.toString()), child }
}

// ---- the codec, in this process

/** Operations a second, for about as long. */
async function rate(seconds: number, operation: () => unknown): Promise<number> {
  const from = performance.now()
  let count = 0
  do {
    await operation()
    count += 1
  } while (performance.now() - from < seconds * 1000)
  return count / ((performance.now() - from) / 1000)
}

interface Candidate { readonly ours: () => Promise<number>; readonly theirs: () => Promise<number> }

function codecJobs(seconds: number): readonly (readonly [string, Candidate])[] {
  const serializer = load('xmlrpc/lib/serializer') as Serializer
  const TheirReader = load('xmlrpc/lib/deserializer') as Deserializer
  return ([['1 KB', 1_000], ['1 MB', 1_000_000]] as const).flatMap(([name, bytes]) => {
    const params = sample(bytes)
    const text = encodeCall('echo', params)
    const theirRead = (): Promise<void> => new Promise((resolve, reject) => { new TheirReader().deserializeMethodCall(Readable.from([text]), (error) => { if (error === null || error === undefined) resolve(); else reject(error) }) })
    return [
      [`encode ${name}`, { ours: () => rate(seconds, () => encodeCall('echo', params)), theirs: () => rate(seconds, () => serializer.serializeMethodCall('echo', params)) }],
      [`decode ${name}`, { ours: () => rate(seconds, () => decodeCall(text)), theirs: () => rate(seconds, theirRead) }],
    ] as const
  })
}

function serverJobs(seconds: number, ours: Served, theirs: Served): readonly (readonly [string, Candidate])[] {
  const job = (name: string, body: string): readonly [string, Candidate] => {
    const at = ({ port }: Served) => (): Promise<number> => closedLoop({ port, body, connections: 8, seconds })
    return [name, { ours: at(ours), theirs: at(theirs) }]
  }
  return [job('server, 1 KB echo', encodeCall('echo', sample(1_000))), job('server, 1 MB reply', encodeCall('large', [])), job('server, 1 MB echo', encodeCall('echo', sample(1_000_000)))]
}

async function bench(): Promise<void> {
  const [rounds, seconds] = [option('rounds', 5), option('seconds', 2)]
  console.log(`Conditions: ${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, Node ${process.version}; ${rounds} rounds of ${seconds} s each`)
  const served = await Promise.all([start('ours'), start('theirs')])
  try {
    const results = new Map<string, { ours: number[]; theirs: number[]; ratios: number[] }>()
    const jobs = [...codecJobs(seconds), ...serverJobs(seconds, ...served)]
    for (let round = 0; round < rounds; round += 1) {
      for (const [name, candidate] of jobs) {
        const first = round % 2 === 0 ? 'ours' : 'theirs'
        const one = await candidate[first]()
        const two = await candidate[first === 'ours' ? 'theirs' : 'ours']()
        const [ours, theirs] = first === 'ours' ? [one, two] : [two, one]
        const result = results.get(name) ?? { ours: [], theirs: [], ratios: [] }
        result.ours.push(ours)
        result.theirs.push(theirs)
        result.ratios.push(ours / theirs)
        results.set(name, result)
      }
      console.log(`round ${round + 1} of ${rounds} done`)
    }
    console.log('\nOperations a second, medians; the ratio is that of each round:')
    console.log(table([...results], [
      { title: 'JOB', of: ([name]) => name }, { title: 'OURS', of: ([, { ours }]) => median(ours).toFixed(1), right: true }, { title: 'XMLRPC', of: ([, { theirs }]) => median(theirs).toFixed(1), right: true },
      { title: 'RATIO', of: ([, { ratios }]) => median(ratios).toFixed(1), right: true }, { title: 'OF EACH ROUND', of: ([, { ratios }]) => ratios.map((each) => each.toFixed(1)).join(' ') },
    ]))
  } finally {
    for (const { child } of served) child.kill('SIGKILL')
  }
}

const at = process.argv.indexOf('--serve')
await (at < 0 ? bench() : serve(process.argv[at + 1] ?? ''))
