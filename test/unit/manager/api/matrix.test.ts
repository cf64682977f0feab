import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { apiMethods } from '../../../../lib/api/methods.js'
import type { ApiName } from '../../../../lib/api/methods.js'
import { apiNames, isQuestion, systemMethods } from '../../../../lib/api/system.js'
import { Fault } from '../../../../lib/faults.js'
import { issueCertificate, loadTls } from '../../../../lib/host/pki.js'
import { createRun } from '../../../../lib/host/run.js'
import { TransportError, createRpcClient } from '../../../../lib/rpc/client.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'
import { callers, startManager } from '../../../support/manager.js'
import type { Caller, ManagerRig } from '../../../support/manager.js'
import { bearer, callWith, makeToken, makeUser } from '../../../support/credentials.js'
import { json } from '../../../support/json.js'
import { sampleOf } from '../../../support/samples.js'

/** Said once more, apart from the product: whoever changes one has to change the other. */
const allowed: Readonly<Record<Caller, readonly string[]>> = { viewer: ['viewer'], operator: ['viewer', 'operator'], admin: ['viewer', 'operator', 'admin'], agent: ['agent'] }
const hypervisor: readonly string[] = ['vsky.volume.list', 'vsky.volume.show', 'vsky.volume.attach', 'vsky.volume.detach', 'vsky.host.show', 'vsky.manager.status']
/** Callers without certificate, and the certificate that opens as much. */
const secrets = { 'token viewer': 'viewer', 'token operator': 'operator', 'token admin': 'admin', 'token hypervisor': 'hypervisor', 'user operator': 'operator' } as const
type SecretCaller = keyof typeof secrets
const secretCallers = Object.keys(secrets) as readonly SecretCaller[]
const mayBySecret = (caller: SecretCaller, name: string, role: string): boolean => (secrets[caller] === 'hypervisor' ? hypervisor.includes(name) : allowed[secrets[caller]].includes(role))

const paramsOf = (name: ApiName): XmlValue => {
  const method = apiMethods[name]
  const full = { ...sampleOf(name), ...(method.mutates ? { request: `matrix-${randomBytes(6).toString('hex')}` } : {}) } as never
  return (method.params as { format(value: never): XmlValue }).format(full)
}

/** The sample, but of hd1 where a host is named. */
const asHypervisor = (name: ApiName): XmlValue => ({ ...(paramsOf(name) as Readonly<Record<string, XmlValue>>), ...(name === 'hostShow' ? { host: 'hd1' } : {}) })

