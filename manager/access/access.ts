/**
 * Who may come in by a token or a password. Each call looks the credential up in the database, so what was revoked, has expired or got another password is
 * worth nothing from that commit on, at any manager. Only that a secret was right is remembered, by a digest under a key of this process: scrypt takes
 * too long, and too much of the threads that the database needs, to be run for each call. Whatever goes wrong lets nobody in.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log, Random } from '../../lib/ports.js'
import { NotAdmitted, notAuthenticated } from '../../lib/rpc/server-credentials.js'
import type { Doorkeeper, Identity, Offer } from '../../lib/rpc/server-credentials.js'
import { credentialsUntil, tokenById, userByName } from '../store/credentials.js'
import { invitationById } from '../store/invitations.js'
import { DbError } from '../store/db.js'
import type { Reader } from '../store/db.js'
import { createAttempts } from './attempts.js'
import { hashSecret, isSecret, passwordCost, readToken, tokenCost } from './secret.js'
import type { ScryptCost } from './secret.js'

export interface Access extends Doorkeeper {
  /** What is stored of a new secret. */
  hash(secret: string, kind: Offer['kind']): Promise<string>
  /** Users or tokens have changed. */
  refresh(): Promise<void>
  /** Keeps up with what other managers change, until the signal aborts. */
  keep(signal: AbortSignal): Promise<void>
  /** Secrets that were just made, by the id of the request, for a caller who lost the answer. */
  readonly told: Told
}

export interface Told {
  put(request: string, secret: string): void
  get(request: string): string | undefined
}

export interface AccessOptions {
  readonly db: Reader
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Of new secrets, and of what nobody has. Default: those of secret.ts. */
  readonly costs?: Readonly<Record<Offer['kind'], ScryptCost>>
}

/** How long a secret that was right need not be stretched again, ms. */
const REMEMBER_MS = 600_000
const REMEMBER_MAX = 10_000
/** Secrets that wait to be stretched; one is at work. */
const WAITING_MAX = 16
/** Between two looks for what other managers have changed, ms. */
const LOOK_MS = 5_000
/** A caller who has not asked again for so long has the answer, ms. */
const TOLD_MS = 120_000
const TOLD_MAX = 100
const SECRET_MAX = 512

interface Found extends Identity {
  readonly hash: string
  /** 0: never. */
  readonly expiresAt: number
}

/** What is asked for: a name that the attempts are counted by, and how it is looked up. */
interface Claim {
  readonly name: string
  /** What may be written down of it when there is no such name, which may be a password that was typed in the wrong place; the id of a token is public. */
  readonly unknown: string
  readonly secret: string
  readonly cost: ScryptCost
  readonly find: () => Promise<Found | undefined>
}

