/** Stands for lib/rpc/client.ts: calls go over the world's network, as the same XML, from the process that asks. */
import type { CallOptions, RpcClient, RpcClientOptions } from '../../../lib/rpc/client.js'
import { TransportError } from '../../../lib/rpc/client-error.js'
import { here } from '../inside.js'

export { RemoteFault, TransportError } from '../../../lib/rpc/client-error.js'

export function createRpcClient(options: RpcClientOptions): RpcClient {
  let closed = false
  return {
    url: options.url,
    async call(method, params, { timeoutMs = options.timeoutMs ?? 30_000, signal }: CallOptions = {}) {
      if (closed) throw new TransportError('aborted', 'the client is closed', { sent: false })
      return here().call({ url: options.url, method, params, timeoutMs, signal })
    },
    close() { closed = true },
  }
}
