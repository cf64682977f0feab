/**
 * A second pair of eyes on the hard stop: a thread of its own, which a blocked event loop can't stop, ends the process with SIGKILL when a
 * moment passes that was not moved on in time. (In a worker thread `process.exit` ends only the worker; a message would wait for the loop.)
 * The moment stands in shared memory, in nanoseconds of the kernel's monotonic clock, which both threads read; 0: there is nothing to guard,
 * because the process is frozen by its own hand, or holds nothing.
 *
 * A process that was stopped (SIGSTOP, a debugger) past its hard stop is ended as soon as both threads run again; what it does in the
 * moment before that is refused by the epoch.
 */
import { Worker } from 'node:worker_threads'

export interface Watchdog {
  /** The process is ended at this moment of the monotonic clock (Clock.monoMs) unless it is moved on before. */
  guard(untilMonoMs: number): void
  /** There is nothing to guard. */
  rest(): void
}

export interface RunningWatchdog extends Watchdog {
  stop(): Promise<void>
}

/**
 * `onDeath`: the thread has ended by itself; without it nobody may work. Clock.monoMs must be performance.now() of this thread.
 */
export async function startWatchdog({ tickMs, onDeath }: { readonly tickMs: number; readonly onDeath: (why: string) => void }): Promise<RunningWatchdog> {
  const until = new BigInt64Array(new SharedArrayBuffer(8))
  const originNs = process.hrtime.bigint() - BigInt(Math.round(performance.now() * 1e6))
  let stopping = false
  const worker = new Worker(new URL('./watchdog-worker.js', import.meta.url), { workerData: { until, tickMs }, execArgv: [] })
  worker.on('exit', (code) => { if (!stopping) onDeath(`the watchdog thread ended with ${code}`) })
  await new Promise<void>((resolve, reject) => {
    worker.once('message', () => { resolve() }) // it has begun to look
    worker.once('error', reject)
  })
  worker.on('error', (error) => { onDeath(`the watchdog thread failed: ${error.message}`) })
  worker.unref()
  return {
    guard(untilMonoMs) { Atomics.store(until, 0, originNs + BigInt(Math.round(untilMonoMs * 1e6))) },
    rest() { Atomics.store(until, 0, 0n) },
    async stop() {
      stopping = true
      await worker.terminate()
    },
  }
}
