/**
 * The original's rules for parameters. It was written in Python: a member that is zero or empty counts as not given, and its database took a
 * decimal string for a number. Which of the two rules holds where is told with each method.
 */
import { XmlDouble } from '../../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../../lib/rpc/xmlrpc.js'
import { noCall, refusal } from './faults.js'

export type Members = Readonly<Record<string, XmlValue | undefined>>

/** The one struct that every method takes. */
export function membersOf(method: string, params: readonly XmlValue[]): Members {
  const [first] = params
  const isStruct = typeof first === 'object' && first !== null && !Array.isArray(first) && !(first instanceof Date) && !(first instanceof Uint8Array) && !(first instanceof XmlDouble)
  if (params.length !== 1 || !isStruct) throw noCall('TypeError', `${method}() takes exactly one struct`)
  return first as Members
}

/** 5 and 5.0 are the same; "5" is not. */
export function versionOf({ ver }: Members): XmlValue | undefined {
  return ver instanceof XmlDouble ? ver.value : ver
}

/** What is neither absent nor zero nor empty. */
export function given(value: XmlValue | undefined): boolean {
  if (value === undefined || value === null || value === false || value === '' || value === 0) return false
  if (value instanceof XmlDouble) return value.value !== 0
  return !(Array.isArray(value) && value.length === 0)
}

/** A whole number that came as one. Strings, doubles and booleans are none. */
export function wholeNumber(value: XmlValue | undefined): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined
}

/** A number of ours: as a number, or as a decimal string. 0, which is never one, for any other text, as it is not found. Undefined: of another type. */
export function idOf(value: XmlValue | undefined): number | undefined {
  if (value instanceof XmlDouble) return Number.isSafeInteger(value.value) ? value.value : 0
  if (typeof value === 'string') return /^\d{1,10}$/.test(value) ? Number(value) : 0
  return typeof value === 'number' ? value : undefined
}

/** An id that must be there. */
export function neededId(members: Members, name: string): number {
  const id = given(members[name]) ? idOf(members[name]) : undefined
  if (id === undefined) throw refusal('EINVAL', `${name} is missing`)
  return id
}

/** An id that a list may be narrowed by: 0 counts as not given. */
export function filterId(members: Members, name: string): number | undefined {
  if (!given(members[name])) return undefined
  const id = idOf(members[name])
  if (id === undefined) throw refusal('ENOENT', `${name} is no id`)
  return id
}

/** IPv4 addresses, at least one. */
export function addressesOf({ ip_data: value }: Members): readonly string[] {
  const good = Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'string' && /^\d+\.\d+\.\d+\.\d+$/.test(each))
  if (!good) throw refusal('EINVAL', 'ip_data: a list of IPv4 addresses is needed, at least one')
  return (value as readonly string[]).map((each) => Buffer.from(each).toString())
}
