/** Tokens and users at the manager's real door: what they open, what they don't, and that their secrets are told nobody else. */
import { connect } from 'node:tls'
import { expect } from 'chai'
import { must } from '../../../../lib/assert.js'
import { Fault } from '../../../../lib/faults.js'
import { createRpcClient } from '../../../../lib/rpc/client.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'
import { basic, bearer, callWith, makeToken, makeUser, password } from '../../../support/credentials.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'
import { TurnedClock } from '../../../support/turned-clock.js'

describe('tokens and users at the door', function () {
  this.timeout(60_000)
  let rig: ManagerRig
  let clock: TurnedClock
  before(async () => {
    clock = new TurnedClock()
    rig = await startManager({ accessClock: clock })
    const { hostRegister } = await import('../../../../manager/api/hosts.js')
    const { registration } = await import('../../../support/manager.js')
    await hostRegister(rig.cluster, registration('hd2', 'head'))
    await rig.settle()
  })
  after(async () => { await rig.stop() })
  beforeEach(() => { clock.skip(600_000) }) // the failures of the test before are forgotten

  const call = async (authorization: string | undefined, method: string, params: Readonly<Record<string, XmlValue>> = {}): Promise<string> => (await callWith(rig, { authorization }, method, params)).outcome
  const admin = (method: string, params: XmlValue): Promise<XmlValue> => rig.client('admin').call(method, [params])
  const faultOf = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))

  it('let in on both wires, and by the client of the command, without a certificate', async () => {
    const token = await makeToken(rig, 'in', 'viewer')
    const user = await makeUser(rig, 'ann', 'viewer')
    for (const authorization of [bearer(token), user]) {
      for (const wire of ['xml', 'json'] as const) expect((await callWith(rig, { authorization, wire }, 'vsky.volume.list', {})).outcome).to.equal('done')
      expect(await call(authorization, 'vsky.volume.delete', { volume: 'v3', request: 'request-1' })).to.equal('denied')
    }
    const client = createRpcClient({ url: rig.server.url, tls: { ca: rig.authority.certificate, serverRoles: ['manager'] }, token })
    expect(await client.call('vsky.volume.list', [{}])).to.have.length(3)
    client.close()
    expect(() => createRpcClient({ url: 'http://127.0.0.1:1', token })).to.throw(TypeError, 'TLS alone')
  })

  it('are worth nothing from the moment they are revoked, expire or get another password', async () => {
    const token = bearer(await makeToken(rig, 'short', 'viewer', { ttlSeconds: 30 * 86_400 }))
    const other = bearer(await makeToken(rig, 'other', 'viewer'))
    const user = await makeUser(rig, 'bob', 'viewer')
    for (const each of [token, other, user]) expect(await call(each, 'vsky.volume.list')).to.equal('done')
    await rig.call('tokenRevoke', { token: 'other' })
    expect(await call(other, 'vsky.volume.list')).to.equal('not authenticated')
    await rig.call('userPassword', { user: 'bob', password: 'another long password' })
    expect([await call(user, 'vsky.volume.list'), await call(basic('bob', 'another long password'), 'vsky.volume.list')]).to.deep.equal(['not authenticated', 'done'])
    await rig.call('userRevoke', { user: 'bob' })
    expect(await call(basic('bob', 'another long password'), 'vsky.volume.list')).to.equal('not authenticated')
    clock.stepWall(1_000_000_000_000)
    expect(await call(token, 'vsky.volume.list')).to.equal('not authenticated')
    clock.stepWall(-1_000_000_000_000)
  })

  it('that are wrong, malformed or missing all get one fault, 401 with JSON, and nothing is changed', async () => {
    const token = await makeToken(rig, 'guessed', 'admin')
    await makeUser(rig, 'carl', 'admin')
    const before = await rig.state()
    const texts = new Set<string>()
    for (const authorization of [
      undefined, bearer(token.replace(/.$/, token.endsWith('0') ? '1' : '0')), bearer(token.replace(/_[0-9a-f]{16}_/, '_0000000000000000_')), bearer(token.slice(0, -1)), bearer(''), 'Digest x', token, basic('carl', `${password} `), basic('nobody', password),
      basic('', password), 'Basic !!!', `Basic ${Buffer.from('carl').toString('base64')}`, `${bearer(token)}, ${bearer(token)}`, bearer('x'.repeat(5000)),
    ]) {
      const answer = await callWith(rig, { authorization }, 'vsky.volume.delete', { volume: 'v3', request: 'request-2' })
      expect(answer, authorization ?? 'none').to.include({ status: 401, outcome: 'not authenticated' })
      expect(answer.headers['www-authenticate']).to.equal('Bearer realm="vsky"')
      texts.add((JSON.parse(answer.text) as { readonly message: string }).message)
    }
    expect([...texts]).to.have.length(1)
    await rig.settle()
    expect(await rig.state()).to.equal(before)
  })

  it('after too many failures wait, 429 with JSON, while certificates and those who were let in before go on', async () => {
    const token = bearer(await makeToken(rig, 'known', 'viewer'))
    expect(await call(token, 'vsky.volume.list')).to.equal('done')
    for (let each = 0; each < 10; each += 1) await call(bearer(`vsky_${'0'.repeat(16)}_${'0'.repeat(64)}`), 'vsky.volume.list')
    expect(await callWith(rig, { authorization: basic('ann', password) }, 'vsky.volume.list', {})).to.include({ status: 429, outcome: 'too many attempts' })
    expect(await call(token, 'vsky.volume.list')).to.equal('done')
    expect(await admin('vsky.volume.list', {})).to.have.length(3)
  })

  it('are what counts where they come with a certificate: a wrong one is not made good, a small one not made great', async () => {
    const viewer = bearer(await makeToken(rig, 'small', 'viewer'))
    const tls = rig.tls('admin')
    expect((await callWith(rig, { tls }, 'vsky.token.list', {})).outcome).to.equal('done')
    expect((await callWith(rig, { tls, authorization: viewer }, 'vsky.token.list', {})).outcome).to.equal('denied')
    expect((await callWith(rig, { tls, authorization: 'Bearer wrong' }, 'vsky.token.list', {})).outcome).to.equal('not authenticated')
    const agent = { tls: rig.tls('agent'), authorization: bearer(await makeToken(rig, 'st1', 'admin')) }
    expect((await callWith(rig, agent, 'vsky.host.heartbeat', { name: 'st1', bootId: 'boot-1', incarnation: 'inc-1', changed: 1 })).outcome).to.equal('denied')
  })

  it('of a hypervisor attach to its own host and detach from it, and touch no other host\'s volume', async () => {
    const [hd1, hd2] = [bearer(await makeToken(rig, 'h1', 'hypervisor', { host: 'hd1' })), bearer(await makeToken(rig, 'h2', 'hypervisor', { host: 'hd2' }))]
    const attach = (who: string, host: string, more = {}): Promise<string> => call(who, 'vsky.volume.attach', { volume: 'v2', host, request: `attach-${Math.random()}`, ...more })
    const detach = (who: string, volume: string): Promise<string> => call(who, 'vsky.volume.detach', { volume, request: `detach-${Math.random()}` })
    const before = await rig.state()
    expect([await attach(hd1, 'hd2'), await attach(hd1, 'st1'), await attach(hd1, 'none'), await attach(hd1, 'hd1', { fromDeadHost: true })]).to.deep.equal(Array.from({ length: 4 }, () => 'denied'))
    expect(await detach(hd2, 'v1'), 'v1 is attached to hd1').to.equal('denied')
    expect([await call(hd1, 'vsky.host.show', { host: 'hd2' }), await call(hd1, 'vsky.host.show', { host: 'hd1' }), await call(hd1, 'vsky.volume.show', { volume: 'v1' })]).to.deep.equal(['denied', 'done', 'done'])
    await rig.settle()
    expect(await rig.state()).to.equal(before)
    expect([await attach(hd1, 'hd1'), await detach(hd2, 'v2'), await detach(hd1, 'v2'), await detach(hd1, 'v2')]).to.deep.equal(['done', 'denied', 'done', 'done'])
    const [answer] = JSON.parse((await callWith(rig, { authorization: hd2 }, 'system.multicall', { calls: [{ methodName: 'vsky.volume.detach', params: [{ volume: 'v1', request: 'in-a-multicall' }] }] })).text) as readonly { readonly faultCode: number }[]
    expect(answer?.faultCode).to.equal(1401)
  })

  it('of a hypervisor name a host that there is, and no others do', async () => {
    const make = (params: Readonly<Record<string, string>>): Promise<string> => faultOf(admin('vsky.token.create', { name: 'h', request: `make-${Math.random()}`, ...params }))
    expect([await make({ role: 'hypervisor' }), await make({ role: 'hypervisor', host: 'none' }), await make({ role: 'admin', host: 'hd1' }), await make({ role: 'agent' }), await make({ role: 'manager' })]).to.deep.equal(['bad parameter', 'unknown host', 'bad parameter', 'bad parameter', 'bad parameter'])
  })

  it('tell a token\'s secret to the request that made it and its repetition, for two minutes, and to nobody else', async () => {
    const params = { name: 'once', role: 'viewer', request: 'make-once-1' }
    const made = await admin('vsky.token.create', params) as { readonly secret: string }
    expect((await admin('vsky.token.create', params) as { readonly secret: string }).secret).to.equal(made.secret)
    expect(JSON.stringify(await admin('vsky.token.list', {}))).not.to.contain(made.secret.slice(-64))
    expect(await faultOf(admin('vsky.token.create', { ...params, request: 'make-once-2' }))).to.equal('name taken')
    clock.skip(120_000)
    expect(await faultOf(admin('vsky.token.create', params))).to.equal('secret gone')
  })

  it('leave no secret in the database, the events, the log or a fault, and no quick digest of a password', async () => {
    const secret = (await makeToken(rig, 'hidden', 'viewer')).slice(-64)
    const user = await makeUser(rig, 'dora', 'viewer')
    await call(user, 'vsky.volume.list')
    const bad = 'short-pw'
    const refused = await callWith(rig, { tls: rig.tls('admin') }, 'vsky.user.create', { name: 'eve', role: 'viewer', request: 'request-3', password: bad })
    expect(refused.outcome).to.equal('bad parameter')
    expect(refused.text).not.to.contain('short')
    const tables = await Promise.all(['requests', 'events', 'tokens', 'users'].map((table) => rig.cluster.store.read.all(`select * from ${table}`)))
    const everything = JSON.stringify(tables) + rig.lines.join('\n') + JSON.stringify(await admin('vsky.event.list', {}))
    for (const hidden of [secret, password, 'another long password', bad]) expect(everything).not.to.contain(hidden)
    const digestOf = async (request: string, given: string): Promise<unknown> => {
      await admin('vsky.user.password', { user: 'dora', password: given, request })
      return (await rig.cluster.store.read.get('select digest from requests where id = ?', [request]))?.digest
    }
    const { createHash } = await import('node:crypto')
    expect(await digestOf('same-request', password)).to.equal(createHash('sha256').update(JSON.stringify({ user: 'dora', request: 'same-request' })).digest('hex'))
    expect(everything).to.contain('made the token hidden for the role viewer').and.contain('made the user dora')
  })

  it('don\'t make a resumed TLS session without a certificate count for a client who has one', async () => {
    const resumable = await startManager({ servers: 0, volumes: 0 })
    const options = { host: '127.0.0.1', port: Number(new URL(resumable.server.url).port), ca: resumable.authority.certificate, checkServerIdentity: () => undefined }
    /** One question on a connection of its own: the status of the answer, or that there was none. */
    const ask = (session?: Buffer): Promise<{ readonly answered: string; readonly session: Buffer | undefined; readonly reused: boolean }> => new Promise((resolve) => {
      let [found, reused, text]: [Buffer | undefined, boolean, string] = [undefined, false, '']
      const socket = connect({ ...options, ...(session ? { session } : {}) })
      socket.once('secureConnect', () => {
        reused = socket.isSessionReused()
        socket.write('GET /api/v1/vsky.volume.list HTTP/1.1\r\nHost: mgr1\r\nConnection: close\r\n\r\n')
      })
      socket.on('session', (fresh) => { found = fresh })
      socket.on('data', (piece: Buffer) => { text += piece.toString('latin1') })
      socket.on('error', () => undefined)
      socket.once('close', () => { resolve({ answered: /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 'hung up', session: found, reused }) })
    })
    try {
      await makeToken(resumable, 'only', 'viewer')
      const first = await ask()
      expect(first.answered, 'a token might have come').to.equal('401')
      expect(await ask(must(first.session, 'the server gives sessions'))).to.include({ answered: '401', reused: true })
      await resumable.call('tokenRevoke', { token: 'only' })
      expect(await ask(first.session), 'it was resumed, and nothing was read').to.include({ answered: 'hung up', reused: true })
    } finally {
      await resumable.stop()
    }
  })
})
