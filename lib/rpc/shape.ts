/**
 * Shapes: one description of a value that reads it from the wire, writes it to the wire, and explains itself in a help text.
 * Every method's parameters and results are made of these, so that validation, help and types can't disagree. `parse` takes
 * anything that came in and gives the typed value, or throws the fault `bad parameter` with the path of what was wrong.
 */
import { Fault } from '../faults.js'
import type { XmlValue } from './xmlrpc.js'

export type XmlTypeName = 'int' | 'boolean' | 'string' | 'double' | 'array' | 'struct'

export interface Shape<T> {
  /** The XML-RPC type, as system.methodSignature names it. */
  readonly type: XmlTypeName
  /** For people: `a size in bytes as a decimal string`. */
  readonly describe: string
  /** `at` is the path from the outermost value, for the fault's text. Strings are copied, so they don't keep the request alive. */
  parse(value: XmlValue | undefined, at: string): T
  format(value: T): XmlValue
}

export type Parsed<S> = S extends Shape<infer T> ? T : never

/** A member that may be left out. */
export interface OptionalShape<T> extends Shape<T> {
  readonly optional: true
}

export type Fields = Readonly<Record<string, Shape<never> | Shape<unknown>>>
type RequiredKeys<F> = { [K in keyof F]: F[K] extends { optional: true } ? never : K }[keyof F]
type OptionalKeys<F> = { [K in keyof F]: F[K] extends { optional: true } ? K : never }[keyof F]
export type StructOf<F> = { readonly [K in RequiredKeys<F>]: Parsed<F[K]> } & { readonly [K in OptionalKeys<F>]?: Parsed<F[K]> | undefined }

export interface StructShape<F> extends Shape<StructOf<F>> {
  readonly fields: F
}

function wrong(at: string, needed: string, found: XmlValue | undefined): Fault {
  return new Fault('bad parameter', `${at}: expected ${needed}, found ${nameOf(found)}`)
}

function nameOf(value: XmlValue | undefined): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'nil'
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (typeof value === 'object') return Array.isArray(value) ? 'an array' : value instanceof Date ? 'a date' : 'a struct'
  return String(value)
}

/** A slice of a request's body keeps the whole body alive in V8; what is stored must own its bytes. */
function ownCopy(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8')
}

export interface TextLimits {
  readonly max?: number
  readonly min?: number
  readonly pattern?: RegExp
  /** What the pattern means, for people. */
  readonly describe?: string
}

/** A string. Default 0 to 1024 characters, anything in it. */
export function text({ min = 0, max = 1024, pattern, describe }: TextLimits = {}): Shape<string> {
  const needed = describe ?? `a string of ${min === 0 ? `at most ${max}` : `${min} to ${max}`} characters`
  return {
    type: 'string',
    describe: needed,
    parse(value, at) {
      if (typeof value !== 'string' || value.length < min || value.length > max || (pattern && !pattern.test(value))) throw wrong(at, needed, value)
      return ownCopy(value)
    },
    format: (value) => value,
  }
}

/** A text that no fault, and so no log, ever repeats. */
export function secretText(limits: TextLimits & { readonly describe: string }): Shape<string> {
  const shape = text(limits)
  return {
    ...shape,
    parse(value, at) {
      try {
        return shape.parse(value, at)
      } catch {
        throw new Fault('bad parameter', `${at}: expected ${limits.describe}, found something else`)
      }
    },
  }
}

/** One of a few words. */
export function word<const W extends string>(...words: readonly W[]): Shape<W> {
  const needed = `one of ${words.join(', ')}`
  return {
    type: 'string',
    describe: needed,
    parse(value, at) {
      const found = words.find((candidate) => candidate === value)
      if (found === undefined) throw wrong(at, needed, value)
      return found
    },
    format: (value) => value,
  }
}

/** A whole number within limits (both included); default 0 to 2^53 - 1. A decimal string is accepted too: some clients have no i8. */
export function int({ min = 0, max = Number.MAX_SAFE_INTEGER, describe }: { min?: number; max?: number; describe?: string } = {}): Shape<number> {
  const needed = describe ?? `a whole number from ${min} to ${max}`
  return {
    type: 'int',
    describe: needed,
    parse(value, at) {
      const number = typeof value === 'string' && /^-?\d{1,16}$/.test(value) ? Number(value) : value
      if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < min || number > max) throw wrong(at, needed, value)
      return number
    },
    format: (value) => value,
  }
}

