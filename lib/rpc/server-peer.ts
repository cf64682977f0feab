/** Who is at the other end of a connection, as far as the connection itself proves it. */
import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { DetailedPeerCertificate, PeerCertificate } from 'node:tls'
import { digestOfKey } from '../host/pki.js'

export interface Peer {
  /** The remote address, or `unix` on a socket file. It proves nothing. */
  readonly address: string
  /** CN and OU of the client's certificate. Absent without a certificate that our authority signed. */
  readonly commonName?: string
  readonly role?: string
  /** SHA-256 of the certificate's public key (SubjectPublicKeyInfo, DER), in hex. */
  readonly keyDigest?: string
  /** Instead of a certificate: whose secret was proved, such as `token "ci"`, and the only host that it may act on. */
  readonly credential?: string
  readonly host?: string
}

/** For logs. */
export function nameOfPeer({ credential, commonName, address }: Peer): string {
  return credential ?? commonName ?? address
}

/** The peer of a request. A connection keeps its certificate, so it is read once: that takes longer than many a call. */
export function peerOf(req: IncomingMessage): Peer {
  const known = peers.get(req.socket)
  if (known) return known
  const peer = readPeer(req.socket)
  if (!req.socket.destroyed) peers.set(req.socket, peer)
  return peer
}

const peers = new WeakMap<Socket, Peer>()

function readPeer(socket: Socket): Peer {
  const address = socket.remoteAddress ?? 'unix'
  if (!(socket instanceof TLSSocket) || !socket.authorized) return { address }
  const { publicKey } = socket.getPeerX509Certificate() ?? {}
  return { address, ...subjectOf(socket.getPeerCertificate()), ...(publicKey ? { keyDigest: digestOfKey(publicKey) } : {}) }
}

/** From where a handshake came that failed: its own socket is closed by then, and only the one below it still knows. */
export function refusedAddress(socket: Socket): string {
  const below: unknown = Reflect.get(socket, '_parent') // Node has no public way to it
  return socket.remoteAddress ?? (below instanceof Socket ? below.remoteAddress : undefined) ?? 'unknown'
}

/** As what a client has shown itself whose certificate is refused: anybody may write any name into one. Empty when it showed none. */
export function claimedBy(socket: Socket): string {
  const certificate: object | undefined = socket instanceof TLSSocket ? socket.getPeerCertificate() : undefined
  const { commonName } = certificate && Object.keys(certificate).length > 0 ? subjectOf(certificate as PeerCertificate) : {}
  return commonName === undefined ? '' : `certificate of ${JSON.stringify(commonName.slice(0, CLAIM_MAX))}`
}

const CLAIM_MAX = 64

/** Why a handshake failed, when that was for want of a good certificate; undefined for one that broke off for another reason. */
export function refusalOf(error: Error, socket: Socket): string | undefined {
  const found: unknown = socket instanceof TLSSocket ? socket.authorizationError : undefined // an Error's code, whatever the type says
  if (typeof found === 'string' && found !== '') return found
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' && /CERTIFICATE|CERT_|UNKNOWN_CA/.test(code) ? code : undefined
}

/** CN and OU of a certificate; one that stands there twice counts as absent, for it could be read in two ways. */
export function subjectOf(certificate: PeerCertificate | DetailedPeerCertificate): { commonName?: string; role?: string } {
  const subject: unknown = certificate.subject // absent when no certificate was given, whatever the type says
  const commonName = textOf(subject, 'CN')
  const role = textOf(subject, 'OU')
  return { ...(commonName === undefined ? {} : { commonName }), ...(role === undefined ? {} : { role }) }
}

function textOf(subject: unknown, field: 'CN' | 'OU'): string | undefined {
  if (typeof subject !== 'object' || subject === null) return undefined
  const value: unknown = Reflect.get(subject, field)
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Counts connections by address: true for one that may stay. Those of a socket file are not counted. */
export function createPeerCount(most: number): (socket: Socket) => boolean {
  const open = new Map<string, number>()
  return (socket) => {
    const { remoteAddress } = socket
    if (remoteAddress === undefined) return true
    const count = open.get(remoteAddress) ?? 0
    if (count >= most) return false
    open.set(remoteAddress, count + 1)
    socket.once('close', () => {
      const left = (open.get(remoteAddress) ?? 1) - 1
      if (left === 0) open.delete(remoteAddress)
      else open.set(remoteAddress, left)
    })
    return true
  }
}
