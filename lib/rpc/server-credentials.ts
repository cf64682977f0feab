/**
 * Letting in by what a request says of itself (`Authorization`), beside the certificate of its connection. This file knows HTTP; whether a secret is
 * right is the doorkeeper's to say.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { TLSSocket } from 'node:tls'
import { Fault } from '../faults.js'
import { decodeUtf8 } from './server-body.js'
import type { Peer } from './server-peer.js'

/** What a request offers as its proof. */
export type Offer =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'user'; readonly name: string; readonly password: string }

/** Who was proved. */
export interface Identity {
  /** For people and logs, such as `token "ci"`. */
  readonly credential: string
  readonly role: string
  /** The one host that this caller may act on; of a hypervisor. */
  readonly host?: string
}

export interface Doorkeeper {
  /** Whether anybody can be let in by a secret at the moment. While nobody can, a client without certificate gets no farther than the handshake. */
  expects(): boolean
  /** Rejects with a Fault for whoever is not let in: `not authenticated` whatever was wrong, `too many attempts`, `state unavailable`. */
  identify(offer: Offer, address: string): Promise<Identity>
}

/** Of somebody who was not let in: for the records of who guards the door, never for him. No secret is in it. */
export interface Refused {
  /** Who he claimed to be, as far as it may be written down; else empty. */
  readonly claimed: string
  /** Whether there is somebody of that name. What is not known may have been thought out. */
  readonly known: boolean
  /** One of a few words. */
  readonly why: string
}

export class NotAdmitted extends Fault {
  readonly refused: Refused
  constructor(fault: 'not authenticated' | 'too many attempts', message: string, refused: Refused) {
    super(fault, message)
    this.refused = refused
  }
}

/** Longer ones are nobody's. */
const HEADER_MAX = 2048

/** `Bearer TOKEN`, or `Basic` with name and password; undefined for anything else. */
export function offerOf(header: string): Offer | undefined {
  const [, scheme = '', rest = ''] = header.length > HEADER_MAX ? [] : /^(Bearer|Basic) +([A-Za-z0-9._~+/=-]+)$/i.exec(header) ?? []
  if (scheme.toLowerCase() === 'bearer') return { kind: 'token', token: rest }
  if (scheme === '') return undefined
  const pair = decodeUtf8([Buffer.from(rest, 'base64')]) ?? ''
  const colon = pair.indexOf(':')
  return colon > 0 ? { kind: 'user', name: pair.slice(0, colon), password: pair.slice(colon + 1) } : undefined
}

/**
 * Who calls. A request that offers a secret is judged by that alone, whatever certificate it came with, so a wrong one is never made good by another
 * proof. Rejects with a Fault when nobody was proved.
 */
export async function identified(doorkeeper: Doorkeeper, { authorization }: IncomingHttpHeaders, peer: Peer): Promise<Peer> {
  if (authorization === undefined) {
    if (peer.commonName !== undefined) return peer
    throw notAuthenticated({ why: 'no certificate, token or password' })
  }
  const offer = offerOf(authorization)
  if (!offer) throw notAuthenticated({ why: 'no token or password that can be read' })
  return { address: peer.address, ...await doorkeeper.identify(offer, peer.address) }
}

/** The same words for whatever was wrong: nobody learns whether a name exists. */
export function notAuthenticated({ claimed = '', known = false, why }: Partial<Refused> & Pick<Refused, 'why'>): NotAdmitted {
  return new NotAdmitted('not authenticated', 'neither a certificate of this cluster nor a token or password that is good', { claimed, known, why })
}

/**
 * Why a connection may not stay, once its handshake is done; undefined when it may. A certificate that is not ours is no absent one. A session that
 * was resumed without a certificate counts as authorized for OpenSSL, so what counts is the certificate itself.
 */
export function strangerness(socket: TLSSocket, doorkeeper: Doorkeeper): string | undefined {
  const certificate: object | undefined = socket.getPeerCertificate() // empty when none was given
  if (certificate !== undefined && Object.keys(certificate).length > 0) return socket.authorized ? undefined : `its certificate is refused: ${String(socket.authorizationError)}`
  return doorkeeper.expects() ? undefined : 'it has no certificate'
}