export function createAccess({ db, clock, random, log, costs = { user: passwordCost, token: tokenCost } }: AccessOptions): Access {
  const attempts = createAttempts()
  const key = Buffer.from(random.hex(32), 'hex')
  const remembered = new Map<string, { readonly digest: Buffer; readonly untilMs: number }>()
  const inTurn = oneAtATime()
  let expectedUntil = 0

  const digestOf = (hash: string, secret: string): Buffer => createHmac('sha256', key).update(`${hash} ${secret}`).digest()
  const live = (found: Found | undefined): found is Found => found !== undefined && (found.expiresAt === 0 || found.expiresAt > clock.nowMs())
  const isRemembered = ({ name, secret }: Claim, { hash }: Found): boolean => {
    const known = remembered.get(name)
    return known !== undefined && known.untilMs > clock.monoMs() && timingSafeEqual(known.digest, digestOf(hash, secret))
  }
  const remember = ({ name, secret }: Claim, { hash }: Found): void => {
    remembered.delete(name) // so that it stands at the end again
    const oldest = remembered.keys().next()
    if (remembered.size >= REMEMBER_MAX && oldest.done !== true) remembered.delete(oldest.value)
    remembered.set(name, { digest: digestOf(hash, secret), untilMs: clock.monoMs() + REMEMBER_MS })
  }

  const claimOf = (offer: Offer): Claim | undefined => {
    if (offer.kind === 'user') {
      const { name, password } = offer
      const find = async (): Promise<Found | undefined> => {
        const row = await userByName(db, name)
        return row && { credential: `user ${JSON.stringify(row.name)}`, role: row.role, hash: row.hash, expiresAt: 0 }
      }
      return name.length > 63 || password.length > SECRET_MAX ? undefined : { name: `user ${name}`, unknown: '', secret: password, cost: costs.user, find }
    }
    const token = readToken(offer.token)
    return token && {
      name: `token ${token.id}`, unknown: `token with id ${token.id}`, secret: token.secret, cost: costs.token,
      find: async () => {
        const row = await tokenById(db, token.id)
        const invitation = row ? undefined : await invitationById(db, token.id)
        if (invitation) return { credential: `invitation of ${JSON.stringify(invitation.host)}`, role: 'joiner', host: invitation.host, hash: invitation.hash, expiresAt: invitation.expiresAt }
        return row && { credential: `token ${JSON.stringify(row.name)}`, role: row.role, ...(row.host === '' ? {} : { host: row.host }), hash: row.hash, expiresAt: row.expiresAt }
      },
    }
  }

  async function prove(claim: Claim, address: string): Promise<Found> {
    const found = await claim.find()
    if (live(found) && isRemembered(claim, found)) return found
    const waitMs = attempts.take(address, claim.name, clock.monoMs())
    const { claimed, known } = { claimed: found?.credential ?? claim.unknown, known: found !== undefined }
    if (waitMs > 0) throw new NotAdmitted('too many attempts', `too many attempts have failed from this address or for this name: try again in ${Math.ceil(waitMs / 1000)} s`, { claimed, known, why: 'locked out' })
    const checking = inTurn(() => isSecret(claim.secret, found?.hash, claim.cost))
    if (!checking) throw new NotAdmitted('too many attempts', 'too many secrets are being checked at the moment: try again in 2 s', { claimed, known, why: 'too many at once' })
    const right = await checking
    if (right && live(found)) {
      const now = await claim.find() // stretching takes long enough for it to have been revoked
      if (live(now) && now.hash === found.hash) {
        attempts.giveBack(address, claim.name, clock.monoMs())
        remember(claim, now)
        return now
      }
    }
    // A name that there isn't may be a password that was typed in the wrong place.
    log.info('a secret was refused', { from: address, ...(found ? { of: found.credential, why: right ? 'expired or revoked' : 'wrong' } : { why: 'there is no such name' }) })
    throw notAuthenticated({ claimed, known, why: !found ? 'no such name' : right ? 'expired or revoked' : 'wrong secret' })
  }

  async function refresh(): Promise<void> {
    try {
      expectedUntil = await credentialsUntil(db)
    } catch (thrown) {
      expectedUntil = 0 // what can't be read lets nobody in
      throw thrown
    }
  }

  return {
    expects: () => expectedUntil > clock.nowMs(),
    async identify(offer, address) {
      const claim = claimOf(offer)
      if (!claim) throw notAuthenticated({ why: `no ${offer.kind === 'token' ? 'token' : 'name and password'} of ours` })
      try {
        const { credential, role, host } = await prove(claim, address)
        return { credential, role, ...(host === undefined ? {} : { host }) }
      } catch (thrown) {
        if (thrown instanceof DbError && thrown.kind === 'unavailable') throw new Fault('state unavailable', 'the database, which knows the tokens and users, can\'t be reached', { cause: thrown })
        throw thrown
      }
    },
    async hash(secret, kind) {
      const hashing = inTurn(() => hashSecret(secret, costs[kind], random))
      if (!hashing) throw new Fault('too many attempts', 'too many secrets are being checked at the moment: try again in 2 s')
      return hashing
    },
    refresh,
    async keep(signal) {
      while (!signal.aborted) {
        await refresh().catch((thrown: unknown) => { log.debug('tokens and users can\'t be read', { error: messageOf(thrown) }) })
        await clock.sleep(LOOK_MS, signal).catch(() => undefined)
      }
    },
    told: createTold(clock),
  }
}

/** One after the other: the threads of the process are few, and renewals of the lease need them too. Undefined when the line is too long: nothing is done then. */
function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> | undefined {
  let waiting = 0
  let tail: Promise<unknown> = Promise.resolve()
  return (work) => {
    if (waiting >= WAITING_MAX) return undefined
    waiting += 1
    const mine = tail.then(work)
    tail = mine.then(() => undefined, () => undefined).then(() => { waiting -= 1 })
    return mine
  }
}

function createTold(clock: Clock): Told {
  const held = new Map<string, { readonly secret: string; readonly untilMs: number }>()
  const forget = (): void => {
    for (const [request, { untilMs }] of held) if (untilMs <= clock.monoMs() || held.size > TOLD_MAX) held.delete(request)
  }
  return {
    put(request, secret) {
      held.set(request, { secret, untilMs: clock.monoMs() + TOLD_MS })
      forget()
    },
    get(request) {
      forget()
      return held.get(request)?.secret
    },
  }
}
