/** vsky rebalance */
import type { Command } from 'commander'
import type { RebalancePlanView } from '../../lib/api/views.js'
import { formatSizeRounded } from '../../lib/units.js'
import type { Context } from './context.js'
import { age, table } from './print.js'
import type { Look } from './print.js'
import { UsageError } from './settings.js'
import { verb } from './verb.js'
import { waitForJobs } from './waiting.js'

interface Options { readonly plan?: true; readonly apply?: true; readonly cancel?: true; readonly wait?: true }

export function rebalanceCommands(program: Command, context: () => Context): void {
  verb(program, 'rebalance', 'rebalanceApply', 'rebalancePlan', 'jobList', 'jobCancel', 'jobShow').option('--plan', 'tells what it would do, and changes nothing').option('--apply', 'begins it')
    .option('--cancel', 'ends the one that is under way; what has been moved stays where it is').option('--wait', 'with --apply: until it has ended')
    .action(async ({ plan, apply, cancel, wait }: Options) => {
      if ([plan, apply, cancel].filter((each) => each === true).length !== 1) throw new UsageError('say one of --plan, --apply and --cancel')
      if (wait === true && apply !== true) throw new UsageError('--wait goes with --apply')
      const { ask, show, look, confirm } = context()
      if (plan) return show(await ask('rebalancePlan', {}), (answer) => describeRebalance(answer, look))
      if (cancel) {
        const open = (await ask('jobList', { work: 'rebalance', ended: 0 })).at(0)
        if (!open) throw new UsageError('there is no rebalance under way')
        return show(await ask('jobCancel', { job: open.id }), () => 'the rebalance is cancelled; what has been moved stays where it is')
      }
      await confirm('Legs will be copied from fuller disks to emptier ones (vsky rebalance --plan tells which).')
      const job = await ask('rebalanceApply', {})
      if (wait === true) await waitForJobs(context(), [job.id])
      return show(job, () => (wait === true ? 'the rebalance has ended: vsky job list tells how' : `the rebalance has begun, ${formatSizeRounded(job.bytes)}: vsky job list shows how far it is`))
    })
}

/** What a rebalance would do, for people. Pure. */
export function describeRebalance(plan: RebalancePlanView, look: Look): string {
  const percent = (perMille: number): string => `${(perMille / 10).toFixed(1)} %`
  const levels = table([{ when: 'now', ...plan.before }, ...(plan.legs === 0 ? [] : [{ when: 'then', ...plan.after }])], [
    { title: '', of: (each) => each.when }, { title: 'FULLEST', of: (each) => `${percent(each.fullest.perMille)}  ${each.fullest.disk}` }, { title: 'EMPTIEST', of: (each) => `${percent(each.emptiest.perMille)}  ${each.emptiest.disk}` },
  ], look)
  if (plan.before.fullest.disk === '') return 'no disk is in use: nothing has to move'
  if (plan.legs === 0) return `${plan.balanced ? 'the disks are about equally full: nothing has to move' : 'no leg can move so that it gets better'}\n\n${levels}`
  const lines = [`${plan.complete ? '' : 'at least '}${plan.legs} legs, ${formatSizeRounded(plan.bytes)}, some ${age(plan.seconds * 1000)}; nothing has been changed`, '', levels, '']
  lines.push(table(plan.moves, [
    { title: 'FROM', of: (each) => each.from }, { title: 'TO', of: (each) => each.to }, { title: 'LEGS', of: (each) => String(each.legs), right: true }, { title: 'SIZE', of: (each) => formatSizeRounded(each.bytes), right: true },
  ], look))
  if (plan.pairs > plan.moves.length) lines.push(`and ${plan.pairs - plan.moves.length} more pairs of disks`)
  if (plan.complete && !plan.balanced) lines.push('', 'they would still differ by more than 5 %: servers, zones and the size of the legs allow no more')
  return lines.join('\n')
}
