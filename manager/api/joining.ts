/**
 * How a host gets in: an admin invites it, it shows the invitation's secret and a key of its own, and gets a certificate for that key. From then on it
 * is known by this key alone, until it is invited anew or its key is revoked.
 */
import { writeInvitation } from '../../lib/api/invitation.js'
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import type { Signer } from '../../lib/host/pki.js'
import { TOKEN_ID_BYTES, TOKEN_SECRET_BYTES, writeToken } from '../access/secret.js'
import { changeNoted } from '../run/audit.js'
import type { Cluster } from '../run/cluster.js'
import { findHost } from '../store/hosts.js'
import { dropInvitation, invitationById, invitationFor, keyOfHost, NO_KEY, putInvitation, putKeyOfHost, useInvitation } from '../store/invitations.js'
import type { Asked, Caller } from './caller.js'
import { mutate } from './requests.js'

const INVITED_S = 3600

function signerOf({ authority }: Pick<Asked, 'authority'>, cluster: Cluster): Signer {
  if (authority) return authority
  throw new Fault('no authority', `manager ${cluster.name} has no authority to certify with: its configuration names none`)
}

/** The id is drawn before the request is known to be a new one: one that only joins gets the first one's secret, from memory. */
export async function hostInvite(cluster: Cluster, params: ApiParams<'hostInvite'>, signal: AbortSignal, { caller, access, authority }: Asked): Promise<ApiResult<'hostInvite'>> {
  const { clock, random } = cluster
  const { name, ttlSeconds = INVITED_S } = params
  const { certificate } = signerOf({ authority }, cluster)
  const managers = cluster.managers.list().map((each) => each.address).filter((address) => address !== '')
  if (managers.length === 0) throw new Fault('no authority', 'no manager says under which address it is reached: set address in its configuration')
  const [id, secret] = [random.hex(TOKEN_ID_BYTES), random.hex(TOKEN_SECRET_BYTES)]
  const hash = await access.hash(secret, 'token')
  return mutate({
    cluster, method: 'vsky.host.invite', params, signal,
    async intend(tx) {
      const createdAt = clock.nowMs()
      await putInvitation(tx, { id, host: name, hash, createdAt, expiresAt: createdAt + ttlSeconds * 1000 })
      access.told.put(params.request, writeToken(id, secret))
      await tx.event({ kind: 'host invited', about: 'host', name, text: `by ${caller.who}, until ${new Date(createdAt + ttlSeconds * 1000).toISOString()}` })
      return { about: id, done: true }
    },
    async answer(about) {
      await access.refresh()
      const row = await invitationById(cluster.store.read, about)
      const told = access.told.get(params.request)
      if (!row || told === undefined || !told.startsWith(writeToken(about, ''))) throw new Fault('secret gone', `the invitation of ${name} was made by this request before, and its secret is not known any more`)
      return { host: name, expiresAt: row.expiresAt, invitation: writeInvitation({ managers, ca: certificate, token: told }) }
    },
  })
}

/** Whoever has the key that an invitation was used with gets a certificate again: its answer may have been lost. Another key gets none. */
export async function hostJoin(cluster: Cluster, { csr, addresses }: ApiParams<'hostJoin'>, _signal: AbortSignal, { caller, access, authority }: Asked): Promise<ApiResult<'hostJoin'>> {
  const signer = signerOf({ authority }, cluster)
  const host = caller.host ?? ''
  const { certificate, keyDigest } = await signer.sign({ csr, commonName: host, role: 'agent', hosts: addresses }).catch((thrown: unknown) => {
    if (thrown instanceof TypeError) throw new Fault('bad parameter', thrown.message, { cause: thrown })
    throw thrown
  })
  await changeNoted(cluster, async (tx) => {
    const nowMs = cluster.clock.nowMs()
    const row = await invitationFor(tx, host)
    if (!row || row.expiresAt <= nowMs) throw new Fault('invitation used', `the invitation of ${host} was taken back or has expired`)
    if (row.usedBy === keyDigest) return
    if (row.usedBy !== '') throw new Fault('invitation used', `the invitation of ${host} was used before, with another key`)
    await useInvitation(tx, row.id, keyDigest)
    await putKeyOfHost(tx, host, keyDigest, nowMs)
    await tx.event({ kind: 'host joined', about: 'host', name: host, text: `it was invited, and is known by its key ${keyDigest.slice(0, 16)}… from now on` })
  })
  await access.refresh()
  return { certificate, ca: signer.certificate }
}

export function hostRevoke(cluster: Cluster, params: ApiParams<'hostRevoke'>, signal: AbortSignal, { caller, access }: Asked): Promise<ApiResult<'hostRevoke'>> {
  return mutate({
    cluster, method: 'vsky.host.revoke', params, signal,
    async intend(tx) {
      const known = await findHost(tx, params.name) ?? await invitationFor(tx, params.name) ?? await keyOfHost(tx, params.name)
      if (known === undefined) throw new Fault('unknown host', `there is no host ${JSON.stringify(params.name)}, and none of this name was invited`)
      await dropInvitation(tx, params.name)
      await putKeyOfHost(tx, params.name, NO_KEY, cluster.clock.nowMs())
      await tx.event({ kind: 'host revoked', about: 'host', name: params.name, text: `by ${caller.who}: no certificate lets its agent in until it is invited anew` })
      return { about: params.name, done: true }
    },
    answer: () => access.refresh().then(() => ({})),
  })
}

/** The certificate is of this cluster, and is not good any more. */
export class OtherKey extends Fault {
  readonly why: 'revoked' | 'joined with another key since'
  constructor(why: OtherKey['why'], message: string) {
    super('denied', message)
    this.why = why
  }
}

/** Throws `denied` (OtherKey) for an agent whose key is not, or no longer, that of its host. */
export async function refuseOtherKey(cluster: Cluster, { host = '', keyDigest = '' }: Pick<Caller, 'host' | 'keyDigest'>): Promise<void> {
  const known = await keyOfHost(cluster.store.read, host)
  if (known === undefined || known === keyDigest) return
  throw known === NO_KEY ? new OtherKey('revoked', `the certificates of ${host} are revoked: it has to be invited anew`)
    : new OtherKey('joined with another key since', `${host} has joined with another key since: this certificate is not good any more`)
}
