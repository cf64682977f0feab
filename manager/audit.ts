/** `vsky-manager audit verify`: the audit log of the database, or of a backup, without a manager. */
import { createAuditCheck, formatAnchor, parseAnchor } from '../lib/audit.js'
import type { AuditAnchor, AuditCheck } from '../lib/audit.js'
import { readConfig } from './config.js'
import { auditAfter, auditEntryOf } from './store/audit.js'
import { readBackup } from './store/backup.js'
import { openDatabase } from './store/open.js'

/** An entry of the log does not fit. */
export class AuditBroken extends Error {
  override readonly name = 'AuditBroken'
}

export interface VerifyOptions {
  /** A backup; absent: the database that the configuration names. */
  readonly file?: string | undefined
  /** `SEQ:HASH`, as told before. */
  readonly anchor: readonly string[]
}

const PAGE = 1000

/** Says what fits. Throws AuditBroken with the first entry that does not. */
export async function verifyAudit(config: string, { file, anchor }: VerifyOptions, say: (line: string) => void): Promise<void> {
  const anchors = anchor.map(anchorOf)
  const check = createAuditCheck(anchors)
  if (file === undefined) await readDatabase(config, check)
  else await readBackup(file, (table, row) => { if (table === 'audit') check.add(auditEntryOf(row)); return Promise.resolve() })
  const { entries, first, head, alarms, problem } = check.end()
  if (problem) throw new AuditBroken(`entry ${problem.seq} of the audit log does not fit: ${problem.why}`)
  say(entries === 0 ? 'the audit log is empty' : `${entries} ${entries === 1 ? 'entry fits' : 'entries fit'}: ${first} to ${head.seq}`)
  for (const { seq } of anchors) if (seq < first - 1) say(`entry ${seq} was cut off since: its hash could not be compared`)
  for (const seq of alarms) say(`entry ${seq} is an alarm: the manager found the log other than it had written it`)
  say(`head: ${formatAnchor(head)}`)
}

function anchorOf(text: string): AuditAnchor {
  const anchor = parseAnchor(text)
  if (!anchor) throw new AuditBroken(`--anchor takes SEQ:HASH, a number and 64 hexadecimal digits, not ${JSON.stringify(text.slice(0, 100))}`)
  return anchor
}

/** One moment of it, however long that takes: a manager may go on. */
async function readDatabase(config: string, check: AuditCheck): Promise<void> {
  const db = await openDatabase(await readConfig(config))
  try {
    await db.snapshot(async (reader) => {
      for (let after = 0; ;) {
        const page = await auditAfter(reader, after, PAGE)
        const fits = page.every((entry) => check.add(entry))
        if (!fits || page.length < PAGE) return
        after = page.at(-1)?.seq ?? after
      }
    })
  } finally {
    await db.close()
  }
}
