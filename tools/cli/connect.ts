/** One typed way to call the manager: the first that answers, asked again where that is safe, within the time of one call. */
import { randomBytes } from 'node:crypto'
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiMethod, ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { activeAddress } from '../../lib/api/active.js'
import { Fault, faults, messageOf } from '../../lib/faults.js'
import { callLiving, ManagerSilent } from './living.js'
import { authorityIn, certificateIn, readToken } from './proof.js'
import { createRpcClient, RemoteFault, TransportError } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { placeOf, UsageError } from './settings.js'

export interface ConnectOptions {
  /** `https://host:port` or `unix:/path`, several with commas: the first that answers. Absent: see settings.ts. */
  readonly manager: string | undefined
  readonly tlsDir: string | undefined
  readonly tokenFile: string | undefined
  /** For one call, ms: repeating it and waiting included. */
  readonly timeoutMs: number
  /** Told once, when a call has to be repeated. */
  readonly onWait?: (why: string) => void
}

export interface Manager {
  /**
   * Calls a method; one that changes something is repeated under the same request id until it is done or the time is over.
   * `patient`: a question is repeated as long, for who follows what happens. `untilDone`: the time begins anew whenever the manager says that it is still at work.
   */
  call<N extends ApiName>(name: N, params: Omit<ApiParams<N>, 'request'>, options?: { readonly patient?: boolean; readonly untilDone?: boolean }): Promise<ApiResult<N>>
  /** Asks the managers in turn until the active one answers, first the one at `address` (empty: not known). One round. */
  callActive(name: 'managerStatus', params: Record<string, never>, address: string): Promise<ApiResult<'managerStatus'>>
  close(): void
}

/** Connects at the first call. Throws UsageError when no manager or no certificate is known. */
export async function connectManager(options: ConnectOptions): Promise<Manager> {
  const { managers, tlsDir, tokenFile } = await placeOf(options, process.env)
  const proof = tokenFile === undefined ? { tls: await certificateIn(tlsDir) } : { tls: await authorityIn(tlsDir), token: await readToken(tokenFile) }
  // A token is told to a manager of this cluster alone: the server's certificate is checked before anything is sent.
  const connect = (url: string): RpcClient => createRpcClient({ url, ...proof, tls: { ...proof.tls, serverRoles: ['manager'] } })
  const clients = managers.map(connect)
  const known: Known = {
    clients,
    async follow(url) {
      const place = clients.findIndex((client) => client.url === url)
      if (place >= 0 || clients.length >= managers.length + TOLD_MAX || managers.some((each) => each.startsWith('unix:'))) return place
      const client = connect(url)
      try {
        await client.call(apiMethods.managerStatus.name, [{}], { timeoutMs: LOOK_MS }) // it may be an address that is of no use from here
      } catch (thrown) {
        if (thrown instanceof TransportError) {
          client.close()
          return -1
        }
      }
      return clients.push(client) - 1
    },
  }
  return {
    async call(name, params, { patient = false, untilDone = false } = {}) {
      const method = apiMethods[name] as unknown as ApiMethod<ApiParams<typeof name>, ApiResult<typeof name>>
      const full = (method.mutates ? { ...params, request: `cli-${randomBytes(12).toString('hex')}` } : params) as ApiParams<typeof name>
      const answer = await callFirst(known, method.name, method.params.format(full), { mutates: method.mutates, patient, untilDone, timeoutMs: options.timeoutMs, onWait: options.onWait })
      try {
        return method.result.parse(answer, `the answer to ${method.name}`)
      } catch (thrown) {
        throw new RemoteFault(faults['internal error'].code, messageOf(thrown)) // the person did nothing wrong
      }
    },
    async callActive(name, params, address) {
      const first = address === '' ? undefined : clients[await known.follow(address)]
      for (const client of first ? [first, ...clients.filter((each) => each !== first)] : clients) {
        try {
          const status = apiMethods[name].result.parse(await client.call(apiMethods[name].name, [params], { timeoutMs: Math.min(options.timeoutMs, LOOK_MS) }), 'the status of a manager')
          if (status.state !== 'standby') return status
        } catch (thrown) {
          if (!(thrown instanceof TransportError) && !(thrown instanceof Fault)) throw thrown
        }
      }
      throw new Fault('not active', 'no manager that can be reached from here is active')
    },
    close() {
      for (const client of clients) client.close()
    },
  }
}

/** How long a question is repeated while no manager can be reached, ms: one that is restarted is back by then. */
const READ_PATIENCE_MS = 6000
/** So often an answer that tells where to go is followed without a pause. */
const FOLLOW_MAX = 3
/** Between two tries, ms. */
const PAUSE_MS = 500
/** For a look at one of several managers, ms. */
const LOOK_MS = 3000
/** Addresses that are told and not in our list: so many are remembered. */
const TOLD_MAX = 4

interface Known {
  readonly clients: readonly RpcClient[]
  /** Where a standby sends us: gives its place among them, -1 when it can't be reached from here. */
  readonly follow: (url: string) => Promise<number>
}

interface Manner {
  readonly mutates: boolean
  readonly patient: boolean
  readonly untilDone: boolean
  readonly timeoutMs: number
  readonly onWait: ConnectOptions['onWait']
}

/** The next manager is asked when one can't be reached; the same call is made again when its outcome is unknown or the work goes on. */
async function callFirst({ clients, follow }: Known, method: string, params: XmlValue, { mutates, patient, untilDone, timeoutMs, onWait }: Manner): Promise<XmlValue> {
  let until = performance.now() + timeoutMs
  const repeated = mutates || patient
  const patientUntil = repeated ? Number.POSITIVE_INFINITY : performance.now() + READ_PATIENCE_MS
  const asked = clients.length
  let at = 0
  let followed = 0
  for (let attempt = 0; ; attempt += 1) {
    const client = clients[at % clients.length]
    if (!client) throw new UsageError('no manager is known')
    const left = until - performance.now()
    try {
      const limits = { timeoutMs: Math.max(1000, Math.min(left, 60_000)) }
      return await (asked > 1 ? callLiving(client, method, [params], limits) : client.call(method, [params], limits))
    } catch (thrown) {
      if (thrown instanceof TypeError) throw new UsageError(`${method} cannot be sent: ${thrown.message}`, { cause: thrown })
      const again = thrown instanceof Fault ? thrown.fault === 'not active' || thrown.fault === 'state unavailable' || (mutates && thrown.fault === 'timed out')
        : thrown instanceof ManagerSilent || (thrown instanceof TransportError && (repeated || !thrown.sent || thrown.kind === 'reset') && thrown.kind !== 'tls')
      if (untilDone && thrown instanceof Fault && thrown.fault === 'timed out') until = performance.now() + timeoutMs
      if (!again || performance.now() + PAUSE_MS > Math.min(until, patientUntil)) throw thrown
      const told = activeAddress(thrown)
      const place = told === undefined ? -1 : await follow(told)
      at = place >= 0 && clients[place] !== client ? place : at + 1
      if (place >= 0 && followed < FOLLOW_MAX) {
        followed += 1
        continue // it was told where to go: no reason to wait
      }
      if (attempt === asked - 1) onWait?.(messageOf(thrown)) // each of them was asked once
      if (!(thrown instanceof Fault && thrown.fault === 'timed out')) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
}
