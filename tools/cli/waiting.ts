/** Waits for jobs, with a bar and the time that is left when a person looks on. */
import type { JobView } from '../../lib/api/views.js'
import { Fault } from '../../lib/faults.js'
import { formatSizeRounded } from '../../lib/units.js'
import type { Manager } from './connect.js'
import type { Context } from './context.js'
import { JobFailed } from './explain.js'
import { age, bar } from './print.js'

const LOOK_MS = 1000
const BAR_CELLS = 24

/** Until each of these jobs has ended. Throws JobFailed when one did not end well. `timeoutMs` holds for each look, not for the whole. */
export async function waitForJobs(context: Context, ids: readonly string[]): Promise<readonly JobView[]> {
  const drawn = process.stderr.isTTY && !context.json
  return context.withManager(async (manager) => {
    for (;;) {
      const jobs = await look(manager, ids)
      if (drawn) process.stderr.write(`\r\u001b[K${progressLine(jobs, process.stderr.columns)}`)
      if (jobs.every(hasEnded)) {
        if (drawn) process.stderr.write('\n')
        const bad = jobs.filter((job) => job.state !== 'done')
        if (bad.length > 0) throw new JobFailed(bad.map((job) => `the ${job.work ?? job.kind} of ${job.name} has ${job.state === 'failed' ? 'failed' : 'been cancelled'}: ${job.note}`).join('; '))
        return jobs
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  })
}

async function look(manager: Manager, ids: readonly string[]): Promise<readonly JobView[]> {
  const jobs: JobView[] = []
  for (const job of ids) {
    try {
      jobs.push(await manager.call('jobShow', { job }, { patient: true }))
    } catch (thrown) {
      if (!(thrown instanceof Fault && thrown.fault === 'unknown job') || ids.length === 1) throw thrown // one of many, ended so long ago that it is forgotten
    }
  }
  return jobs
}

const hasEnded = (job: JobView): boolean => job.state !== 'waiting' && job.state !== 'running'

/** One line for any number of jobs. Pure. */
export function progressLine(jobs: readonly JobView[], width: number): string {
  const bytes = jobs.reduce((sum, job) => sum + job.bytes, 0n)
  const done = jobs.reduce((sum, job) => sum + (hasEnded(job) ? job.bytes : job.doneBytes), 0n)
  const rate = jobs.reduce((sum, job) => sum + job.rate, 0n)
  const [only] = jobs
  const what = jobs.length === 1 && only ? `${only.work ?? only.kind} of ${only.name}` : `${jobs.filter((job) => !hasEnded(job)).length} of ${jobs.length} jobs`
  const left = rate > 0n ? `, ${formatSizeRounded(rate)}/s, ${age(Number((bytes - done) / rate) * 1000)} left` : jobs.some((job) => job.state === 'running') ? '' : ', waiting'
  const line = `${bar(bytes === 0n ? (jobs.every(hasEnded) ? 1 : 0) : Number(done * 1000n / bytes) / 1000, BAR_CELLS)}  ${what}${jobs.every(hasEnded) ? '' : left}`
  return width > 0 && line.length >= width ? `${line.slice(0, width - 2)}…` : line
}
