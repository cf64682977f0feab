import { X509Certificate, createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:net'
import { expect } from 'chai'
import { createLog } from '../../../../lib/host/log.js'
import { createAuthority, issueCertificate, loadTls } from '../../../../lib/host/pki.js'
import type { CertificateRole, TlsMaterial } from '../../../../lib/host/pki.js'
import { createRun } from '../../../../lib/host/run.js'
import { TransportError, createRpcClient } from '../../../../lib/rpc/client.js'
import type { RpcClientTls } from '../../../../lib/rpc/client.js'
import { startRpcServer } from '../../../../lib/rpc/server.js'
import type { Peer, RpcServer } from '../../../../lib/rpc/server.js'
import { encodeCall } from '../../../../lib/rpc/xmlrpc.js'

describe('mutual TLS', () => {
  const run = createRun()
  const log = createLog({ name: 'test', level: 'silent' })
  const servers: RpcServer[] = []
  let dir = ''
  let material: Record<'manager' | 'agent' | 'foreign', TlsMaterial>
  let calls: Peer[] = []

  async function start(tls: TlsMaterial, socketPath?: string): Promise<string> {
    const where = socketPath === undefined ? { host: '127.0.0.1', port: 0 } : { socketPath }
    const server = await startRpcServer({ ...where, tls, log, closeGraceMs: 200, handle: async ({ peer }) => { calls.push(peer); return 'hello' } })
    servers.push(server)
    return server.url
  }

  async function outcome(url: string, tls: RpcClientTls): Promise<string> {
    const client = createRpcClient({ url, tls, timeoutMs: 5_000 })
    try {
      return JSON.stringify(await client.call('x', []))
    } catch (thrown) {
      if (!(thrown instanceof TransportError)) throw thrown
      return `${thrown.kind}, ${thrown.sent ? 'sent' : 'not sent'}: ${thrown.message}`
    } finally {
      client.close()
    }
  }

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-mtls-'))
    const own = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    const other = await createAuthority(run, join(dir, 'other'), { name: 'lab' })
    const issue = async (authority: typeof own, outDir: string, commonName: string, role: CertificateRole, hosts: readonly string[]): Promise<TlsMaterial> => {
      await issueCertificate(run, authority, { commonName, role, hosts, outDir: join(dir, outDir) })
      return loadTls(join(dir, outDir))
    }
    material = {
      manager: await issue(own, 'm', 'm-1', 'manager', ['localhost', '127.0.0.1']),
      agent: await issue(own, 'a', 's-1', 'agent', ['10.9.9.9']),
      foreign: await issue(other, 'f', 'm-1', 'manager', ['127.0.0.1']),
    }
  })
  after(async () => { await rm(dir, { recursive: true, force: true }) })
  afterEach(async () => {
    calls = []
    for (const server of servers.splice(0)) await server.close()
  })

  const keyOf = ({ cert }: TlsMaterial): string => createHash('sha256').update(new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })).digest('hex')

  it('tells the handler the name and role in the certificate of the caller, and its key', async () => {
    const url = await start(material.manager)
    expect(await outcome(url, { ...material.agent, serverName: 'm-1', serverRoles: ['manager'] })).to.equal('"hello"')
    expect(calls).to.deep.equal([{ address: '127.0.0.1', commonName: 's-1', role: 'agent', keyDigest: keyOf(material.agent) }])
  })

  it('refuses a client whose certificate another authority signed, though all names agree', async () => {
    const url = await start(material.manager)
    expect(await outcome(url, { ...material.foreign, ca: material.agent.ca })).to.match(/^(tls|reset), .*certificate/)
    expect(calls).to.deep.equal([])
  })

  it('refuses a client without certificate', async () => {
    const url = await start(material.manager)
    const ended = await new Promise<string>((resolve) => {
      const req = request(`${url}/RPC2`, { method: 'POST', ca: material.manager.ca, agent: false, headers: { 'Content-Type': 'text/xml' } }, (res) => {
        res.resume()
        resolve(`status ${res.statusCode ?? 0}`)
      })
      req.on('error', (error) => { resolve(error.message) })
      req.end(encodeCall('x', []))
    })
    expect(ended).not.to.match(/^status/)
    expect(calls).to.deep.equal([])
  })

  it('does not talk to a server of another authority, and has sent nothing', async () => {
    const url = await start(material.foreign)
    expect(await outcome(url, { ...material.agent, serverName: 'm-1' })).to.match(/^tls, not sent: /)
    expect(calls).to.deep.equal([])
  })

  it('does not talk to an agent that stands in for a manager', async () => {
    const url = await start(material.agent)
    expect(await outcome(url, { ...material.manager, serverRoles: ['manager'] })).to.match(/^tls, not sent: .*its role is agent, not manager$/)
    expect(await outcome(url, { ...material.manager, serverName: 's-2' })).to.match(/^tls, not sent: .*it is s-1, not s-2$/)
    expect(calls).to.deep.equal([])
  })

  it('knows a server by its name or role, not by its host name, and by its host name when neither is said', async () => {
    const url = await start(material.agent) // its certificate says 10.9.9.9
    expect(await outcome(url, { ...material.manager, serverName: 's-1' })).to.equal('"hello"')
    expect(await outcome(url, { ...material.manager, serverRoles: ['manager', 'agent'] })).to.equal('"hello"')
    expect(await outcome(url, material.manager)).to.match(/^tls, not sent: /)
    expect(await outcome(await start(material.manager), material.agent)).to.equal('"hello"')
  })

  it('talks to the one key that a server is known by, and to no other certificate of its name', async () => {
    const url = await start(material.agent)
    expect(await outcome(url, { ...material.manager, serverName: 's-1', serverKey: keyOf(material.agent) })).to.equal('"hello"')
    for (const serverKey of [keyOf(material.manager), 'none']) expect(await outcome(url, { ...material.manager, serverName: 's-1', serverKey })).to.match(/^tls, not sent: .*its key is another one than it is known by$/)
    expect(calls).to.have.length(1)
  })

  it('works over a socket file as well, with the same checks', async () => {
    const url = await start(material.agent, join(dir, 'sock'))
    expect(await outcome(url, { ...material.manager, serverName: 's-1' })).to.equal('"hello"')
    expect(calls).to.deep.equal([{ address: 'unix', commonName: 'm-1', role: 'manager', keyDigest: keyOf(material.manager) }])
    expect(await outcome(url, { ...material.manager, serverRoles: ['manager'] })).to.match(/^tls, not sent: /)
    expect(await outcome(url, { ...material.foreign, ca: material.agent.ca })).to.match(/^(tls|reset)/)
  })

  it('lives through plain text on its port, and closes though a handshake never ends', async () => {
    const url = await start(material.manager)
    const port = Number(new URL(url).port)
    await new Promise<void>((resolve) => {
      const plain = connect(port, '127.0.0.1', () => { plain.write('GET / HTTP/1.1\r\n\r\n') })
      plain.on('error', () => undefined).on('close', () => { resolve() }).resume()
    })
    const silent = connect(port, '127.0.0.1').on('error', () => undefined)
    await new Promise<void>((resolve) => { silent.once('connect', resolve) })
    expect(await outcome(url, material.agent)).to.equal('"hello"')
    const closed = new Promise<void>((resolve) => { silent.once('close', () => { resolve() }) })
    await servers.splice(0)[0]?.close()
    silent.destroy()
    await closed
  })
})
