/** What this agent was ordered to do, and how it ended: lines for a person, and for whoever must show that epochs came in order. */
import { appendFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock, Log } from '../../lib/ports.js'
import { messageOf } from '../../lib/faults.js'

const BYTES_MAX = 1024 * 1024

export interface Journal {
  note(entry: { readonly epoch: number; readonly op: string; readonly method: string; readonly outcome: string; readonly ms: number }): void
  flush(): Promise<void>
}

/** Two files of at most 1 MiB. A journal that can't be written is told in the log and holds nothing up. */
export function createJournal(stateDir: string, { clock, log }: { clock: Clock; log: Log }): Journal {
  const path = join(stateDir, 'journal')
  let tail: Promise<void> = Promise.resolve()
  return {
    note(entry) {
      const line = `${new Date(clock.nowMs()).toISOString()} epoch ${entry.epoch} ${entry.op} ${entry.method} ${entry.outcome} ${entry.ms} ms\n`
      tail = tail.then(async () => {
        if (((await stat(path).catch(() => undefined))?.size ?? 0) > BYTES_MAX) await rename(path, `${path}.1`)
        await appendFile(path, line, { mode: 0o600 })
      }).catch((thrown: unknown) => { log.warn('the journal could not be written', { error: messageOf(thrown) }) })
    },
    flush: () => tail,
  }
}
