/** Tells the manager that this host is alive, and who it is whenever the manager doesn't know. Never gives up, never gets in the way. */
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiParams } from '../../lib/api/methods.js'
import { messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import { createRpcClient } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import type { VolumeSeen } from '../../lib/wire/agent.js'

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

export interface Registration {
  /** Runs until the signal aborts. */
  keep(signal: AbortSignal): Promise<void>
  /** Tells the manager at once what became of volumes. Never fails: whoever is not reached looks by himself when he is back. */
  report(volumes: readonly VolumeSeen[]): void
}

export function createRegistration(options: RegistrationOptions): Registration {
  const { managers, tls, log, self: { name, bootId, incarnation } } = options
  const clients = managers.map((url) => createRpcClient({ url, tls: { ...tls, serverRoles: ['manager'] }, timeoutMs: CALL_MS }))
  const turn = { at: 0 }
  return {
    keep: (signal) => keepRegistered(options, clients, turn, signal),
    report(volumes) {
      const client = clients[turn.at % clients.length]
      void client?.call(apiMethods.hostReport.name, [apiMethods.hostReport.params.format({ name, bootId, incarnation, volumes })])
        .catch((thrown: unknown) => { log.warn('a report did not reach the manager: it looks by itself', { error: messageOf(thrown) }) })
    },
  }
}

async function keepRegistered(options: RegistrationOptions, clients: readonly RpcClient[], turn: { at: number }, signal: AbortSignal): Promise<void> {
  const { clock, log } = options
  let failures = 0
  let told = ''
  const tell = (state: string, detail: string): void => {
    if (told !== state) log.info(state, { detail })
    told = state
  }
  while (!signal.aborted) {
    const client = clients[turn.at % clients.length]
    if (!client) return
    let pause: number
    try {
      pause = await stayWith(client, options, signal, (detail) => { failures = 0; tell('registered', detail) })
    } catch (thrown) {
      if (signal.aborted) break
      tell('no manager answers: volumes keep serving', messageOf(thrown))
      turn.at += 1
      pause = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 2000
      failures += 1
    }
    await clock.sleep(pause, signal).catch(() => undefined)
  }
  for (const client of clients) client.close()
}

/** Registers, then beats until the manager has forgotten this host (gives 0: register again) or does not answer (throws). */
async function stayWith(client: RpcClient, { self, changed, clock }: RegistrationOptions, signal: AbortSignal, onAnswer: (detail: string) => void): Promise<number> {
  const answer = await client.call(apiMethods.hostRegister.name, [apiMethods.hostRegister.params.format(self)], { signal })
  const { epoch, heartbeatMs } = apiMethods.hostRegister.result.parse(answer, 'the answer to the registration')
  onAnswer(`at ${client.url}, epoch ${epoch}`)
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
      missed += 1
      if (missed >= 2) throw thrown
    }
  }
  return 0
}
