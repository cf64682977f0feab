/**
 * The network between hosts, in two planes: what carries calls between manager and agents, and what carries iSCSI. Links can be cut one
 * way or both. A call is a connection: what gets lost on it is a delay, or the connection's end, before or after the call was carried
 * out; a client that lost its connection sends again, so a call may be carried out twice.
 */
import { Fault, faultNameOf, faults, messageOf } from '../../lib/faults.js'
import { RemoteFault, TransportError } from '../../lib/rpc/client-error.js'
import type { RpcHandler } from '../../lib/rpc/server.js'
import { decodeCall, decodeResponse, encodeCall, encodeFault, encodeResponse } from '../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import type { Dice } from '../../tools/thrash/dice.js'
import type { Timeline } from './clock.js'
import { diesAt, enter, never } from './inside.js'
import { changesSomething } from './effects.js'
import type { CallRequest, Process } from './inside.js'
import { paramsAsBefore, resultAsBefore, wasThere } from './releases.js'

export type Plane = 'control' | 'data'

export interface Endpoint {
  readonly host: string
  readonly process: Process
  readonly handle: RpcHandler
}

export interface Peer { readonly host: string; readonly role: string }

/** How calls fare, each as a share of calls. */
export interface Weather {
  brokenBefore: number
  brokenAfter: number
  doubled: number
  /** Takes up to `slowMs` instead of some ms. */
  slow: number
  slowMs: number
}

interface Connection {
  readonly caller: Process
  /** Who works on an answer. */
  server: Process | undefined
  readonly hangUp: () => void
  readonly reset: () => void
}

const MAX_CALLS = 64
const SERVER_DEADLINE_MS = 120_000

export class Network {
  readonly timeline: Timeline
  readonly weather: Weather = { brokenBefore: 0, brokenAfter: 0, doubled: 0, slow: 0, slowMs: 0 }
  readonly endpoints = new Map<string, Endpoint>()
  /** Hosts whose programs are of the previous release. */
  readonly previous = new Set<string>()
  /** Whether a host has power. */
  readonly isUp: (host: string) => boolean
  /** Told of what was thrown and is neither a fault nor foreseen. */
  readonly onSurprise: (where: string, thrown: unknown) => void
  /** Told of each step of a process (inside.ts). */
  onStep: (process: Process, what: string) => boolean = () => false
  calls = 0
  readonly #dice: Dice
  readonly #cut = new Set<string>()
  readonly #underWay = new Map<string, number>()
  readonly #connections = new Set<Connection>()

  constructor(timeline: Timeline, dice: Dice, isUp: (host: string) => boolean, onSurprise: (where: string, thrown: unknown) => void) {
    this.timeline = timeline
    this.#dice = dice
    this.isUp = isUp
    this.onSurprise = onSurprise
  }

