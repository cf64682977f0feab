/** The methods of the `system.` family, which every XML-RPC client knows, and what may be asked about any method. Words only; manager/api/system.ts answers. */
import { faults } from '../faults.js'
import { apiMethods } from './methods.js'
import type { ApiMethod, ApiName } from './methods.js'
import { audienceOf } from './roles.js'

/** Calls in one multicall. */
export const MULTICALL_MAX = 100

export interface SystemMethod {
  readonly help: string
  /** What it gives, then what it takes, as XML-RPC types. */
  readonly signature: readonly string[]
  /** The names of what it takes, one by one: members of the object in JSON. */
  readonly positions: readonly string[]
}

export const systemMethods = {
  'system.listMethods': { help: 'The names of all methods', signature: ['array'], positions: [] },
  'system.methodHelp': { help: 'What a method does, takes, gives and may fail with', signature: ['string', 'string'], positions: ['methodName'] },
  'system.methodSignature': { help: 'The types of a method: each way to call it as what it gives, then what it takes', signature: ['array', 'string'], positions: ['methodName'] },
  'system.multicall': {
    help: `Up to ${MULTICALL_MAX} calls, one after the other, each {methodName, params}: of each its result in an array of one, or {faultCode, faultString}. None can be a multicall`,
    signature: ['array', 'array'], positions: ['calls'],
  },
} as const satisfies Readonly<Record<string, SystemMethod>>
export type SystemName = keyof typeof systemMethods

export function isSystemName(name: string): name is SystemName {
  return Object.hasOwn(systemMethods, name)
}

export const apiNames = Object.keys(apiMethods) as readonly ApiName[]
const byName: ReadonlyMap<string, ApiName> = new Map(apiNames.map((key) => [apiMethods[key].name, key]))

/** The registry's key of a method by its name on the wire. */
export function apiNameOf(name: string): ApiName | undefined {
  return byName.get(name)
}

export function apiMethod(key: ApiName): ApiMethod<unknown, unknown> {
  return apiMethods[key]
}

export const allMethodNames: readonly string[] = [...byName.keys(), ...Object.keys(systemMethods)].sort()

/** Whether it changes nothing at all, so that it may be asked in passing. */
export function isQuestion(name: string): boolean {
  const key = apiNameOf(name)
  if (key === undefined) return isSystemName(name) && name !== 'system.multicall'
  const { mutates, role } = apiMethods[key]
  return !mutates && role !== 'agent' && role !== 'joiner'
}

interface Field { readonly describe: string; readonly optional?: true }

/** The parameters of a method by name. */
export function fieldsOf(method: ApiMethod<unknown, unknown>): readonly (readonly [name: string, field: Field])[] {
  const { fields = {} } = method.params as { readonly fields?: Readonly<Record<string, Field>> }
  return Object.entries(fields)
}

/** Each way to call a method: the struct may be left out where nothing in it is needed. */
export function signaturesOf(name: string): readonly (readonly string[])[] | undefined {
  if (isSystemName(name)) return [systemMethods[name].signature]
  const key = apiNameOf(name)
  if (key === undefined) return undefined
  const method = apiMethod(key)
  const whole = [method.result.type, method.params.type]
  return fieldsOf(method).every(([, field]) => field.optional === true) ? [whole, [method.result.type]] : [whole]
}

/** The help text of a method; undefined for a name that is none. */
export function helpOf(name: string): string | undefined {
  if (isSystemName(name)) return `${systemMethods[name].help}.`
  const key = apiNameOf(name)
  if (key === undefined) return undefined
  const method = apiMethod(key)
  const members = fieldsOf(method).map(([member, field]) => `  ${member}: ${field.describe}`)
  const failures = method.faults.map((fault) => `  ${faults[fault].code} ${fault}: ${faults[fault].correction}`)
  return [
    `${method.help}.`, `Role: ${audienceOf(method)}.${method.mutates ? ' Idempotent by its request id.' : ''}`,
    members.length === 0 ? 'Takes nothing.' : `Takes one struct:\n${members.join('\n')}`, `Gives ${method.result.describe}.`,
    ...(failures.length === 0 ? [] : [`Faults:\n${failures.join('\n')}`]),
  ].join('\n')
}
