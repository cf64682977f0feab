import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { createLog } from '../../../../lib/host/log.js'
import { WireFault, startRpcServer } from '../../../../lib/rpc/server.js'
import type { CallContext, RpcHandler, RpcServer, RpcServerOptions } from '../../../../lib/rpc/server.js'
import { createRpcClient } from '../../../../lib/rpc/client.js'
import { decodeResponse, encodeCall } from '../../../../lib/rpc/xmlrpc.js'

type TestOptions = Partial<Omit<RpcServerOptions, 'host' | 'port' | 'socketPath'>> & { readonly handle: RpcHandler }

interface HttpAnswer { readonly status: number; readonly body: string; readonly headers: Readonly<Record<string, unknown>> }

describe('the RPC server', () => {
  const servers: RpcServer[] = []
  const lines: string[] = []
  const log = createLog({ name: 'test', level: 'debug', stream: { write: (line) => { lines.push(line) } } })

  async function start(options: TestOptions): Promise<RpcServer> {
    const server = await startRpcServer({ host: '127.0.0.1', port: 0, log, ...options })
    servers.push(server)
    return server
  }

  async function http(server: RpcServer, body: string | Buffer, { method = 'POST', path = '/RPC2', headers = {} }: {
    method?: string; path?: string; headers?: Record<string, string>
  } = {}): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const req = request(server.url + path, { method, agent: false, headers: { 'Content-Type': 'text/xml', 'Content-Length': String(Buffer.byteLength(body)), ...headers } }, (res) => {
        let text = ''
        res.setEncoding('utf8').on('data', (piece: string) => { text += piece })
        res.on('end', () => { resolve({ status: res.statusCode ?? 0, body: text, headers: res.headers }) })
      })
      req.on('error', reject)
      req.end(body)
    })
  }

  async function fault(server: RpcServer, body: string): Promise<{ code: number; text: string }> {
    const answer = await http(server, body)
    expect(answer.status).to.equal(200)
    const response = decodeResponse(answer.body)
    if (response.kind !== 'fault') throw new Error('no fault')
    return { code: response.code, text: response.text }
  }

  const echo: RpcHandler = async (_ctx, _method, params) => [...params]

  afterEach(async () => {
    lines.length = 0
    for (const server of servers.splice(0)) await server.close()
  })

  it('turns a fault of the table into its code and message and nothing else', async () => {
    const server = await start({ handle: async () => { throw new Fault('no room', 'Cannot place 3 legs') } })
    expect(await fault(server, encodeCall('x', []))).to.deep.equal({ code: 1201, text: 'Cannot place 3 legs' })
  })

  it('lets a classic method answer with an errno', async () => {
    const server = await start({ classic: true, handle: async () => { throw new WireFault(17, 'EEXIST') } })
    expect(await fault(server, encodeCall('x', []))).to.deep.equal({ code: 17, text: 'EEXIST' })
  })

  it('hides everything else behind a log id, and logs the stack under it', async () => {
    const server = await start({ handle: () => { throw new Error('the secret plan failed') } })
    const { code, text } = await fault(server, encodeCall('x', []))
    expect(code).to.equal(-32603)
    const id = /^internal error, log id ([0-9a-f]{16})$/.exec(text)?.[1]
    const line = lines.find((logged) => logged.includes(id ?? 'none'))
    expect(line).to.contain('the secret plan failed').and.to.contain('server.test')
  })

  it('answers a result that cannot be sent as an internal error', async () => {
    const server = await start({ handle: async () => ({ a: NaN }) })
    expect((await fault(server, encodeCall('x', []))).code).to.equal(-32603)
  })

  it('answers bad XML with a parse error, and lives on', async () => {
    const server = await start({ handle: echo })
    for (const body of ['', 'hello', '<methodCall><methodName>x</methodName><fault/></methodCall>', '<value></b>'.repeat(10_000)]) {
      expect((await fault(server, body)).code).to.equal(-32700)
    }
    expect(decodeResponse((await http(server, encodeCall('x', [1]))).body)).to.deep.equal({ kind: 'value', value: [1] })
  })

  it('takes POST of XML in UTF-8 on its paths and nothing else', async () => {
    const server = await start({ handle: echo })
    const body = encodeCall('x', [])
    const status = async (options: Parameters<typeof http>[2], sent: string | Buffer = body): Promise<number> => (await http(server, sent, options)).status
    expect(await status({ path: '/' })).to.equal(200)
    expect(await status({ path: '/RPC2?x=1' })).to.equal(200)
    expect(await status({ path: '/other' })).to.equal(404)
    expect(await status({ method: 'GET' }, '')).to.equal(405)
    expect((await http(server, '', { method: 'GET' })).headers['allow']).to.equal('POST')
    expect(await status({ headers: { 'Content-Type': 'text/plain' } })).to.equal(415)
    expect(await status({ headers: { 'Content-Type': 'application/x-www-form-urlencoded' } })).to.equal(415)
    expect(await status({ headers: { 'Content-Type': 'text/xml; charset=latin1' } })).to.equal(415)
    expect(await status({ headers: { 'Content-Type': 'Application/XML; charset="utf-8"' } })).to.equal(200)
    expect(await status({ headers: { 'Content-Encoding': 'gzip' } })).to.equal(415)
    expect(await status({}, Buffer.from([0x3c, 0xff, 0x3e]))).to.equal(400)
  })

  it('refuses a body that is too long, whether it says so or not', async () => {
    const server = await start({ handle: echo, maxBodyBytes: 1000 })
    const said = await http(server, 'x'.repeat(1001))
    expect(said.status).to.equal(413)
    expect(said.headers['connection']).to.equal('close')
    const status = await new Promise<number>((resolve, reject) => {
      const req = request(`${server.url}/RPC2`, { method: 'POST', agent: false, headers: { 'Content-Type': 'text/xml', 'Transfer-Encoding': 'chunked' } }, (res) => {
        res.resume()
        resolve(res.statusCode ?? 0)
      })
      req.on('error', reject)
      req.write('x'.repeat(1001)) // and no end: the answer must not wait for it
    })
    expect(status).to.equal(413)
  })

  it('says the length of its replies', async () => {
    const server = await start({ handle: async () => 'é' })
    const { headers, body } = await http(server, encodeCall('x', []))
    expect(headers['content-length']).to.equal(String(Buffer.byteLength(body)))
  })

  it('answers at the deadline though the handler hangs, and tells the handler', async () => {
    let ctx: CallContext | undefined
    const server = await start({ deadlineMs: 30, handle: async (context) => { ctx = context; return new Promise(() => undefined) } })
    expect(await fault(server, encodeCall('x', []))).to.deep.equal({ code: 1306, text: 'No answer within 30 ms' })
    expect(ctx?.signal.aborted).to.equal(true)
  })

  it('tells the handler when the client goes away', async () => {
    let began = (): void => undefined
    const inside = new Promise<void>((resolve) => { began = resolve })
    let ended = (): void => undefined
    const aborted = new Promise<void>((resolve) => { ended = resolve })
    const server = await start({
      handle: async ({ signal }) => {
        signal.addEventListener('abort', ended)
        began()
        return new Promise(() => undefined)
      },
    })
    const client = createRpcClient({ url: server.url })
    const call = client.call('x', []).catch(() => undefined)
    await inside
    client.close()
    await Promise.all([call, aborted])
    expect(lines.filter((line) => line.includes('"error"'))).to.deep.equal([])
  })

  it('limits the calls of one peer at a time', async () => {
    let release = (): void => undefined
    const gate = new Promise<void>((resolve) => { release = resolve })
    let bothCame = (): void => undefined
    const bothIn = new Promise<void>((resolve) => { bothCame = resolve })
    let under = 0
    const server = await start({ maxCallsPerPeer: 2, handle: async () => { if (++under === 2) bothCame(); await gate; return 1 } })
    const first = [http(server, encodeCall('x', [])), http(server, encodeCall('x', []))]
    await bothIn
    const third = await http(server, encodeCall('x', []))
    expect([third.status, third.headers['retry-after']]).to.deep.equal([503, '1'])
    release()
    expect((await Promise.all(first)).map(({ status }) => status)).to.deep.equal([200, 200])
    expect((await http(server, encodeCall('x', []))).status).to.equal(200)
  })

  it('hands other routes on', async () => {
    const server = await start({
      handle: echo,
      onRequest: (req, res) => {
        if (req.url !== '/metrics') return false
        res.end('up 1')
        return true
      },
    })
    expect((await http(server, '', { method: 'GET', path: '/metrics' })).body).to.equal('up 1')
    expect((await http(server, encodeCall('x', []))).status).to.equal(200)
  })

  it('answers garbage with 400 and goes on', async () => {
    const server = await start({ handle: echo })
    const { address } = server
    if (address.kind !== 'tcp') throw new Error('not a port')
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(address.port, address.host, () => { socket.write('\x16\x03\x01 hello\r\n\r\n') })
      let got = ''
      socket.on('data', (piece) => { got += piece.toString() })
      socket.on('close', () => { resolve(got) })
      socket.on('error', reject)
    })
    expect(text).to.match(/^HTTP\/1\.1 400 /)
    expect((await http(server, encodeCall('x', []))).status).to.equal(200)
  })

  describe('against a client that means no good', () => {
    const open = (server: RpcServer, send: string): Promise<{ text: string; tookMs: number }> => new Promise((resolve) => {
      const { address } = server
      if (address.kind !== 'tcp') throw new Error('not a port')
      const from = performance.now()
      let text = ''
      const socket = connect(address.port, address.host, () => { socket.write(send) })
      socket.on('data', (piece) => { text += piece.toString() })
      socket.on('error', () => undefined)
      socket.on('close', () => { resolve({ text, tookMs: performance.now() - from }) })
    })

    it('ends a head that comes too slowly, and a body that never ends', async () => {
      const server = await start({ handle: echo, headersTimeoutMs: 150, requestTimeoutMs: 300 })
      const [head, body] = await Promise.all([
        open(server, 'POST /RPC2 HTTP/1.1\r\nHost: x\r\nX-Slow: '), open(server, 'POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 1000\r\n\r\n<methodCall>'),
      ])
      expect([head.text, body.text].map((text) => text.split(' ')[1])).to.deep.equal(['400', '400'])
      for (const { tookMs } of [head, body]) expect(tookMs).to.be.lessThan(5_000)
      expect((await http(server, encodeCall('x', []))).status).to.equal(200)
    })

    it('gives one address only so many connections, and takes new ones when old ones end', async () => {
      const server = await start({ handle: echo, maxConnectionsPerAddress: 2 })
      const { address } = server
      if (address.kind !== 'tcp') throw new Error('not a port')
      const held = [connect(address.port, address.host), connect(address.port, address.host)]
      await Promise.all(held.map((socket) => new Promise((resolve) => { socket.once('connect', resolve) })))
      await new Promise((resolve) => setImmediate(resolve))
      expect(await http(server, encodeCall('x', [])).then(() => 'taken', () => 'ended')).to.equal('ended')
      await Promise.all(held.map((socket) => new Promise((resolve) => { socket.once('close', resolve).destroy() })))
      let status = 0
      while (status !== 200) status = await http(server, encodeCall('x', [])).then((answer) => answer.status, () => 0) // the server hears of their end a moment later
    })

    it('holds only so much of all requests together, and lets it go when they are answered', async () => {
      let release = (): void => undefined
      const gate = new Promise<void>((resolve) => { release = resolve })
      let began = (): void => undefined
      const inside = new Promise<void>((resolve) => { began = resolve })
      const server = await start({ maxBodiesBytes: 10_000, handle: async () => { began(); await gate; return 1 } })
      const large = encodeCall('x', ['a'.repeat(6_000)])
      const first = http(server, large)
      await inside
      expect((await http(server, large)).status).to.equal(503)
      release()
      expect((await first).status).to.equal(200)
      expect((await http(server, large)).status).to.equal(200)
    })

    it('lets each caller send as much as befits it', async () => {
      const server = await start({ handle: echo, maxBodyBytes: ({ commonName }) => (commonName === undefined ? 500 : 5_000) })
      expect((await http(server, encodeCall('x', ['a'.repeat(400)]))).status).to.equal(413)
    })

    it('reads no head of more than 16 KiB', async () => {
      const server = await start({ handle: echo })
      expect((await http(server, encodeCall('x', []), { headers: { 'X-Long': 'x'.repeat(20_000) } })).status).to.equal(400)
      expect((await http(server, encodeCall('x', []))).status).to.equal(200)
    })
  })

  describe('when it is closed', () => {
    it('lets a call under way finish and answers it', async () => {
      let release = (): void => undefined
      const gate = new Promise<void>((resolve) => { release = resolve })
      let began = (): void => undefined
      const inside = new Promise<void>((resolve) => { began = resolve })
      const server = await start({ handle: async () => { began(); await gate; return 'done' } })
      const client = createRpcClient({ url: server.url })
      const call = client.call('x', [])
      await inside
      const closed = server.close()
      release()
      expect(await call).to.equal('done')
      await closed
      client.close()
    })

    it('does not wait for kept connections, nor for ever for a call that hangs', async () => {
      const server = await start({ closeGraceMs: 60, handle: async (_ctx, method) => (method === 'hang' ? new Promise(() => undefined) : 1) })
      const client = createRpcClient({ url: server.url })
      await client.call('x', [])
      const hanging = client.call('hang', []).catch((thrown: unknown) => String(thrown))
      await client.call('x', [])
      const startedMs = performance.now()
      await Promise.all([server.close(), server.close()])
      expect(performance.now() - startedMs).to.be.lessThan(2_000)
      expect(await hanging).to.match(/Error|Fault/)
      client.close()
    })
  })

  describe('on a socket file', () => {
    let dir = ''
    beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'vsky-rpc-')) })
    afterEach(async () => { await rm(dir, { recursive: true, force: true }) })

    it('lets its owner alone in', async () => {
      const socketPath = join(dir, 's')
      const server = await startRpcServer({ socketPath, log, handle: async ({ peer }) => peer.address })
      servers.push(server)
      expect((await stat(socketPath)).mode & 0o777).to.equal(0o600)
      const client = createRpcClient({ url: server.url })
      expect(await client.call('x', [])).to.equal('unix')
      client.close()
    })

    it('takes the place of a killed process', async () => {
      const socketPath = join(dir, 's')
      const { signal } = spawnSync(process.execPath, ['-e', 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))', socketPath])
      expect(signal).to.equal('SIGKILL')
      expect((await stat(socketPath)).isSocket()).to.equal(true)
      servers.push(await startRpcServer({ socketPath, log, handle: echo }))
    })

    it('does not take the place of a living process or of another kind of file', async () => {
      const socketPath = join(dir, 's')
      servers.push(await startRpcServer({ socketPath, log, handle: echo }))
      const again = await startRpcServer({ socketPath, log, handle: echo }).then(() => 'started', (thrown: unknown) => String(thrown))
      expect(again).to.match(/EADDRINUSE/)
      await writeFile(join(dir, 'file'), 'x')
      const overFile = await startRpcServer({ socketPath: join(dir, 'file'), log, handle: echo }).then(() => 'started', (thrown: unknown) => String(thrown))
      expect(overFile).to.match(/EADDRINUSE/)
    })
  })
})
