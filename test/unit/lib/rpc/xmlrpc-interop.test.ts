import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { expect } from 'chai'
import { Fault } from '../../../../lib/faults.js'
import { createLog } from '../../../../lib/host/log.js'
import { RemoteFault, createRpcClient } from '../../../../lib/rpc/client.js'
import { startRpcServer } from '../../../../lib/rpc/server.js'
import type { RpcServer } from '../../../../lib/rpc/server.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'

/** As much of the npm package `xmlrpc` as is used here; it has no types of its own. */
type Callback = (error: object | null, value?: unknown) => void
interface OutsideClient { methodCall(method: string, params: readonly unknown[], callback: Callback): void }
interface OutsideServer {
  on(method: string, handler: (error: null, params: unknown[], callback: Callback) => void): void
  readonly httpServer: { address(): { port: number }; close(done: () => void): void; closeAllConnections(): void }
}
interface Outside {
  createClient(options: { host: string; port: number; path: string }): OutsideClient
  createServer(options: { host: string; port: number }, onListening: () => void): OutsideServer
}
const outside = createRequire(import.meta.url)('xmlrpc') as Outside

const log = createLog({ name: 'test', level: 'silent' })

async function echoServer(): Promise<{ server: RpcServer; port: number }> {
  const server = await startRpcServer({
    host: '127.0.0.1', port: 0, log, classic: true, closeGraceMs: 200,
    handle: async (_ctx, method, params) => {
      if (method === 'fail') throw new Fault('no room', 'Cannot place <3> legs & more')
      return params[0] ?? 0
    },
  })
  if (server.address.kind !== 'tcp') throw new Error('not a port')
  return { server, port: server.address.port }
}

describe('clients and servers that we did not write', () => {
  describe('the npm package', () => {
    it('as a client reads what our server answers', async () => {
      const { server, port } = await echoServer()
      const client = outside.createClient({ host: '127.0.0.1', port, path: '/RPC2' })
      const call = async (method: string, params: readonly unknown[]): Promise<unknown> => new Promise((resolve) => {
        client.methodCall(method, params, (error, value) => { resolve(error ?? value) })
      })
      const value = { lvolname: 'a<b>&"c"]]', redundancy: 3, labels: ['x', ''], fault: false, ratio: 1.25, raw: Buffer.from([0, 255]), nested: { empty: [] } }
      expect(await call('echo', [value])).to.deep.equal(value)
      expect(await call('fail', [])).to.include({ faultCode: 1201, faultString: 'Cannot place <3> legs & more' })
      await server.close()
    })

    it('as a server is understood by our client', async () => {
      const ready = { done: (): void => undefined }
      const listening = new Promise<void>((resolve) => { ready.done = resolve })
      const server = outside.createServer({ host: '127.0.0.1', port: 0 }, () => { ready.done() })
      server.on('echo', (_error, params, callback) => { callback(null, params[0]) })
      server.on('fail', (_error, _params, callback) => { callback({ faultCode: 17, faultString: 'EEXIST' }) })
      await listening
      const client = createRpcClient({ url: `http://127.0.0.1:${server.httpServer.address().port}/` })
      const value: XmlValue = { name: 'é<&>', count: -5, list: [1, 'two', [true]], half: 0.5, none: null, blob: new Uint8Array([1, 2, 3]) }
      expect(await client.call('echo', [value])).to.deep.equal(value)
      const thrown: unknown = await client.call('fail', []).catch((reason: unknown) => reason)
      expect(thrown).to.be.instanceOf(RemoteFault).and.include({ code: 17, message: 'EEXIST' })
      client.close()
      server.httpServer.closeAllConnections()
      await new Promise<void>((resolve) => { server.httpServer.close(resolve) })
    })
  })

  describe('Python', () => {
    before(function () {
      if (spawnSync('python3', ['-c', 'import xmlrpc.client, xmlrpc.server']).status === 0) return
      console.log('SKIP: no python3 with xmlrpc.client, so interoperation with it is not tested')
      this.skip()
    })

    async function output(child: ChildProcess): Promise<string> {
      let text = ''
      child.stdout?.on('data', (piece: Buffer) => { text += piece.toString() })
      child.stderr?.on('data', (piece: Buffer) => { text += piece.toString() })
      await once(child, 'close')
      return text
    }

    it('as a client reads what our server answers', async () => {
      const { server, port } = await echoServer()
      const script = [
        'import sys, datetime, xmlrpc.client as x',
        's = x.ServerProxy("http://127.0.0.1:%s" % sys.argv[1], use_builtin_types=True)',
        'for v in [1, -2147483648, 2147483647, 1.5, 1e21, -1e-9, 0.1, True, "", "  ", "a<]]>b]]>&c", "\\u00e9\\U0001F600", b"\\x00\\xff", [], {}, [1, [2, {"a": "b"}]],',
        '          {"lvolname": "x", "capacity": 10}, datetime.datetime(2026, 11, 21, 3, 4, 5)]:',
        '    r = s.echo(v)',
        '    if r != v or type(r) is not type(v): print("DIFFERENT", repr(v), repr(r))',
        'try: s.fail()',
        'except x.Fault as f: print(f.faultCode, f.faultString)',
        'try: s.echo("bad\\x01")',
        'except x.Fault as f: print(f.faultCode)',
      ].join('\n')
      const text = await output(spawn('python3', ['-c', script, String(port)]))
      expect(text).to.equal('1201 Cannot place <3> legs & more\n-32700\n')
      await server.close()
    })

    it('as a server is understood by our client', async () => {
      const script = [
        'import sys', 'from xmlrpc.server import SimpleXMLRPCServer', 'import xmlrpc.client as x',
        's = SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False, allow_none=True, use_builtin_types=True)',
        'def fail(): raise x.Fault(17, "EEXIST")',
        's.register_function(lambda v: v, "echo"); s.register_function(fail, "fail")',
        'print(s.server_address[1], flush=True)', 's.serve_forever()',
      ].join('\n')
      const child = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      const closed = once(child, 'close')
      try {
        const [line] = await once(createInterface(child.stdout), 'line') as [string]
        const client = createRpcClient({ url: `http://127.0.0.1:${line}` })
        const values: readonly XmlValue[] = [
          1, -1.5, 1e21, 1e-300, 'a<]]>b & \n c', '', null, true, [], [null, [1]], { a: { b: 'c' } }, new Uint8Array([0, 255]), new Date('2026-11-21T03:04:05Z'),
        ]
        for (const value of values) expect(await client.call('echo', [value])).to.deep.equal(value)
        const thrown: unknown = await client.call('fail', []).catch((reason: unknown) => reason)
        expect(thrown).to.be.instanceOf(RemoteFault).and.include({ code: 17, message: 'EEXIST' })
        client.close()
      } finally {
        child.kill('SIGKILL')
        await closed
      }
    })
  })
})
