/** A person, or a hypervisor's plug-in: calls of the manager's API, repeated with the same request id until there is an answer. */
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { Files } from './files.js'
import type { Process } from './inside.js'
import type { Network } from './network.js'

type Wish<N extends ApiName> = Omit<ApiParams<N>, 'request'>

export class Admin {
  readonly #network: Network
  readonly #process: Process
  #requests = 0

  constructor(network: Network) {
    this.#network = network
    this.#process = {
      name: 'admin', alive: true, timeline: network.timeline, files: new Files(), run: () => Promise.reject(new Error('no programs here')),
      call: () => Promise.reject(new Error('no calls here')), usedIn: () => false, blank: () => Promise.resolve(false), listens: () => Promise.resolve(false), onStep: () => false,
    }
  }

  /** Throws the manager's fault. Asks again as long as nobody answers, at most `patienceMs`; then `timed out`. */
  async ask<N extends ApiName>(name: N, wish: Wish<N>, patienceMs = 120_000): Promise<ApiResult<N>> {
    const method = apiMethods[name]
    this.#requests += 1
    const params = (method.params as { format(value: unknown): XmlValue }).format(method.mutates ? { ...wish, request: `request-${this.#requests}` } : wish)
    const { timeline } = this.#network
    const until = timeline.now + patienceMs
    for (;;) {
      try {
        const answer = await this.#network.call({ host: 'mgr', role: 'admin' }, this.#process, { url: 'https://mgr:8881', method: method.name, params: [params], timeoutMs: 30_000, signal: undefined })
        return (method.result as { parse(value: XmlValue, at: string): unknown }).parse(answer, 'answer') as ApiResult<N>
      } catch (thrown) {
        const final = thrown instanceof Fault && thrown.fault !== 'timed out' && thrown.fault !== 'not active'
        if (final || timeline.now >= until) throw thrown instanceof Fault ? thrown : new Fault('timed out', thrown instanceof Error ? thrown.message : String(thrown))
        await timeline.sleep(500)
      }
    }
  }
}
