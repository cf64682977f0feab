/** A classic client waits in one call for what ours ask again for with their request's id: it is asked again for them here. */
import { Fault } from '../../../lib/faults.js'
import type { Cluster } from '../../run/cluster.js'

/** Less than the 300 s after which the original's commands give up, and than the listener's own deadline, ms. */
export const PATIENCE_MS = 280_000

/** Calls with one request id until the work has ended. Throws its Fault, or `timed out`: then the work goes on. */
export async function patiently<T>(cluster: Cluster, signal: AbortSignal, call: (request: string) => Promise<T>): Promise<T> {
  const request = `classic-${cluster.random.hex(16)}`
  const until = cluster.clock.monoMs() + PATIENCE_MS
  for (;;) {
    try {
      return await call(request)
    } catch (thrown) {
      if (!(thrown instanceof Fault) || thrown.fault !== 'timed out' || signal.aborted || cluster.clock.monoMs() >= until) throw thrown
    }
  }
}
