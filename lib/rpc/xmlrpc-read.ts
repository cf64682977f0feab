/**
 * Reads XML-RPC documents. Strict on purpose: every lexical form is checked whole (`12abc` is no integer), tags nest properly,
 * there is one root and nothing after it, a member name comes once. Depth, number of values and name lengths are limited.
 *
 * Strings that were read are slices of the document, and V8 keeps the whole document alive behind the shortest of them: what
 * outlives the request (caches, observed state) must be copied, for example by `Buffer.from(text).toString()`.
 */
import { Scanner, isBlank } from './xmlrpc-scan.js'
import { I8_MAX, I8_MIN, INT_MAX, INT_MIN, XmlDouble, defaultLimits, methodNamePattern } from './xmlrpc-value.js'
import type { XmlRpcLimits, XmlValue } from './xmlrpc-value.js'

export interface XmlCall {
  readonly method: string
  readonly params: readonly XmlValue[]
}

export type XmlResponse =
  | { readonly kind: 'value'; readonly value: XmlValue }
  | { readonly kind: 'fault'; readonly code: number; readonly text: string }

/** Reads a methodCall, in time linear in its length. Throws XmlRpcSyntaxError and nothing else. */
export function decodeCall(text: string, limits: XmlRpcLimits = {}): XmlCall {
  const reader = new Reader(text, limits)
  if (!reader.scan.open('methodCall')) reader.scan.fail('an empty methodCall')
  const method = reader.scan.open('methodName') ? reader.scan.textUntilClose('methodName') : ''
  if (!methodNamePattern.test(method) || method.length > reader.limits.nameLength) reader.scan.fail('not a method name')
  const params: XmlValue[] = []
  const after = reader.scan.tag()
  if (after.kind === 'close') {
    if (after.name !== 'methodCall') reader.scan.fail('</methodCall> was expected before this')
  } else {
    if (after.name !== 'params') reader.scan.fail('<params> was expected before this')
    if (after.kind === 'open') reader.params(params)
    reader.scan.close('methodCall')
  }
  reader.scan.end()
  return { method, params }
}

/** Reads a methodResponse, in time linear in its length. Throws XmlRpcSyntaxError and nothing else. */
export function decodeResponse(text: string, limits: XmlRpcLimits = {}): XmlResponse {
  const reader = new Reader(text, limits)
  const { scan } = reader
  if (!scan.open('methodResponse')) scan.fail('an empty methodResponse')
  const tag = scan.tag()
  if (tag.kind !== 'open' || (tag.name !== 'params' && tag.name !== 'fault')) return scan.fail('<params> or <fault> was expected before this')
  let response: XmlResponse
  if (tag.name === 'fault') {
    response = reader.fault()
    scan.close('fault')
  } else {
    const params: XmlValue[] = []
    reader.params(params)
    const [value] = params
    if (params.length !== 1 || value === undefined) return scan.fail('a response has exactly one value')
    response = { kind: 'value', value }
  }
  scan.close('methodResponse')
  scan.end()
  return response
}

interface Member {
  readonly name: string
  /** All that stands before its value. */
  readonly xml: string
}

/** Of a struct at most, so that one with a million members is not kept twice. */
const REMEMBERED = 64

class Reader {
  readonly scan: Scanner
  readonly limits: Required<XmlRpcLimits>
  #values = 0
  /**
   * By depth: members of the struct that was read last, for one list's structs have the same in the same order. As far as a struct goes along with
   * them its names are all different, and need not be read.
   */
  readonly #members: Member[][] = []

  constructor(text: string, limits: XmlRpcLimits) {
    this.scan = new Scanner(text)
    this.limits = { ...defaultLimits, ...limits }
  }

  /** What stands between `<params>` and `</params>`, the end tag included. */
  params(into: XmlValue[]): void {
    for (;;) {
      const tag = this.scan.tag()
      if (tag.kind === 'close' && tag.name === 'params') return
      if (tag.kind !== 'open' || tag.name !== 'param') this.scan.fail('<param> was expected before this')
      into.push(this.value(0))
      this.scan.close('param')
    }
  }

