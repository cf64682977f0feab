/**
 * The server's door: HTTP(S) in, one handler, one reply, always. It knows nothing of methods; it answers for limits, deadlines,
 * who is calling, and for leaving no request without exactly one answer. With `tls` only holders of a certificate of our own
 * authority get through the handshake, and the handler learns their name and role; where there is a doorkeeper, others may prove
 * themselves to it request by request.
 */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Fault, messageOf } from '../faults.js'
import type { FaultName } from '../faults.js'
import type { Log } from '../ports.js'
import { xmlDialect } from './dialect.js'
import type { Asked, Dialect, WireCall, WireReply } from './dialect.js'
import { jsonDialect } from './dialect-json.js'
import type { JsonDialectOptions } from './dialect-json.js'
import { Ending } from './server-ending.js'
import { HttpRefusal, createBodyBudget, readBody } from './server-body.js'
import type { BodyBudget } from './server-body.js'
import { NotAdmitted, identified, strangerness } from './server-credentials.js'
import type { Doorkeeper, Refused } from './server-credentials.js'
import { listenOn } from './server-listen.js'
import type { RpcAddress } from './server-listen.js'
import { claimedBy, createPeerCount, nameOfPeer, peerOf, refusalOf, refusedAddress } from './server-peer.js'
import type { Peer } from './server-peer.js'
import type { XmlRpcLimits, XmlValue } from './xmlrpc-value.js'

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
  /** Lets clients in that have no certificate, by token or password. Needs `tls`. Default: nobody is let in so. */
  readonly doorkeeper?: Doorkeeper
  readonly log: Log
  readonly handle: RpcHandler
  /** Replies without nil and i8, doubles are read as XmlDouble, and another HTTP method than POST is 501, as it was in 2008. Default false. */
  readonly classic?: boolean
  /** The same methods as JSON under this prefix. Default: not served. */
  readonly json?: JsonDialectOptions
  /** Of what a call may hold: see xmlrpc-value.ts. */
  readonly limits?: XmlRpcLimits
  /** What stands for a fault of our table, its own faults included, where clients know other numbers. Default: the table's number. */
  readonly wireFault?: (fault: FaultName, text: string) => WireFault
  /** Other routes (metrics, events, pages): sees every request first and returns true when it takes it over. */
  readonly onRequest?: (req: IncomingMessage, res: ServerResponse) => boolean
  /** Default 8 MiB. It may be another for each peer. */
  readonly maxBodyBytes?: number | ((peer: Peer) => number)
  /** Of all requests under way together; more are answered 503. Default 64 MiB. */
  readonly maxBodiesBytes?: number
  /** Until the head of a request, and all of it, has come. Default 5 s and 15 s. */
  readonly headersTimeoutMs?: number
  readonly requestTimeoutMs?: number
  /** After it the client gets `timed out`, whatever the handler does. Default 120 s. */
  readonly deadlineMs?: number
  /** Connections at once; more are closed. Default 2048. */
  readonly maxConnections?: number
  /** The same from one address, so that nobody can take all; a socket file has no address. Default 512. */
  readonly maxConnectionsPerAddress?: number
  /** Calls at once of one peer (its certificate's name, else its address); more are answered 503. Default 64. */
  readonly maxCallsPerPeer?: number
  /** How long `close` waits for calls under way. Default 5 s. */
  readonly closeGraceMs?: number
  /** Told of each that got as far as showing a certificate, a token, a password, or none, and was not let in. It must return at once. */
  readonly onStranger?: (stranger: Stranger) => void
}

