/** vsky event … */
import type { Command } from 'commander'
import type { EventView } from '../../lib/api/views.js'
import type { Manager } from './connect.js'
import { jsonValue } from './context.js'
import type { Context } from './context.js'
import { UsageError } from './settings.js'

/** How long the manager holds a follower's question while nothing happens, ms; half of a call's time when that is less. */
const FOLLOW_WAIT_MS = 25_000
const LIMIT_MAX = 1000

export function eventCommands(program: Command, context: () => Context): void {
  program.command('event').description('what changed').command('list').description('the newest events, oldest first')
    .option('--follow', 'wait for more').option('--after <seq>', 'those right after this number instead').option('--limit <n>', 'at most so many at once', '200')
    .action(async ({ follow = false, after, limit }: { follow?: boolean; after?: string; limit: string }) => {
      const { json, timeoutMs, withManager } = context()
      const from = after === undefined ? undefined : countOf('--after', after, 0, Number.MAX_SAFE_INTEGER)
      const most = countOf('--limit', limit, 1, LIMIT_MAX)
      await withManager(async (manager) => {
        let events = from === undefined ? await newest(manager, most) : await manager.call('eventList', { after: from, limit: most })
        if (json && !follow) return console.log(JSON.stringify(events, jsonValue))
        for (let seq = from ?? 0; ;) {
          for (const event of events) console.log(json ? JSON.stringify(event, jsonValue) : line(event))
          if (!follow) return
          seq = events.at(-1)?.seq ?? seq
          events = await manager.call('eventList', { after: seq, limit: most, waitMs: Math.min(FOLLOW_WAIT_MS, timeoutMs / 2) }, { patient: true })
        }
      })
    })
}

/** The manager counts from the front: where the end is has to be felt for, in steps that double, then halve (34 questions for 100,000 events). */
async function newest(manager: Manager, most: number): Promise<readonly EventView[]> {
  const front = await manager.call('eventList', { limit: most })
  if (front.length < most) return front
  const isBefore = async (seq: number): Promise<boolean> => (await manager.call('eventList', { after: seq, limit: 1 })).length > 0
  let low = front.at(-1)?.seq ?? 0 // the end is here or later
  let step = most
  while (await isBefore(low + step)) {
    low += step
    step *= 2
  }
  let high = low + step // nothing comes after this
  while (high > low) {
    const middle = Math.floor((low + high) / 2)
    if (await isBefore(middle)) low = middle + 1
    else high = middle
  }
  return manager.call('eventList', { after: Math.max(0, high - most), limit: most })
}

function countOf(option: string, text: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw new UsageError(`${option} takes a number from ${min} to ${max}, not ${JSON.stringify(text)}`)
  return value
}

function line(event: EventView): string {
  return `${String(event.seq).padStart(6)}  ${new Date(event.atMs).toISOString().slice(0, 23)}  ${event.kind.padEnd(18)} ${event.name}: ${event.text}`
}
