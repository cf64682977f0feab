/**
 * A tokenizer for exactly as much XML as XML-RPC needs: one cursor over one string that only moves forward, so that reading is
 * linear in the length whatever was sent. No attributes but namespace declarations, no DOCTYPE (so no entities to expand), no
 * processing instructions.
 */
import { XmlRpcSyntaxError, illegalCharacter } from './xmlrpc-value.js'

export type Tag =
  | { readonly kind: 'open'; readonly name: string }
  | { readonly kind: 'empty'; readonly name: string }
  | { readonly kind: 'close'; readonly name: string }

const [LT, GT, SLASH, BANG, AMP, CR, BRACKET] = [60, 62, 47, 33, 38, 13, 93]
/** Text of up to so many characters is looked at here, one by one; longer text by what the engine has for that. */
const SHORT = 64
// Every repetition has an upper limit: an unlimited one over a long document can exhaust the stack of the regular expression engine.
const namespacePattern = /[ \t\r\n]{1,20}xmlns(?::[A-Za-z_][\w.-]{0,40})?=(?:"[^"<&]{0,200}"|'[^'<&]{0,200}')/y
const declarationPattern =
  /<\?xml[ \t\r\n]{1,20}version=(["'])1\.[01]\1(?:[ \t\r\n]{1,20}encoding=(["'])([\w.-]{1,40})\2)?(?:[ \t\r\n]{1,20}standalone=(["'])(?:yes|no)\4)?[ \t\r\n]{0,20}\?>/y
const referencePattern = /^#(?:(\d{1,7})|x([\dA-Fa-f]{1,6}))$/
const entities: ReadonlyMap<string, string> = new Map([['amp', '&'], ['lt', '<'], ['gt', '>'], ['quot', '"'], ['apos', "'"]])
/** From the `&` to the `;`. */
const MAX_REFERENCE = 9
const NO_REFERENCE = 'not one of the five entities and no character reference'
const MAX_TAG_NAME = 32
/** ASCII code → 2 where a name may begin with it, 1 where it may only go on, else 0. */
const nameCodes = Uint8Array.from({ length: 128 }, (_, code) => (/[A-Za-z_]/.test(String.fromCharCode(code)) ? 2 : /[\w.:-]/.test(String.fromCharCode(code)) ? 1 : 0))

export class Scanner {
  readonly #text: string
  #at = 0

  /** Throws XmlRpcSyntaxError when the text holds a character that XML forbids, or declares an encoding other than UTF-8. */
  constructor(text: string) {
    this.#text = text
    const illegal = illegalCharacter.exec(text)
    if (illegal) throw new XmlRpcSyntaxError('a character that XML forbids', illegal.index)
    if (text.startsWith('\ufeff')) this.#at = 1
    this.#declaration()
  }

  fail(message: string): never {
    throw new XmlRpcSyntaxError(message, this.#at)
  }

  /** The next tag; only white space and comments may stand before it. */
  tag(): Tag {
    if (!this.#atTag() && !isBlank(this.text())) this.fail('text where a tag was expected')
    return this.textTag()
  }

  #atTag(): boolean {
    return this.#text.charCodeAt(this.#at) === LT && this.#text.charCodeAt(this.#at + 1) !== BANG
  }

  /** Passes the tag when it stands here as nearly everybody writes it, with nothing before it and nothing in it but its name. */
  #passes(name: string, begin: number): boolean {
    const end = begin + name.length
    if (this.#text.charCodeAt(end) !== GT || !this.#text.startsWith(name, begin)) return false
    this.#at = end + 1
    return true
  }

  #passesOpen(name: string): boolean {
    return this.#text.charCodeAt(this.#at) === LT && this.#passes(name, this.#at + 1)
  }

