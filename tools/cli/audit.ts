/** vsky audit … */
import type { Command } from 'commander'
import { createAuditCheck, formatAnchor, parseAnchor } from '../../lib/audit.js'
import type { AuditAnchor, AuditVerdict } from '../../lib/audit.js'
import type { AuditEntryView, AuditHeadView } from '../../lib/api/views.js'
import { Fault } from '../../lib/faults.js'
import { given, numberOf, watchOption } from './context.js'
import type { Context, Watch } from './context.js'
import type { Manager } from './connect.js'
import { table } from './print.js'
import type { Look } from './print.js'
import { UsageError } from './settings.js'
import { verb } from './verb.js'

const PAGE = 1000
/** The log may be cut at its old end while it is read: then the reading begins anew, so often. */
const READINGS = 3

interface ListOptions { readonly after?: string; readonly limit: string; readonly who?: string; readonly method?: string; readonly watch?: Watch }

export function auditCommands(program: Command, context: () => Context): void {
  const audit = program.command('audit').description('who called what, and whether that was changed later')
  verb(audit, 'list', 'auditList').description('Calls that changed something or were denied, and who was not let in, oldest first: the newest ones, or those after a number')
    .option('--after <seq>', 'those right after this number instead').option('--limit <n>', `at most so many, 1 to ${PAGE}`, '200').option('--who <name>', 'only calls of this name').option('--method <method>', 'only calls of this method')
    .option(...watchOption)
    .action(async ({ after, limit, who, method, watch }: ListOptions) => {
      const { ask, show, look, watching } = context()
      const asked = { ...given({ who, method }), limit: numberOf('--limit', limit, 1, PAGE), ...(after === undefined ? { newest: true } : { after: numberOf('--after', after, 0, Number.MAX_SAFE_INTEGER) }) }
      await watching(watch, async () => { show(await ask('auditList', asked), (entries) => (entries.length === 0 ? 'there is no entry' : auditTable(entries, look))) })
    })
  verb(audit, 'verify', 'auditHead', 'auditList').description('Reads the whole audit log, reckons its hashes anew and names the first entry that does not fit')
    .option('--anchor <seq:hash>', 'an entry as it was told before, by this command or in the log of a manager; several times if you like', (text: string, all: readonly string[]) => [...all, text], [] as readonly string[])
    .action(async ({ anchor }: { readonly anchor: readonly string[] }) => {
      const { withManager, show } = context()
      const anchors = anchor.map(anchorOf)
      const verdict = await withManager((manager) => verify(manager, anchors))
      if (verdict.problem) throw new Fault('audit broken', `entry ${verdict.problem.seq} of the audit log does not fit: ${verdict.problem.why}`)
      show(verdict, (good) => verdictLines(good, anchors).join('\n'))
    })
}

function anchorOf(text: string): AuditAnchor {
  const anchor = parseAnchor(text)
  if (!anchor) throw new UsageError(`--anchor takes SEQ:HASH, a number and 64 hexadecimal digits, not ${JSON.stringify(text.slice(0, 100))}`)
  return anchor
}

async function verify(manager: Manager, anchors: readonly AuditAnchor[]): Promise<AuditVerdict> {
  for (let reading = 1; ; reading += 1) {
    const head = await manager.call('auditHead', {})
    const verdict = await readAll(manager, head, anchors)
    if (!verdict.problem || reading === READINGS || (await manager.call('auditHead', {})).first === head.first) return verdict
  }
}

/** Up to the head that was told before it was read: what comes later is the next reading's. */
async function readAll(manager: Manager, { seq, hash }: AuditHeadView, anchors: readonly AuditAnchor[]): Promise<AuditVerdict> {
  const check = createAuditCheck([...anchors, ...(seq === 0 ? [] : [{ seq, hash }])])
  for (let after = 0; after < seq;) {
    const page = (await manager.call('auditList', { after, limit: Math.min(PAGE, Math.max(1, seq - after)) })).filter((entry) => entry.seq <= seq)
    if (page.length === 0 || !page.every((entry) => check.add(entry))) break
    after = page.at(-1)?.seq ?? seq
  }
  return check.end()
}

function verdictLines({ entries, first, head, alarms }: AuditVerdict, anchors: readonly AuditAnchor[]): readonly string[] {
  return [
    entries === 0 ? 'the audit log is empty' : `${entries} ${entries === 1 ? 'entry fits' : 'entries fit'}: ${first} to ${head.seq}`,
    ...anchors.filter((anchor) => anchor.seq < first - 1).map((anchor) => `entry ${anchor.seq} was cut off since: its hash could not be compared`),
    ...alarms.map((seq) => `entry ${seq} is an alarm: the manager found the log other than it had written it`),
    `head: ${formatAnchor(head)} (keep it elsewhere, and give it to --anchor later)`,
  ]
}

/** Nobody has proved to be whom a stranger claims to be. */
function whoOf(entry: AuditEntryView): string {
  const { claimed, others } = strangerIn(entry)
  return entry.kind !== 'stranger' ? entry.who || '-' : others !== undefined ? `${others} others` : claimed === undefined ? 'a stranger' : `claims: ${claimed}`
}

function wordsOf(entry: AuditEntryView): string {
  const { why, times } = strangerIn(entry)
  return why === undefined || times === undefined ? entry.params || '-' : times === 1 ? why : `${why}, ${times} times`
}

/** What the parameters say; nothing when somebody else has put something else there. */
function strangerIn({ kind, params }: AuditEntryView): { readonly claimed?: string; readonly others?: number; readonly why?: string; readonly times?: number } {
  if (kind !== 'stranger') return {}
  try {
    const { claimed, others, why, times } = JSON.parse(params) as Readonly<Record<string, unknown>>
    return { ...(typeof claimed === 'string' ? { claimed } : {}), ...(typeof others === 'number' ? { others } : {}), ...(typeof why === 'string' ? { why } : {}), ...(typeof times === 'number' ? { times } : {}) }
  } catch {
    return {}
  }
}

function auditTable(entries: readonly AuditEntryView[], look: Look): string {
  return table(entries, [
    { title: 'SEQ', of: (each) => String(each.seq), right: true }, { title: 'TIME', of: (each) => new Date(each.atMs).toISOString().slice(0, 19) },
    { title: 'KIND', of: (each) => each.kind, minor: true }, { title: 'WHO', of: whoOf }, { title: 'ROLE', of: (each) => each.role || '-', minor: true },
    { title: 'FROM', of: (each) => each.peer || '-' }, { title: 'DOOR', of: (each) => each.door || '-', minor: true },
    { title: 'METHOD', of: (each) => each.method || '-' }, { title: 'RESULT', of: (each) => each.result || '-', tone: (each) => (each.result === 'ok' || each.result === 'accepted' || each.result === '' ? 'plain' : 'warn') },
    { title: 'PARAMETERS', of: wordsOf, elastic: true }, { title: 'REQUEST', of: (each) => each.request || '-', minor: true },
  ], look)
}
