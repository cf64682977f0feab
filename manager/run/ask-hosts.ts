/** Asks hosts that no database names: for a rebuild, and before an old state is restored. */
import { messageOf } from '../../lib/faults.js'
import { createRpcClient } from '../../lib/rpc/client.js'
import type { Method } from '../../lib/rpc/shape.js'
import { agentMethods } from '../../lib/wire/agent.js'
import type { HostTold } from '../plan/rebuild.js'

export interface HostNamed {
  readonly name: string
  /** host:port of its agent. */
  readonly address: string
}

const ASK_MS = 30_000

/** All at once; `silent` with the reason each. Neither question changes anything, nor asks for an epoch. */
export async function askHosts(hosts: readonly HostNamed[], tls: { readonly ca: string; readonly cert: string; readonly key: string }): Promise<{ readonly told: readonly HostTold[]; readonly silent: ReadonlyMap<string, string> }> {
  const silent = new Map<string, string>()
  const told = await Promise.all(hosts.map(async ({ name, address }): Promise<readonly HostTold[]> => {
    const client = createRpcClient({ url: `https://${address}`, tls: { ...tls, serverName: name, serverRoles: ['agent'] } })
    const ask = async <P, R>(method: Method<P, R>, params: P): Promise<R> => method.result.parse(await client.call(method.name, [method.params.format(params)], { timeoutMs: ASK_MS }), `the answer of ${name} to ${method.name}`)
    try {
      return [{ address, seen: await ask(agentMethods.observe, {}), recalled: await ask(agentMethods.recall, {}) }]
    } catch (thrown) {
      silent.set(name, messageOf(thrown))
      return []
    } finally {
      client.close()
    }
  }))
  return { told: told.flat(), silent }
}

/** `NAME=HOST:PORT`, with commas. Throws for anything else. */
export function hostsNamed(text: string): readonly HostNamed[] {
  return text.split(',').filter((each) => each !== '').map((each) => {
    const match = /^([A-Za-z0-9][A-Za-z0-9._-]{0,62})=(\S+:\d{1,5})$/.exec(each.trim())
    if (!match) throw new Error(`--hosts: expected NAME=HOST:PORT, found ${JSON.stringify(each)}`)
    return { name: match[1] ?? '', address: match[2] ?? '' }
  })
}
