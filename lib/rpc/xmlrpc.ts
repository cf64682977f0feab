/**
 * XML-RPC text ↔ values, pure. This file writes; xmlrpc-read.ts reads. Our own because the usual package loses data silently
 * (bigints, NaN, `]]>`) and can be stopped or killed by one small document. Grammar: xmlrpc.com/spec, with the `nil` and `i8`
 * extensions that all current implementations read. Nothing is ever written that the reader here, or Python's, would not
 * read back as the same value; what can't be carried is a TypeError at the sender.
 */
import { I8_MAX, I8_MIN, INT_MAX, INT_MIN, XmlDouble, defaultLimits, illegalCharacter, methodNamePattern } from './xmlrpc-value.js'
import type { XmlValue } from './xmlrpc-value.js'

export { decodeCall, decodeResponse } from './xmlrpc-read.js'
export type { XmlCall, XmlResponse } from './xmlrpc-read.js'
export { XmlDouble, XmlRpcSyntaxError, double } from './xmlrpc-value.js'
export type { XmlRpcLimits, XmlValue } from './xmlrpc-value.js'

/** `classic`: for a reader of 2008, so neither nil nor i8 may be written; a value that needs one is a TypeError. */
export interface EncodeOptions {
  readonly classic?: boolean
}

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
const MAX_FAULT_CHARACTERS = 4000

/**
 * A methodCall. Throws TypeError for a method name outside `A-Z a-z 0-9 _ . : /`, and for what XML-RPC can't carry: functions,
 * class instances, Map, Set, undefined outside a struct, NaN and infinities, bigints past 64 bits, invalid dates, characters
 * that XML forbids, nesting deeper than 64 (so also circles).
 */
export function encodeCall(method: string, params: readonly XmlValue[], options: EncodeOptions = {}): string {
  if (!methodNamePattern.test(method) || method.length > defaultLimits.nameLength) throw new TypeError(`not a method name: ${JSON.stringify(method)}`)
  const written = params.map((param) => `<param>${valueXml(param, options, 0)}</param>`).join('')
  return `${HEAD}<methodCall><methodName>${method}</methodName><params>${written}</params></methodCall>`
}

/** A methodResponse with one value. Throws TypeError as `encodeCall` does. */
export function encodeResponse(value: XmlValue, options: EncodeOptions = {}): string {
  return `${HEAD}<methodResponse><params><param>${valueXml(value, options, 0)}</param></params></methodResponse>`
}

/** A fault. Never throws: a code that is no 32-bit integer becomes -32603, forbidden characters become U+FFFD, long text is cut. */
export function encodeFault(code: number, text: string): string {
  const safeCode = Number.isInteger(code) && code >= INT_MIN && code <= INT_MAX ? code : -32603
  const safeText = text.slice(0, MAX_FAULT_CHARACTERS).replace(new RegExp(illegalCharacter.source, 'gu'), '\ufffd')
  return `${HEAD}<methodResponse><fault>${valueXml({ faultCode: safeCode, faultString: safeText }, {}, 0)}</fault></methodResponse>`
}

function valueXml(value: unknown, options: EncodeOptions, depth: number): string {
  switch (typeof value) {
    case 'string': return `<value><string>${escape(value)}</string></value>`
    case 'number': return `<value>${numberXml(value, options)}</value>`
    case 'boolean': return `<value><boolean>${value ? 1 : 0}</boolean></value>`
    case 'bigint': return `<value>${bigintXml(value, options)}</value>`
    case 'object': return value === null ? nilXml(options) : `<value>${objectXml(value, options, depth + 1)}</value>`
    default: throw new TypeError(`XML-RPC cannot carry a value of type ${typeof value}`)
  }
}

function nilXml({ classic }: EncodeOptions): string {
  if (classic) throw new TypeError('a classic client cannot read nil')
  return '<value><nil/></value>'
}

function numberXml(value: number, options: EncodeOptions): string {
  if (!Number.isSafeInteger(value)) return doubleXml(value)
  if (value >= INT_MIN && value <= INT_MAX) return `<int>${value}</int>`
  return bigintXml(BigInt(value), options)
}

function bigintXml(value: bigint, { classic }: EncodeOptions): string {
  if (value >= INT_MIN && value <= INT_MAX) return `<int>${value}</int>`
  if (classic) throw new TypeError(`a classic client cannot read an integer past 32 bits: ${value}`)
  if (value < I8_MIN || value > I8_MAX) throw new TypeError(`an integer past 64 bits cannot be sent: ${value}`)
  return `<i8>${value}</i8>`
}

function doubleXml(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`XML-RPC cannot carry ${value}`)
  return `<double>${plainDecimal(value)}</double>`
}

/** The shortest digits that give the same number back, without an exponent: the specification has none. */
function plainDecimal(value: number): string {
  const text = Object.is(value, -0) ? '-0' : String(value)
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text)
  if (!match) return text.includes('.') ? text : `${text}.0`
  const [, sign = '', first = '', rest = '', exponentText = ''] = match
  const exponent = Number(exponentText)
  const digits = first + rest
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  return `${sign}${digits}${'0'.repeat(exponent - rest.length)}.0` // String() has an exponent only from 1e21 up: more than its 17 digits
}

function objectXml(value: object, options: EncodeOptions, depth: number): string {
  if (value instanceof XmlDouble) return doubleXml(value.value)
  if (value instanceof Date) return `<dateTime.iso8601>${dateText(value)}</dateTime.iso8601>`
  if (value instanceof Uint8Array) return `<base64>${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}</base64>`
  if (depth > defaultLimits.depth) throw new TypeError(`values are nested deeper than ${defaultLimits.depth}`)
  if (Array.isArray(value)) {
    let items = ''
    for (const item of value as readonly unknown[]) items += valueXml(item, options, depth) // not map: it would skip the holes
    return `<array><data>${items}</data></array>`
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError(`XML-RPC cannot carry an instance of ${value.constructor.name}`)
  let members = ''
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    if (member === undefined) continue
    if (name === '__proto__' || name.length > defaultLimits.nameLength) throw new TypeError(`not a member name: ${JSON.stringify(name.slice(0, 200))}`)
    members += `<member><name>${escape(name)}</name>${valueXml(member, options, depth)}</member>`
  }
  return `<struct>${members}</struct>`
}

/** `YYYYMMDDTHH:MM:SS`, UTC: the only form that Python reads. Milliseconds are lost. */
function dateText(date: Date): string {
  const time = date.getTime()
  const year = date.getUTCFullYear()
  if (Number.isNaN(time) || year < 0 || year > 9999) throw new TypeError('XML-RPC carries dates of the years 0 to 9999 only')
  return date.toISOString().slice(0, 19).replaceAll('-', '')
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#13;' }

/** Anything that is not simply copied: what has to be escaped, what XML forbids, and surrogates, which have to be looked at in pairs. */
const unusual = /[^\t\n -%'-;=?-\ud7ff\ue000-\ufffd]/

function escape(text: string): string {
  if (!unusual.test(text)) return text
  if (illegalCharacter.test(text)) throw new TypeError(`XML cannot carry a character of ${JSON.stringify(text.slice(0, 80))}`)
  return text.replace(/[&<>\r]/g, (character) => escapes[character] ?? '')
}
