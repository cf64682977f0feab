/**
 * The server's door: HTTP(S) in, one handler, one reply, always. It knows nothing of methods; it answers for limits, deadlines,
 * who is calling, and for leaving no request without exactly one answer. With `tls` only holders of a certificate of our own
 * authority get through the handshake, and the handler learns their name and role.
 */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { Fault, faults, messageOf } from '../faults.js'
import type { Log } from '../ports.js'
import { HttpRefusal, checkHead, readBody } from './server-body.js'
import { listenOn } from './server-listen.js'
import type { RpcAddress } from './server-listen.js'
import { peerOf } from './server-peer.js'
import type { Peer } from './server-peer.js'
import { XmlRpcSyntaxError, decodeCall, encodeFault, encodeResponse } from './xmlrpc.js'
import type { XmlCall, XmlValue } from './xmlrpc.js'

export type { RpcAddress } from './server-listen.js'
export { peerOf } from './server-peer.js'
export type { Peer } from './server-peer.js'

export interface CallContext {
  readonly peer: Peer
  readonly path: string
  /** 16 random hex digits, for log lines; not the caller's own request id. */
  readonly requestId: string
  /** Aborts when the client goes away, when the deadline passes, and when the server is closed hard. */
  readonly signal: AbortSignal
  /** The client may be of 2008: no nil, no i8; sizes as decimal strings. */
  readonly classic: boolean
}

export type RpcHandler = (ctx: CallContext, method: string, params: readonly XmlValue[]) => Promise<XmlValue>

interface RpcServerSettings {
  /** PEM. With it: mutual TLS, only certificates signed by `ca` itself. Without: plain HTTP. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
  /** Where XML-RPC is answered. Default `/RPC2` and `/`. */
  readonly paths?: readonly string[]
  readonly log: Log
  readonly handle: RpcHandler
  /** Replies without nil and i8. Default false. */
  readonly classic?: boolean
  /** Other routes (metrics, events, pages): sees every request first and returns true when it takes it over. */
  readonly onRequest?: (req: IncomingMessage, res: ServerResponse) => boolean
  /** Default 8 MiB. */
  readonly maxBodyBytes?: number
  /** After it the client gets `timed out`, whatever the handler does. Default 120 s. */
  readonly deadlineMs?: number
  /** Connections at once; more are closed. Default 1024. */
  readonly maxConnections?: number
  /** Calls at once of one peer (its certificate's name, else its address); more are answered 503. Default 64. */
  readonly maxCallsPerPeer?: number
  /** How long `close` waits for calls under way. Default 5 s. */
  readonly closeGraceMs?: number
}

export type RpcServerOptions = RpcServerSettings & (
  | { readonly host: string; readonly port: number }
  | { readonly socketPath: string }
)

export interface RpcServer {
  readonly address: RpcAddress
  /** As a client takes it: `https://host:port`, `http://host:port` or `unix:/path`. */
  readonly url: string
  /** Stops accepting, lets calls under way finish for `closeGraceMs`, then ends every connection. May be called again. */
  close(): Promise<void>
}

/** A fault by bare number, for methods whose codes are an older protocol's (errno) and stand in no table of ours. */
export class WireFault extends Error {
  override readonly name = 'WireFault'
  readonly code: number
  constructor(code: number, text: string) {
    super(text)
    this.code = code
  }
}

const REPLY_TIMEOUT_MS = 30_000

/**
 * Listens and answers. Port 0 takes any free one; a socket file is made with mode 0600, and one that a dead process left is
 * replaced. What the handler throws becomes a fault: `Fault` and `WireFault` their code and message; anything else -32603 with
 * a log id, its stack in the log only. Rejects with the system's error when it can't listen.
 */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const { log, tls, maxConnections = 1024, closeGraceMs = 5_000 } = options
  const http = { requestTimeout: 15_000, headersTimeout: 5_000, keepAliveTimeout: 30_000, connectionsCheckingInterval: 2_000 }
  const calls = new Set<AbortController>()
  const inFlight = new Map<string, number>()
  let closing: Promise<void> | undefined
  const listener: RequestListener = (req, res) => {
    if (closing) res.setHeader('Connection', 'close')
    if (options.onRequest?.(req, res)) return
    void answer(options, calls, inFlight, req, res)
  }
  const server: Server = tls
    ? createTlsServer({
      ...http, ca: tls.ca, cert: tls.cert, key: tls.key, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2', handshakeTimeout: 10_000,
    }, listener)
    : createServer(http, listener)
  server.maxConnections = maxConnections
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => { sockets.delete(socket) })
  })
  server.on('clientError', (error, socket) => {
    log.debug('a connection was ended', { reason: messageOf(error) })
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    else socket.destroy()
  })
  server.on('tlsClientError', (error: Error, socket: Socket) => {
    log.info('a client was refused at the handshake', { peer: socket.remoteAddress, reason: messageOf(error) })
  })
  const address = await listenOn(server, options)
  server.on('error', (error) => { log.error('the listening socket failed', { reason: messageOf(error) }) })

  async function closeOnce(): Promise<void> {
    const closed = new Promise<void>((resolve) => { server.close(() => { resolve() }) })
    server.closeIdleConnections()
    const hard = setTimeout(() => {
      for (const call of calls) call.abort(new Fault('timed out', 'The server is closing'))
      server.closeAllConnections()
      for (const socket of sockets) socket.destroy() // closeAllConnections does not know those still in their handshake
    }, closeGraceMs)
    // A kept-alive connection whose last call ends now would stay open for its whole keepAliveTimeout.
    const sweep = setInterval(() => { server.closeIdleConnections() }, 50)
    await closed
    clearTimeout(hard)
    clearInterval(sweep)
  }
  return {
    address,
    url: urlOf(address, tls !== undefined),
    close: () => (closing ??= closeOnce()),
  }
}

