/** Where a client connects to, and whom it accepts there. */
import { X509Certificate } from 'node:crypto'
import { checkServerIdentity } from 'node:tls'
import type { ConnectionOptions, PeerCertificate } from 'node:tls'
import { digestOfKey } from '../host/pki.js'
import { subjectOf } from './server-peer.js'

export interface RpcClientTls {
  /** PEM; `ca` alone is trusted, never the system's list. */
  readonly ca: string
  /** Our own certificate; absent for a client that shows none. */
  readonly cert?: string
  readonly key?: string
  /** The CN that the server's certificate must have. */
  readonly serverName?: string
  /** The roles (OU) of which the server's certificate must have one. */
  readonly serverRoles?: readonly string[]
  /** Digest of the public key that the server's certificate must have, as `Peer.keyDigest` tells it: no other certificate of that name will do. */
  readonly serverKey?: string
}

export interface Target {
  readonly secure: boolean
  /** For messages. */
  readonly name: string
  readonly request: { readonly host?: string; readonly port?: number; readonly socketPath?: string; readonly path: string }
  /** Options of the connection, for the agent. */
  readonly connect: ConnectionOptions
}

/**
 * Reads the URL. The server is known by its name or role when `tls` gives one, and then not by its host name: hosts get other
 * addresses, and are reached through forwarded ports. With neither, `https:` checks the host name as usual and a socket file
 * has none to check. Throws TypeError for what makes no sense.
 */
export function targetOf(url: string, tls: RpcClientTls | undefined): Target {
  if (url.startsWith('unix:')) {
    const socketPath = url.slice('unix:'.length)
    if (!socketPath.startsWith('/')) throw new TypeError(`not an absolute path: ${JSON.stringify(url)}`)
    return { secure: tls !== undefined, name: url, request: { socketPath, path: '/RPC2' }, connect: tls ? connectOptions(tls, false) : {} }
  }
  const { protocol, hostname, port, pathname, host } = new URL(url)
  if (protocol !== 'https:' && protocol !== 'http:') throw new TypeError(`not a URL of https, http or unix: ${JSON.stringify(url)}`)
  const secure = protocol === 'https:'
  if (secure !== (tls !== undefined)) throw new TypeError(secure ? `${url} needs a certificate` : `${url} would not use the certificate given`)
  const bare = hostname.replace(/^\[(.*)\]$/, '$1')
  const request = { host: bare, port: port === '' ? (secure ? 443 : 80) : Number(port), path: pathname === '/' ? '/RPC2' : pathname }
  return { secure, name: `${protocol}//${host}`, request, connect: tls ? connectOptions(tls, true) : {} }
}

function connectOptions(tls: RpcClientTls, hasHostName: boolean): ConnectionOptions {
  const { ca, cert, key, serverName, serverRoles, serverKey } = tls
  if ((cert === undefined) !== (key === undefined)) throw new TypeError('a certificate and its key belong together')
  return {
    ca, ...(cert === undefined ? {} : { cert, key }), minVersion: 'TLSv1.2', rejectUnauthorized: true,
    checkServerIdentity: (host, certificate) => {
      if (serverName === undefined && serverRoles === undefined && serverKey === undefined) return hasHostName ? checkServerIdentity(host, certificate) : undefined
      return identityError(certificate, tls)
    },
  }
}

function identityError(certificate: PeerCertificate, { serverName, serverRoles, serverKey }: RpcClientTls): Error | undefined {
  const { commonName, role } = subjectOf(certificate)
  if (serverName !== undefined && commonName !== serverName) return wrongServer(`it is ${commonName ?? 'nameless'}, not ${serverName}`)
  if (serverRoles !== undefined && (role === undefined || !serverRoles.includes(role))) {
    return wrongServer(`its role is ${role ?? 'none'}, not ${serverRoles.join(' or ')}`)
  }
  if (serverKey !== undefined && digestOfKey(new X509Certificate(certificate.raw).publicKey) !== serverKey) return wrongServer('its key is another one than it is known by')
  return undefined
}

function wrongServer(found: string): Error {
  return Object.assign(new Error(`another server answers: ${found}`), { code: 'ERR_TLS_WRONG_SERVER' })
}
