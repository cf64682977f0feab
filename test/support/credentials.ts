/** Callers without a certificate, at a manager of test/support/manager.ts: tokens and users, and their calls on either wire. */
import { request } from 'node:https'
import type { TokenRole, UserRole } from '../../lib/api/roles.js'
import { must } from '../../lib/assert.js'
import { faultNameOf } from '../../lib/faults.js'
import { decodeResponse, encodeCall } from '../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import type { TlsMaterial } from '../../lib/host/pki.js'
import type { ManagerRig } from './manager.js'

export const password = 'correct horse battery staple'

/** As the value of `Authorization`. */
export const bearer = (token: string): string => `Bearer ${token}`
export const basic = (name: string, secret: string): string => `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`

export async function makeToken(rig: ManagerRig, name: string, role: TokenRole, more: { readonly host?: string; readonly ttlSeconds?: number } = {}): Promise<string> {
  return (await rig.call('tokenCreate', { name, role, ...more })).secret
}

export async function makeUser(rig: ManagerRig, name: string, role: UserRole): Promise<string> {
  await rig.call('userCreate', { name, role, password })
  return basic(name, password)
}

export interface Answered {
  /** The name of the fault, `done`, or `hung up`. */
  readonly outcome: string
  /** 0: none came. */
  readonly status: number
  readonly text: string
  readonly headers: NodeJS.Dict<string | string[]>
}

export interface How {
  readonly authorization?: string | undefined
  readonly wire?: 'xml' | 'json'
  /** Default: no certificate. */
  readonly tls?: Partial<TlsMaterial>
}

export function callWith(rig: ManagerRig, { authorization, wire = 'json', tls = {} }: How, method: string, params: XmlValue): Promise<Answered> {
  const body = wire === 'xml' ? encodeCall(method, [params]) : JSON.stringify(params)
  return new Promise((resolve) => {
    const req = request(`${rig.server.url}${wire === 'xml' ? '/RPC2' : `/api/v1/${method}`}`, {
      method: 'POST', ca: rig.authority.certificate, ...tls, agent: false,
      headers: { 'Content-Type': wire === 'xml' ? 'text/xml' : 'application/json', 'Content-Length': Buffer.byteLength(body), ...(authorization === undefined ? {} : { Authorization: authorization }) },
    }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (piece: string) => { text += piece })
      res.once('end', () => { resolve({ outcome: outcomeOf(wire, res.statusCode ?? 0, text), status: res.statusCode ?? 0, text, headers: res.headers }) })
    })
    req.once('error', () => { resolve({ outcome: 'hung up', status: 0, text: '', headers: {} }) })
    req.end(body)
  })
}

function outcomeOf(wire: 'xml' | 'json', status: number, text: string): string {
  if (wire === 'json') return status === 200 ? 'done' : (JSON.parse(text) as { readonly fault: string }).fault
  const answer = decodeResponse(text)
  return answer.kind === 'value' ? 'done' : must(faultNameOf(answer.code), `fault ${answer.code} is one of ours`)
}
