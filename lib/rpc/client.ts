/**
 * The client's door: one call out, settled exactly once, within its deadline, whatever the network does. Connections are kept
 * and used again. What went wrong is told so that the caller can decide: did the server refuse (`Fault`), or did the call get
 * lost, and may it have been carried out (`TransportError.sent`)?
 */
import { Agent, request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { Agent as TlsAgent, request as httpsRequest } from 'node:https'
import { Fault, faultNameOf } from '../faults.js'
import { RemoteFault, TransportError, classify } from './client-error.js'
import type { TransportKind } from './client-error.js'
import { targetOf } from './client-target.js'
import type { RpcClientTls, Target } from './client-target.js'
import { decodeUtf8 } from './server-body.js'
import { decodeResponse, encodeCall } from './xmlrpc.js'
import type { XmlResponse, XmlValue } from './xmlrpc.js'

export { RemoteFault, TransportError } from './client-error.js'
export type { TransportKind } from './client-error.js'
export type { RpcClientTls } from './client-target.js'

export interface RpcClientOptions {
  /** `https://host:port`, `http://host:port` or `unix:/path`; the path of a URL is used, default `/RPC2`. */
  readonly url: string
  /** With `unix:` it means TLS over the socket file; with `http:` it is an error. */
  readonly tls?: RpcClientTls
  /** Sent as `Authorization: Bearer …`, over TLS alone: with another URL it is an error. */
  readonly token?: string
  /** For calls that do not say their own. Default 30 s. */
  readonly timeoutMs?: number
  /** Default 16 MiB. */
  readonly maxReplyBytes?: number
  /** Connections at once; more calls wait, within their deadlines. Default 64. */
  readonly maxSockets?: number
  /** Send neither nil nor i8. */
  readonly classic?: boolean
}

export interface CallOptions {
  /** From the call to its settling, waiting for a connection included. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface RpcClient {
  readonly url: string
  /**
   * Calls a method. Rejects with `Fault` (the server's fault, when its code is in our table), `RemoteFault` (another code),
   * `TransportError`, or TypeError when the parameters can't be sent. It is repeated by itself in one case only: a kept
   * connection was reset before any reply came (the server had closed it while idle, as a rule). So what is called must bear
   * being carried out twice, as every method of ours does by its request or operation id.
   */
  readonly call: (method: string, params: readonly XmlValue[], options?: CallOptions) => Promise<XmlValue>
  /** Ends all connections; calls under way, and later ones, fail with `aborted`. */
  close(): void
}

/** Throws TypeError for a URL or TLS options that make no sense. Connects at the first call. */
export function createRpcClient(options: RpcClientOptions): RpcClient {
  const target = targetOf(options.url, options.tls)
  if (options.token !== undefined && !target.secure) throw new TypeError('a token is sent over TLS alone')
  const proof = options.token === undefined ? {} : { Authorization: `Bearer ${options.token}` }
  const agentOptions = { maxSockets: options.maxSockets ?? 64, ...target.connect }
  // No TLS sessions are resumed: Node checks the server's identity in a full handshake only.
  const agent = (keepAlive: boolean): Agent => (target.secure
    ? new TlsAgent({ ...agentOptions, keepAlive, maxCachedSessions: 0 })
    : new Agent({ ...agentOptions, keepAlive }))
  const [kept, fresh] = [agent(true), agent(false)]
  const open = new Set<() => void>()
  let closed = false
  return {
    url: options.url,
    async call(method, params, { timeoutMs = options.timeoutMs ?? 30_000, signal } = {}) {
      const body = Buffer.from(encodeCall(method, params, { classic: options.classic ?? false }))
      const startedMs = performance.now()
      const job: Job = { target, method, body, proof, timeoutMs, signal, maxReplyBytes: options.maxReplyBytes ?? 16 * 1024 * 1024, open }
      if (closed) throw transportError(job, 'aborted', 'the client is closed', false)
      const first = await attempt(job, kept, timeoutMs)
      const last = first.kind === 'stale connection' ? await attempt(job, fresh, timeoutMs - (performance.now() - startedMs)) : first
      if (last.kind === 'response') return valueOf(last.response)
      throw last.error
    },
    close() {
      closed = true
      for (const giveUp of open) giveUp()
      kept.destroy()
      fresh.destroy()
    },
  }
}

interface Job {
  readonly target: Target
  readonly method: string
  readonly body: Buffer
  readonly proof: { readonly Authorization?: string }
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly maxReplyBytes: number
  /** How to end each call that is under way. */
  readonly open: Set<() => void>
}

type Outcome =
  | { readonly kind: 'response'; readonly response: XmlResponse }
  | { readonly kind: 'failed'; readonly error: TransportError }
  | { readonly kind: 'stale connection'; readonly error: TransportError }

function valueOf(response: XmlResponse): XmlValue {
  if (response.kind === 'value') return response.value
  const name = faultNameOf(response.code)
  throw name === undefined ? new RemoteFault(response.code, response.text) : new Fault(name, response.text)
}

/** One request to its one outcome. Never rejects. */
async function attempt(job: Job, agent: Agent, leftMs: number): Promise<Outcome> {
  const { target, body, proof, signal, open } = job
  return new Promise((resolve) => {
    let settled = false
    let connected = false
    let replying = false
    let req: ClientRequest | undefined

    function settle(outcome: Outcome): void {
      if (settled) return
      settled = true
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      open.delete(onAbort)
      if (outcome.kind !== 'response') req?.destroy()
      resolve(outcome)
    }
    function fail(kind: TransportKind, reason: string, sent: boolean, cause?: unknown): void {
      settle({ kind: 'failed', error: transportError(job, kind, reason, sent, cause) })
    }
    function onAbort(): void { fail('aborted', 'the caller gave up', connected) }
    const timer = setTimeout(() => { fail('timeout', `no answer within ${job.timeoutMs} ms`, connected) }, Math.max(1, leftMs))
    if (signal?.aborted) return onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    open.add(onAbort)

    const requestOptions: RequestOptions = {
      ...target.request, method: 'POST', agent,
      headers: { 'Content-Type': 'text/xml; charset=utf-8', 'Content-Length': body.length, Accept: 'text/xml', 'User-Agent': 'vsky', ...proof },
    }
    try {
      req = (target.secure ? httpsRequest : httpRequest)(requestOptions)
    } catch (thrown) {
      return fail('refused', String(thrown), false, thrown) // options that only the connection itself checks, such as a malformed key
    }
    const sending = req
    sending.once('socket', (socket) => {
      if (socket.connecting) socket.once(target.secure ? 'secureConnect' : 'connect', () => { connected = true })
      else connected = true
    })
    sending.on('error', (error: Error) => {
      const trouble = classify(error, connected)
      // Node's servers check a client's certificate after the handshake and then just hang up, without an alert.
      const hungUp = trouble.kind === 'reset' && target.secure && !sending.reusedSocket && !replying
      const hint = hungUp ? ' (so ends a server that does not accept our certificate)' : ''
      const failure = transportError(job, trouble.kind, trouble.reason + hint, connected && !trouble.beforeRequest, error)
      settle({ kind: trouble.kind === 'reset' && sending.reusedSocket && !replying ? 'stale connection' : 'failed', error: failure })
    })
    sending.once('response', (res) => {
      replying = true
      readReply(res, job.maxReplyBytes, settle, fail)
    })
    sending.end(body)
    return undefined
  })
}

type Fail = (kind: TransportKind, reason: string, sent: boolean, cause?: unknown) => void

/** Collects the reply, counted, and reads it. A status other than 200 is told with the first 200 characters that came with it. */
function readReply(res: IncomingMessage, maxReplyBytes: number, settle: (outcome: Outcome) => void, fail: Fail): void {
  const limit = res.statusCode === 200 ? maxReplyBytes : 2_000
  const chunks: Buffer[] = []
  let size = 0
  res.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size <= limit) chunks.push(chunk)
    else if (res.statusCode === 200) fail('too long', `a reply of more than ${limit} bytes`, true)
    else finish()
  })
  res.once('end', finish)
  res.once('error', (error) => { fail('reset', error.message, true, error) })
  res.once('close', () => { fail('reset', 'the reply broke off', true) })

  function finish(): void {
    const text = decodeUtf8(chunks)
    if (res.statusCode !== 200) {
      return fail('http status', `status ${res.statusCode ?? 0}: ${(text ?? '').slice(0, 200).trim()}`, true)
    }
    if (text === undefined) return fail('bad reply', 'the reply is not UTF-8', true)
    try {
      settle({ kind: 'response', response: decodeResponse(text) })
    } catch (thrown) {
      fail('bad reply', thrown instanceof Error ? thrown.message : String(thrown), true, thrown)
    }
    return undefined
  }
}

function transportError({ method, target }: Job, kind: TransportKind, reason: string, sent: boolean, cause?: unknown): TransportError {
  return new TransportError(kind, `${method} at ${target.name}: ${reason}`, { sent, cause })
}
