/** What two programs have agreed on, as data: written down for each release, and held against what the next one says and reads. */
import { agentMethods } from '../../lib/wire/agent.js'
import { apiMethods } from '../../lib/api/methods.js'
import type { Shape } from '../../lib/rpc/shape.js'

/** A value's type and limits in words; a list's items; a struct's members, those that may be left out with `?`. */
export type Terms = string | readonly [Terms] | { readonly [member: string]: Terms }
export type Contract = Readonly<Record<string, { readonly params: Terms; readonly result: Terms }>>

export function termsOf(shape: Shape<never> | Shape<unknown>): Terms {
  if ('fields' in shape) {
    const fields = Object.entries(shape.fields as Readonly<Record<string, Shape<unknown>>>)
    return Object.fromEntries(fields.map(([name, each]) => ['optional' in each ? `${name}?` : name, termsOf(each)]))
  }
  if ('item' in shape) return [termsOf(shape.item as Shape<unknown>)]
  return `${shape.type}: ${shape.describe.replace(/; may be left out$/, '')}`
}

/** All methods of agents, and all of the manager's. */
export function contract(): Contract {
  return Object.fromEntries([...Object.values(agentMethods), ...Object.values(apiMethods)].map((each) => [each.name, { params: termsOf(each.params as Shape<unknown>), result: termsOf(each.result as Shape<unknown>) }]))
}

/**
 * Why a program of the older contract and one of the newer would not understand each other, whichever of the two speaks: a member that is
 * gone or has become another, one that the other side must have and can't know of. Empty when they would.
 */
export function misunderstandings(older: Contract, newer: Contract): readonly string[] {
  return Object.entries(older).flatMap(([name, { params, result }]) => {
    const now = newer[name]
    return now ? [...differences(`${name} parameters`, params, now.params), ...differences(`${name} result`, result, now.result)] : [`${name} is gone`]
  })
}

function differences(at: string, older: Terms, newer: Terms): readonly string[] {
  if (typeof older === 'string' || typeof newer === 'string') return JSON.stringify(older) === JSON.stringify(newer) ? [] : [`${at}: was ${JSON.stringify(older)}, is ${JSON.stringify(newer)}`]
  if (isList(older) || isList(newer)) return isList(older) && isList(newer) ? differences(`${at}[]`, older[0], newer[0]) : [`${at}: was ${JSON.stringify(older)}, is ${JSON.stringify(newer)}`]
  const gone = Object.entries(older).flatMap(([name, terms]) => {
    const now = newer[name]
    return now === undefined ? [`${at}.${name}: ${name.endsWith('?') ? 'is gone, or must be there now' : 'is gone, or may be left out now'}`] : differences(`${at}.${name}`, terms, now)
  })
  const added = Object.keys(newer).filter((name) => !Object.hasOwn(older, name) && !name.endsWith('?') && !Object.hasOwn(older, `${name}?`))
  return [...gone, ...added.map((name) => `${at}.${name}: is new, and must be there`)]
}

export function isList(terms: Terms): terms is readonly [Terms] {
  return Array.isArray(terms)
}
