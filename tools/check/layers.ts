/**
 * The arrows of the house, as a table: who may import whom, which rooms are pure, and through which one door each outside thing is
 * reached. Pure: sources in, offences out.
 */
import { importsOf } from './imports.js'
import type { Source } from './imports.js'

export interface Offence {
  readonly path: string
  readonly line: number
  readonly why: string
}

const LINES_MAX = 400
const LONGER = 'Longer than 400 lines because'

/** Room (longest prefix wins) → prefixes of our own code that it may import. Tests may import everything. */
const arrows: readonly (readonly [room: string, may: readonly string[], because: string])[] = [
  ['lib/host/', ['lib/'], 'the real clock, dice, programs and files stand on the shared words alone'],
  ['lib/rpc/', ['lib/'], 'the wire knows nothing of manager or agent'],
  ['lib/', ['lib/'], 'shared words import neither manager nor agent nor tools'],
  ['manager/plan/', ['manager/plan/', 'manager/state/', 'lib/'], 'planners take facts and give decisions'],
  ['manager/state/', ['manager/state/', 'lib/'], 'state machines take words and give words'],
  ['manager/health/', ['manager/health/', 'lib/'], 'detection takes signals and time'],
  ['manager/store/', ['manager/store/', 'manager/state/', 'lib/'], 'the store keeps records and decides nothing'],
  ['manager/access/', ['manager/access/', 'manager/store/', 'manager/state/', 'lib/'], 'who may come in is decided below the API'],
  ['manager/lease/', ['manager/lease/', 'manager/store/', 'lib/'], 'the lease decides who may work and knows nothing of the work'],
  ['manager/run/', ['manager/run/', 'manager/plan/', 'manager/state/', 'manager/health/', 'manager/store/', 'lib/'], 'turns stand above plans and store, below the API'],
  ['manager/', ['manager/', 'lib/'], 'the manager and the agent meet on the wire only'],
  ['agent/dm/', ['agent/dm/', 'lib/'], 'a door knows its own tool only'],
  ['agent/lvm/', ['agent/lvm/', 'lib/'], 'a door knows its own tool only'],
  ['agent/lio/', ['agent/lio/', 'lib/'], 'a door knows its own tool only'],
  ['agent/iscsi/', ['agent/iscsi/', 'lib/'], 'a door knows its own tool only'],
  ['agent/', ['agent/', 'lib/'], 'the agent and the manager meet on the wire only'],
  ['tools/cli/', ['tools/cli/', 'lib/'], 'the command is a client like any other'],
  ['tools/', ['tools/', 'lib/'], 'tools drive the product from outside'],
  ['bench/placement.ts', ['bench/', 'manager/plan/', 'manager/store/', 'tools/', 'lib/'], 'what it takes to plan can only be measured at the planner'],
  ['bench/', ['bench/', 'tools/', 'lib/'], 'benchmarks drive the product from outside'],
]

