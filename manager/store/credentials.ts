/** Users and tokens as rows. Of a secret there is only its hash. */
import { tokenRoles, userRoles } from '../../lib/api/roles.js'
import type { TokenRole, UserRole } from '../../lib/api/roles.js'
import { numberOf, textOf, wordOf } from './db.js'
import type { Reader, Row, Tx } from './db.js'

export interface TokenRow {
  /** Public: a part of the token. */
  readonly id: string
  readonly name: string
  readonly role: TokenRole
  /** Of a hypervisor, and of nobody else. */
  readonly host: string
  readonly hash: string
  /** Epoch milliseconds. */
  readonly createdAt: number
  /** Epoch milliseconds; 0: never. */
  readonly expiresAt: number
}

export interface UserRow {
  readonly name: string
  readonly role: UserRole
  readonly hash: string
  /** Epoch milliseconds. */
  readonly createdAt: number
  /** Of the password, epoch milliseconds. */
  readonly changedAt: number
}

export interface CredentialsPage {
  readonly after?: string | undefined
  readonly role?: string | undefined
  readonly limit: number
}

function tokenOf(row: Row): TokenRow {
  return {
    id: textOf(row, 'id'), name: textOf(row, 'name'), role: wordOf(row, 'role', tokenRoles), host: textOf(row, 'host'), hash: textOf(row, 'hash'),
    createdAt: numberOf(row, 'created_at'), expiresAt: numberOf(row, 'expires_at'),
  }
}

function userOf(row: Row): UserRow {
  return { name: textOf(row, 'name'), role: wordOf(row, 'role', userRoles), hash: textOf(row, 'hash'), createdAt: numberOf(row, 'created_at'), changedAt: numberOf(row, 'changed_at') }
}

/** By name. `after`: a name. */
export async function tokensPage(db: Reader, { after = '', role, limit }: CredentialsPage): Promise<readonly TokenRow[]> {
  return (await db.all('select * from tokens where name > ? and (cast(? as text) is null or role = ?) order by name limit ?', [after, role ?? null, role ?? null, limit])).map(tokenOf)
}

export async function tokenById(db: Reader, id: string): Promise<TokenRow | undefined> {
  const row = await db.get('select * from tokens where id = ?', [id])
  return row && tokenOf(row)
}

export async function tokenByName(db: Reader, name: string): Promise<TokenRow | undefined> {
  const row = await db.get('select * from tokens where name = ?', [name])
  return row && tokenOf(row)
}

export async function addToken(tx: Tx, { id, name, role, host, hash, createdAt, expiresAt }: TokenRow): Promise<void> {
  await tx.run('insert into tokens (id, name, role, host, hash, created_at, expires_at) values (?, ?, ?, ?, ?, ?, ?)', [id, name, role, host, hash, createdAt, expiresAt])
}

export async function removeToken(tx: Tx, id: string): Promise<void> {
  await tx.run('delete from tokens where id = ?', [id])
}

/** By name. `after`: a name. */
export async function usersPage(db: Reader, { after = '', role, limit }: CredentialsPage): Promise<readonly UserRow[]> {
  return (await db.all('select * from users where name > ? and (cast(? as text) is null or role = ?) order by name limit ?', [after, role ?? null, role ?? null, limit])).map(userOf)
}

export async function userByName(db: Reader, name: string): Promise<UserRow | undefined> {
  const row = await db.get('select * from users where name = ?', [name])
  return row && userOf(row)
}

export async function addUser(tx: Tx, { name, role, hash, createdAt, changedAt }: UserRow): Promise<void> {
  await tx.run('insert into users (name, role, hash, created_at, changed_at) values (?, ?, ?, ?, ?)', [name, role, hash, createdAt, changedAt])
}

export async function setUserHash(tx: Tx, name: string, hash: string, changedAt: number): Promise<void> {
  await tx.run('update users set hash = ?, changed_at = ? where name = ?', [hash, changedAt, name])
}

export async function removeUser(tx: Tx, name: string): Promise<void> {
  await tx.run('delete from users where name = ?', [name])
}

/** How long anybody can be let in by a token or password, epoch milliseconds: the end of the one that is good longest. 0: nobody can. */
export async function credentialsUntil(db: Reader): Promise<number> {
  const row = await db.get(
    `select coalesce(max(until), 0) as until from (select case when expires_at = 0 then ${Number.MAX_SAFE_INTEGER} else expires_at end as until from tokens
       union all select expires_at as until from invitations union all select ${Number.MAX_SAFE_INTEGER} as until from users) as each_of_them`)
  return row ? numberOf(row, 'until') : 0
}
