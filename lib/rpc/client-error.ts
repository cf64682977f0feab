/** How a call can fail other than by a fault of our table, and how Node's error codes map to that. */

export type TransportKind = 'refused' | 'timeout' | 'reset' | 'aborted' | 'http status' | 'bad reply' | 'tls' | 'too long'

/**
 * The call has no usable answer. `sent` says whether the request may have reached the server: false is a promise that it was
 * not carried out, true leaves it open.
 */
export class TransportError extends Error {
  override readonly name = 'TransportError'
  readonly kind: TransportKind
  readonly sent: boolean
  constructor(kind: TransportKind, message: string, { sent, cause }: { readonly sent: boolean; readonly cause?: unknown }) {
    super(message, { cause })
    this.kind = kind
    this.sent = sent
  }
}

/** A fault whose code is not in our table: the server is no Vsky process, or a newer one. */
export class RemoteFault extends Error {
  override readonly name = 'RemoteFault'
  readonly code: number
  constructor(code: number, text: string) {
    super(text)
    this.code = code
  }
}

const unreachable = new Set([
  'ECONNREFUSED', 'ENOENT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'EACCES', 'EADDRNOTAVAIL',
])
const broken = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_PREMATURE_CLOSE'])
const certificate = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'INVALID_PURPOSE', 'EPROTO',
])
/** Alerts by which a server ends a handshake. With TLS 1.3 they arrive after the client thinks that it is connected. */
const handshakeAlert = /ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|ACCESS_DENIED|HANDSHAKE_FAILURE|PROTOCOL_VERSION)$/

export interface SocketTrouble {
  readonly kind: TransportKind
  /** The server ended the handshake, so it can't have seen the request. */
  readonly beforeRequest: boolean
  readonly reason: string
}

/** Puts an error of a socket or of node:http into one of our kinds. `connected`: was there a connection already? */
export function classify(error: Error, connected: boolean): SocketTrouble {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const reason = error.message === '' ? code : error.message // the error of several addresses at once has no message
  if (/^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|CRL_|ERROR_IN_C)/.test(code) || certificate.has(code)) {
    return { kind: 'tls', beforeRequest: handshakeAlert.test(code), reason }
  }
  const beforeRequest = false
  if (code === 'ETIMEDOUT') return { kind: 'timeout', beforeRequest, reason }
  if (code.startsWith('HPE_')) return { kind: 'bad reply', beforeRequest, reason }
  if (broken.has(code)) return { kind: 'reset', beforeRequest, reason }
  if (unreachable.has(code)) return { kind: 'refused', beforeRequest, reason }
  return { kind: connected ? 'reset' : 'refused', beforeRequest, reason }
}