/** Files that decide and do nothing else: no input or output, no clock, no dice. A trailing slash means the whole room. */
const pure: readonly string[] = [
  'manager/plan/', 'manager/state/', 'manager/lease/timeline.ts', 'manager/access/attempts.ts', 'manager/run/strangers.ts', 'manager/store/postgres-target.ts', 'manager/store/placeholders.ts', 'lib/api/', 'lib/wire/', 'lib/units.ts', 'lib/model.ts', 'lib/faults.ts', 'lib/assert.ts', 'lib/ports.ts', 'lib/rpc/shape.ts', 'lib/rpc/json.ts', 'lib/rpc/xmlrpc.ts',
  'lib/rpc/xmlrpc-read.ts', 'lib/rpc/xmlrpc-scan.ts', 'lib/rpc/xmlrpc-value.ts', 'agent/dm/table.ts', 'agent/dm/status.ts', 'agent/lvm/report.ts', 'agent/lio/target.ts', 'agent/head/plan.ts',
  'agent/iscsi/node-record.ts', 'tools/cli/print.ts', 'tools/lab/plan.ts', 'tools/check/imports.ts',
  'tools/thrash/dice.ts', 'tools/thrash/faults.ts', 'tools/thrash/ledger.ts', 'tools/thrash/lines.ts', 'tools/thrash/tally.ts',
]
const impureImports = /^(?:node:(?!path)|lib\/host\/|lib\/rpc\/(?:server|client)\.ts|execa|pino|sqlite3|pg$|commander)/
const impureWords = /\b(?:Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|crypto\.|fetch\(|performance\.now|process\.(?:env|argv|exit|hrtime)|console\.)/

/** Outside thing → the only places that may name it. */
const doors: readonly (readonly [what: string, pattern: RegExp, places: readonly string[]])[] = [
  ['dmsetup is run', /file: 'dmsetup'/, ['agent/dm/dmsetup.ts']],
  ['lvm is run', /file: 'lvm'/, ['agent/lvm/lvm.ts']],
  ['iscsiadm is run', /file: 'iscsiadm'/, ['agent/iscsi/sessions.ts']],
  ['the target\'s configfs is reached', /'\/sys\/kernel\/config/, ['agent/lio/configfs.ts']],
  ['programs are started (node:child_process)', /'node:child_process'/, ['lib/host/', 'tools/lab/', 'tools/demo/', 'bench/']],
  ['execa is used', /'execa'/, ['lib/host/run.ts']],
  ['sqlite3 is used', /'sqlite3'/, ['manager/store/sqlite.ts', 'manager/store/lock-file.ts']],
  ['pg is used', /'pg'/, ['manager/store/postgres-session.ts', 'tools/lab/postgres-server.ts']],
  ['sockets are opened (node:http, node:https, node:tls)', /'node:(?:http|https|tls)'/, ['lib/rpc/']],
  ['raw sockets are opened (node:net)', /'node:net'/, ['lib/', 'tools/lab/', 'bench/load.ts']],
]

export function checkLayers(sources: readonly Source[]): readonly Offence[] {
  const product = sources.filter((source) => !source.path.startsWith('test/'))
  return [...product.flatMap(checkArrows), ...product.flatMap(checkPure), ...product.flatMap(checkDoors), ...sources.flatMap(checkLength), ...cycles(product)]
    .sort((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1))
}

function isOurs(target: string): boolean {
  return /^(?:lib|manager|agent|tools|bench|test)\//.test(target)
}

function checkArrows(source: Source): readonly Offence[] {
  const rule = arrows.filter(([room]) => source.path.startsWith(room)).sort((a, b) => b[0].length - a[0].length)[0]
  if (!rule) return [{ path: source.path, line: 1, why: 'stands in no room of the house: name its room in tools/check/layers.ts' }]
  const [room, may, because] = rule
  return importsOf(source).filter(({ target }) => isOurs(target) && !may.some((prefix) => target.startsWith(prefix)))
    .map(({ line, target }) => ({ path: source.path, line, why: `${room} may not import ${target}: ${because}` }))
}

function isPure(path: string): boolean {
  return pure.some((each) => (each.endsWith('/') ? path.startsWith(each) : path === each))
}

function checkPure(source: Source): readonly Offence[] {
  if (!isPure(source.path)) return []
  const imports = importsOf(source).filter(({ target, typeOnly }) => impureImports.test(target) && !typeOnly)
    .map(({ line, target }) => ({ path: source.path, line, why: `is pure and may not import ${target}` }))
  const words = codeLines(source).filter(({ text }) => impureWords.test(text)).map(({ line, text }) => ({ path: source.path, line, why: `is pure and may not use ${impureWords.exec(text)?.[0] ?? ''}` }))
  return [...imports, ...words]
}

function checkDoors(source: Source): readonly Offence[] {
  return doors.flatMap(([what, pattern, places]) => {
    if (source.path.startsWith('tools/check/') || places.some((place) => source.path.startsWith(place))) return []
    return codeLines(source).filter(({ text }) => pattern.test(text)).map(({ line }) => ({ path: source.path, line, why: `${what} only in ${places.join(', ')}` }))
  })
}

function codeLines({ text }: Source): readonly { readonly line: number; readonly text: string }[] {
  return text.split('\n').map((each, index) => ({ line: index + 1, text: each })).filter((each) => !/^\s*(?:\*|\/\/|\/\*)/.test(each.text))
}

function checkLength({ path, text }: Source): readonly Offence[] {
  const lines = text.split('\n').length - 1
  return lines <= LINES_MAX || text.slice(0, 2000).includes(LONGER) ? [] : [{ path, line: LINES_MAX, why: `has ${lines} lines: cut it in two, or say "${LONGER}…" in its head` }]
}

/** Value imports in a ring, each ring once. Types alone may look back. */
function cycles(sources: readonly Source[]): readonly Offence[] {
  const graph = new Map(sources.map((source) => [source.path, importsOf(source).filter(({ target, typeOnly }) => isOurs(target) && !typeOnly)]))
  const done = new Set<string>()
  const found: Offence[] = []
  const walk = (path: string, trail: readonly string[]): void => {
    for (const { target, line } of graph.get(path) ?? []) {
      const at = trail.indexOf(target)
      if (at >= 0) found.push({ path, line, why: `a ring of imports: ${[...trail.slice(at), target].join(' → ')}` })
      else if (!done.has(target)) walk(target, [...trail, target])
    }
    done.add(path)
  }
  for (const path of [...graph.keys()].sort()) if (!done.has(path)) walk(path, [path])
  return found
}
