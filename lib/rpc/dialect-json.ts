/**
 * The same methods as JSON over HTTP, for browsers and scripts: `POST PREFIX/METHOD` with the struct of parameters as the body, or `GET` with
 * texts and whole numbers in the query for a method that changes nothing. Sizes are decimal strings, as on XML-RPC. A fault is one object, and the
 * HTTP status tells its class.
 */
import { Fault, faultNameOf, faults } from '../faults.js'
import type { FaultClass, FaultName } from '../faults.js'
import { HttpRefusal, isType, refuseEncoded } from './dialect.js'
import type { Dialect, WireCall, WireReply } from './dialect.js'
import { JsonSyntaxError, decodeJson, encodeJson } from './json.js'
import type { XmlRpcLimits, XmlValue } from './xmlrpc-value.js'
import { defaultLimits, illegalCharacter, methodNamePattern } from './xmlrpc-value.js'

export interface JsonDialectOptions {
  /** Begins and ends with `/`. */
  readonly prefix: string
  /** Whether a method changes nothing, so that it may be asked by GET. */
  readonly reads: (method: string) => boolean
  /** Names of the parameters of a method that takes them one by one, in their order; undefined for one that takes a struct. */
  readonly positions?: (method: string) => readonly string[] | undefined
  readonly limits?: XmlRpcLimits
}

const statusOf: Readonly<Record<FaultClass, number>> = {
  usage: 400, denied: 403, 'not found': 404, conflict: 409, stale: 409, internal: 500, unavailable: 503, 'no room': 507,
}
/** Where HTTP has a better word than that of the class. */
const exceptions: Readonly<Partial<Record<FaultName, number>>> = { 'unknown method': 404, 'timed out': 504, 'not authenticated': 401, 'too many attempts': 429 }
const QUERY_MAX = 100

/** The HTTP status that tells a fault. */
export function httpStatusOf(fault: FaultName): number {
  return exceptions[fault] ?? statusOf[faults[fault].class]
}

export function jsonDialect({ prefix, reads, positions, limits = {} }: JsonDialectOptions): Dialect {
  const methodOf = (path: string): string => path.slice(prefix.length)
  return {
    classic: false,
    owns: (path) => path.startsWith(prefix),
    check({ verb, path, headers }) {
      const method = methodOf(path)
      if (!methodNamePattern.test(method) || method.length > defaultLimits.nameLength) throw new HttpRefusal(404, `the path is ${prefix} and the name of a method`)
      refuseEncoded(headers)
      if (verb === 'GET' && reads(method)) {
        if (Number(headers['content-length'] ?? 0) > 0 || headers['transfer-encoding'] !== undefined) throw new HttpRefusal(400, 'a GET has no body')
      } else if (verb !== 'POST') throw new HttpRefusal(405, `${method} is sent by POST`, { Allow: reads(method) ? 'GET, POST' : 'POST' })
      else if (!isType(headers['content-type'], ['application/json'])) throw new HttpRefusal(415, 'the content type must be application/json in UTF-8')
    },
    read({ verb, path, query }, body): WireCall {
      const method = methodOf(path)
      const given = verb === 'GET' ? structOf(query) : body.trim() === '' ? {} : parse(body, limits)
      if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new Fault('invalid request', `${method} takes one JSON object`)
      const order = positions?.(method)
      return { method, params: order ? inOrder(given as Readonly<Record<string, XmlValue>>, order) : [given] }
    },
    value: (value) => reply(200, encodeJson(value)),
    fault({ code, message, logId }) {
      const fault = faultNameOf(code)
      const spec = fault === undefined ? undefined : faults[fault]
      return reply(fault === undefined ? statusOf.internal : httpStatusOf(fault), JSON.stringify({ fault: fault ?? 'unknown fault', code, message, correction: spec?.correction ?? '', logId }))
    },
  }
}

function reply(status: number, body: string): WireReply {
  return { status, type: 'application/json; charset=utf-8', body: `${body}\n` }
}

function parse(body: string, limits: XmlRpcLimits): XmlValue {
  try {
    return decodeJson(body, limits)
  } catch (thrown) {
    if (thrown instanceof JsonSyntaxError) throw new Fault('parse error', thrown.message, { cause: thrown })
    throw thrown
  }
}

/** `a=1&b=x`: texts; the methods read decimal strings where they need numbers. */
function structOf(query: string): XmlValue {
  const members = Object.create(null) as Record<string, string>
  for (const [name, value] of new URLSearchParams(query)) {
    const wrong = Object.keys(members).length >= QUERY_MAX ? `has more than ${QUERY_MAX} members`
      : name in members ? `has ${JSON.stringify(name.slice(0, 60))} twice`
      : name === '__proto__' || name.length > defaultLimits.nameLength ? 'has a name that is none'
      : illegalCharacter.test(name) || illegalCharacter.test(value) ? 'has a character that XML forbids' : undefined
    if (wrong !== undefined) throw new Fault('parse error', `the query ${wrong}`)
    members[name] = value
  }
  return members
}

function inOrder(given: Readonly<Record<string, XmlValue>>, order: readonly string[]): readonly XmlValue[] {
  const stranger = Object.keys(given).find((name) => !order.includes(name))
  if (stranger !== undefined) throw new Fault('bad parameter', `there is no member ${JSON.stringify(stranger.slice(0, 60))}; there is ${order.join(', ') || 'none'}`)
  return order.flatMap((name) => (Object.hasOwn(given, name) && given[name] !== undefined ? [given[name]] : []))
}
