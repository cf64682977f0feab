/** Who makes a call, and whether he may: the role comes from the certificate or the credential, what it opens from the registry. */
import { audienceOf, isCallerRole, mayCall } from '../../lib/api/roles.js'
import type { Asks, CallerRole } from '../../lib/api/roles.js'
import { Fault } from '../../lib/faults.js'
import type { Signer } from '../../lib/host/pki.js'
import type { Peer } from '../../lib/rpc/server.js'
import type { Access } from '../access/access.js'
import type { VolumeRow } from '../state/rows.js'
import type { Spool } from '../store/spool.js'

/** What a method knows besides what it is asked. */
export interface Asked {
  readonly caller: Caller
  readonly access: Access
  /** Absent where this manager has none. */
  readonly authority?: Signer | undefined
  /** Absent where it has nowhere to make a backup. */
  readonly backups?: Spool | undefined
}

export interface Caller {
  /** For people, events and logs: `token "ci"`, or the quoted name of a certificate. */
  readonly who: string
  readonly role: CallerRole
  /** Of an agent, a hypervisor or a joiner: the host that it speaks for, acts on, or wants to be. */
  readonly host?: string
  /** Of an agent: that of its certificate. */
  readonly keyDigest?: string
}

/** Undefined for whoever has no role: he may call nothing. */
export function callerOf({ commonName, credential, role = '', host, keyDigest }: Peer): Caller | undefined {
  if (!isCallerRole(role)) return undefined
  if (credential !== undefined) { // no secret makes an agent
    if (role === 'hypervisor' || role === 'joiner') return host === undefined || host === '' ? undefined : { who: credential, role, host }
    return role === 'agent' || host !== undefined ? undefined : { who: credential, role }
  }
  if (commonName === undefined || role === 'hypervisor' || role === 'joiner') return undefined
  return { who: JSON.stringify(commonName), role, ...(role === 'agent' ? { host: commonName, ...(keyDigest === undefined ? {} : { keyDigest }) } : {}) }
}

/** Throws `denied` when the method is not open to this peer. */
export function admitted(peer: Peer, method: Asks & { readonly name: string }): Caller {
  const caller = callerOf(peer)
  if (caller && mayCall(caller.role, method)) return caller
  const who = peer.credential ?? `the certificate of ${JSON.stringify(peer.commonName ?? '')}`
  throw new Fault('denied', `${method.name} needs the role ${audienceOf(method)}; ${who} has ${JSON.stringify(peer.role ?? '')}`)
}

/** Throws `denied` for an agent that speaks, or a hypervisor that acts, for another host than its own. */
export function refuseOtherHost(caller: Caller, { name: method, role, hypervisor }: Asks & { readonly name: string }, given: { readonly name?: unknown; readonly host?: unknown }): void {
  if (role === 'agent' && given.name !== caller.host) throw new Fault('denied', `the certificate of ${caller.who} can't speak for ${JSON.stringify(given.name)}`)
  if (caller.role === 'hypervisor' && hypervisor === 'own host' && given.host !== caller.host) {
    throw new Fault('denied', `${method}: ${caller.who} is for ${JSON.stringify(caller.host)}, not for ${JSON.stringify(given.host)}`)
  }
}

/** Throws `denied` for a hypervisor, unless the volume is its host's at the moment and on its way to nobody else. In the transaction that acts on it. */
export function refuseOthersVolume({ role, host, who }: Caller, { name, head, nextHead }: Pick<VolumeRow, 'name' | 'head' | 'nextHead'>): void {
  if (role === 'hypervisor' && (head !== host || nextHead !== '')) {
    throw new Fault('denied', `${who} is for ${JSON.stringify(host)}, and volume ${name} is ${head === '' ? 'attached to no host' : `not that host's alone: ${head} has it`}`)
  }
}