  fault(): XmlResponse {
    const value = this.value(0)
    if (isStruct(value)) {
      const { faultCode, faultString } = value
      if (typeof faultCode === 'number' && Number.isInteger(faultCode) && typeof faultString === 'string') {
        return { kind: 'fault', code: faultCode, text: faultString }
      }
    }
    return this.scan.fail('a fault has an integer faultCode and a string faultString')
  }

  /** A `<value>` with its end tag. */
  value(depth: number): XmlValue {
    return this.scan.open('value') ? this.valueBody(depth) : this.count('')
  }

  /** What stands behind `<value>`, the end tag included. */
  valueBody(depth: number): XmlValue {
    const form = plainForms[this.scan.nextCode()]
    const plain = form && this.scan.textBetween(form.before, form.behind)
    if (form && plain !== undefined) return this.count(this.scalar(form.name, plain))
    if (this.scan.passes('<struct>')) {
      this.count(null)
      const value = this.struct(depth + 1)
      this.scan.close('value')
      return value
    }
    const text = this.scan.text()
    const tag = this.scan.textTag()
    if (tag.kind === 'close') {
      if (tag.name !== 'value') this.scan.fail('</value> was expected before this')
      return this.count(text)
    }
    if (!isBlank(text)) this.scan.fail('text beside a tag in a value')
    this.count(null)
    const value = tag.kind === 'empty' ? this.emptyElement(tag.name) : this.element(tag.name, depth + 1)
    this.scan.close('value')
    return value
  }

