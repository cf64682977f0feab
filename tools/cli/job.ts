/** vsky job … */
import type { Command } from 'commander'
import type { JobView } from '../../lib/api/views.js'
import { formatSizeRounded } from '../../lib/units.js'
import type { Context } from './context.js'
import { age, short, table } from './print.js'
import { UsageError } from './settings.js'

export function jobCommands(program: Command, context: () => Context): void {
  const job = program.command('job').description('copies and moves under way')
  job.command('list').description('those that run or wait, then the newest of the others').option('--ended <n>', 'how many that have ended', '10').action(async ({ ended }: { ended: string }) => {
    if (!/^\d{1,4}$/.test(ended) || Number(ended) > 1000) throw new UsageError(`--ended takes a number from 0 to 1000, not ${JSON.stringify(ended)}`)
    const { ask, show, width } = context()
    show(await ask('jobList', { ended: Number(ended) }), (jobs) => (jobs.length === 0 ? 'there is no job' : jobTable(jobs, width)))
  })
  job.command('cancel').description('ends an evacuation or a drain; what has been moved stays').argument('<job>', 'its id').action(async (id: string) => {
    const { ask, show } = context()
    show(await ask('jobCancel', { job: id }), (cancelled) => `${cancelled.kind} of ${cancelled.name} is cancelled`)
  })
}

export function jobTable(jobs: readonly JobView[], width: number): string {
  return table(jobs, [
    { title: 'ID', of: (each) => (each.kind === 'resync' ? short(each.id) : each.id) }, { title: 'KIND', of: (each) => each.kind }, { title: 'OF', of: (each) => (each.kind === 'resync' ? `${each.name}/${each.segment}` : each.name) },
    { title: 'STATE', of: (each) => each.state }, { title: 'DONE', of: (each) => (each.bytes === 0n ? '-' : `${Number(each.doneBytes * 100n / each.bytes)} %`), right: true }, { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true },
    { title: 'RATE', of: (each) => (each.rate === 0n ? '-' : `${formatSizeRounded(each.rate)}/s`), right: true }, { title: 'ETA', of: (each) => (each.etaSeconds < 0 ? '-' : age(each.etaSeconds * 1000)), right: true },
    { title: 'NOTE', of: (each) => each.note || '-', elastic: true },
  ], width)
}
