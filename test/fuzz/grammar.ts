/** Requests by grammar: calls of real methods with parameters of the right kind, of the wrong kind, too many, too few; written as XML-RPC or JSON. */
import type { ApiName } from '../../lib/api/methods.js'
import { apiMethod, apiNames, fieldsOf, isQuestion } from '../../lib/api/system.js'
import type { ApiMethod } from '../../lib/api/methods.js'
import type { Dice } from '../../tools/thrash/dice.js'
import type { Caller } from '../support/manager.js'
import { sampleOf } from '../support/samples.js'
import { anyNumber, anySize, anyText, anyValue } from './words.js'
import type { Value } from './words.js'

/** One request, byte by byte. */
export interface Attempt {
  readonly caller: Caller
  readonly verb: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** The server may end the connection over it. */
  readonly rude: boolean
}

type Method = ApiMethod<unknown, unknown>

/** `may`: whether the caller has the right to it. */
export function grammarAttempt(dice: Dice, caller: Caller, may: (name: ApiName) => boolean): Attempt {
  const names = apiNames.filter(may)
  if (names.length === 0 || dice.chance(0.1)) return systemAttempt(dice, caller, names)
  const key = dice.pick(names)
  const method = apiMethod(key)
  const params = paramsOf(dice, key, method)
  if (dice.chance(0.5)) return xmlAttempt(dice, caller, method.name, dice.chance(0.03) ? [params, anyValue(dice)] : [params])
  return jsonAttempt(dice, caller, method.name, params)
}

function paramsOf(dice: Dice, key: ApiName, method: Method): Value {
  if (dice.chance(0.03)) return anyValue(dice)
  const sample = plain(sampleOf(key)) as Readonly<Record<string, Value>>
  const members: Record<string, Value> = {}
  const care = dice.next() // how well this caller behaves
  for (const [name, field] of fieldsOf(method)) {
    if (field.optional === true ? dice.chance(0.7) : dice.chance(0.02)) continue
    if (name === 'request') members[name] = dice.chance(0.95) ? `fuzz-${dice.between(0, 2 ** 30)}` : anyText(dice)
    else if (name === 'wait' || name === 'waitMs') continue
    else if (dice.chance(care * 0.3)) members[name] = anyValue(dice)
    else if (name in sample && dice.chance(0.6)) members[name] = sample[name] ?? null
    else members[name] = likely(dice, field.describe)
  }
  if (method.mutates) members.wait = false
  if (dice.chance(0.04)) members[anyText(dice).slice(0, 100)] = anyValue(dice)
  return members
}

/** Of the kind that the field says it wants, more or less. */
function likely(dice: Dice, describe: string): Value {
  if (/true|false/.test(describe)) return dice.chance(0.9) ? dice.chance(0.5) : anyValue(dice)
  if (describe.includes('size in bytes')) return anySize(dice)
  if (/whole number|rows at most|0 to|1 to 9/.test(describe)) return dice.chance(0.7) ? anyNumber(dice) : anySize(dice)
  const words = /^one of ([^;]+)/.exec(describe)?.[1]?.split(', ')
  if (words && dice.chance(0.8)) return dice.pick(words)
  if (describe.startsWith('a list')) return Array.from({ length: dice.between(0, 3) }, () => anyValue(dice, 2))
  return anyText(dice)
}

function systemAttempt(dice: Dice, caller: Caller, names: readonly ApiName[]): Attempt {
  const inner = (): Value => (names.length > 0 && dice.chance(0.8)
    ? ((key): Value => ({ methodName: apiMethod(key).name, params: [paramsOf(dice, key, apiMethod(key))] }))(dice.pick(names))
    : dice.chance(0.5) ? { methodName: dice.pick(['system.multicall', 'system.listMethods', anyText(dice)]), params: [anyValue(dice)] } : anyValue(dice))
  const [name, params] = dice.pick<readonly [string, readonly Value[]]>([
    ['system.listMethods', []], ['system.methodHelp', [dice.chance(0.5) && names.length > 0 ? apiMethod(dice.pick(names)).name : anyText(dice)]], ['system.methodSignature', [anyText(dice)]],
    ['system.multicall', [Array.from({ length: dice.chance(0.05) ? 101 : dice.between(0, 6) }, inner)]], ['vsky.no.such', [anyValue(dice)]], [anyText(dice).replace(/[^A-Za-z0-9_.:/]/g, '') || 'x', [anyValue(dice)]],
  ])
  return dice.chance(0.5) ? xmlAttempt(dice, caller, name, params)
    : jsonAttempt(dice, caller, name, name === 'system.multicall' ? { calls: params[0] ?? [] } : name.startsWith('system.') && params.length > 0 ? { methodName: params[0] ?? '' } : params[0] ?? {})
}

export function xmlAttempt(dice: Dice, caller: Caller, method: string, params: readonly Value[]): Attempt {
  const text = `<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params>${params.map((each) => `<param><value>${xmlOf(dice, each)}</value></param>`).join('')}</params></methodCall>`
  return { caller, verb: 'POST', path: dice.pick(['/RPC2', '/RPC2', '/']), headers: { 'Content-Type': 'text/xml' }, body: Buffer.from(text), rude: false }
}

export function jsonAttempt(dice: Dice, caller: Caller, method: string, params: Value): Attempt {
  const path = `/api/v1/${encodeURI(method)}`
  if (isQuestion(method) && dice.chance(0.3) && typeof params === 'object' && params !== null && !Array.isArray(params)) {
    const query = new URLSearchParams(Object.entries(params).map(([name, value]): [string, string] => [name, typeof value === 'string' ? value.slice(0, 500) : JSON.stringify(value).slice(0, 500)])).toString()
    return { caller, verb: 'GET', path: `${path}?${query}`.slice(0, 8000), headers: {}, body: Buffer.alloc(0), rude: false }
  }
  return { caller, verb: 'POST', path, headers: { 'Content-Type': 'application/json' }, body: Buffer.from(JSON.stringify(params)), rude: false }
}

/** Now and then not quite as it should be written. */
function xmlOf(dice: Dice, value: Value): string {
  if (value === null) return '<nil/>'
  if (typeof value === 'boolean') return dice.chance(0.02) ? '<boolean>true</boolean>' : `<boolean>${value ? 1 : 0}</boolean>`
  if (typeof value === 'number') return Number.isInteger(value) && Math.abs(value) <= 2 ** 31 ? `<int>${value}</int>` : dice.chance(0.5) ? `<i8>${value}</i8>` : `<double>${value}</double>`
  if (typeof value === 'string') return dice.chance(0.02) ? `<string><![CDATA[${value}]]></string>` : dice.chance(0.02) ? value : `<string>${value.replace(/[&<>]/g, (each) => `&#${each.charCodeAt(0)};`)}</string>`
  if (Array.isArray(value)) return `<array><data>${(value as readonly Value[]).map((each) => `<value>${xmlOf(dice, each)}</value>`).join('')}</data></array>`
  return `<struct>${Object.entries(value).map(([name, each]) => `<member><name>${name.replace(/[&<>]/g, (found) => `&#${found.charCodeAt(0)};`)}</name><value>${xmlOf(dice, each)}</value></member>`).join('')}</struct>`
}

function plain(value: unknown): Value {
  return JSON.parse(JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? each.toString() : each))) as Value
}
