/** Every manager is asked for a volume all the time, so that it is known when one served and when none did. */
import { setTimeout as pause } from 'node:timers/promises'
import { apiMethods } from '../../lib/api/methods.js'
import type { ManagerView } from '../../lib/api/views.js'
import { loadTls } from '../../lib/host/pki.js'
import { createRpcClient } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import type { Lab } from '../lab/lab.js'

/** Between two questions to one manager, ms, and how long an answer is waited for: a paused one takes connections and says nothing. */
const EVERY_MS = 50
const ANSWER_MS = 1000
/** Until one is active, another stands by and all hosts are heard, ms. */
const SETTLE_MS = 60_000

export class Watch {
  readonly #clients: readonly RpcClient[]
  readonly #served: number[] = []
  readonly #loops: readonly Promise<void>[]
  #over = false

  private constructor(clients: readonly RpcClient[], volume: string) {
    this.#clients = clients
    this.#loops = clients.map((client) => this.#ask(client, volume))
  }

  static async start(lab: Lab, volume: string): Promise<Watch> {
    const tls = await loadTls(lab.adminTlsDir)
    return new Watch(lab.managerUrls.map((url) => createRpcClient({ url, tls })), volume)
  }

  async #ask(client: RpcClient, volume: string): Promise<void> {
    while (!this.#over) {
      try {
        await client.call(apiMethods.volumeShow.name, [{ volume }], { timeoutMs: ANSWER_MS })
        this.#served.push(performance.now())
      } catch {
        // it is not the active one, or in trouble
      }
      await pause(EVERY_MS)
    }
  }

  /** The longest time since `fromMs` (performance.now()) in which nobody served, ms. */
  longestGap(fromMs: number): number {
    const before = this.#served.findLast((at) => at <= fromMs) ?? fromMs
    const times = [before, ...this.#served.filter((at) => at > fromMs), performance.now()]
    return Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at)))
  }

  /** Waits until one is active, all others stand by and are known to it, and all hosts are heard. Gives what the active one says. */
  async settled(): Promise<ManagerView> {
    const until = performance.now() + SETTLE_MS
    let last: readonly (ManagerView | undefined)[] = []
    while (performance.now() < until) {
      last = await Promise.all(this.#clients.map(async (client) => apiMethods.managerStatus.result.parse(await client.call(apiMethods.managerStatus.name, [{}], { timeoutMs: ANSWER_MS }), '')).map((each) => each.catch(() => undefined)))
      const active = last.filter((each) => each?.state === 'active')
      const [first] = active
      const known = first?.managers.filter((each) => each.state !== 'gone').length
      if (first && active.length === 1 && known === this.#clients.length && first.hostsOnline === first.hosts && last.every((each) => each === first || each?.state === 'standby')) {
        const sinceMs = performance.now()
        while (performance.now() < until && (this.#served.at(-1) ?? 0) < sinceMs) await pause(EVERY_MS) // else the end of this trouble's gap would count for the next one
        return first
      }
      await pause(EVERY_MS)
    }
    throw new Error(`within ${SETTLE_MS / 1000} s the managers did not settle: ${last.map((each) => (each ? `${each.name} ${each.state}, epoch ${each.epoch}, ${each.hostsOnline} of ${each.hosts} hosts` : 'no answer')).join('; ')}`)
  }

  async stop(): Promise<void> {
    this.#over = true
    await Promise.all(this.#loops)
    for (const client of this.#clients) client.close()
  }
}
