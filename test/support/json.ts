/** Calls a manager of test/support/manager.ts as a script would: JSON by POST, or by GET when there are no parameters. */
import { request } from 'node:https'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import type { Caller, ManagerRig } from './manager.js'

interface Answer { readonly status: number; readonly body: unknown }

export function json(rig: ManagerRig, caller: Caller, method: string, params: XmlValue | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const body = params === undefined ? '' : JSON.stringify(params)
    const { ca, cert, key } = rig.tls(caller)
    const req = request(`${rig.server.url}/api/v1/${method}`, {
      method: params === undefined ? 'GET' : 'POST', ca, cert, key, agent: false, checkServerIdentity: () => undefined,
      headers: params === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(body)) },
    }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (piece: string) => { text += piece })
      res.on('end', () => { resolve({ status: res.statusCode ?? 0, body: res.headers['content-type']?.startsWith('application/json') === true ? JSON.parse(text) as unknown : text }) })
    })
    req.on('error', reject)
    req.end(body)
  })
}
