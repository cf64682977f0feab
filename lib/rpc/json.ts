/**
 * JSON text → values, pure and in time linear in its length. JSON.parse alone would not do: it takes any depth and any number of values
 * into memory, rounds integers past 2^53 silently, and lets the last of two members of one name win. Grammar: RFC 8259. What XML-RPC could not
 * carry is refused here too, so that nothing gets in through one door that can't get out through the other.
 */
import { I8_MAX, I8_MIN, defaultLimits, illegalCharacter } from './xmlrpc-value.js'
import type { XmlRpcLimits, XmlValue } from './xmlrpc-value.js'

/** The text is not JSON, or more than may be. `offset` counts UTF-16 units from its start. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError'
  readonly offset: number
  constructor(message: string, offset: number) {
    super(`${message} at offset ${offset}`)
    this.offset = offset
  }
}

/**
 * One value. Integers within 2^53 are numbers, others within 64 bits bigints; objects have no prototype. Throws JsonSyntaxError, also for
 * integers past 64 bits, numbers that are infinite, members that stand there twice, and characters that XML forbids.
 */
export function decodeJson(text: string, limits: XmlRpcLimits = {}): XmlValue {
  const reader = new Reader(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text, { ...defaultLimits, ...limits })
  const value = reader.value(0)
  reader.end()
  return value
}

/** The value as JSON. Bigints become decimal strings, bytes base64, dates ISO 8601: what a reader without 64 bits can take. */
export function encodeJson(value: XmlValue): string {
  return JSON.stringify(value, function plain(this: unknown, name: string, each: unknown): unknown {
    const raw: unknown = (this as Readonly<Record<string, unknown>>)[name] // a date has turned itself into text by now
    if (typeof each === 'bigint') return each.toString()
    if (typeof each === 'number' && !Number.isFinite(each)) throw new TypeError(`JSON cannot carry ${each}`)
    if (raw instanceof Uint8Array) return Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('base64')
    return each
  })
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const numberPattern = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
const words: Readonly<Record<string, true | false | null>> = { true: true, false: false, null: null }

class Reader {
  #at = 0
  #values = 0
  readonly #text: string
  readonly #limits: Required<XmlRpcLimits>

  constructor(text: string, limits: Required<XmlRpcLimits>) {
    this.#text = text
    this.#limits = limits
  }

  value(depth: number): XmlValue {
    this.#values += 1
    if (this.#values > this.#limits.values) this.#fail(`more than ${this.#limits.values} values`)
    this.#blanks()
    switch (this.#text.charAt(this.#at)) {
      case '{': return this.#object(depth + 1)
      case '[': return this.#array(depth + 1)
      case '"': return this.#string()
      case 't': return this.#word('true')
      case 'f': return this.#word('false')
      case 'n': return this.#word('null')
      default: return this.#number()
    }
  }

  end(): void {
    this.#blanks()
    if (this.#at < this.#text.length) this.#fail('something after the end of the value')
  }

  #object(depth: number): XmlValue {
    this.#enter(depth)
    const members = Object.create(null) as Record<string, XmlValue>
    if (this.#takes('}')) return members
    do {
      this.#blanks()
      const from = this.#at
      if (this.#text.charCodeAt(from) !== QUOTE) this.#fail('a member\'s name was expected')
      const name = this.#string()
      if (name === '__proto__' || name.length > this.#limits.nameLength || name in members) {
        this.#at = from
        this.#fail(name in members ? 'a member that stands there twice' : 'not a member\'s name')
      }
      if (!this.#takes(':')) this.#fail('":" was expected')
      members[name] = this.value(depth)
    } while (this.#takes(','))
    if (!this.#takes('}')) this.#fail('"," or "}" was expected')
    return members
  }

  #array(depth: number): XmlValue {
    this.#enter(depth)
    const items: XmlValue[] = []
    if (this.#takes(']')) return items
    do items.push(this.value(depth))
    while (this.#takes(','))
    if (!this.#takes(']')) this.#fail('"," or "]" was expected')
    return items
  }

  #enter(depth: number): void {
    if (depth > this.#limits.depth) this.#fail(`nested deeper than ${this.#limits.depth}`)
    this.#at += 1
  }

  /** Looks for the closing quote by hand: a pattern with alternatives would need a stack as deep as the string is long. */
  #string(): string {
    const from = this.#at
    let end = this.#text.indexOf('"', from + 1)
    while (end !== -1 && this.#isEscaped(end, from)) end = this.#text.indexOf('"', end + 1)
    if (end === -1) this.#fail('a string without end')
    const piece = this.#text.slice(from, end + 1)
    let text: string
    try {
      text = JSON.parse(piece) as string
    } catch {
      return this.#fail('not a string')
    }
    if (illegalCharacter.test(text)) this.#fail('a character that XML forbids')
    this.#at = end + 1
    return text
  }

  #isEscaped(quote: number, from: number): boolean {
    let before = quote - 1
    while (before > from && this.#text.charCodeAt(before) === BACKSLASH) before -= 1
    return (quote - before) % 2 === 0
  }

  #word(word: string): XmlValue {
    if (!this.#text.startsWith(word, this.#at)) this.#fail('not a value')
    this.#at += word.length
    return words[word] ?? null
  }

  #number(): XmlValue {
    numberPattern.lastIndex = this.#at
    const match = numberPattern.exec(this.#text)
    if (!match) return this.#fail(this.#at >= this.#text.length ? 'the text ends too early' : 'not a value')
    const [digits, fraction, exponent] = match
    const number = Number(digits)
    const whole = fraction === undefined && exponent === undefined
    if (!Number.isFinite(number)) this.#fail('a number without bounds')
    if (!whole || Number.isSafeInteger(number)) {
      this.#at += digits.length
      return number === 0 ? 0 : number
    }
    const big = digits.length <= 20 ? BigInt(digits) : I8_MAX + 1n // BigInt of a million digits takes its time
    if (big > I8_MAX || big < I8_MIN) this.#fail('an integer past 64 bits')
    this.#at += digits.length
    return big
  }

  #takes(character: string): boolean {
    this.#blanks()
    if (this.#text.charAt(this.#at) !== character) return false
    this.#at += 1
    return true
  }

  #blanks(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      this.#at += 1
    }
  }

  #fail(message: string): never {
    throw new JsonSyntaxError(message, this.#at)
  }
}
