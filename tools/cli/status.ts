/** vsky status and vsky explain. */
import type { Command } from 'commander'
import type { ExplainView, StatusView } from '../../lib/api/views.js'
import type { Context } from './context.js'
import { jobTable } from './job.js'

export function statusCommands(program: Command, context: () => Context): void {
  program.command('status').description('one verdict on the cluster, and the reasons for it').action(async () => {
    const { ask, show, width } = context()
    show(await ask('status', {}), (status) => describeStatus(status, width))
  })
  program.command('explain').description('state of one thing, its cause, what is being done, and what to do next').argument('<object>', 'a volume, a host, a disk (HOST:DEVICE) or a job').action(async (object: string) => {
    const { ask, show } = context()
    show(await ask('explain', { object }), describeExplanation)
  })
}

function describeStatus(status: StatusView, width: number): string {
  const lines = [`${status.verdict.toUpperCase()}: ${status.volumes} volumes, ${status.unavailable.length} unavailable, ${status.degraded.length} degraded, ${status.oneCopy.length} with one good copy of something`]
  lines.push(...status.reasons.map((each) => `  ${each}`))
  if (status.jobs.length > 0) lines.push('', jobTable(status.jobs, width))
  return lines.join('\n')
}

function describeExplanation(told: ExplainView): string {
  const part = (title: string, all: readonly string[], none: string): readonly string[] => (all.length === 0 ? [`  ${title}  ${none}`] : all.map((each, index) => `  ${index === 0 ? title : ' '.repeat(title.length)}  ${each}`))
  return [`${told.kind} ${told.name}: ${told.state}`, ...part('cause', told.causes, 'nothing is wrong'), ...part('doing', told.doing, 'nothing'), ...part('next ', told.next, 'nothing has to be done')].join('\n')
}