function urlOf(address: RpcAddress, secure: boolean): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  const host = address.host.includes(':') ? `[${address.host}]` : address.host
  return `${secure ? 'https' : 'http'}://${host}:${address.port}`
}

/** One request to its one answer. Never rejects. */
async function answer(
  options: RpcServerOptions, calls: Set<AbortController>, inFlight: Map<string, number>, req: IncomingMessage, res: ServerResponse,
): Promise<void> {
  const { log, classic = false, maxCallsPerPeer = 64, deadlineMs = 120_000 } = options
  const requestId = randomBytes(8).toString('hex')
  const gone = new AbortController()
  calls.add(gone)
  const onClose = (): void => { if (!res.writableFinished) gone.abort(new Error('the client went away')) }
  res.once('close', onClose)
  const peer = peerOf(req)
  const who = peer.commonName ?? peer.address
  const under = inFlight.get(who) ?? 0
  inFlight.set(who, under + 1)
  try {
    const path = checkHead(req, options.paths ?? ['/RPC2', '/'])
    if (under >= maxCallsPerPeer) throw new HttpRefusal(503, `more than ${maxCallsPerPeer} calls at once`, { 'Retry-After': '1' })
    const text = await readBody(req, options.maxBodyBytes ?? 8 * 1024 * 1024)
    const ctx: CallContext = { peer, path, requestId, signal: gone.signal, classic }
    const reply = await replyTo(text, ctx, options, deadlineMs, gone)
    send(res, 200, 'text/xml; charset=utf-8', reply)
  } catch (thrown) {
    if (thrown instanceof HttpRefusal) {
      for (const [name, value] of Object.entries(thrown.headers)) res.setHeader(name, value)
      if (!req.complete) res.setHeader('Connection', 'close') // the rest of the body is not worth reading
      send(res, thrown.status, 'text/plain; charset=utf-8', `${thrown.message}\n`)
    } else {
      log.debug('a request broke off', { requestId, peer: who, reason: messageOf(thrown) })
      req.destroy()
    }
  } finally {
    calls.delete(gone)
    const left = (inFlight.get(who) ?? 1) - 1
    if (left === 0) inFlight.delete(who)
    else inFlight.set(who, left)
  }
}

/** Decodes, calls, encodes. Whatever happens is a reply. */
async function replyTo(
  text: string, ctx: CallContext, { handle, log }: RpcServerOptions, deadlineMs: number, gone: AbortController,
): Promise<string> {
  let call: XmlCall | undefined
  try {
    call = decodeCall(text)
    return encodeResponse(await within(deadlineMs, gone, handle(ctx, call.method, call.params)), { classic: ctx.classic })
  } catch (thrown) {
    if (thrown instanceof Fault || thrown instanceof WireFault) return encodeFault(thrown.code, thrown.message)
    if (thrown instanceof XmlRpcSyntaxError && !call) return encodeFault(faults['parse error'].code, thrown.message)
    if (ctx.signal.aborted) { // nobody waits for an answer, and what an interrupted method throws says nothing new
      log.debug('a call was interrupted', { requestId: ctx.requestId, method: call?.method, reason: messageOf(thrown) })
      return encodeFault(faults['timed out'].code, messageOf(thrown))
    }
    log.error('a method failed in a way that nobody foresaw', {
      requestId: ctx.requestId, method: call?.method, peer: ctx.peer.commonName ?? ctx.peer.address,
      reason: messageOf(thrown), stack: thrown instanceof Error ? thrown.stack : undefined,
    })
    return encodeFault(faults['internal error'].code, `internal error, log id ${ctx.requestId}`)
  }
}

/** The handler's result, or a fault once the deadline has passed or the client is gone: a handler that hangs holds nothing else. */
async function within(deadlineMs: number, gone: AbortController, result: Promise<XmlValue>): Promise<XmlValue> {
  const { signal } = gone
  let onAbort: (() => void) | undefined
  const timer = setTimeout(() => { gone.abort(new Fault('timed out', `No answer within ${deadlineMs} ms`)) }, deadlineMs)
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => { reject(signal.reason) }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  result.catch(() => undefined) // it may fail when nobody waits for it any more
  try {
    return await Promise.race([result, aborted])
  } finally {
    clearTimeout(timer)
    if (onAbort) signal.removeEventListener('abort', onAbort)
  }
}

function send(res: ServerResponse, status: number, type: string, body: string): void {
  if (res.destroyed || res.headersSent) return
  const bytes = Buffer.from(body)
  const slow = setTimeout(() => { res.destroy() }, REPLY_TIMEOUT_MS) // a client that does not read would hold the reply in memory
  slow.unref()
  res.once('close', () => { clearTimeout(slow) })
  res.writeHead(status, { 'Content-Type': type, 'Content-Length': bytes.length, 'X-Content-Type-Options': 'nosniff' })
  res.end(bytes)
}
