/** Invitations for hosts, and the keys by which hosts that joined are known, as rows. Of a secret there is only its hash. */
import { numberOf, textOf } from './db.js'
import type { Reader, Row, Tx } from './db.js'

export interface InvitationRow {
  /** Public: a part of the token. */
  readonly id: string
  readonly host: string
  readonly hash: string
  /** Epoch milliseconds. */
  readonly createdAt: number
  readonly expiresAt: number
  /** Digest of the public key that was certified for it; empty: it has not been used. */
  readonly usedBy: string
}

/** What stands in the place of a key's digest for a host that is let in by none. */
export const NO_KEY = 'none'

function invitationOf(row: Row): InvitationRow {
  return {
    id: textOf(row, 'id'), host: textOf(row, 'host'), hash: textOf(row, 'hash'), createdAt: numberOf(row, 'created_at'), expiresAt: numberOf(row, 'expires_at'), usedBy: textOf(row, 'used_by'),
  }
}

export async function invitationById(db: Reader, id: string): Promise<InvitationRow | undefined> {
  const row = await db.get('select * from invitations where id = ?', [id])
  return row && invitationOf(row)
}

export async function invitationFor(db: Reader, host: string): Promise<InvitationRow | undefined> {
  const row = await db.get('select * from invitations where host = ?', [host])
  return row && invitationOf(row)
}

/** In the place of the one that the host had; those that have expired go. */
export async function putInvitation(tx: Tx, { id, host, hash, createdAt, expiresAt }: Omit<InvitationRow, 'usedBy'>): Promise<void> {
  await tx.run('delete from invitations where host = ? or expires_at <= ?', [host, createdAt])
  await tx.run('insert into invitations (id, host, hash, created_at, expires_at, used_by) values (?, ?, ?, ?, ?, ?)', [id, host, hash, createdAt, expiresAt, ''])
}

export async function useInvitation(tx: Tx, id: string, key: string): Promise<void> {
  await tx.run('update invitations set used_by = ? where id = ?', [key, id])
}

export async function dropInvitation(tx: Tx, host: string): Promise<void> {
  await tx.run('delete from invitations where host = ?', [host])
}

/** Digest of the only public key that the host is known by; NO_KEY: none is; undefined: whichever the authority certified. */
export async function keyOfHost(db: Reader, host: string): Promise<string | undefined> {
  const row = await db.get('select digest from host_keys where host = ?', [host])
  return row && textOf(row, 'digest')
}

export async function putKeyOfHost(tx: Tx, host: string, digest: string, nowMs: number): Promise<void> {
  await tx.run('insert into host_keys (host, digest, since) values (?, ?, ?) on conflict (host) do update set digest = excluded.digest, since = excluded.since', [host, digest, nowMs])
}
