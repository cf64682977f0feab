/** Users and tokens: made, listed and revoked. A secret comes in or goes out here once; it is in no event, no log and no record of requests. */
import { PAGE_MAX } from '../../lib/api/lists.js'
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { TokenView, UserView } from '../../lib/api/views.js'
import { Fault } from '../../lib/faults.js'
import { TOKEN_ID_BYTES, TOKEN_SECRET_BYTES, writeToken } from '../access/secret.js'
import type { Cluster } from '../run/cluster.js'
import { addToken, addUser, removeToken, removeUser, setUserHash, tokenById, tokenByName, tokensPage, userByName, usersPage } from '../store/credentials.js'
import type { TokenRow, UserRow } from '../store/credentials.js'
import type { ChangeTx } from '../store/store.js'
import type { Asked } from './caller.js'
import { knownHost } from './hosts.js'
import { mutate } from './requests.js'

function showToken({ nowMs }: { readonly nowMs: number }, { id, name, role, host, createdAt, expiresAt }: TokenRow): TokenView {
  return { id, name, role, host, createdAt, expiresAt, expired: expiresAt !== 0 && expiresAt <= nowMs }
}

function showUser({ name, role, createdAt, changedAt }: UserRow): UserView {
  return { name, role, createdAt, changedAt }
}

export async function tokenList(cluster: Cluster, { limit = PAGE_MAX, ...page }: ApiParams<'tokenList'>): Promise<ApiResult<'tokenList'>> {
  const now = { nowMs: cluster.clock.nowMs() }
  return (await tokensPage(cluster.store.read, { ...page, limit })).map((row) => showToken(now, row))
}

/** The id of a token is drawn before the request is known to be a new one: one that only joins gets the first one's, from memory. */
export async function tokenCreate(cluster: Cluster, params: ApiParams<'tokenCreate'>, signal: AbortSignal, { caller, access }: Asked): Promise<ApiResult<'tokenCreate'>> {
  const { clock, random } = cluster
  const { name, role, host = '', ttlSeconds } = params
  if ((role === 'hypervisor') !== (host !== '')) throw new Fault('bad parameter', role === 'hypervisor' ? 'host: a hypervisor\'s token is for one host, which has to be named' : `host: only a hypervisor's token is for one host, not that of ${role === 'admin' || role === 'operator' ? 'an' : 'a'} ${role}`)
  const [id, secret] = [random.hex(TOKEN_ID_BYTES), random.hex(TOKEN_SECRET_BYTES)]
  const hash = await access.hash(secret, 'token')
  return mutate({
    cluster, method: 'vsky.token.create', params, signal,
    async intend(tx) {
      if (host !== '') await knownHost(tx, host)
      if (await tokenByName(tx, name)) throw new Fault('name taken', `there is a token ${name} already`)
      const createdAt = clock.nowMs()
      const expiresAt = ttlSeconds === undefined ? 0 : createdAt + ttlSeconds * 1000
      await addToken(tx, { id, name, role, host, hash, createdAt, expiresAt })
      access.told.put(params.request, writeToken(id, secret))
      await note(cluster, tx, 'token created', `${caller.who} made the token ${name} for the role ${role}${host === '' ? '' : ` on ${host}`}${expiresAt === 0 ? '' : `, until ${new Date(expiresAt).toISOString()}`}`)
      return { about: id, done: true }
    },
    async answer(about) {
      await access.refresh()
      const row = await tokenById(cluster.store.read, about)
      const told = access.told.get(params.request)
      if (!row || told === undefined || !told.startsWith(writeToken(about, ''))) throw new Fault('secret gone', `the token ${name} was made by this request before, and its secret is not known any more`)
      return { token: showToken({ nowMs: clock.nowMs() }, row), secret: told }
    },
  })
}

export function tokenRevoke(cluster: Cluster, params: ApiParams<'tokenRevoke'>, signal: AbortSignal, { caller, access }: Asked): Promise<ApiResult<'tokenRevoke'>> {
  return mutate({
    cluster, method: 'vsky.token.revoke', params, signal,
    async intend(tx) {
      const row = await tokenByName(tx, params.token)
      if (!row) throw new Fault('unknown token', `there is no token ${JSON.stringify(params.token)}`)
      await removeToken(tx, row.id)
      await note(cluster, tx, 'token revoked', `${caller.who} took the token ${row.name} away (role ${row.role}${row.host === '' ? '' : ` on ${row.host}`})`)
      return { about: row.id, done: true }
    },
    answer: () => access.refresh().then(() => ({})),
  })
}

export async function userList(cluster: Cluster, { limit = PAGE_MAX, ...page }: ApiParams<'userList'>): Promise<ApiResult<'userList'>> {
  return (await usersPage(cluster.store.read, { ...page, limit })).map(showUser)
}

export async function userCreate(cluster: Cluster, { password, ...params }: ApiParams<'userCreate'>, signal: AbortSignal, { caller, access }: Asked): Promise<ApiResult<'userCreate'>> {
  const hash = await access.hash(password, 'user')
  return mutate({
    cluster, method: 'vsky.user.create', params, signal, // without the password: a record of requests holds quick digests, by which it could be guessed
    async intend(tx) {
      const { name, role } = params
      if (await userByName(tx, name)) throw new Fault('name taken', `there is a user ${name} already`)
      const nowMs = cluster.clock.nowMs()
      await addUser(tx, { name, role, hash, createdAt: nowMs, changedAt: nowMs })
      await note(cluster, tx, 'user created', `${caller.who} made the user ${name} with the role ${role}`)
      return { about: name, done: true }
    },
    answer: (about) => answerUser(cluster, { access }, about),
  })
}

export async function userPassword(cluster: Cluster, { password, ...params }: ApiParams<'userPassword'>, signal: AbortSignal, { caller, access }: Asked): Promise<ApiResult<'userPassword'>> {
  const hash = await access.hash(password, 'user')
  return mutate({
    cluster, method: 'vsky.user.password', params, signal,
    async intend(tx) {
      const { name } = await knownUser(tx, params.user)
      await setUserHash(tx, name, hash, cluster.clock.nowMs())
      await note(cluster, tx, 'password changed', `${caller.who} gave the user ${name} another password`)
      return { about: name, done: true }
    },
    answer: (about) => answerUser(cluster, { access }, about),
  })
}

export function userRevoke(cluster: Cluster, params: ApiParams<'userRevoke'>, signal: AbortSignal, { caller, access }: Asked): Promise<ApiResult<'userRevoke'>> {
  return mutate({
    cluster, method: 'vsky.user.revoke', params, signal,
    async intend(tx) {
      const { name, role } = await knownUser(tx, params.user)
      await removeUser(tx, name)
      await note(cluster, tx, 'user revoked', `${caller.who} took the user ${name} away (role ${role})`)
      return { about: name, done: true }
    },
    answer: () => access.refresh().then(() => ({})),
  })
}

async function answerUser(cluster: Cluster, { access }: Pick<Asked, 'access'>, name: string): Promise<UserView> {
  await access.refresh()
  return showUser(await knownUser(cluster.store.read, name))
}

async function knownUser(db: Parameters<typeof userByName>[0], name: string): Promise<UserRow> {
  const row = await userByName(db, name)
  if (!row) throw new Fault('unknown user', `there is no user ${JSON.stringify(name)}`)
  return row
}

async function note(cluster: Cluster, tx: ChangeTx, kind: string, text: string): Promise<void> {
  await tx.event({ kind, about: 'manager', name: cluster.name, text })
}
