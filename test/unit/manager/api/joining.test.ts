/** Hosts that join: invited by an admin, let in once, known by their key from then on. The agent's side is the agent's own. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as path } from 'node:path'
import { expect } from 'chai'
import { join } from '../../../../agent/join.js'
import type { JoinWish } from '../../../../agent/join.js'
import { readConfig } from '../../../../agent/config.js'
import { readInvitation, writeInvitation } from '../../../../lib/api/invitation.js'
import { apiMethods } from '../../../../lib/api/methods.js'
import { Fault, messageOf } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import { createAuthority, issueCertificate, loadTls, requestCertificate } from '../../../../lib/host/pki.js'
import type { TlsMaterial } from '../../../../lib/host/pki.js'
import { createRun } from '../../../../lib/host/run.js'
import { createRpcClient } from '../../../../lib/rpc/client.js'
import { bearer, callWith } from '../../../support/credentials.js'
import { registration, startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'
import { TurnedClock } from '../../../support/turned-clock.js'

const run = createRun()

describe('a host joins', function () {
  this.timeout(60_000)
  let rig: ManagerRig
  let clock: TurnedClock
  let dir: string
  before(async () => {
    clock = new TurnedClock()
    rig = await startManager({ accessClock: clock, volumes: 0 })
  })
  after(async () => { await rig.stop() })
  beforeEach(async () => {
    clock.skip(600_000)
    dir = await mkdtemp(path(tmpdir(), 'vsky-join-'))
  })
  afterEach(async () => { await rm(dir, { recursive: true }) })

  const invite = async (name: string): Promise<string> => (await rig.call('hostInvite', { name, ttlSeconds: 30 * 86_400 })).invitation
  const wish = (invitation: string, more: Partial<JoinWish> = {}): JoinWish => ({
    invitation, name: 'st9', roles: ['storage'], listen: '127.0.0.1:8882', dataAddresses: ['127.0.0.1'], zone: 'z', disks: [], tlsDir: path(dir, 'tls'), config: path(dir, 'agent.toml'), ...more,
  })
  const joining = (asked: JoinWish): Promise<string> => join(asked, { run, clock: { ...systemClock, sleep: () => Promise.resolve() } })
  const refusal = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', messageOf)
  const asAgent = (tls: TlsMaterial, method: string, params: object): Promise<string> => {
    const client = createRpcClient({ url: rig.server.url, tls: { ...tls, serverRoles: ['manager'] } })
    return client.call(method, [params as never]).then(() => 'done', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown))).finally(() => { client.close() })
  }
  const register = (tls: TlsMaterial, name = 'st9'): Promise<string> => asAgent(tls, 'vsky.host.register', apiMethods.hostRegister.params.format(registration(name, 'head')) as object)
  const heartbeat = (tls: TlsMaterial): Promise<string> => asAgent(tls, 'vsky.host.heartbeat', { name: 'st9', bootId: 'boot-1', incarnation: 'inc-1', changed: 1 })
  const report = (tls: TlsMaterial): Promise<string> => asAgent(tls, 'vsky.host.report', { name: 'st9', bootId: 'boot-1', incarnation: 'inc-1', volumes: [] })

  it('with an invitation: it makes its own key, gets a certificate for it, a configuration is written, and its agent is let in', async () => {
    const said = await joining(wish(await invite('st9')))
    expect(said).to.contain('st9 has joined').and.to.contain(path(dir, 'agent.toml'))
    const config = await readConfig(path(dir, 'agent.toml'))
    expect(config).to.deep.include({ name: 'st9', roles: ['storage'], managers: [rig.server.url], listen: '127.0.0.1:8882', dataAddresses: ['127.0.0.1'], zone: 'z', tlsDir: path(dir, 'tls') })
    expect((await readdir(path(dir, 'tls'))).sort()).to.deep.equal(['ca.pem', 'cert.pem', 'key.pem'])
    expect((await stat(path(dir, 'tls/key.pem'))).mode & 0o777).to.equal(0o600)
    const tls = await loadTls(config.tlsDir)
    expect([await register(tls), await heartbeat(tls), await report(tls)]).to.deep.equal(['done', 'done', 'done'])
  })

  it('and has the certificate of that host\'s agent, and of nobody else', async () => {
    await joining(wish(await invite('st9')))
    const tls = await loadTls(path(dir, 'tls'))
    expect(await register(tls, 'st1'), 'another host').to.equal('denied')
    expect(await asAgent(tls, 'vsky.volume.list', {}), 'a person').to.equal('denied')
  })

  it('once: another key is refused, and the same key, whose answer was lost, gets a certificate again', async () => {
    const { token } = readInvitation(await invite('st9'))
    const [mine, other] = [await requestCertificate(run, path(dir, 'a'), 'st9'), await requestCertificate(run, path(dir, 'b'), 'st9')]
    const ask = (csr: string): Promise<string> => callWith(rig, { authorization: bearer(token) }, 'vsky.host.join', { csr, addresses: [] }).then(({ outcome }) => outcome)
    expect([await ask(mine.csr), await ask(mine.csr), await ask(other.csr)]).to.deep.equal(['done', 'done', 'invitation used'])
    expect((await rig.call('eventList', { about: 'host', name: 'st9', kind: 'host joined', newest: true })).length).to.be.greaterThan(0)
  })

  it('not with an invitation that was replaced, taken back or has expired', async () => {
    const [first, second] = [await invite('st9'), await invite('st9')]
    expect(await refusal(joining(wish(first)))).to.contain('does not let this host in')
    await rig.call('hostRevoke', { name: 'st9' })
    expect(await refusal(joining(wish(second))), 'nobody has a secret any more: not even the handshake').to.contain('no manager lets this host in').and.to.contain('vsky host invite')
    const third = await invite('st9')
    clock.stepWall(1_000_000_000_000)
    expect(await refusal(joining(wish(third)))).to.contain('no manager lets this host in')
    clock.stepWall(-1_000_000_000_000)
    expect(await readdir(dir), 'nothing is written').to.deep.equal(['tls'])
    expect(await readdir(path(dir, 'tls'))).to.deep.equal([])
  })

  it('and is known by that key alone: one that it had before, and one that is issued by hand, are worth nothing from then on', async () => {
    await joining(wish(await invite('st9')))
    const before = await loadTls(path(dir, 'tls'))
    await joining(wish(await invite('st9')))
    const after = await loadTls(path(dir, 'tls'))
    await issueCertificate(run, rig.authority, { commonName: 'st9', role: 'agent', hosts: [], outDir: path(dir, 'hand') })
    const byHand = await loadTls(path(dir, 'hand'))
    for (const act of [register, heartbeat, report]) {
      expect([await act(before), await act(byHand), await act(after)]).to.deep.equal(['denied', 'denied', 'done'])
    }
  })

  it('and no certificate lets it in when it was revoked, until it is invited anew', async () => {
    await joining(wish(await invite('st9')))
    await rig.call('hostRevoke', { name: 'st9' })
    const tls = await loadTls(path(dir, 'tls'))
    expect([await register(tls), await heartbeat(tls), await report(tls)]).to.deep.equal(['denied', 'denied', 'denied'])
    await joining(wish(await invite('st9'), { roles: [], listen: '', name: '' }))
    expect(await readConfig(path(dir, 'agent.toml')), 'its configuration is as it was').to.include({ name: 'st9', zone: 'z' })
    expect(await register(await loadTls(path(dir, 'tls')))).to.equal('done')
  })

  it('and a host that nobody knows or has invited is not revoked', async () => {
    const before = await rig.state()
    expect(await rig.call('hostRevoke', { name: 'st77' }).then(() => 'done', (thrown: unknown) => (thrown as Fault).fault)).to.equal('unknown host')
    expect(await rig.state()).to.equal(before)
  })

  it('and an invitation opens nothing else', async () => {
    const authorization = bearer(readInvitation(await invite('st9')).token)
    const before = await rig.state()
    for (const method of ['vsky.volume.list', 'vsky.host.register', 'vsky.token.list', 'vsky.host.invite', 'vsky.manager.status']) expect((await callWith(rig, { authorization }, method, { request: '12345678' })).outcome, method).to.equal('denied')
    expect(await rig.state()).to.equal(before)
  })

  it('not by a request that is none, or for a key of another kind', async () => {
    const authorization = bearer(readInvitation(await invite('st9')).token)
    const openssl = async (...args: readonly string[]): Promise<void> => { expect((await run({ file: 'openssl', args, timeoutMs: 20_000 })).exit).to.deep.equal({ kind: 'code', code: 0 }) }
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    await writeFile(path(dir, 'rsa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
    await openssl('req', '-new', '-key', path(dir, 'rsa.key'), '-subj', '/CN=st9', '-out', path(dir, 'rsa.csr'))
    const { csr } = await requestCertificate(run, path(dir, 'a'), 'st9')
    const before = await rig.state()
    for (const [what, bad] of [['rsa', await readFile(path(dir, 'rsa.csr'), 'utf8')], ['damaged', csr.replace(/\n.{8}/, '\nAAAAAAAA')], ['text', 'x'.repeat(200)], ['short', '']] as const) {
      expect((await callWith(rig, { authorization }, 'vsky.host.join', { csr: bad, addresses: [] })).outcome, what).to.equal('bad parameter')
    }
    expect((await callWith(rig, { authorization }, 'vsky.host.join', { csr, addresses: ['a,DNS:mgr1'] })).outcome).to.equal('bad parameter')
    expect(await rig.state()).to.equal(before)
  })

  it('not at a manager of another cluster, whatever it answers', async () => {
    const { managers, token } = readInvitation(await invite('st9'))
    const other = await createAuthority(run, path(dir, 'other'), { name: 'other' })
    expect(await refusal(joining(wish(writeInvitation({ managers, ca: other.certificate, token }))))).to.contain('lets this host in')
  })
})

describe('an invitation', () => {
  it('that is damaged or none is refused in one line that tells nothing of it', async () => {
    const dir = await mkdtemp(path(tmpdir(), 'vsky-join-'))
    try {
      const { certificate } = await createAuthority(run, path(dir, 'ca'), { name: 'test' })
      const good = writeInvitation({ managers: ['https://127.0.0.1:1'], ca: certificate, token: 'vsky_secret' })
      expect(readInvitation(`  ${good}\n`)).to.deep.equal({ managers: ['https://127.0.0.1:1'], ca: certificate, token: 'vsky_secret' })
      for (const bad of ['', 'vsky_secret', good.slice(0, -9), `${good} x`, `${good.slice(0, 40)}${good.slice(44)}`, `vsky-invitation-1:${Buffer.from('{"managers":["http://x"],"ca":"","token":"vsky_secret"}').toString('base64url')}`]) {
        expect(() => readInvitation(bad), bad).to.throw(Error, /^this (?:is no invitation|invitation is damaged)[^\n]*$/).and.not.satisfy(({ message }: Error) => message.includes('vsky_secret'))
      }
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})