  #passesClose(name: string): boolean {
    return this.#text.charCodeAt(this.#at) === LT && this.#text.charCodeAt(this.#at + 1) === SLASH && this.#passes(name, this.#at + 2)
  }

  /** Passes this when it stands here to the letter. */
  passes(literal: string): boolean {
    if (!this.#text.startsWith(literal, this.#at)) return false
    this.#at += literal.length
    return true
  }

  /** The code of the character behind this one: of a tag's first letter. NaN past the end. */
  nextCode(): number {
    return this.#text.charCodeAt(this.#at + 1)
  }

  /** The text between these, which are passed with it. Undefined: it is not so here, and nothing is passed. */
  textBetween(before: string, behind: string): string | undefined {
    const from = this.#at
    if (!this.passes(before)) return undefined
    const text = this.text()
    if (this.passes(behind)) return text
    this.#at = from
    return undefined
  }

  /** Where the tag stands that ends short text without anything to resolve, or -1. */
  #plainEnd(from: number): number {
    const text = this.#text
    const limit = Math.min(from + SHORT, text.length)
    for (let at = from; at < limit; at += 1) {
      const code = text.charCodeAt(at)
      if (code > BRACKET) continue
      if (code === LT) return text.charCodeAt(at + 1) === BANG ? -1 : at
      if (code === AMP || code === CR || code === BRACKET) return -1
    }
    return -1
  }

  /** Like `tag`, but it must be this start tag. True when it has content, false for the empty form `<name/>`. */
  open(name: string): boolean {
    if (this.#passesOpen(name)) return true
    const tag = this.tag()
    if (tag.kind === 'close' || tag.name !== name) this.fail(`<${name}> was expected before this`)
    return tag.kind === 'open'
  }

  close(name: string): void {
    if (this.#passesClose(name)) return
    const tag = this.tag()
    if (tag.kind !== 'close' || tag.name !== name) this.fail(`</${name}> was expected before this`)
  }

  /** The text of an element that has no child elements, together with its end tag. */
  textUntilClose(name: string): string {
    const text = this.text()
    if (this.#passesClose(name)) return text
    const tag = this.textTag()
    if (tag.kind !== 'close' || tag.name !== name) this.fail(`</${name}> was expected before this`)
    return text
  }

  /** Characters up to the next tag: references resolved, CDATA unwrapped, comments dropped, line ends normalized. */
  text(): string {
    const from = this.#at
    const end = this.#plainEnd(from)
    if (end < 0) return this.#anyText()
    this.#at = end
    return this.#text.slice(from, end)
  }

  #anyText(): string {
    let result = ''
    for (;;) {
      const lt = this.#text.indexOf('<', this.#at)
      const end = lt === -1 ? this.#text.length : lt
      if (end > this.#at) {
        const piece = this.#text.slice(this.#at, end)
        const plain = !piece.includes('&') && !piece.includes('\r') && !piece.includes(']]>')
        result += plain ? piece : this.#resolve(piece)
        this.#at = end
      }
      if (this.#text.startsWith('<!--', this.#at)) this.#comment()
      else if (this.#text.startsWith('<![CDATA[', this.#at)) result += this.#cdata()
      else return result
    }
  }

  /** Nothing but white space and comments may be left. */
  end(): void {
    if (!isBlank(this.text()) || this.#at < this.#text.length) this.fail('something after the end of the document')
  }

  /** The tag at the cursor, where `text` has stopped. */
  textTag(): Tag {
    if (this.#text.charCodeAt(this.#at) !== LT) this.fail('the document ends too early')
    const close = this.#text.charCodeAt(this.#at + 1) === SLASH
    const begin = this.#at + (close ? 2 : 1)
    const end = this.#nameEnd(begin)
    if (end === begin || end - begin > MAX_TAG_NAME) return this.fail('not a tag of XML-RPC')
    const name = this.#text.slice(begin, end)
    this.#at = end
    if (this.#text.charCodeAt(this.#at) === GT) {
      this.#at += 1
      return { kind: close ? 'close' : 'open', name }
    }
    if (!close) this.#namespaces()
    while (isBlank(this.#text.charAt(this.#at)) && this.#at < this.#text.length) this.#at += 1
    if (!close && this.#text.startsWith('/>', this.#at)) {
      this.#at += 2
      return { kind: 'empty', name }
    }
    if (this.#text[this.#at] !== '>') this.fail(`the tag ${name} is not closed by ">"`)
    this.#at += 1
    return { kind: close ? 'close' : 'open', name }
  }

  /** Where the name that begins there ends, or has become too long. */
  #nameEnd(begin: number): number {
    if ((nameCodes[this.#text.charCodeAt(begin)] ?? 0) < 2) return begin
    let end = begin + 1
    while (end - begin <= MAX_TAG_NAME && (nameCodes[this.#text.charCodeAt(end)] ?? 0) > 0) end += 1
    return end
  }

  #namespaces(): void {
    for (;;) {
      const found = this.#match(namespacePattern, this.#at)
      if (found === undefined) return
      this.#at += found.length
    }
  }

  #declaration(): void {
    if (!this.#text.startsWith('<?xml', this.#at)) return
    declarationPattern.lastIndex = this.#at
    const match = declarationPattern.exec(this.#text)
    if (!match) return this.fail('not an XML declaration')
    const encoding = match[3] ?? 'UTF-8'
    if (!/^(utf-?8|us-ascii)$/i.test(encoding)) this.fail(`the encoding ${encoding} is not UTF-8`)
    this.#at += match[0].length
  }

  #comment(): void {
    const dashes = this.#text.indexOf('--', this.#at + 4)
    if (dashes === -1 || this.#text[dashes + 2] !== '>') this.fail('a comment without a proper end')
    this.#at = dashes + 3
  }

  #cdata(): string {
    const start = this.#at + 9
    const end = this.#text.indexOf(']]>', start)
    if (end === -1) this.fail('a CDATA section without end')
    this.#at = end + 3
    return normalized(this.#text.slice(start, end))
  }

  /** Resolves references. It looks at this piece alone: a search to the document's end for each piece would be quadratic. */
  #resolve(piece: string): string {
    if (piece.includes(']]>')) this.fail('"]]>" in text')
    let result = ''
    let from = 0
    for (;;) {
      const amp = piece.indexOf('&', from)
      if (amp === -1) return result + normalized(piece.slice(from))
      const end = piece.indexOf(';', amp)
      if (end === -1 || end - amp > MAX_REFERENCE) return this.fail(NO_REFERENCE)
      const name = piece.slice(amp + 1, end)
      result += normalized(piece.slice(from, amp)) + (entities.get(name) ?? this.#character(name))
      from = end + 1
    }
  }

  #character(name: string): string {
    const [, decimal, hexadecimal] = referencePattern.exec(name) ?? this.fail(NO_REFERENCE)
    const code = decimal === undefined ? parseInt(hexadecimal ?? '', 16) : Number(decimal)
    if (code > 0x10ffff) return this.fail('a reference to a character that does not exist')
    const character = String.fromCodePoint(code)
    return illegalCharacter.test(character) ? this.fail('a reference to a character that XML forbids') : character
  }

  #match(pattern: RegExp, at: number): string | undefined {
    pattern.lastIndex = at
    return pattern.exec(this.#text)?.[0]
  }
}

export function isBlank(text: string): boolean {
  return !/[^ \t\r\n]/.test(text)
}

function normalized(text: string): string {
  return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text
}
