/** Whether a storage server can be talked to over the data network. */
import { connect } from 'node:net'
import { once } from 'node:events'

const PORT = 3260
const WAIT_MS = 1000

/** Somebody listens at one of the addresses of a target. Says nothing, so that a target sees a connection that ends. Never rejects. */
export async function isListening({ addresses }: { readonly target: string; readonly addresses: readonly string[] }): Promise<boolean> {
  const found = await Promise.all(addresses.map(async (host) => {
    const socket = connect({ host, port: PORT })
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(WAIT_MS) })
      return true
    } catch {
      return false
    } finally {
      socket.on('error', () => undefined) // of an attempt that nobody waits for
      socket.destroy()
    }
  }))
  return found.includes(true)
}