describe('every method and every role', function () {
  this.timeout(60_000)
  let rig: ManagerRig
  const authorizations = new Map<SecretCaller, string>()
  before(async () => {
    rig = await startManager()
    for (const role of ['viewer', 'operator', 'admin'] as const) authorizations.set(`token ${role}`, bearer(await makeToken(rig, role, role)))
    authorizations.set('token hypervisor', bearer(await makeToken(rig, 'hypervisor', 'hypervisor', { host: 'hd1' })))
    authorizations.set('user operator', await makeUser(rig, 'operator', 'operator'))
  })
  after(async () => { await rig.stop() })

  const outcome = async (caller: Caller, name: string, params: readonly XmlValue[]): Promise<string> => rig.client(caller).call(name, params).then(() => 'done', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))

  for (const name of apiNames) {
    const method = apiMethods[name]
    it(`${method.name} is for ${callers.filter((caller) => allowed[caller].includes(method.role)).join(', ')} and for nobody else, on either wire`, async () => {
      await rig.settle()
      const before = await rig.state()
      for (const caller of callers) {
        if (allowed[caller].includes(method.role)) continue
        expect(await outcome(caller, method.name, [paramsOf(name)]), caller).to.equal('denied')
        expect((await json(rig, caller, method.name, paramsOf(name))).status, caller).to.equal(403)
      }
      await rig.settle()
      expect(await rig.state()).to.equal(before)
      for (const caller of callers) {
        if (allowed[caller].includes(method.role)) expect(await outcome(caller, method.name, [paramsOf(name)]), caller).not.to.be.oneOf(['denied', 'internal error', 'bad parameter', 'invalid request'])
      }
    })

    it(`${method.name} is for ${secretCallers.filter((caller) => mayBySecret(caller, method.name, method.role)).join(', ') || 'nobody'} without a certificate, on either wire`, async () => {
      const bySecret = async (caller: SecretCaller, wire: 'xml' | 'json'): Promise<string> => (await callWith(rig, { authorization: authorizations.get(caller), wire }, method.name, asHypervisor(name))).outcome
      await rig.settle()
      const before = await rig.state()
      for (const caller of secretCallers) {
        if (!mayBySecret(caller, method.name, method.role)) for (const wire of ['xml', 'json'] as const) expect(await bySecret(caller, wire), `${caller}, ${wire}`).to.equal('denied')
      }
      await rig.settle()
      expect(await rig.state()).to.equal(before)
      for (const caller of secretCallers) {
        if (mayBySecret(caller, method.name, method.role)) expect(await bySecret(caller, 'json'), caller).not.to.be.oneOf(['denied', 'not authenticated', 'internal error', 'bad parameter', 'invalid request', 'hung up'])
      }
    })
  }

  it('an agent speaks for its own host alone', async () => {
    const before = await rig.state()
    for (const name of ['hostRegister', 'hostHeartbeat', 'hostReport'] as const) {
      const params = { ...(paramsOf(name) as Readonly<Record<string, XmlValue>>), name: 'st2' }
      expect(await outcome('agent', apiMethods[name].name, [params])).to.equal('denied')
    }
    expect(await rig.state()).to.equal(before)
  })

  it('an agent of a release that is too new or too old for this manager is not registered', async () => {
    const before = await rig.state()
    const params = { ...(paramsOf('hostRegister') as Readonly<Record<string, XmlValue>>), bootId: 'another', protocols: { oldest: 8, newest: 9 } }
    expect(await outcome('agent', apiMethods.hostRegister.name, [params])).to.equal('other release')
    expect(await rig.state()).to.equal(before)
  })

  it('a denied call stays denied inside a multicall', async () => {
    const before = await rig.state()
    for (const [caller, name] of [['viewer', 'volumeDelete'], ['agent', 'volumeList'], ['operator', 'hostHeartbeat']] as const) {
      const [answer] = await rig.client(caller).call('system.multicall', [[{ methodName: apiMethods[name].name, params: [paramsOf(name)] }]]) as readonly { readonly faultCode: number }[]
      expect(answer?.faultCode).to.equal(1401)
    }
    expect(await rig.state()).to.equal(before)
  })

  it('without a certificate nobody gets as far as the first request while there is no token and no user; where there is one, without it as far as no method', async () => {
    const closed = await startManager({ servers: 0, volumes: 0 })
    try {
      const states = [await closed.state(), await rig.state()]
      for (const how of [{}, { authorization: authorizations.get('token admin') }]) expect((await callWith(closed, how, 'vsky.manager.status', {})).outcome).to.equal('hung up')
      for (const name of [...apiNames.map((each) => apiMethods[each].name), ...Object.keys(systemMethods)]) {
        expect((await callWith(rig, {}, name, {})), name).to.include({ outcome: 'not authenticated', status: 401 })
      }
      expect([await closed.state(), await rig.state()]).to.deep.equal(states)
    } finally {
      await closed.stop()
    }
  })

  it('with a certificate of another authority nobody gets as far as the first request, whatever token comes with it', async () => {
    const before = await rig.state()
    const stranger = await startManager({ servers: 0, volumes: 0 })
    const tls = { ...stranger.tls('admin'), ca: rig.tls('admin').ca }
    const client = createRpcClient({ url: rig.server.url, tls })
    try {
      expect(await client.call('vsky.host.list', [{}]).then(() => 'done', (thrown: unknown) => thrown)).to.be.instanceOf(TransportError)
      expect((await callWith(rig, { tls, authorization: authorizations.get('token admin') }, 'vsky.host.list', {})).outcome).to.equal('hung up')
    } finally {
      client.close()
      await stranger.stop()
    }
    expect(await rig.state()).to.equal(before)
  })

  it('with a certificate whose time is over nobody gets as far as the first request, whatever token comes with it', async () => {
    const before = await rig.state()
    const outDir = await mkdtemp(join(tmpdir(), 'vsky-expired-'))
    const now = Date.now
    Date.now = () => now() - 11 * 365 * 86_400_000 // a certificate is good for ten years
    await issueCertificate(createRun(), rig.authority, { commonName: 'late', role: 'admin', hosts: [], outDir }).finally(() => { Date.now = now })
    const tls = await loadTls(outDir)
    await rm(outDir, { recursive: true })
    const client = createRpcClient({ url: rig.server.url, tls })
    try {
      for (const name of apiNames) expect(await client.call(apiMethods[name].name, [paramsOf(name)]).then(() => 'done', (thrown: unknown) => thrown), name).to.be.instanceOf(TransportError)
      expect((await callWith(rig, { tls, authorization: authorizations.get('token admin') }, 'vsky.host.list', {})).outcome).to.equal('hung up')
    } finally {
      client.close()
    }
    expect(await rig.state()).to.equal(before)
  })

  it('what may be asked by GET changes nothing', async () => {
    await rig.settle()
    const before = await rig.state()
    for (const name of apiNames.filter((each) => isQuestion(apiMethods[each].name))) {
      const query = new URLSearchParams(Object.entries(sampleOf(name)).map(([key, value]): [string, string] => [key, String(value)])).toString()
      expect((await json(rig, apiMethods[name].role === 'admin' ? 'admin' : 'viewer', `${apiMethods[name].name}?${query}`, undefined)).status, name).to.be.oneOf([200, 404])
    }
    expect(await rig.state()).to.equal(before)
    expect((await json(rig, 'admin', 'vsky.volume.delete?volume=v2&request=12345678', undefined)).status).to.equal(405)
  })
})
