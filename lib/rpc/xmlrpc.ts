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
  const writer = new Writer(`${HEAD}<methodCall><methodName>${method}</methodName><params>`, options)
  for (const param of params) {
    writer.add('<param>')
    writer.value(param, 0)
    writer.add('</param>')
  }
  return writer.text('</params></methodCall>')
}

/** A methodResponse with one value. Throws TypeError as `encodeCall` does. */
export function encodeResponse(value: XmlValue, options: EncodeOptions = {}): string {
  const writer = new Writer(`${HEAD}<methodResponse><params><param>`, options)
  writer.value(value, 0)
  return writer.text('</param></params></methodResponse>')
}

/** A fault. Never throws: a code that is no 32-bit integer becomes -32603, forbidden characters become U+FFFD, long text is cut. */
export function encodeFault(code: number, text: string): string {
  const safeCode = Number.isInteger(code) && code >= INT_MIN && code <= INT_MAX ? code : -32603
  const safeText = text.slice(0, MAX_FAULT_CHARACTERS).replace(new RegExp(illegalCharacter.source, 'gu'), '\ufffd')
  const writer = new Writer(`${HEAD}<methodResponse><fault>`, {})
  writer.value({ faultCode: safeCode, faultString: safeText }, 0)
  return writer.text('</fault></methodResponse>')
}

/** One text that only grows: to put together the text of each value first, and those to a whole, takes twice as long. */
class Writer {
  #text: string
  readonly #classic: boolean

  constructor(head: string, { classic = false }: EncodeOptions) {
    this.#text = head
    this.#classic = classic
  }

  text(tail: string): string {
    return this.#text + tail
  }

  add(xml: string): void {
    this.#text += xml
  }

  value(value: unknown, depth: number): void {
    switch (typeof value) {
      case 'string': this.#text += '<value><string>' + escape(value) + '</string></value>'; return
      case 'number': this.#text += this.#number(value); return
      case 'boolean': this.#text += value ? '<value><boolean>1</boolean></value>' : '<value><boolean>0</boolean></value>'; return
      case 'bigint': this.#text += this.#bigint(value); return
      case 'object':
        if (value === null) this.#text += this.#nil()
        else this.#object(value, depth + 1)
        return
      default: throw new TypeError(`XML-RPC cannot carry a value of type ${typeof value}`)
    }
  }

  #nil(): string {
    if (this.#classic) throw new TypeError('a classic client cannot read nil')
    return '<value><nil/></value>'
  }

  #number(value: number): string {
    if (!Number.isSafeInteger(value)) return doubleXml(value)
    if (value >= INT_MIN && value <= INT_MAX) return `<value><int>${value}</int></value>`
    return this.#bigint(BigInt(value))
  }

  #bigint(value: bigint): string {
    if (value >= INT_MIN && value <= INT_MAX) return `<value><int>${value}</int></value>`
    if (this.#classic) throw new TypeError(`a classic client cannot read an integer past 32 bits: ${value}`)
    if (value < I8_MIN || value > I8_MAX) throw new TypeError(`an integer past 64 bits cannot be sent: ${value}`)
    return `<value><i8>${value}</i8></value>`
  }

  #object(value: object, depth: number): void {
    if (value instanceof XmlDouble) this.#text += doubleXml(value.value)
    else if (value instanceof Date) this.#text += `<value><dateTime.iso8601>${dateText(value)}</dateTime.iso8601></value>`
    else if (value instanceof Uint8Array) this.#text += `<value><base64>${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}</base64></value>`
    else if (depth > defaultLimits.depth) throw new TypeError(`values are nested deeper than ${defaultLimits.depth}`)
    else if (Array.isArray(value)) this.#array(value, depth)
    else this.#struct(value, depth)
  }

  #array(items: readonly unknown[], depth: number): void {
    this.#text += '<value><array><data>'
    for (const item of items) this.value(item, depth) // not forEach: it would skip the holes
    this.#text += '</data></array></value>'
  }

  #struct(value: object, depth: number): void {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) throw new TypeError(`XML-RPC cannot carry an instance of ${value.constructor.name}`)
    this.#text += '<value><struct>'
    for (const name of Object.keys(value)) {
      const member = (value as Record<string, unknown>)[name]
      if (member === undefined) continue
      const start = starts.get(name) ?? startOf(name)
      if (typeof member === 'string') {
        this.#text += start.ofString + escape(member) + '</string></value></member>' // what most members are, of as few pieces as can be
      } else {
        this.#text += start.ofAny
        this.value(member, depth)
        this.#text += '</member>'
      }
    }
    this.#text += '</struct></value>'
  }
}

/** What is written before a member's value, by its name: programs have few names, and write them again and again. */
const starts = new Map<string, Start>()
interface Start { readonly ofAny: string; readonly ofString: string }
const STARTS_MAX = 1_000

function startOf(name: string): Start {
  if (name === '__proto__' || name.length > defaultLimits.nameLength) throw new TypeError(`not a member name: ${JSON.stringify(name.slice(0, 200))}`)
  // Joined and not added up: that would stay a tree of pieces, which each text that holds it is put together from anew.
  const start = { ofAny: ['<member><name>', escape(name), '</name>'].join(''), ofString: ['<member><name>', escape(name), '</name><value><string>'].join('') }
  if (starts.size >= STARTS_MAX) starts.clear() // whoever sends others' names through here fills no memory
  starts.set(name, start)
  return start
}

function doubleXml(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`XML-RPC cannot carry ${value}`)
  return `<value><double>${plainDecimal(value)}</double></value>`
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
