/** What the audit log may say of a call: who, from where, and its parameters without secrets and within bounds. */
import type { ApiMethod } from '../../lib/api/methods.js'
import { fieldsOf } from '../../lib/api/system.js'
import type { CallContext, Stranger as StrangerAtDoor } from '../../lib/rpc/server.js'
import { XmlDouble } from '../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { networkOf } from '../access/attempts.js'
import type { Call, Caller } from '../run/audit.js'
import type { Stranger } from '../run/strangers.js'
import { PARAMS_MAX } from '../store/audit.js'
import type { OtherKey } from './joining.js'

/** A name that says it is a secret, whatever a registry says. */
const SECRET = /pass(?:word|phrase|wd)?|secret|token|credential|private|chap|cookie/i
const TEXT_MAX = 200
const ITEMS_MAX = 20
const DEPTH_MAX = 3

/** `members`: the only ones that are shown, where the method is known; those that are secret among them are not. */
export interface Shown {
  readonly members?: ReadonlyMap<string, { readonly secret: boolean }>
}

/** Of one of our own methods. */
export function callOf(context: CallContext, door: Caller['door'], method: ApiMethod<unknown, unknown>, params: readonly XmlValue[]): Call {
  const members = new Map(fieldsOf(method).filter(([name]) => name !== 'request').map(([name, field]) => [name, { secret: 'secret' in field }]))
  return makeCall(context, door, method.name, params, { members })
}

/** `method` must be a name that is known: nothing that a stranger thinks out. */
export function makeCall({ peer, requestId }: CallContext, door: Caller['door'], method: string, params: readonly XmlValue[], shown: Shown = {}): Call {
  const { commonName, credential, role, address } = peer
  const [first] = params
  const request = isStruct(first) && typeof first.request === 'string' && /^[\w.:-]{1,64}$/.test(first.request) ? first.request : ''
  const proof = credential === undefined ? (commonName === undefined ? '' : 'certificate') : /^[a-z]+/.exec(credential)?.[0] ?? ''
  return { who: credential ?? commonName ?? '', role: role ?? '', proof, peer: address, door, method, params: paramsNoted(params, shown), request, logId: requestId, noted: '' }
}

/** Somebody whom the door did not let in. What he asked for is not looked at. */
export function strangerAtDoor({ address, path, claimed, known, why, fault, logId }: StrangerAtDoor): Stranger {
  return { claimed: short(claimed), known, peer: address, source: networkOf(address), door: path === undefined ? 'tls' : wireOf(path), method: path === undefined ? 'handshake' : 'login', fault, why: short(why), logId }
}

/** An agent with a certificate that its host is not known by any more. */
export function strangerByKey({ peer: { address, commonName = '' }, path, requestId }: CallContext, method: string, { fault, why }: OtherKey): Stranger {
  return { claimed: `certificate of ${JSON.stringify(commonName)}`, known: true, peer: address, source: networkOf(address), door: wireOf(path), method, fault, why, logId: requestId }
}

export const JSON_PREFIX = '/api/v1/'

export function wireOf(path: string): 'json' | 'xml-rpc' {
  return path.startsWith(JSON_PREFIX) ? 'json' : 'xml-rpc'
}

/** JSON of the one struct of parameters, or of what came instead. */
export function paramsNoted(params: readonly XmlValue[], { members }: Shown = {}): string {
  const [first] = params
  const own = params.length === 1 && isStruct(first)
  const shown = own
    ? Object.fromEntries(Object.entries(first).filter(([name, value]) => value !== undefined && (members === undefined || members.has(name)))
      .slice(0, ITEMS_MAX * 2).map(([name, value]) => [short(name), members?.get(name)?.secret === true || SECRET.test(name) ? '(secret)' : plain(value, 1)]))
    : params.length === 0 ? {} : { parameters: params.length }
  const text = JSON.stringify(shown)
  return text.length <= PARAMS_MAX ? text : JSON.stringify({ tooLong: text.length, members: Object.keys(shown).slice(0, ITEMS_MAX) })
}

type Plain = string | number | boolean | null | readonly Plain[] | { readonly [name: string]: Plain }

function plain(value: XmlValue | undefined, depth: number): Plain {
  if (value === undefined || value === null || typeof value === 'boolean' || typeof value === 'number') return value ?? null
  if (typeof value === 'string') return short(value)
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof XmlDouble) return value.value
  if (value instanceof Uint8Array) return `(${value.length} bytes)`
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '(no date)' : value.toISOString()
  if (Array.isArray(value)) {
    const items = value as readonly XmlValue[]
    return depth >= DEPTH_MAX ? `(${items.length} items)` : [...items.slice(0, ITEMS_MAX).map((each) => plain(each, depth + 1)), ...(items.length > ITEMS_MAX ? [`(${items.length - ITEMS_MAX} more)`] : [])]
  }
  const entries = Object.entries(value as Readonly<Record<string, XmlValue | undefined>>)
  return depth >= DEPTH_MAX ? `(${entries.length} members)` : Object.fromEntries(entries.slice(0, ITEMS_MAX).map(([name, each]) => [short(name), SECRET.test(name) ? '(secret)' : plain(each, depth + 1)]))
}

function short(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text
}

function isStruct(value: XmlValue | undefined): value is Readonly<Record<string, XmlValue | undefined>> {
  return typeof value === 'object' && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)
}
