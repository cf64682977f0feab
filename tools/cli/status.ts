/** vsky status and vsky explain. */
import type { Command } from 'commander'
import type { ExplainView, StatusView } from '../../lib/api/views.js'
import { watchOption } from './context.js'
import type { Context, Watch } from './context.js'
import { jobTable } from './job.js'
import { toneOf } from './print.js'
import type { Look } from './print.js'
import { verb } from './verb.js'

export function statusCommands(program: Command, context: () => Context): void {
  verb(program, 'status', 'status').option(...watchOption).action(async ({ watch }: { watch?: Watch }) => {
    const { ask, show, look, watching } = context()
    await watching(watch, async () => { show(await ask('status', {}), (status) => describeStatus(status, look)) })
  })
  verb(program, 'explain', 'explain').argument('<object>', 'a volume, a host, a disk (HOST:DEVICE) or a job').option(...watchOption).action(async (object: string, { watch }: { watch?: Watch }) => {
    const { ask, show, watching } = context()
    await watching(watch, async () => { show(await ask('explain', { object }), describeExplanation) })
  })
}

function describeStatus(status: StatusView, look: Look): string {
  const lines = [`${look.paint(toneOf(status.verdict), status.verdict.toUpperCase())}: ${status.volumes} volumes, ${status.unavailable.length} unavailable, ${status.degraded.length} degraded, ${status.oneCopy.length} with one good copy of something`]
  lines.push(...status.reasons.map((each) => `  ${each}`))
  if (status.jobs.length > 0) lines.push('', jobTable(status.jobs, look))
  return lines.join('\n')
}

function describeExplanation(told: ExplainView): string {
  const part = (title: string, all: readonly string[], none: string): readonly string[] => (all.length === 0 ? [`  ${title}  ${none}`] : all.map((each, index) => `  ${index === 0 ? title : ' '.repeat(title.length)}  ${each}`))
  return [`${told.kind} ${told.name}: ${told.state}`, ...part('cause', told.causes, 'nothing is wrong'), ...part('doing', told.doing, 'nothing'), ...part('next ', told.next, 'nothing has to be done')].join('\n')
}