  cut(plane: Plane, from: string, to: string): void { this.#cut.add(`${plane} ${from} ${to}`) }
  mend(plane: Plane, from: string, to: string): void { this.#cut.delete(`${plane} ${from} ${to}`) }
  mendAll(): void { this.#cut.clear() }

  passes(plane: Plane, from: string, to: string): boolean {
    return this.isUp(from) && this.isUp(to) && (from === to || !this.#cut.has(`${plane} ${from} ${to}`))
  }

  delayMs(): number {
    const { slow, slowMs } = this.weather
    return 0.1 + this.#dice.next() * 0.9 + (slow > 0 && this.#dice.chance(slow) ? this.#dice.next() * slowMs : 0)
  }

  /** A call of a process; settles by its deadline. */
  call(from: Peer, caller: Process, request: CallRequest): Promise<XmlValue> {
    const effect = changesSomething(request.method) ? `${request.method} at ${request.url.replace(/^https:\/\//, '')}` : undefined
    if (!caller.alive || (effect !== undefined && caller.onStep(`before the call ${effect}`))) return never()
    this.calls += 1
    const address = request.url.replace(/^https:\/\//, '')
    const host = address.slice(0, address.indexOf(':'))
    const text = encodeCall(request.method, this.#asBefore(from.host, host) ? paramsAsBefore(request.method, request.params) : request.params, {})
    const gone = new AbortController()
    return new Promise((resolve, reject) => {
      let open = true
      const settle = (act: () => void): void => {
        if (!open) return
        open = false
        this.#connections.delete(connection)
        cancel()
        request.signal?.removeEventListener('abort', onAbort)
        if (!caller.alive) return
        this.timeline.touch()
        act()
      }
      const fail = (kind: 'refused' | 'timeout' | 'reset' | 'aborted' | 'http status', why: string, sent: boolean): void => {
        settle(() => { reject(new TransportError(kind, `${request.method} at ${address}: ${why}`, { sent })) })
      }
      const hangUp = (): void => { this.timeline.after(this.delayMs(), () => { gone.abort(new Error('the client went away')) }) }
      const connection: Connection = { caller, server: undefined, hangUp, reset: () => { this.#back(host, from.host, () => { fail('reset', 'the connection broke', true) }) } }
      this.#connections.add(connection)
      const onAbort = (): void => {
        fail('aborted', 'cancelled', true)
        hangUp()
      }
      const cancel = this.timeline.after(request.timeoutMs, () => {
        fail('timeout', `no answer within ${request.timeoutMs} ms`, true)
        hangUp()
      })
      if (request.signal?.aborted === true) {
        onAbort()
        return
      }
      request.signal?.addEventListener('abort', onAbort, { once: true })
      if (this.#dice.chance(this.weather.brokenBefore)) {
        this.timeline.after(this.delayMs(), () => { fail('reset', 'the connection broke', true) })
        return
      }
      const times = this.#dice.chance(this.weather.doubled) ? 2 : 1
      for (let time = 1; time <= times; time += 1) {
        this.timeline.after(this.delayMs() * time, () => {
          if (!this.passes('control', from.host, host)) return // packets go nowhere: only the deadline ends it
          const endpoint = this.endpoints.get(address)
          if (!endpoint?.process.alive) {
            this.#back(host, from.host, () => { fail('refused', 'connection refused', false) })
            return
          }
          connection.server = endpoint.process
          this.#serve(endpoint, from, text, gone.signal, (reply) => {
            connection.server = undefined
            if (effect !== undefined && diesAt(caller, `before the answer to ${effect}`)) return
            this.#back(host, from.host, () => {
              if (this.#dice.chance(this.weather.brokenAfter)) fail('reset', 'the connection broke', true)
              else if (reply === undefined) fail('http status', '503', true)
              else settle(() => { valueOf(reply, resolve, reject) })
            })
          })
          if (effect !== undefined && caller.alive) caller.onStep(`during the call ${effect}`)
        })
      }
    })
  }

  /** A process has ended, and the kernel of its host closes its connections. (The seeds of npm run sim leave that out: an end that nobody hears of is harder.) */
  hangUp(process: Process): void {
    for (const connection of [...this.#connections]) {
      if (connection.caller === process) {
        this.#connections.delete(connection)
        connection.hangUp()
      } else if (connection.server === process) connection.reset()
    }
  }

  #asBefore(one: string, other: string): boolean {
    return this.previous.has(one) || this.previous.has(other)
  }

  #back(from: string, to: string, act: () => void): void {
    this.timeline.after(this.delayMs(), () => { if (this.passes('control', from, to)) act() })
  }

  /** As lib/rpc/server.ts answers. */
  #serve(endpoint: Endpoint, from: Peer, text: string, gone: AbortSignal, reply: (text: string | undefined) => void): void {
    const who = `${from.host} ${endpoint.host}`
    const under = this.#underWay.get(who) ?? 0
    if (under >= MAX_CALLS) {
      reply(undefined)
      return
    }
    this.#underWay.set(who, under + 1)
    const late = new AbortController()
    const cancel = this.timeline.after(SERVER_DEADLINE_MS, () => { late.abort(new Fault('timed out', 'No answer within its deadline')) })
    const done = (answer: string): void => {
      cancel()
      this.#underWay.set(who, (this.#underWay.get(who) ?? 1) - 1)
      const effect = changesSomething(method) ? method : undefined
      if (!endpoint.process.alive || (effect !== undefined && endpoint.process.onStep(`before answering ${effect}`))) return
      reply(answer)
      if (effect !== undefined) endpoint.process.onStep(`after answering ${effect}`)
    }
    const { method, params } = decodeCall(text)
    this.timeline.touch()
    enter(endpoint.process, () => {
      const signal = AbortSignal.any([gone, late.signal])
      const context = { peer: { commonName: from.host, role: from.role, address: from.host }, path: '/RPC2', requestId: `call${this.calls}`, signal, classic: false }
      const before = this.#asBefore(from.host, endpoint.host)
      const handled = this.previous.has(endpoint.host) && !wasThere(method) ? Promise.reject(new Fault('unknown method', `there is no method ${method}`)) : endpoint.handle(context, method, params)
      handled.then((value) => { done(encodeResponse(before ? resultAsBefore(method, value) : value, {})) }, (thrown: unknown) => {
        if (thrown instanceof Fault) done(encodeFault(thrown.code, thrown.message))
        else {
          if (!signal.aborted) this.onSurprise(`${endpoint.host} ${method}`, thrown)
          done(encodeFault(faults['internal error'].code, messageOf(thrown)))
        }
      })
    })
  }
}

function valueOf(text: string, resolve: (value: XmlValue) => void, reject: (thrown: unknown) => void): void {
  const response = decodeResponse(text)
  if (response.kind === 'value') {
    resolve(response.value)
    return
  }
  const name = faultNameOf(response.code)
  reject(name === undefined ? new RemoteFault(response.code, response.text) : new Fault(name, response.text))
}
