/** vsky job … */
import type { Command } from 'commander'
import { jobKinds, jobStates, jobWorks } from '../../lib/api/views.js'
import type { JobView } from '../../lib/api/views.js'
import { formatSizeRounded } from '../../lib/units.js'
import { afterOption, given, limitOption, numberOf, watchOption, wordOf } from './context.js'
import type { Context, Paging, Watch } from './context.js'
import { age, short, table, toneOf } from './print.js'
import type { Look } from './print.js'
import { verb } from './verb.js'
import { waitForJobs } from './waiting.js'

interface ListOptions extends Paging { readonly watch?: Watch; readonly ended: string; readonly kind?: string; readonly state?: string; readonly name?: string }

export function jobCommands(program: Command, context: () => Context): void {
  const job = program.command('job').description('copies and moves under way')
  verb(job, 'list', 'jobList').option('--ended <n>', 'how many that have ended', '10').option('--kind <kind>', `only ${[...jobKinds, ...jobWorks].join(' or ')}`).option('--state <state>', `only ${jobStates.join(' or ')}`)
    .option('--name <name>', 'only of this volume, disk (HOST:DEVICE) or host').option(...limitOption).option(...afterOption).option(...watchOption)
    .action(async ({ watch, ended, kind, state, name, ...paging }: ListOptions) => {
      const { list, show, look, watching } = context()
      const asked = wordOf('--kind', kind, [...jobKinds, ...jobWorks])
      const filter = { ended: numberOf('--ended', ended, 0, 1000), ...given({ work: jobWorks.find((each) => each === asked), kind: jobKinds.find((each) => each === asked), state: wordOf('--state', state, jobStates), name }) }
      await watching(watch, async () => { show(await list('jobList', filter, paging), (jobs) => (jobs.length === 0 ? 'there is no job' : jobTable(jobs, look))) })
    })
  verb(job, 'show', 'jobShow').argument('<job>', 'its id').option(...watchOption).action(async (id: string, { watch }: { watch?: Watch }) => {
    const { ask, show, look, watching } = context()
    await watching(watch, async () => { show(await ask('jobShow', { job: id }), (found) => jobTable([found], look)) })
  })
  verb(job, 'wait', 'jobShow', 'jobList').description('Waits until a job, or all that run or wait now, have ended').argument('[job]', 'its id').action(async (id: string | undefined) => {
    const now = context()
    const ids = id === undefined ? (await now.list('jobList', { ended: 0 }, {})).map((each) => each.id) : [id]
    now.show(await waitForJobs(now, ids), (jobs) => (jobs.length === 0 ? 'there is no job to wait for' : `${jobs.length} ${jobs.length === 1 ? 'job has' : 'jobs have'} ended`))
  })
  verb(job, 'cancel', 'jobCancel').argument('<job>', 'its id').action(async (id: string) => {
    const { ask, show } = context()
    show(await ask('jobCancel', { job: id }), (cancelled) => `${cancelled.work ?? cancelled.kind} of ${cancelled.name} is cancelled`)
  })
}

/** Until the evacuation or the drain that was just begun has ended; nothing to wait for when there was nothing to move. */
export async function waitForMove(context: Context, kind: 'evacuate' | 'drain', name: string): Promise<void> {
  const jobs = await context.ask('jobList', { kind, name, ended: 1000 })
  const [newest] = [...jobs].sort((a, b) => b.createdAt - a.createdAt)
  if (newest) await waitForJobs(context, [newest.id])
}

export function jobTable(jobs: readonly JobView[], look: Look): string {
  return table(jobs, [
    { title: 'ID', of: (each) => (each.kind === 'resync' ? short(each.id) : each.id) }, { title: 'KIND', of: (each) => each.work ?? each.kind }, { title: 'OF', of: (each) => (each.kind === 'resync' ? `${each.name}/${each.segment}` : each.name) },
    { title: 'STATE', of: (each) => each.state, tone: (each) => toneOf(each.state) }, { title: 'DONE', of: (each) => (each.bytes === 0n ? '-' : `${Number(each.doneBytes * 100n / each.bytes)} %`), right: true }, { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true, minor: true },
    { title: 'RATE', of: (each) => (each.rate === 0n ? '-' : `${formatSizeRounded(each.rate)}/s`), right: true, minor: true }, { title: 'ETA', of: (each) => (each.etaSeconds < 0 ? '-' : age(each.etaSeconds * 1000)), right: true },
    { title: 'NOTE', of: (each) => each.note || '-', elastic: true },
  ], look)
}
