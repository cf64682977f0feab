/**
 * Throws requests at a manager's real door and holds it to what it promises: it lives on, its event loop never stands still for a second, it does not
 * grow, an internal error has its line in the log, and who has no right changes nothing. The same seed throws the same requests.
 */
import { Agent, request } from 'node:https'
import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { apiMethod } from '../../lib/api/system.js'
import { createDice } from '../../tools/thrash/dice.js'
import type { Dice } from '../../tools/thrash/dice.js'
import { callers } from '../support/manager.js'
import type { Caller, ManagerRig } from '../support/manager.js'
import { grammarAttempt } from './grammar.js'
import type { Attempt } from './grammar.js'
import { bomb, damaged, strangeHttp } from './rude.js'

export interface FuzzOptions {
  readonly seed: number
  readonly requests: number
  readonly onRound?: (done: number) => void
}

export interface FuzzReport {
  readonly requests: number
  readonly seconds: number
  /** How often each status or end of connection came. */
  readonly answers: Readonly<Record<string, number>>
  /** Faults by code. */
  readonly faults: Readonly<Record<string, number>>
  /** The longest that the event loop stood still (in time of the processor), and that an answer took, ms. */
  readonly longestPauseMs: number
  readonly slowestMs: number
  /** Heap and buffers after the run, less those before, bytes; and the most that the process held at any time. */
  readonly grownBytes: number
  readonly peakBytes: number
  /** Promises that were broken; empty when none was. */
  readonly broken: readonly string[]
}

const ROUND = 500
const CONNECTIONS = 8
const RECORDED = 200
const roles: Readonly<Record<Caller, readonly string[]>> = { viewer: ['viewer'], operator: ['viewer', 'operator'], admin: ['viewer', 'operator', 'admin'], agent: ['agent'] }

export async function fuzz(rig: ManagerRig, { seed, requests, onRound }: FuzzOptions): Promise<FuzzReport> {
  const answers = new Map<string, number>()
  const faultCodes = new Map<string, number>()
  const broken: string[] = []
  const recorded: Attempt[] = []
  const agents = new Map(callers.map((caller) => {
    const { ca, cert, key } = rig.tls(caller)
    return [caller, new Agent({ keepAlive: true, maxSockets: CONNECTIONS, ca, cert, key, checkServerIdentity: () => undefined })]
  }))
  const collect = collector()
  collect()
  const before = held()
  const pauses = watchPauses()
  const started = performance.now()
  let slowestMs = 0
  let peakBytes = 0
  for (let round = 0; round * ROUND < requests; round += 1) {
    const dice = createDice(seed, round)
    const unauthorised = round % 3 === 2
    if (unauthorised) await rig.settle()
    const state = unauthorised ? await rig.state() : ''
    const attempts = Array.from({ length: Math.min(ROUND, requests - round * ROUND) }, () => attemptOf(dice, unauthorised, recorded))
    let next = 0
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      for (let attempt = attempts[next++]; attempt; attempt = attempts[next++]) {
        const from = performance.now()
        const outcome = await send(rig, agents.get(attempt.caller), attempt)
        slowestMs = Math.max(slowestMs, performance.now() - from)
        count(answers, outcome.status)
        if (outcome.code !== undefined) count(faultCodes, outcome.code)
        const wrong = wrongWith(rig, attempt, outcome)
        if (wrong !== undefined && broken.length < 20) broken.push(`seed ${seed}, round ${round}: ${wrong}: ${describe(attempt)}`)
        if (outcome.status === '200' && attempt.body.length > 0 && attempt.body.length < 5000) recorded[recorded.length < RECORDED ? recorded.length : dice.between(0, RECORDED - 1)] = attempt
      }
    }))
    if (round % 4 === 0) await garbage(rig, dice)
    if (unauthorised) {
      await rig.settle()
      if (await rig.state() !== state) broken.push(`seed ${seed}, round ${round}: callers without the right have changed the state`)
    }
    peakBytes = Math.max(peakBytes, process.memoryUsage.rss())
    onRound?.(Math.min(requests, (round + 1) * ROUND))
  }
  const seconds = (performance.now() - started) / 1000
  pauses.stop()
  for (const agent of agents.values()) agent.destroy()
  await rig.call('managerStatus', {}).catch((thrown: unknown) => broken.push(`it does not answer any more: ${String(thrown)}`))
  collect()
  const report = { requests, seconds, answers: Object.fromEntries(answers), faults: Object.fromEntries(faultCodes), longestPauseMs: pauses.longestMs(), slowestMs, grownBytes: held() - before, peakBytes, broken }
  if (report.longestPauseMs > 1000) broken.push(`the event loop stood still for ${Math.round(report.longestPauseMs)} ms`)
  if (report.grownBytes > 100 * 1024 * 1024) broken.push(`it has grown by ${Math.round(report.grownBytes / 1024 / 1024)} MiB`)
  return report
}

