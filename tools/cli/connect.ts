/** Where the manager is, and one typed way to call it. */
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiMethod, ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { loadTls } from '../../lib/host/pki.js'
import { createRpcClient, TransportError } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import { randomBytes } from 'node:crypto'

export interface ConnectOptions {
  /** `https://host:port` or `unix:/path`, several with commas: the first that answers. */
  readonly manager: string | undefined
  readonly tlsDir: string | undefined
  /** For the whole command, ms: repeated calls and waiting included. */
  readonly timeoutMs: number
}

export interface Manager {
  /** Calls a method; one that changes something is repeated under the same request id until it is done or the time is over. */
  call<N extends ApiName>(name: N, params: Omit<ApiParams<N>, 'request'>): Promise<ApiResult<N>>
  close(): void
}

/** A mistake in how the command was called: nothing was sent. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export async function connectManager(options: ConnectOptions): Promise<Manager> {
  const manager = options.manager ?? process.env.VSKY_MANAGER
  const tlsDir = options.tlsDir ?? process.env.VSKY_TLS_DIR ?? '/etc/vsky/admin'
  if (manager === undefined || manager === '') throw new UsageError('no manager is known: give --manager https://host:8881, or set VSKY_MANAGER')
  const tls = await loadTls(tlsDir).catch((thrown: unknown) => {
    throw new UsageError(`no certificate in ${tlsDir}: give --tls-dir, or set VSKY_TLS_DIR, to a folder with ca.pem, cert.pem and key.pem (vsky-manager init makes one)`, { cause: thrown })
  })
  const clients = manager.split(',').map((url) => createRpcClient({ url: url.trim(), tls: { ...tls, serverRoles: ['manager'] } }))
  const until = performance.now() + options.timeoutMs
  return {
    async call(name, params) {
      const method = apiMethods[name] as unknown as ApiMethod<ApiParams<typeof name>, ApiResult<typeof name>>
      const full = (method.mutates ? { ...params, request: `cli-${randomBytes(12).toString('hex')}` } : params) as ApiParams<typeof name>
      const answer = await callFirst(clients, method.name, method.params.format(full), { mutates: method.mutates, until })
      return method.result.parse(answer, `the answer to ${method.name}`)
    },
    close() {
      for (const client of clients) client.close()
    },
  }
}

/** How long a question is repeated while no manager can be reached, ms: one that is restarted is back by then. */
const READ_PATIENCE_MS = 6000

/** The next manager is asked when one can't be reached; the same call is made again when its outcome is unknown or the work goes on. */
async function callFirst(clients: readonly RpcClient[], method: string, params: Parameters<RpcClient['call']>[1][number], { mutates, until }: { mutates: boolean; until: number }): ReturnType<RpcClient['call']> {
  const patience = performance.now() + READ_PATIENCE_MS
  for (let attempt = 0; ; attempt += 1) {
    const client = clients[attempt % clients.length]
    if (!client) throw new UsageError('no manager is known')
    const left = until - performance.now()
    try {
      return await client.call(method, [params], { timeoutMs: Math.max(1000, Math.min(left, 60_000)) })
    } catch (thrown) {
      const again = thrown instanceof Fault ? thrown.fault === 'not active' || (mutates && thrown.fault === 'timed out')
        : thrown instanceof TransportError && (mutates || !thrown.sent || thrown.kind === 'reset') && thrown.kind !== 'tls'
      if (!again || performance.now() + 500 > until || (!mutates && performance.now() > patience)) throw thrown
      if (!(thrown instanceof Fault && thrown.fault === 'timed out')) await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
}
