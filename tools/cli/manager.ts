/** vsky manager … */
import type { Command } from 'commander'
import { formatSize } from '../../lib/units.js'
import type { Context } from './context.js'
import { age } from './print.js'

export function managerCommands(program: Command, context: () => Context): void {
  program.command('manager').description('the manager').command('status').description('who is active, and how the cluster is').action(async () => {
    const { ask, show } = context()
    show(await ask('managerStatus', {}), (status) => [
      `${status.name}: ${status.state}, epoch ${status.epoch}, for ${age(Math.max(0, Date.now() - status.startedAt))}`, `  version    ${status.version}, schema ${status.schema}`,
      `  hosts      ${status.hostsOnline} of ${status.hosts} online`, `  volumes    ${status.volumes}`, `  under way  ${status.underWay}`, `  extents    of ${formatSize(status.extentBytes)}`,
    ].join('\n'))
  })
}
