/**
 * A dialect: how a call is read from an HTTP request and how its answer is written. The server has a table of them and knows no other way
 * to tell one route from another; what is true for all (limits, deadlines, who is calling, one answer always) is the server's.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { Fault } from '../faults.js'
import { XmlRpcSyntaxError, decodeCall, encodeFault, encodeResponse } from './xmlrpc.js'
import type { XmlRpcLimits, XmlValue } from './xmlrpc.js'

/** Refused before the call is read: an HTTP status and one line of text. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal'
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.status = status
    this.headers = headers
  }
}

export interface Asked {
  /** `POST`, `GET`, … */
  readonly verb: string
  /** Without its query. */
  readonly path: string
  /** Without its `?`. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
}

export interface WireCall {
  readonly method: string
  readonly params: readonly XmlValue[]
}

export interface WireFailure {
  readonly code: number
  readonly message: string
  /** Under which the log tells more. */
  readonly logId: string
}

export interface WireReply {
  readonly status: number
  readonly type: string
  readonly body: string
}

export interface Dialect {
  /** For a client of 2008: neither nil nor i8, doubles are told from whole numbers, and another HTTP method than POST is 501. */
  readonly classic: boolean
  /** Whether this path is its own. Each path has one dialect at most. */
  owns(path: string): boolean
  /** Throws HttpRefusal for what this dialect never takes, by the head alone. */
  check(asked: Asked): void
  /** Throws Fault (`parse error`, `invalid request`) for what is no call. */
  read(asked: Asked, body: string): WireCall
  /** Throws TypeError for a value that can't be written. */
  value(value: XmlValue): WireReply
  fault(failure: WireFailure): WireReply
}

/** XML-RPC by POST. Faults are answered 200, as its specification says. */
export function xmlDialect({ paths, classic, limits }: { readonly paths: readonly string[]; readonly classic: boolean; readonly limits: XmlRpcLimits }): Dialect {
  const reply = (body: string): WireReply => ({ status: 200, type: 'text/xml; charset=utf-8', body })
  return {
    classic,
    owns: (path) => paths.includes(path),
    check({ verb, headers }) {
      if (verb !== 'POST') throw new HttpRefusal(classic ? 501 : 405, 'XML-RPC is sent by POST', { Allow: 'POST' })
      if (!isType(headers['content-type'], ['text/xml', 'application/xml'])) throw new HttpRefusal(415, 'the content type must be text/xml in UTF-8')
      refuseEncoded(headers)
    },
    read(_, body) {
      try {
        return decodeCall(body, classic ? { ...limits, keepDoubles: true } : limits)
      } catch (thrown) {
        if (thrown instanceof XmlRpcSyntaxError) throw new Fault('parse error', thrown.message, { cause: thrown })
        throw thrown
      }
    },
    value: (value) => reply(encodeResponse(value, { classic })),
    fault: ({ code, message }) => reply(encodeFault(code, message)),
  }
}

/** The type keeps web pages out: a browser asks first (CORS) before it posts XML or JSON to a stranger, and we never allow it. */
export function isType(given: string | undefined, types: readonly string[]): boolean {
  const [type = '', ...parameters] = (given ?? '').slice(0, 200).toLowerCase().split(';').map((part) => part.trim())
  if (!types.includes(type)) return false
  return parameters.every((parameter) => !parameter.startsWith('charset=') || /^charset="?(utf-?8|us-ascii)"?$/.test(parameter))
}

export function refuseEncoded(headers: IncomingHttpHeaders): void {
  if ((headers['content-encoding'] ?? 'identity') !== 'identity') throw new HttpRefusal(415, 'no content encoding is understood')
}
