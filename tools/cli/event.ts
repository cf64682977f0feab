/** vsky event … and vsky manager … */
import type { Command } from 'commander'
import type { EventView } from '../../lib/api/views.js'
import { formatSize } from '../../lib/units.js'
import { UsageError } from './connect.js'
import { jsonValue } from './context.js'
import type { Context } from './context.js'
import { age } from './print.js'

export function eventCommands(program: Command, context: () => Context): void {
  program.command('event').description('what changed').command('list').description('events, oldest first')
    .option('--follow', 'wait for more').option('--after <seq>', 'only those after this number').option('--limit <n>', 'at most so many at once', '200')
    .action(async ({ follow, after, limit }: { follow?: boolean; after?: string; limit: string }) => {
      const { json, withManager } = context()
      let seq = countOf('--after', after ?? '0', 0, Number.MAX_SAFE_INTEGER)
      const most = countOf('--limit', limit, 1, 1000)
      await withManager(async (manager) => {
        for (;;) {
          const events = await manager.call('eventList', { after: seq, limit: most, ...(follow === true ? { waitMs: 25_000 } : {}) })
          for (const event of events) if (!json || follow === true) console.log(json ? JSON.stringify(event, jsonValue) : line(event))
          if (json && follow !== true) console.log(JSON.stringify(events, jsonValue))
          seq = events.at(-1)?.seq ?? seq
          if (follow !== true) return
        }
      })
    })
  program.command('manager').description('the manager').command('status').description('who is active, and how the cluster is').action(async () => {
    const { ask, show } = context()
    show(await ask('managerStatus', {}), (status) => [
      `${status.name}: ${status.state}, epoch ${status.epoch}, for ${age(Math.max(0, Date.now() - status.startedAt))}`, `  version    ${status.version}, schema ${status.schema}`,
      `  hosts      ${status.hostsOnline} of ${status.hosts} online`, `  volumes    ${status.volumes}`, `  under way  ${status.underWay}`, `  extents    of ${formatSize(status.extentBytes)}`,
    ].join('\n'))
  })
}

function countOf(option: string, text: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw new UsageError(`${option} takes a number from ${min} to ${max}, not ${JSON.stringify(text)}`)
  return value
}

function line(event: EventView): string {
  return `${String(event.seq).padStart(6)}  ${new Date(event.atMs).toISOString().slice(0, 23)}  ${event.kind.padEnd(18)} ${event.name}: ${event.text}`
}