const BYTES_MAX = 2n ** 63n - 1n

/** A size in bytes: a decimal string on the wire (integers end at 2^31 for many clients), a bigint inside. Integers are read too. */
export function byteCount(describe = 'a size in bytes, as a decimal string'): Shape<bigint> {
  return {
    type: 'string',
    describe,
    parse(value, at) {
      const size = typeof value === 'string' && /^\d{1,19}$/.test(value) ? BigInt(value)
        : typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? BigInt(value)
        : typeof value === 'bigint' && value >= 0n ? value
        : undefined
      if (size === undefined || size > BYTES_MAX) throw wrong(at, describe, value)
      return size
    },
    format: (value) => value.toString(),
  }
}

export function flag(describe = 'true or false'): Shape<boolean> {
  return {
    type: 'boolean',
    describe,
    parse(value, at) {
      if (typeof value !== 'boolean') throw wrong(at, 'true or false', value)
      return value
    },
    format: (value) => value,
  }
}

export interface ListShape<T> extends Shape<readonly T[]> {
  readonly item: Shape<T>
}

/** An array of at most `max` items. Default 100,000. */
export function list<T>(item: Shape<T>, { max = 100_000 }: { max?: number } = {}): ListShape<T> {
  return {
    type: 'array',
    describe: `a list of ${item.describe}`,
    item,
    parse(value, at) {
      if (!Array.isArray(value)) throw wrong(at, 'an array', value)
      if (value.length > max) throw new Fault('bad parameter', `${at}: has ${value.length} items, more than ${max}`)
      return value.map((each: XmlValue, index) => item.parse(each, `${at}[${index}]`))
    },
    format: (value) => value.map((each) => item.format(each)),
  }
}

export function optional<T>(shape: Shape<T>): OptionalShape<T> {
  return { ...shape, describe: `${shape.describe}; may be left out`, optional: true }
}

/** A member whose value is nobody else's affair: it is left out of every record of a call. */
export function secret<S extends Shape<never> | Shape<unknown>>(shape: S): S & { readonly secret: true } {
  return { ...shape, secret: true }
}

/** A struct whose members are all known: another member is refused by name, so that a typing mistake isn't ignored. */
export function struct<const F extends Fields>(fields: F): StructShape<F> {
  return structShape(fields, true)
}

/** A struct in which unknown members are ignored: what one release sends to the next or the previous one. */
export function record<const F extends Fields>(fields: F): StructShape<F> {
  return structShape(fields, false)
}

function structShape<const F extends Fields>(fields: F, closed: boolean): StructShape<F> {
  const entries = Object.entries(fields) as readonly (readonly [string, Shape<unknown>])[]
  return {
    type: 'struct',
    describe: `a struct {${entries.map(([name, shape]) => ('optional' in shape ? `${name}?` : name)).join(', ')}}`,
    fields,
    parse(value, at) {
      if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date || value instanceof Uint8Array) {
        throw wrong(at, 'a struct', value)
      }
      const members = value as Readonly<Record<string, XmlValue | undefined>>
      if (closed) {
        const stranger = Object.keys(members).find((name) => !Object.hasOwn(fields, name))
        if (stranger !== undefined) {
          throw new Fault('bad parameter', `${at}: has no member ${JSON.stringify(stranger.slice(0, 60))}; it has ${Object.keys(fields).join(', ') || 'none'}`)
        }
      }
      const result: Record<string, unknown> = {}
      for (const [name, shape] of entries) {
        const found = Object.hasOwn(members, name) ? members[name] : undefined
        if (found === undefined && 'optional' in shape) continue
        result[name] = shape.parse(found, at === '' ? name : `${at}.${name}`)
      }
      return result as StructOf<F>
    },
    format(value) {
      const result: Record<string, XmlValue> = {}
      for (const [name, shape] of entries) {
        const member = (value as Readonly<Record<string, unknown>>)[name]
        if (member !== undefined) result[name] = shape.format(member)
      }
      return result
    },
  }
}

/** One method, said once: the server validates by it, the client types by it, help and reference pages are made from it. */
export interface Method<P, R> {
  readonly name: string
  readonly help: string
  readonly params: Shape<P>
  readonly result: Shape<R>
}