  count<T extends XmlValue>(value: T): T {
    this.#values += 1
    if (this.#values > this.limits.values) this.scan.fail(`more than ${this.limits.values} values`)
    return value
  }

  emptyElement(name: string): XmlValue {
    switch (name) {
      case 'nil': case 'ex:nil': return null
      case 'string': return ''
      case 'base64': return new Uint8Array(0)
      case 'struct': return emptyStruct()
      default: return this.scan.fail(`<${name}/> is no value`)
    }
  }

  element(name: string, depth: number): XmlValue {
    switch (name) {
      case 'array': return this.array(depth)
      case 'struct': return this.struct(depth)
      case 'nil': case 'ex:nil':
        this.scan.close(name)
        return null
      default:
        if (!scalars.has(name)) return this.scan.fail(`<${name}> is no type of XML-RPC`)
        return this.scalar(name, this.scan.textUntilClose(name))
    }
  }

  scalar(name: string, text: string): XmlValue {
    if (name === 'string') return text
    const value = scalars.get(name)?.(text)
    if (value === undefined) return this.scan.fail(`not a proper ${name}`)
    return this.limits.keepDoubles && name === 'double' && typeof value === 'number' ? new XmlDouble(value) : value
  }

  array(depth: number): XmlValue {
    this.checkDepth(depth)
    const items: XmlValue[] = []
    if (this.scan.open('data')) {
      for (;;) {
        const tag = this.scan.tag()
        if (tag.kind === 'close' && tag.name === 'data') break
        if (tag.kind === 'close' || tag.name !== 'value') this.scan.fail('<value> was expected before this')
        items.push(tag.kind === 'empty' ? this.count('') : this.valueBody(depth))
      }
    }
    this.scan.close('array')
    return items
  }

  struct(depth: number): XmlValue {
    this.checkDepth(depth)
    const members = emptyStruct()
    const before = (this.#members[depth] ??= [])
    for (let at = 0; ; at += 1) {
      const same = before[at]
      if (same && this.scan.passes(same.xml)) {
        members[same.name] = this.valueBody(depth)
      } else {
        const tag = this.scan.tag()
        if (tag.kind === 'close' && tag.name === 'struct') return members
        if (tag.kind !== 'open' || tag.name !== 'member') this.scan.fail('<member> was expected before this')
        const name = this.scan.open('name') ? this.scan.textUntilClose('name') : ''
        if (name.length > this.limits.nameLength) this.scan.fail(`a member name of more than ${this.limits.nameLength} characters`)
        if (name === '__proto__') this.scan.fail('a member cannot be called __proto__')
        if (name in members) this.scan.fail(`two members called ${JSON.stringify(name)}`)
        if (before.length > at) before.length = at
        if (at === before.length && at < REMEMBERED && /^\w+$/.test(name)) before.push({ name, xml: `<member><name>${name}</name><value>` })
        members[name] = this.value(depth)
      }
      this.scan.close('member')
    }
  }

  checkDepth(depth: number): void {
    if (depth > this.limits.depth) this.scan.fail(`values nested deeper than ${this.limits.depth}`)
  }
}

type Struct = Record<string, XmlValue>

/** Without a prototype, so that no name finds anything that was not sent. */
function emptyStruct(): Struct {
  return Object.setPrototypeOf({}, null) as Struct // Object.create(null) makes a table, which is filled in three times the time
}

function isStruct(value: XmlValue): value is { readonly [name: string]: XmlValue | undefined } {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null
}

/** Each type's lexical form, whole. Undefined: the text is not of that form. */
const scalars: ReadonlyMap<string, (text: string) => XmlValue | undefined> = new Map([
  ['string', (text: string): XmlValue | undefined => text],
  ['int', int32],
  ['i4', int32],
  ['i8', int64],
  ['ex:i8', int64],
  ['boolean', (text: string) => (text === '1' ? true : text === '0' ? false : undefined)],
  ['double', float],
  ['dateTime.iso8601', date],
  ['base64', base64],
])

interface PlainForm {
  readonly name: string
  readonly before: string
  readonly behind: string
}

/** What most values are, without a blank: by the code of the first letter, in which they differ. */
const plainForms: readonly (PlainForm | undefined)[] = Array.from({ length: 128 }, (_, code) => {
  const name = ['string', 'int', 'boolean'].find((each) => each.charCodeAt(0) === code)
  return name === undefined ? undefined : { name, before: `<${name}>`, behind: `</${name}></value>` }
})

function int32(text: string): number | undefined {
  if (!/^[+-]?\d{1,20}$/.test(text)) return undefined
  const value = Number(text)
  return value >= INT_MIN && value <= INT_MAX ? value + 0 : undefined // + 0: there is no negative zero among integers
}

function int64(text: string): number | bigint | undefined {
  if (!/^[+-]?\d{1,20}$/.test(text)) return undefined
  const value = BigInt(text.replace('+', ''))
  if (value < I8_MIN || value > I8_MAX) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** The specification has no exponent, yet Python and others write one. */
function float(text: string): number | undefined {
  if (text.length > 2000 || !/^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?$/.test(text)) return undefined
  const value = Number(text)
  return Number.isFinite(value) ? value : undefined
}

/** `YYYYMMDDTHH:MM:SS`, dashes and a final Z allowed. No zone is said on the wire: UTC is what we write and what we read. */
function date(text: string): Date | undefined {
  const match = /^(\d{4})(-?)(\d\d)\2(\d\d)T(\d\d:\d\d:\d\d)Z?$/.exec(text)
  if (!match) return undefined
  const [, year = '', , month = '', day = '', time = ''] = match
  const iso = `${year}-${month}-${day}T${time}`
  const value = new Date(`${iso}Z`)
  // The round trip refuses 30 February and 24:00, which Date moves or accepts.
  return !Number.isNaN(value.getTime()) && value.toISOString().startsWith(iso) ? value : undefined
}

function base64(text: string): Uint8Array | undefined {
  const dense = text.replace(/[ \t\r\n]/g, '')
  const padding = dense.endsWith('==') ? 2 : dense.endsWith('=') ? 1 : 0
  if (dense.length % 4 !== 0 || /[^A-Za-z0-9+/]/.test(dense.slice(0, dense.length - padding))) return undefined
  return new Uint8Array(Buffer.from(dense, 'base64'))
}
