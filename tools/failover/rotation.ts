/**
 * Two managers and a database; a writer on one head, volumes coming and going on another; and one trouble after the other for the manager
 * that is active. Afterwards every acknowledged write is there, everything was done once, epochs came in order, and nothing is left.
 */
import type { ManagerView } from '../../lib/api/views.js'
import type { Lab } from '../lab/lab.js'
import { defaultWish } from '../lab/plan.js'
import { leftovers, startWriter, verifyWritten } from '../lab/trial.js'
import { Lives, notOnce, outOfOrder } from './lives.js'
import { suffer } from './troubles.js'
import type { Trouble } from './troubles.js'
import { Watch } from './watch.js'

export interface Outcome {
  readonly trouble: Trouble
  /** Whether another manager, or the same one under a new epoch, serves now. */
  readonly failedOver: boolean
  /** Longest time in which nobody served, ms. */
  readonly gapMs: number
}

export interface Report {
  readonly outcomes: readonly Outcome[]
  readonly violations: readonly string[]
  readonly volumes: number
  readonly refusals: readonly string[]
  readonly writes: number
  readonly longestWriteMs: number
  readonly epoch: number
}

export const wish = { ...defaultWish, managers: 2, database: 'postgres' as const, storage: 3, heads: 2, disks: 1, diskBytes: 1024n ** 3n, extentSize: '64MiB' }

/** Ends with the lab as it was. Rejects when something never came back. */
export async function rotate(lab: Lab, rotation: readonly Trouble[], say: (text: string) => void): Promise<Report> {
  await lab.json(['volume', 'create', 'v', '--size', '64MiB', '--redundancy', '2'])
  await lab.json(['volume', 'attach', 'v', '--host', 'hd1'])
  const writer = await startWriter(lab, 'hd1', '/dev/vsky/v')
  const watch = await Watch.start(lab, 'v')
  const lives = new Lives(lab, 'hd2')
  const outcomes: Outcome[] = []
  let last: ManagerView
  try {
    last = await watch.settled()
    for (const trouble of rotation) {
      const from = performance.now()
      await suffer(lab, last.name, trouble)
      const now = await watch.settled()
      const outcome = { trouble, failedOver: now.epoch > last.epoch, gapMs: watch.longestGap(from) }
      outcomes.push(outcome)
      say(`${last.name} ${trouble}: ${outcome.failedOver ? `${now.name} serves with epoch ${now.epoch}` : `it serves on with epoch ${now.epoch}`}; nobody served for ${Math.round(outcome.gapMs)} ms`)
      last = now
    }
  } finally {
    await watch.stop()
    await lives.stop()
  }
  const written = await writer.stop()
  const violations = [...await notOnce(lab, lives.names), ...await outOfOrder(lab)]
  if (written.error !== '') violations.push(`the writer met an error: ${written.error}`)
  const { detail } = await verifyWritten(lab, 'hd1', '/dev/vsky/v', written)
  if (detail !== '') violations.push(detail)
  await lab.json(['volume', 'detach', 'v'])
  await lab.json(['volume', 'delete', 'v'])
  violations.push(...await nothingLeft(lab))
  return { outcomes, violations, volumes: lives.names.length, refusals: lives.refusals, writes: written.writes, longestWriteMs: written.longestMs, epoch: last.epoch }
}

const CLEAN_MS = 60_000

/** What was deleted is overwritten first. */
async function nothingLeft(lab: Lab): Promise<readonly string[]> {
  const until = performance.now() + CLEAN_MS
  for (;;) {
    const found = await leftovers(lab)
    if (found.length === 0 || performance.now() > until) return found
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}
