import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { createLog } from '../../../../lib/host/log.js'
import { systemRandom } from '../../../../lib/host/random.js'
import type { Offer } from '../../../../lib/rpc/server-credentials.js'
import { createAccess } from '../../../../manager/access/access.js'
import type { Access } from '../../../../manager/access/access.js'
import { addressPace } from '../../../../manager/access/attempts.js'
import { hashSecret, writeToken } from '../../../../manager/access/secret.js'
import { addToken, addUser, removeToken, removeUser, setUserHash } from '../../../../manager/store/credentials.js'
import { DbError } from '../../../../manager/store/db.js'
import type { Db, Reader } from '../../../../manager/store/db.js'
import { migrate } from '../../../../manager/store/schema.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { TurnedClock } from '../../../support/turned-clock.js'

const cheap = { n: 2, r: 1, p: 1 }
const [id, secret] = ['0123456789abcdef', 'ab'.repeat(32)]
const token: Offer = { kind: 'token', token: writeToken(id, secret) }
const user: Offer = { kind: 'user', name: 'ann', password: 'a long password' }
const from = '192.0.2.1'

describe('access by tokens and passwords', function () {
  this.timeout(30_000)
  let db: Db
  let reads: number
  /** Under way. */
  let reading: number
  let beforeRead: () => Promise<void>
  let broken: DbError | undefined
  let clock: TurnedClock
  let access: Access
  let lines: string[]

  const reader: Reader = {
    all: (sql, params) => db.all(sql, params),
    async get(sql, params) {
      reads += 1
      reading += 1
      try {
        await beforeRead()
        if (broken) throw broken
        return await db.get(sql, params)
      } finally {
        reading -= 1
      }
    },
  }
  const create = (): Access => createAccess({ db: reader, clock, costs: { user: cheap, token: cheap }, random: systemRandom, log: createLog({ name: 'test', level: 'debug', stream: { write: (line) => { lines.push(line) } } }) })
  const outcome = (offer: Offer, address = from): Promise<string> => access.identify(offer, address).then(({ credential, role, host }) => `${credential} ${role}${host === undefined ? '' : ` ${host}`}`, (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))
  const wrongToken = (digit: string): Offer => ({ kind: 'token', token: writeToken(id, digit.repeat(64)) })

  beforeEach(async () => {
    [reads, reading, beforeRead, broken, lines, clock] = [0, 0, () => Promise.resolve(), undefined, [], new TurnedClock({ busy: () => reading > 0 })]
    db = await openSqlite(':memory:')
    await migrate(db)
    const hash = await hashSecret(secret, cheap, systemRandom)
    const passwordHash = await hashSecret(user.password, cheap, systemRandom)
    await db.tx(async (tx) => {
      await addToken(tx, { id, name: 'ci', role: 'hypervisor', host: 'hd1', hash, createdAt: 1, expiresAt: clock.nowMs() + 3_600_000 })
      await addUser(tx, { name: 'ann', role: 'operator', hash: passwordHash, createdAt: 1, changedAt: 1 })
    })
    access = create()
  })
  afterEach(() => db.close())

  it('tells whose secret it was, the role, and the host that a hypervisor is bound to', async () => {
    expect(await outcome(token)).to.equal('token "ci" hypervisor hd1')
    expect(await outcome(user)).to.equal('user "ann" operator')
  })

  it('says the same of a wrong secret, an unknown name, one that has expired and one that was revoked, and no log line has a secret', async () => {
    const refusals = new Set<string>()
    const refused = async (offer: Offer): Promise<void> => {
      refusals.add(await access.identify(offer, from).then(() => 'let in', (thrown: unknown) => (thrown instanceof Fault ? `${thrown.fault}: ${thrown.message}` : String(thrown))))
    }
    await refused(wrongToken('0'))
    await refused({ kind: 'token', token: writeToken('f'.repeat(16), secret) })
    await refused({ kind: 'token', token: 'no token' })
    await refused({ kind: 'user', name: 'ann', password: 'something else' })
    await refused({ kind: 'user', name: 'a long password', password: 'typed in the wrong place' })
    await refused({ kind: 'user', name: 'bob\u0000', password: 'x'.repeat(5000) })
    clock.skip(3_600_000)
    await refused(token)
    await db.tx((tx) => removeUser(tx, 'ann'))
    await refused(user)
    expect([...refusals]).to.have.length(1)
    expect([...refusals][0]).to.match(/^not authenticated: /)
    expect(lines.join('')).to.contain('a secret was refused').and.contain('token \\"ci\\"')
    for (const hidden of [secret, '0'.repeat(64), 'a long password', 'something else', 'wrong place']) expect(lines.join('')).not.to.contain(hidden)
  })

  it('stretches a secret once and remembers for some minutes that it was right', async () => {
    await outcome(token)
    await db.tx((tx) => tx.run('update tokens set hash = hash')) // the same row
    reads = 0
    for (let each = 0; each < 200; each += 1) expect(await outcome(token)).to.contain('ci')
    expect(reads, 'each looks once whether it still stands; stretching looks twice').to.equal(200)
    clock.skip(600_000)
    reads = 0
    await outcome(token)
    expect(reads, 'before and after it was stretched').to.equal(2)
  })

  it('ends with the revocation, at once, though the secret is remembered, and with a new password', async () => {
    expect([await outcome(token), await outcome(user)]).to.deep.equal(['token "ci" hypervisor hd1', 'user "ann" operator'])
    await db.tx((tx) => removeToken(tx, id))
    const other = await hashSecret('another password', cheap, systemRandom)
    await db.tx((tx) => setUserHash(tx, 'ann', other, 2))
    expect([await outcome(token), await outcome(user)]).to.deep.equal(['not authenticated', 'not authenticated'])
    expect(await outcome({ ...user, password: 'another password' })).to.equal('user "ann" operator')
  })

  it('is not given by a secret that was revoked while it was being stretched', async () => {
    beforeRead = async () => { if (reads === 2) await db.tx((tx) => removeToken(tx, id)) } // it was found, and is stretched
    expect([await outcome(token), reads], 'no token has its id any more, and no invitation').to.deep.equal(['not authenticated', 3])
  })

  it('is not given by a secret that was made another while the old one was being stretched', async () => {
    const other = await hashSecret('another password', cheap, systemRandom)
    beforeRead = async () => { if (reads === 2) await db.tx((tx) => setUserHash(tx, 'ann', other, 2)) }
    expect([await outcome(user), reads]).to.deep.equal(['not authenticated', 2])
  })

  it('never remembers a wrong secret for the right one', async () => {
    await outcome(token)
    expect(await outcome(wrongToken('1'))).to.equal('not authenticated')
    expect(await outcome(token)).to.contain('ci')
  })

  it('is refused for a while after failures from one address, and to nobody who was let in before, nor from elsewhere', async () => {
    await outcome(user)
    for (let each = 0; each < addressPace.burst; each += 1) expect(await outcome(wrongToken('2')), `${each}`).to.equal('not authenticated')
    expect([await outcome(wrongToken('2')), await outcome(token), await outcome({ ...user, name: 'nobody' })]).to.deep.equal(['too many attempts', 'too many attempts', 'too many attempts'])
    expect(await outcome(user), 'remembered').to.equal('user "ann" operator')
    expect(await outcome(token, '192.0.2.2')).to.contain('ci')
    clock.skip(addressPace.everyMs - 1)
    expect(await outcome({ ...user, name: 'nobody' })).to.equal('too many attempts')
    clock.skip(1)
    expect(await outcome({ ...user, name: 'nobody' })).to.equal('not authenticated')
  })

  it('counts attempts that are made at once', async () => {
    const outcomes = await Promise.all(Array.from({ length: addressPace.burst + 5 }, () => outcome(wrongToken('3'))))
    expect(outcomes.filter((each) => each === 'not authenticated')).to.have.length(addressPace.burst)
    expect(outcomes.filter((each) => each === 'too many attempts')).to.have.length(5)
  })

  it('stretches one secret at a time, and lets only so many wait', async () => {
    const outcomes = await Promise.all(Array.from({ length: 30 }, () => access.hash('a long password', 'user').then(() => 'stretched', (thrown: unknown) => (thrown as Fault).fault)))
    expect(outcomes).to.deep.equal([...Array.from({ length: 16 }, () => 'stretched'), ...Array.from({ length: 14 }, () => 'too many attempts')])
    expect(await access.hash('a long password', 'user')).to.match(/^scrypt:/)
  })

  it('is expected while a token or a user is good, and never while that can\'t be read', async () => {
    const expected = async (): Promise<boolean> => { await access.refresh().catch(() => undefined); return access.expects() }
    expect(access.expects(), 'before the first look').to.equal(false)
    expect(await expected()).to.equal(true)
    broken = new DbError('unavailable', 'gone')
    expect(await expected()).to.equal(false)
    expect(await outcome(token)).to.equal('state unavailable')
    broken = undefined
    expect(await expected()).to.equal(true)
    await db.tx((tx) => removeUser(tx, 'ann'))
    expect(await expected()).to.equal(true)
    clock.skip(3_600_000)
    expect(access.expects(), 'the last token has expired, and nobody has looked').to.equal(false)
    expect(await expected()).to.equal(false)
  })

  it('follows what another manager changes within seconds', async () => {
    const stopping = new AbortController()
    const keeping = access.keep(stopping.signal)
    await clock.settle()
    expect(access.expects()).to.equal(true)
    await db.tx(async (tx) => { await removeUser(tx, 'ann'); await removeToken(tx, id) })
    await clock.turn(4_999)
    expect(access.expects()).to.equal(true)
    await clock.turn(1)
    expect(access.expects()).to.equal(false)
    stopping.abort()
    await keeping
  })
})
