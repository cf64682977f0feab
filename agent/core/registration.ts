/**
 * Tells the manager that this host is alive, and who it is whenever the manager doesn't know. Never gives up, never gets in the way. Of
 * several managers one is active: the others say which, and it is followed there.
 */
import { activeAddress } from '../../lib/api/active.js'
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiParams } from '../../lib/api/methods.js'
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import { createRpcClient } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'
import { commonProtocol, ourProtocols } from '../../lib/wire/protocol.js'

export interface RegistrationOptions {
  readonly managers: readonly string[]
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string }
  readonly self: ApiParams<'hostRegister'>
  /** Rises when an observation would show something new. */
  readonly changed: () => number
  readonly clock: Clock
  readonly log: Log
}

const CALL_MS = 4000
const PAUSES_MS = [250, 500, 1000, 2000] as const
/** So often in a row an address that is told is followed without a pause. */
const FOLLOW_MAX = 2

export interface Registration {
  /** Runs until the signal aborts. */
  keep(signal: AbortSignal): Promise<void>
  /** Tells the manager at once what became of volumes. Never fails: whoever is not reached looks by himself when he is back. */
  report(volumes: readonly VolumeSeen[]): void
  /** The active manager is at this address: whoever was talked to before is left at once, for he may never answer. */
  follow(url: string): void
}

/** Who is asked: the managers of the configuration in turn, and the one that was told, if it is none of them. */
interface Circle {
  now(): RpcClient | undefined
  next(): void
  /** The one at this address is asked now; another that was told before is forgotten. False: it is the one asked already. */
  follow(url: string): boolean
  close(): void
}

function createCircle(urls: readonly string[], connect: (url: string) => RpcClient): Circle {
  const clients = urls.map(connect)
  let told: RpcClient | undefined
  let at = 0
  let away = false
  const now = (): RpcClient | undefined => (away ? told : clients[at % clients.length])
  return {
    now,
    next() {
      if (!away) at += 1
      away = false
    },
    follow(url) {
      if (now()?.url === url) return false
      const place = clients.findIndex((client) => client.url === url)
      away = place < 0
      if (place >= 0) at = place
      else if (told?.url !== url) {
        told?.close()
        told = connect(url)
      }
      return true
    },
    close() {
      for (const client of [...clients, ...told ? [told] : []]) client.close()
    },
  }
}

export function createRegistration(options: RegistrationOptions): Registration {
  const { managers, tls, log, self: { name, bootId, incarnation } } = options
  const circle = createCircle(managers, (url) => createRpcClient({ url, tls: { ...tls, serverRoles: ['manager'] }, timeoutMs: CALL_MS }))
  const moves: Moves = { leaving: new AbortController() }
  return {
    keep: (signal) => keepRegistered(options, circle, moves, signal),
    follow(url) {
      if (circle.follow(url)) moves.leaving.abort(new Error(`the active manager is at ${url}`))
    },
    report(volumes) {
      void circle.now()?.call(apiMethods.hostReport.name, [apiMethods.hostReport.params.format({ name, bootId, incarnation, volumes })])
        .catch((thrown: unknown) => { log.warn('a report did not reach the manager: it looks by itself', { error: messageOf(thrown) }) })
    },
  }
}

interface Moves { leaving: AbortController }

async function keepRegistered(options: RegistrationOptions, circle: Circle, moves: Moves, signal: AbortSignal): Promise<void> {
  const { clock, log } = options
  let failures = 0
  let followed = 0
  let told = ''
  const tell = (state: string, detail: string): void => {
    if (told !== state) log.info(state, { detail })
    told = state
  }
  while (!signal.aborted) {
    const client = circle.now()
    if (!client) return
    let pause: number
    if (moves.leaving.signal.aborted) moves.leaving = new AbortController()
    const left = moves.leaving.signal
    try {
      pause = await stayWith(client, options, AbortSignal.any([signal, left]), (detail) => {
        failures = 0
        followed = 0
        tell(`registered at ${client.url}`, detail)
      })
    } catch (thrown) {
      if (signal.aborted) break
      if (left.aborted) continue
      const active = activeAddress(thrown)
      if (active !== undefined && followed < FOLLOW_MAX && circle.follow(active)) {
        followed += 1
        continue
      }
      followed = 0
      tell('no manager answers: volumes keep serving', messageOf(thrown))
      circle.next()
      pause = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 2000
      failures += 1
    }
    await clock.sleep(pause, AbortSignal.any([signal, left])).catch(() => undefined)
  }
  circle.close()
}

/** Registers, then beats until the manager has forgotten this host (gives 0: register again), is not the active one, or does not answer (throws). */
async function stayWith(client: RpcClient, { self, changed, clock }: RegistrationOptions, signal: AbortSignal, onAnswer: (detail: string) => void): Promise<number> {
  const answer = await client.call(apiMethods.hostRegister.name, [apiMethods.hostRegister.params.format({ ...self, protocols: ourProtocols })], { signal })
  const { epoch, heartbeatMs, protocol = 1 } = apiMethods.hostRegister.result.parse(answer, 'the answer to the registration')
  commonProtocol('the manager', { oldest: protocol, newest: protocol })
  onAnswer(`epoch ${epoch}`)
  const { name, bootId, incarnation } = self
  let missed = 0
  while (!signal.aborted) {
    await clock.sleep(heartbeatMs, signal).catch(() => undefined)
    if (signal.aborted) break
    try {
      const beat = await client.call(apiMethods.hostHeartbeat.name, [apiMethods.hostHeartbeat.params.format({ name, bootId, incarnation, changed: changed() })], { signal })
      const result = apiMethods.hostHeartbeat.result.parse(beat, 'the answer to a heartbeat')
      if (!result.known || result.epoch !== epoch) return 0
      missed = 0
    } catch (thrown) {
      if (thrown instanceof Fault && thrown.fault === 'state unavailable') continue // it has heard us, and waits for its database
      if (thrown instanceof Fault && thrown.fault === 'not active') throw thrown
      missed += 1
      if (missed >= 2) throw thrown
    }
  }
  return 0
}
