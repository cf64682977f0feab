/** What XML-RPC can carry, the limits on it, and which characters may stand in it: shared by the writer and the reader. */

/**
 * A value on the wire. Integers within 32 bits travel as int, other safe integers and every bigint (64 bits) as i8, other numbers
 * as double. i8 is read as a number where that is exact, else as a bigint. A Date has whole seconds, UTC. Structs that were read
 * have no prototype; members that are undefined are not written.
 */
export type XmlValue =
  | null | boolean | number | bigint | string | Date | Uint8Array | XmlDouble
  | readonly XmlValue[]
  | { readonly [name: string]: XmlValue | undefined }

/** A number that is written as `<double>` even when it is whole. It is read back as a plain number. */
export class XmlDouble {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

/** Marks a number as a double: JavaScript can't tell 2.0 from 2, and some clients can. */
export function double(value: number): XmlDouble {
  return new XmlDouble(value)
}

export interface XmlRpcLimits {
  /** Arrays and structs within each other. Default 64. */
  readonly depth?: number
  /** Values in one document, counting arrays and structs too. Default 1,000,000. */
  readonly values?: number
  /** Characters of a member's or a method's name. Default 128. */
  readonly nameLength?: number
  /** What is sent as `<double>` is read as an XmlDouble: for methods of old that take a whole number only as `<int>`. Default false. */
  readonly keepDoubles?: boolean
}

export const defaultLimits = { depth: 64, values: 1_000_000, nameLength: 128, keepDoubles: false } as const satisfies Required<XmlRpcLimits>

/** The text is not the XML-RPC document that was expected. `offset` counts UTF-16 units from its start. */
export class XmlRpcSyntaxError extends Error {
  override readonly name = 'XmlRpcSyntaxError'
  readonly offset: number
  constructor(message: string, offset: number) {
    super(`${message} at offset ${offset}`)
    this.offset = offset
  }
}

/** Outside the Char production of XML 1.0, section 2.2: most control characters, U+FFFE, U+FFFF and lone surrogates. */
export const illegalCharacter = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/u

export const methodNamePattern = /^[A-Za-z0-9_.:/]+$/

export const INT_MIN = -2147483648
export const INT_MAX = 2147483647
export const I8_MIN = -(2n ** 63n)
export const I8_MAX = 2n ** 63n - 1n