function attemptOf(dice: Dice, unauthorised: boolean, recorded: readonly Attempt[]): Attempt {
  const caller = unauthorised ? dice.pick(['viewer', 'agent'] as const) : dice.pick(callers)
  const roll = dice.next()
  const old = recorded.length === 0 ? undefined : { ...dice.pick(recorded), caller }
  // A recorded call of an agent could be one that this agent may make; what only a viewer sends can't.
  if (old && roll < 0.2 && !(unauthorised && caller === 'agent')) return damaged(dice, old)
  if (roll < 0.24) return bomb(dice, caller)
  if (old && roll < 0.3 && !(unauthorised && caller === 'agent')) return strangeHttp(dice, caller, old)
  const allowed = roles[caller]
  return grammarAttempt(dice, caller, (name) => {
    const { role, mutates } = apiMethod(name)
    if (!unauthorised) return dice.chance(0.1) || allowed.includes(role)
    return caller === 'agent' ? role !== 'agent' : role === 'agent' || role === 'joiner' || mutates || dice.chance(0.2)
  })
}

interface Outcome {
  /** An HTTP status, or how the connection ended. */
  readonly status: string
  readonly body: string
  readonly code?: string
}

function send(rig: ManagerRig, agent: Agent | undefined, { verb, path, headers, body }: Pick<Attempt, 'verb' | 'path' | 'headers' | 'body'>, again = true): Promise<Outcome> {
  return new Promise((resolve) => {
    const done = (status: string, text: string): void => {
      clearTimeout(timer)
      const code = /<name>faultCode<\/name><value><int>(-?\d+)/.exec(text)?.[1] ?? /^\{"fault":"[^"]*","code":(-?\d+)/.exec(text)?.[1]
      resolve({ status, body: text, ...(code === undefined ? {} : { code }) })
    }
    const chunked = 'Transfer-Encoding' in headers
    const address = rig.server.address
    if (address.kind !== 'tcp') return done('no port', '')
    const req = request({
      host: address.host, port: address.port, path: path.replace(/[^\x21-\x7e]/g, ''), method: verb, ...(agent ? { agent } : {}),
      headers: { ...headers, ...(chunked || verb === 'GET' || verb === 'HEAD' ? {} : { 'Content-Length': String(body.length) }) },
    }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (piece: string) => { if (text.length < 100_000) text += piece })
      res.once('end', () => { done(String(res.statusCode), text) })
      res.once('error', () => { done('broken reply', text) })
    })
    const timer = setTimeout(() => {
      done('no answer', '')
      req.destroy()
    }, 60_000)
    req.once('error', (error: Error & { code?: string }) => {
      clearTimeout(timer)
      // A kept connection may have been given up by the server, for being idle, while this was on its way: as every client, asked again.
      if (error.code === 'ECONNRESET' && req.reusedSocket && again) resolve(send(rig, agent, { verb, path, headers, body }, false))
      else done(error.code ?? error.message, '')
    })
    req.end(verb === 'GET' || verb === 'HEAD' ? undefined : body)
    return undefined
  })
}

const known = new Set(['200', '400', '403', '404', '405', '409', '413', '415', '417', '431', '500', '503', '504', '507'])
/** For who offers a secret that is nobody's, whatever certificate comes with it; for nobody else. */
const unproved = new Set(['401', '429'])

function wrongWith(rig: ManagerRig, attempt: Attempt, { status, body, code }: Outcome): string | undefined {
  const offers = 'Authorization' in attempt.headers
  if (offers ? !known.has(status) && !unproved.has(status) : !known.has(status)) return attempt.rude && /^(?:ECONNRESET|EPIPE)$/.test(status) ? undefined : `ended with ${status}`
  if (status !== '500' && code !== '-32603') return undefined
  const id = /log ?[iI]d[": ]+([0-9a-f]{16})/.exec(body)?.[1]
  const line = id === undefined ? undefined : rig.lines.find((each) => each.includes(id))
  return line === undefined ? 'an internal error that the log does not tell' : `an internal error: ${line.slice(0, 600)}`
}

function describe({ caller, verb, path, headers, body }: Attempt): string {
  return `${caller} ${verb} ${path.slice(0, 200)} ${JSON.stringify(headers).slice(0, 200)} ${JSON.stringify(body.subarray(0, 800).toString('latin1'))}${body.length > 800 ? ` … ${body.length} bytes` : ''}`
}

/** Before the handshake: bytes that are no TLS, and connections that say nothing and go. */
async function garbage(rig: ManagerRig, dice: Dice): Promise<void> {
  const { address } = rig.server
  if (address.kind !== 'tcp') return
  await Promise.all(Array.from({ length: 4 }, () => new Promise<void>((resolve) => {
    const socket = connect(address.port, address.host, () => {
      socket.write(Buffer.from(Array.from({ length: dice.between(0, 300) }, () => dice.between(0, 255))))
      setImmediate(() => { socket.destroy() })
    })
    socket.once('error', () => undefined)
    socket.once('close', () => { resolve() })
  })))
}

/**
 * The longest time between two turns of the event loop that this process spent at work: a machine that has no processor to spare makes it wait as
 * well, and that is not its fault.
 */
function watchPauses(): { longestMs(): number; stop(): void } {
  let longest = 0
  let wall = performance.now()
  let cpu = process.cpuUsage()
  const timer = setInterval(() => {
    const used = process.cpuUsage(cpu)
    longest = Math.max(longest, Math.min(performance.now() - wall, (used.user + used.system) / 1000))
    wall = performance.now()
    cpu = process.cpuUsage()
  }, 10)
  return { longestMs: () => longest, stop: () => { clearInterval(timer) } }
}

function collector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}

function held(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
