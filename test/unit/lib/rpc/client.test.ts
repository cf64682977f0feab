import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import type { AddressInfo, Server as NetServer } from 'node:net'
import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { RemoteFault, TransportError, createRpcClient } from '../../../../lib/rpc/client.js'
import type { RpcClient, RpcClientOptions } from '../../../../lib/rpc/client.js'
import { encodeFault, encodeResponse } from '../../../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'

const open: (NetServer | Server)[] = []
const clients: RpcClient[] = []

async function listening(server: NetServer | Server): Promise<string> {
  open.push(server)
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function client(options: RpcClientOptions): RpcClient {
  const made = createRpcClient(options)
  clients.push(made)
  return made
}

async function serving(listener: RequestListener): Promise<string> { return listening(createServer(listener)) }

async function failure(call: Promise<XmlValue>): Promise<TransportError> {
  const thrown = await call.then(() => new Error('it succeeded'), (reason: unknown) => reason)
  if (thrown instanceof TransportError) return thrown
  throw thrown
}

async function kindOf(call: Promise<XmlValue>): Promise<readonly [string, boolean]> {
  const { kind, sent } = await failure(call)
  return [kind, sent]
}

describe('the RPC client', () => {
  afterEach(async () => {
    for (const made of clients.splice(0)) made.close()
    for (const server of open.splice(0)) {
      if ('closeAllConnections' in server) server.closeAllConnections()
      await new Promise((resolve) => { server.close(resolve) })
    }
  })

  it('throws a fault of the table by its name, and another as a remote fault', async () => {
    let code = 1001
    const { call } = client({ url: await serving((_req, res) => { res.end(encodeFault(code, 'text')) }) })
    const known: unknown = await call('x', []).catch((thrown: unknown) => thrown)
    expect(known).to.be.instanceOf(Fault).with.property('fault', 'unknown volume')
    expect(known).to.have.property('message', 'text')
    code = 17
    expect(await call('x', []).catch((thrown: unknown) => thrown)).to.be.instanceOf(RemoteFault).with.property('code', 17)
  })

  it('says that nobody listens, and that nothing was sent', async () => {
    const url = await serving(() => undefined)
    await new Promise((resolve) => { open.pop()?.close(resolve) })
    const error = await failure(client({ url }).call('a.b', []))
    expect([error.kind, error.sent]).to.deep.equal(['refused', false])
    expect(error.message).to.match(/^a\.b at http:\/\/127\.0\.0\.1:\d+: connect ECONNREFUSED/)
    expect(await kindOf(client({ url: 'unix:/nowhere/at/all' }).call('x', []))).to.deep.equal(['refused', false])
  })

  it('settles at its time limit, whether the server is silent, or stalls in the middle of a reply', async () => {
    const silent = client({ url: await serving(() => undefined) })
    expect(await kindOf(silent.call('x', [], { timeoutMs: 30 }))).to.deep.equal(['timeout', true])
    const stalling = client({ url: await serving((_req, res) => { res.write('<?xml') }), timeoutMs: 30 })
    expect(await kindOf(stalling.call('x', []))).to.deep.equal(['timeout', true])
  })

  it('counts the wait for a connection, and knows that nothing was sent then', async () => {
    const { call } = client({ url: await serving(() => undefined), maxSockets: 1 })
    const first = kindOf(call('x', [], { timeoutMs: 80 }))
    expect(await kindOf(call('x', [], { timeoutMs: 20 }))).to.deep.equal(['timeout', false])
    expect(await first).to.deep.equal(['timeout', true])
  })

  it('gives up when the caller does, before and during a call', async () => {
    const { call } = client({ url: await serving(() => undefined) })
    expect(await kindOf(call('x', [], { signal: AbortSignal.abort() }))).to.deep.equal(['aborted', false])
    const controller = new AbortController()
    const { call: other } = client({ url: await serving(() => { controller.abort() }) })
    expect(await kindOf(other('x', [], { signal: controller.signal }))).to.deep.equal(['aborted', true])
  })

  it('ends its calls when it is closed, and makes none after', async () => {
    let arrived = (): void => undefined
    const arrival = new Promise<void>((resolve) => { arrived = resolve })
    const made = client({ url: await serving(() => { arrived() }) })
    const call = kindOf(made.call('x', []))
    await arrival
    made.close()
    expect(await call).to.deep.equal(['aborted', true])
    expect(await kindOf(made.call('x', []))).to.deep.equal(['aborted', false])
  })

  it('refuses another status even with good XML, and shows its text', async () => {
    const url = await serving((_req, res) => { res.writeHead(500).end(encodeResponse(1)) })
    const error = await failure(client({ url }).call('x', []))
    expect([error.kind, error.sent]).to.deep.equal(['http status', true])
    expect(error.message).to.match(/status 500: <\?xml/)
    const endless = await serving((_req, res) => { res.writeHead(502).write('x'.repeat(100_000)) })
    expect((await failure(client({ url: endless }).call('x', []))).kind).to.equal('http status')
  })

  it('refuses replies that are no XML-RPC, no HTTP, no UTF-8, too long or broken off', async () => {
    const kind = async (listener: RequestListener): Promise<string> => (await failure(client({ url: await serving(listener), maxReplyBytes: 1000 }).call('x', []))).kind
    expect(await kind((_req, res) => { res.end('hello') })).to.equal('bad reply')
    expect(await kind((_req, res) => { res.end('<methodResponse><fault><value><nil/></value></fault></methodResponse>') })).to.equal('bad reply')
    expect(await kind((_req, res) => { res.end(Buffer.from([0xff])) })).to.equal('bad reply')
    expect(await kind((_req, res) => { res.end(encodeResponse('x'.repeat(1001))) })).to.equal('too long')
    expect(await kind((_req, res) => { res.writeHead(200, { 'Content-Length': 500 }).write('<?xml', () => { res.destroy() }) })).to.equal('reset')
    const noHttp = await listening(createNetServer((socket) => { socket.on('error', () => undefined).end('SSH-2.0-hello\r\n').resume() }))
    expect((await failure(client({ url: noHttp }).call('x', []))).kind).to.equal('bad reply')
  })

  it('tells a reset connection, and that the call may have been carried out', async () => {
    const url = await serving((req) => { req.socket.destroy() })
    expect(await kindOf(client({ url }).call('x', []))).to.deep.equal(['reset', true])
  })

  it('repeats a call once, on a new connection, when a kept one turns out dead', async () => {
    let calls = 0
    const sockets = new Set<unknown>()
    const { call } = client({
      url: await serving((req, res) => {
        calls += 1
        sockets.add(req.socket)
        if (calls === 2) req.socket.destroy()
        else res.end(encodeResponse(calls))
      }),
    })
    expect(await call('x', [])).to.equal(1)
    expect(await call('x', [])).to.equal(3)
    expect(sockets.size).to.equal(2)
  })

  it('keeps its connection', async () => {
    const sockets = new Set<unknown>()
    const { call } = client({ url: await serving((req, res) => { sockets.add(req.socket); res.end(encodeResponse(1)) }) })
    for (let round = 0; round < 5; round++) await call('x', [])
    expect(sockets.size).to.equal(1)
  })

  it('refuses parameters that cannot be sent before it connects', async () => {
    const thrown: unknown = await client({ url: 'http://127.0.0.1:1' }).call('x', [NaN]).catch((reason: unknown) => reason)
    expect(thrown).to.be.instanceOf(TypeError)
  })

  it('refuses a URL that makes no sense', () => {
    const tls = { ca: '', cert: '', key: '' }
    for (const options of [{ url: 'ftp://x' }, { url: 'unix:relative' }, { url: 'https://x' }, { url: 'http://x', tls }, { url: 'x' }]) {
      expect(() => createRpcClient(options), options.url).to.throw(TypeError)
    }
  })
})
