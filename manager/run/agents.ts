/** Calls to agents: one connection pool a host, mutual TLS, the host known by its name and by the key that it joined with, epoch and operation id in every call. */
import { Fault, messageOf } from '../../lib/faults.js'
import type { Random } from '../../lib/ports.js'
import { createRpcClient, TransportError } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import type { Method } from '../../lib/rpc/shape.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { agentMethods } from '../../lib/wire/agent.js'
import type { HostRow } from '../state/rows.js'
import type { LeaseGate } from './gate.js'

/** The agent did not answer. It may or may not have done what was asked: look before deciding. */
export class AgentSilent extends Error {
  override readonly name = 'AgentSilent'
}

type WithHeader<P> = P extends { readonly epoch: number; readonly op: string } ? Omit<P, 'epoch' | 'op'> : P

export interface Agents {
  /** Calls an agent. Throws Fault (the agent's own answer) or AgentSilent. The default deadline is 30 s. */
  call<P, R>(host: HostRow, method: Method<P, R>, params: WithHeader<P>, options?: { timeoutMs?: number; op?: string }): Promise<R>
  close(): void
}

export interface AgentsOptions {
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string }
  readonly epoch: number
  readonly random: Random
  /** No call goes out while it is shut for effects: calls wait. */
  readonly gate: LeaseGate
  /** A host has refused this epoch: it has seen a later one. */
  readonly onStaleEpoch?: (host: HostRow) => void
  /** Digest of the only key that a host is known by; undefined: whichever the authority certified. Asked before each call. */
  readonly keyOf?: (host: string) => Promise<string | undefined>
}

export function createAgents({ tls, epoch, random, gate, onStaleEpoch, keyOf = () => Promise.resolve(undefined) }: AgentsOptions): Agents {
  const clients = new Map<string, { readonly address: string; readonly key: string | undefined; readonly client: RpcClient }>()
  const clientOf = (host: HostRow, key: string | undefined): RpcClient => {
    const known = clients.get(host.name)
    if (known?.address === host.address && known.key === key) return known.client
    known?.client.close() // the host has moved, or has joined anew
    const client = createRpcClient({ url: `https://${host.address}`, tls: { ...tls, serverName: host.name, serverRoles: ['agent'], ...(key === undefined ? {} : { serverKey: key }) } })
    clients.set(host.name, { address: host.address, key, client })
    return client
  }
  return {
    async call(host, method, params, { timeoutMs = 30_000, op = `e${epoch}-${random.hex(6)}` } = {}) {
      await gate.open('effect')
      const full = method === (agentMethods.observe as unknown) ? params : { ...params, epoch, op }
      const key = await keyOf(host.name)
      try {
        const answer = await clientOf(host, key).call(method.name, [method.params.format(full as never) satisfies XmlValue], { timeoutMs })
        return method.result.parse(answer, `the answer of ${host.name} to ${method.name}`)
      } catch (thrown) {
        if (thrown instanceof Fault && thrown.fault === 'stale epoch') onStaleEpoch?.(host)
        if (thrown instanceof Fault && thrown.fault !== 'timed out') throw thrown
        if (thrown instanceof TransportError || thrown instanceof Fault) throw new AgentSilent(`${host.name} did not answer ${method.name}: ${thrown.message}`, { cause: thrown })
        throw new Fault('agent failed', `${host.name}: ${method.name}: ${messageOf(thrown)}`, { cause: thrown })
      }
    },
    close() {
      for (const { client } of clients.values()) client.close()
      clients.clear()
    },
  }
}