/** Somebody who was not let in; of a certificate that was refused `why` has OpenSSL's word, such as `CERT_HAS_EXPIRED`. */
export interface Stranger extends Refused {
  readonly address: string
  /** That he asked for; absent at the handshake, before any request. */
  readonly path?: string
  readonly fault: 'not authenticated' | 'too many attempts'
  /** Under which the log tells more; empty at the handshake. */
  readonly logId: string
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
/** Bytes. */
const ONE_PIECE = 16_384
/** For the doorkeeper. */
const IDENTIFY_MS = 15_000

/**
 * Listens and answers. Port 0 takes any free one; a socket file is made with mode 0600, and one that a dead process left is
 * replaced. What the handler throws becomes a fault: `Fault` and `WireFault` their code and message; anything else -32603 with
 * a log id, its stack in the log only. Rejects with the system's error when it can't listen.
 */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const { log, tls, doorkeeper, maxConnections = 2048, closeGraceMs = 5_000, headersTimeoutMs = 5_000, requestTimeoutMs = 15_000, limits = {} } = options
  if (doorkeeper && !tls) throw new TypeError('secrets are not taken over a connection that others can read')
  const http = {
    headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs, keepAliveTimeout: 30_000, connectionsCheckingInterval: Math.min(2_000, headersTimeoutMs), maxHeaderSize: 16_384,
  }
  const door: Door = {
    options,
    dialects: [
      xmlDialect({ paths: options.paths ?? ['/RPC2', '/'], classic: options.classic ?? false, limits }),
      ...(options.json ? [jsonDialect({ limits, ...options.json })] : []),
    ],
    calls: new Set(), inFlight: new Map(), budget: createBodyBudget(options.maxBodiesBytes ?? 64 * 1024 * 1024),
  }
  let closing: Promise<void> | undefined
  const listener: RequestListener = (req, res) => {
    if (closing) res.setHeader('Connection', 'close')
    if (options.onRequest?.(req, res)) return
    void answer(door, req, res)
  }
  const server: Server = tls
    ? createTlsServer({
      ...http, ca: tls.ca, cert: tls.cert, key: tls.key, requestCert: true, rejectUnauthorized: !doorkeeper, minVersion: 'TLSv1.2', handshakeTimeout: 10_000,
    }, listener)
    : createServer(http, listener)
  server.maxConnections = maxConnections
  const sockets = new Set<Socket>()
  const admits = createPeerCount(options.maxConnectionsPerAddress ?? 512)
  server.on('connection', (socket: Socket) => {
    if (!admits(socket)) {
      log.debug('a connection too many', { peer: socket.remoteAddress })
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.once('close', () => { sockets.delete(socket) })
  })
  server.on('clientError', (error, socket) => {
    log.debug('a connection was ended', { reason: messageOf(error) })
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    else socket.destroy()
  })
  const refused = (socket: Socket, reason: string, told: string | undefined): void => {
    const address = refusedAddress(socket)
    log[told === undefined ? 'debug' : 'info']('a client was refused at the handshake', { peer: address, reason }) // who hung up is no stranger
    if (told !== undefined) options.onStranger?.({ address, claimed: claimedBy(socket), known: false, why: told, fault: 'not authenticated', logId: '' })
  }
  if (doorkeeper) {
    server.prependListener('secureConnection', (socket: TLSSocket) => { // before HTTP has it: not a byte of a stranger's is read
      const why = strangerness(socket, doorkeeper)
      if (why === undefined) return
      refused(socket, why, why)
      socket.destroy()
    })
  }
  server.on('tlsClientError', (error: Error, socket: Socket) => {
    const why = refusalOf(error, socket)
    refused(socket, why ?? messageOf(error), why)
  })
  const address = await listenOn(server, options)
  server.on('error', (error) => { log.error('the listening socket failed', { reason: messageOf(error) }) })

  async function closeOnce(): Promise<void> {
    const closed = new Promise<void>((resolve) => { server.close(() => { resolve() }) })
    server.closeIdleConnections()
    const hard = setTimeout(() => {
      for (const call of door.calls) call.end(new Fault('timed out', 'The server is closing'))
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

interface Door {
  readonly options: RpcServerOptions
  /** The table of routes. */
  readonly dialects: readonly Dialect[]
  readonly calls: Set<Ending>
  /** Calls under way, by peer. */
  readonly inFlight: Map<string, number>
  readonly budget: BodyBudget
}

/** Under which the log tells of a request: of no other one, here or of another start. */
const nextId = ((): () => string => {
  const start = randomBytes(4).toString('hex')
  let count = 0
  return () => {
    count = (count + 1) % 2 ** 32
    return start + count.toString(16).padStart(8, '0')
  }
})()

/** One request to its one answer. Never rejects. */
async function answer({ options, dialects, calls, inFlight, budget }: Door, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { log, maxCallsPerPeer = 64, maxBodyBytes = 8 * 1024 * 1024 } = options
  const requestId = nextId()
  const ending = new Ending()
  calls.add(ending)
  res.once('close', () => { if (!res.writableFinished) ending.end(new Error('the client went away')) })
  const known = peerOf(req)
  const who = known.commonName ?? known.address
  const under = inFlight.get(who) ?? 0
  inFlight.set(who, under + 1)
  let held = 0
  try {
    const asked = askedOf(req)
    const dialect = dialects.find((each) => each.owns(asked.path))
    if (!dialect) throw new HttpRefusal(404, 'nothing is here')
    dialect.check(asked)
    if (under >= maxCallsPerPeer) throw new HttpRefusal(503, `more than ${maxCallsPerPeer} calls at once`, { 'Retry-After': '1' })
    const doing: Doing = { dialect, ending, options, path: asked.path, requestId }
    const entry = await entryOf(doing, asked, known)
    if ('reply' in entry) {
      res.setHeader('WWW-Authenticate', 'Bearer realm="vsky"') // not Basic: a browser would keep the password, and send it for any page that asks
      if (!req.complete) res.setHeader('Connection', 'close') // nothing of a stranger's body is read
      send(res, entry.reply)
      return
    }
    const { peer } = entry
    const body = await readBody(req, typeof maxBodyBytes === 'function' ? maxBodyBytes(peer) : maxBodyBytes, budget, (bytes) => { held += bytes })
    send(res, await replyTo(doing, peer, asked, body))
  } catch (thrown) {
    if (thrown instanceof HttpRefusal) {
      for (const [name, value] of Object.entries(thrown.headers)) res.setHeader(name, value)
      if (!req.complete) res.setHeader('Connection', 'close') // the rest of the body is not worth reading
      send(res, { status: thrown.status, type: 'text/plain; charset=utf-8', body: `${thrown.message}\n` })
    } else {
      log.debug('a request broke off', { requestId, peer: nameOfPeer(known), reason: messageOf(thrown) })
      req.destroy()
    }
  } finally {
    budget.give(held)
    calls.delete(ending)
    const left = (inFlight.get(who) ?? 1) - 1
    if (left === 0) inFlight.delete(who)
    else inFlight.set(who, left)
  }
}

function askedOf({ method = '', url = '', headers }: IncomingMessage): Asked {
  const mark = url.indexOf('?')
  return { verb: method, path: mark < 0 ? url : url.slice(0, mark), query: mark < 0 ? '' : url.slice(mark + 1), headers }
}

interface Doing {
  readonly dialect: Dialect
  readonly ending: Ending
  readonly options: RpcServerOptions
  readonly path: string
  readonly requestId: string
}

/** Who calls, or what is answered to whom nobody knows. */
async function entryOf(doing: Doing, { headers }: Asked, peer: Peer): Promise<{ readonly peer: Peer } | { readonly reply: WireReply }> {
  const { ending, path, requestId, options: { doorkeeper, onStranger } } = doing
  if (!doorkeeper) return { peer }
  try {
    return { peer: await ending.within(IDENTIFY_MS, identified(doorkeeper, headers, peer)) }
  } catch (thrown) {
    if (thrown instanceof NotAdmitted && (thrown.fault === 'not authenticated' || thrown.fault === 'too many attempts')) {
      onStranger?.({ address: peer.address, path, fault: thrown.fault, logId: requestId, ...thrown.refused })
    }
    return { reply: failure(doing, peer, thrown) }
  }
}

/** Reads the call, has it carried out, writes the answer. Whatever happens is a reply. */
async function replyTo(doing: Doing, peer: Peer, asked: Asked, body: string): Promise<WireReply> {
  const { dialect, ending, path, requestId, options: { handle, deadlineMs = 120_000 } } = doing
  const ctx: CallContext = { peer, path, requestId, classic: dialect.classic, get signal() { return ending.signal } }
  let call: WireCall | undefined
  try {
    call = dialect.read(asked, body)
    return dialect.value(await ending.within(deadlineMs, handle(ctx, call.method, call.params)))
  } catch (thrown) {
    return failure(doing, peer, thrown, call?.method)
  }
}

function failure({ dialect, ending, requestId: logId, options: { log, wireFault } }: Doing, peer: Peer, thrown: unknown, method?: string): WireReply {
  const failed = (fault: FaultName, text: string): WireReply => {
    const { code, message } = wireFault?.(fault, text) ?? new Fault(fault, text)
    return dialect.fault({ code, message, logId })
  }
  if (thrown instanceof WireFault) return dialect.fault({ code: thrown.code, message: thrown.message, logId })
  if (thrown instanceof Fault) return failed(thrown.fault, thrown.message)
  if (ending.reason) { // nobody waits for an answer, and what an interrupted method throws says nothing new
    log.debug('a call was interrupted', { requestId: logId, method, reason: messageOf(thrown) })
    return failed('timed out', messageOf(thrown))
  }
  log.error('a method failed in a way that nobody foresaw', {
    requestId: logId, method, peer: nameOfPeer(peer), reason: messageOf(thrown), stack: thrown instanceof Error ? thrown.stack : undefined,
  })
  return failed('internal error', `internal error, log id ${logId}`)
}

function send(res: ServerResponse, { status, type, body }: WireReply): void {
  if (res.destroyed || res.headersSent) return
  const slow = setTimeout(() => { res.destroy() }, REPLY_TIMEOUT_MS) // a client that does not read would hold the reply in memory
  slow.unref()
  res.once('close', () => { clearTimeout(slow) })
  const bytes = Buffer.byteLength(body)
  res.writeHead(status, { 'Content-Type': type, 'Content-Length': bytes, 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store' })
  // A short one goes as text: with its head it is one piece then. Of ASCII each encoding makes the same bytes, and latin1 only copies.
  const encoding = bytes === body.length ? 'latin1' : 'utf8'
  if (bytes <= ONE_PIECE) res.end(body, encoding)
  else res.end(Buffer.from(body, encoding))
}
