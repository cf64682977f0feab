/** A call to a manager that is looked after: one that is paused, or that hangs, takes calls and answers none, and another could be asked. */
import { setTimeout as pause } from 'node:timers/promises'
import { apiMethods } from '../../lib/api/methods.js'
import { TransportError } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'

/** The manager does not answer what every manager answers at once. Whether it has carried out the call is not known. */
export class ManagerSilent extends TransportError {}

/** While a call lasts longer, its manager is asked how it is, as often, and has as long to say so, ms. */
const LOOK_MS = 2000

export interface Living {
  readonly timeoutMs: number
  readonly everyMs?: number
  readonly answerMs?: number
}

/** Rejects as the client does, and with ManagerSilent. */
export async function callLiving(client: RpcClient, method: string, params: readonly XmlValue[], { timeoutMs, everyMs = LOOK_MS, answerMs = LOOK_MS }: Living): Promise<XmlValue> {
  const [over, silent] = [new AbortController(), new AbortController()]
  const look = async (): Promise<void> => {
    for (;;) {
      await pause(everyMs, undefined, { signal: over.signal })
      try {
        await client.call(apiMethods.managerStatus.name, [{}], { timeoutMs: answerMs, signal: over.signal })
      } catch (thrown) {
        if (!(thrown instanceof TransportError)) continue // whoever refuses an answer is alive as well
        if (!over.signal.aborted) silent.abort()
        return
      }
    }
  }
  look().catch(() => undefined) // by the end of the call
  try {
    return await client.call(method, params, { timeoutMs, signal: silent.signal })
  } catch (thrown) {
    if (!silent.signal.aborted) throw thrown
    throw new ManagerSilent('timeout', `${method} at ${client.url}: it takes calls and answers none`, { sent: true, cause: thrown })
  } finally {
    over.abort()
  }
}
