/** Messages of the previous release: what its contract does not have it does not say, and does not understand. */
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { isList } from '../support/contract.js'
import type { Terms } from '../support/contract.js'
import { previousContract as agreed } from '../support/previous.js'

/** Whether the previous release has this method at all. */
export function wasThere(method: string): boolean {
  return Object.hasOwn(agreed, method)
}

/** What is left of the parameters of a call where one side is of the previous release. */
export function paramsAsBefore(method: string, params: readonly XmlValue[]): readonly XmlValue[] {
  const terms = agreed[method]?.params
  return terms === undefined ? params : params.map((value) => known(terms, value))
}

export function resultAsBefore(method: string, value: XmlValue): XmlValue {
  const terms = agreed[method]?.result
  return terms === undefined ? value : known(terms, value)
}

function known(terms: Terms, value: XmlValue | undefined): XmlValue {
  if (typeof terms === 'string' || typeof value !== 'object' || value === null) return value ?? null
  if (isList(terms)) return Array.isArray(value) ? value.map((each: XmlValue) => known(terms[0], each)) : value
  return Object.fromEntries(Object.entries(value).flatMap(([name, each]: readonly [string, XmlValue | undefined]) => {
    const member = terms[name] ?? terms[`${name}?`]
    return member === undefined || each === undefined ? [] : [[name, known(member, each)]]
  }))
}
