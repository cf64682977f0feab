/** The thread behind watchdog.ts. It has no event loop to speak of: it sleeps in the kernel and looks. */
import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'

const { until, tickMs } = workerData as { readonly until: BigInt64Array; readonly tickMs: number }
const nobody = new Int32Array(new SharedArrayBuffer(4))

parentPort?.postMessage('looking')
for (;;) {
  const moment = Atomics.load(until, 0)
  const leftMs = Number(moment - process.hrtime.bigint()) / 1e6
  if (moment !== 0n && leftMs <= 0) {
    writeSync(2, `vsky-manager: killed by its watchdog: ${Math.round(-leftMs)} ms past the hard stop of the lease\n`)
    process.kill(process.pid, 'SIGKILL')
  }
  Atomics.wait(nobody, 0, 0, moment === 0n ? tickMs : Math.min(tickMs, Math.max(1, leftMs)))
}
