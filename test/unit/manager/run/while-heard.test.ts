import { expect } from 'chai'
import type { Clock } from '../../../../lib/ports.js'
import { whileHeard } from '../../../../manager/run/cluster.js'

/** Time passes whenever somebody sleeps. */
function fakeClock(): Clock {
  let now = 0
  return {
    nowMs: () => now, monoMs: () => now,
    sleep: async (ms, signal) => {
      await new Promise((resolve) => setImmediate(resolve))
      if (signal?.aborted) throw signal.reason as Error
      now += ms
    },
  }
}
const heardUntil = (ms: number): { readonly online: (host: string, nowMs: number) => boolean } => ({ online: (_, nowMs) => nowMs < ms })
const clusterOf = (ms: number): Parameters<typeof whileHeard>[0] => ({ clock: fakeClock(), presence: heardUntil(ms) as Parameters<typeof whileHeard>[0]['presence'] })

describe('a call that is waited for while its host is heard', () => {
  it('gives what the call gives, also its failure', async () => {
    expect(await whileHeard(clusterOf(1e6), 'st1', Promise.resolve(7))).to.equal(7)
    const failed: unknown = await whileHeard(clusterOf(1e6), 'st1', Promise.reject(new Error('refused'))).catch((thrown: unknown) => thrown)
    expect(String(failed)).to.contain('refused')
  })

  it('is not waited for any more when the host has fallen silent, though it may take a minute to fail', async () => {
    let fail: (error: Error) => void = () => undefined
    const call = new Promise<never>((_, reject) => { fail = reject })
    const failed: unknown = await whileHeard(clusterOf(4500), 'st1', call).catch((thrown: unknown) => thrown)
    expect(String(failed)).to.contain('st1 has fallen silent')
    fail(new Error('late'))
    await new Promise((resolve) => setImmediate(resolve))
  })
})
