/** vsky event … */
import type { Command } from 'commander'
import type { EventView } from '../../lib/api/views.js'
import { given, jsonValue, numberOf, wordOf } from './context.js'
import type { Context } from './context.js'
import { clean } from './print.js'
import { verb } from './verb.js'

/** How long the manager holds a follower's question while nothing happens, ms; half of a call's time when that is less. */
const FOLLOW_WAIT_MS = 25_000
const LIMIT_MAX = 1000

const nouns = ['volume', 'host', 'disk', 'manager'] as const
interface ListOptions { readonly follow?: boolean; readonly after?: string; readonly limit: string; readonly about?: string; readonly name?: string; readonly kind?: string }

export function eventCommands(program: Command, context: () => Context): void {
  verb(program.command('event').description('what changed'), 'list', 'eventList').description('Events, oldest first: the newest ones, or those after a number')
    .option('--follow', 'wait for more').option('--after <seq>', 'those right after this number instead').option('--limit <n>', 'at most so many at once', '200')
    .option('--about <noun>', `only about a ${nouns.join(', a ')}`).option('--name <name>', 'only about the one of this name').option('--kind <text>', 'only kinds that begin so')
    .action(async ({ follow = false, after, limit, about, name, kind }: ListOptions) => {
      const { json, timeoutMs, withManager } = context()
      const from = after === undefined ? undefined : numberOf('--after', after, 0, Number.MAX_SAFE_INTEGER)
      const asked = { ...given({ about: wordOf('--about', about, nouns), name, kind }), limit: numberOf('--limit', limit, 1, LIMIT_MAX) }
      await withManager(async (manager) => {
        let events = await manager.call('eventList', { ...asked, ...(from === undefined ? { newest: true } : { after: from }) })
        if (json && !follow) return console.log(JSON.stringify(events, jsonValue))
        for (let seq = from ?? 0; ;) {
          for (const event of events) console.log(json ? JSON.stringify(event, jsonValue) : line(event))
          if (!follow) return
          seq = events.at(-1)?.seq ?? seq
          events = await manager.call('eventList', { ...asked, after: seq, waitMs: Math.min(FOLLOW_WAIT_MS, timeoutMs / 2) }, { patient: true })
        }
      })
    })
}

function line(event: EventView): string {
  return `${String(event.seq).padStart(6)}  ${new Date(event.atMs).toISOString().slice(0, 23)}  ${event.kind.padEnd(18)} ${clean(event.name)}: ${clean(event.text)}`
}
