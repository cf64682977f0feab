import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { expect } from 'chai'
import { createLog } from '../../../../../lib/host/log.js'
import type { RpcServer } from '../../../../../lib/rpc/server.js'
import { startClassicServer } from '../../../../../manager/api/classic/door.js'
import { Site } from '../../../../support/site.js'

interface OutsideClient { methodCall(method: string, params: readonly unknown[], callback: (error: object | null, value?: unknown) => void): void }
const outside = createRequire(import.meta.url)('xmlrpc') as { createClient(options: { host: string; port: number; path: string }): OutsideClient }

/** Fails with what to install, where a program of the system is missing. */
function needed(program: string, args: readonly string[], debian: string): void {
  if (spawnSync(program, args).status !== 0) throw new Error(`${program} is needed for this test and is not here: apt-get install ${debian}`)
}

async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(program, args)
  let text = ''
  child.stdout.on('data', (piece: Buffer) => { text += piece.toString() })
  child.stderr.on('data', (piece: Buffer) => { text += piece.toString() })
  child.stdin.on('error', () => undefined) // it may have read enough
  child.stdin.end(input)
  await once(child, 'close')
  return text
}

const call = (method: string, members: string): string => `<?xml version='1.0'?>\n<methodCall>\n<methodName>${method}</methodName>\n<params>\n<param>\n<value><struct>\n${members}</struct></value>\n</param>\n</params>\n</methodCall>\n`
const member = (name: string, value: string): string => `<member>\n<name>${name}</name>\n<value>${value}</value>\n</member>\n`

describe('clients that we did not write, at the door for the original API', function () {
  this.timeout(60_000) // they are processes, on a machine that may be busy
  let site: Site
  let server: RpcServer
  let port: number
  beforeEach(async () => {
    site = await Site.start({ heads: 1, servers: 3 })
    server = await startClassicServer(site.cluster, { host: '127.0.0.1', port: 0 }, { stepGb: 10 }, createLog({ name: 'test', level: 'silent' }))
    if (server.address.kind !== 'tcp') throw new Error('not a port')
    port = server.address.port
  })
  afterEach(async () => {
    await Promise.all([server.close(), site.settle().then(() => site.stop())])
  })

  describe('Python\'s xmlrpc.client', () => {
    before(() => { needed('python3', ['-c', 'import xmlrpc.client'], 'python3') })

    // As the library of the original's commands did it: a new connection for each call, one struct with ver; then as a hypervisor's driver goes through a disk's life.
    const life = [
      'import sys, xmlrpc.client as x',
      'def call(method, **members):',
      '    members["ver"] = 5',
      '    with x.ServerProxy("http://127.0.0.1:%s" % sys.argv[1]) as server:',
      '        try: return getattr(server, method)(members)',
      '        except x.Fault as f: return "fault %d" % f.faultCode',
      'show = lambda *values: print(*[repr(v) for v in values])',
      'ids = [call("registerHeadServer", ip_data=["10.0.1.1"]), call("registerHeadServer", ip_data=["10.0.1.1"])]',
      'show("registered", *ids)',
      'show("before", call("listLogicalVolumes"))',
      'lvolid = call("createLogicalVolume", lvolname="xcp-0d0c", capacity=7)',
      'show("made", type(lvolid).__name__, lvolid)',
      'sizes = [(v["lvolid"], v["capacity"] * 2 ** 30) for v in call("listLogicalVolumes")]',
      'show("there", sizes)',
      'show("attached", call("attachLogicalVolume", lvolid=str(lvolid), hsvrid=ids[0]), call("attachLogicalVolume", lvolid=str(lvolid), hsvrid=ids[0]))',
      'volume = call("listLogicalVolumes", lvolid=lvolid)[0]',
      'show(sorted((name, type(value).__name__) for name, value in volume.items()))',
      // What the original's commands assert of the tree.
      'tree = call("showLogicalVolume", lvolname="xcp-0d0c")',
      'assert tree["lvoltype"] == 0 and len(tree["components"]) == 1 and tree["labels"] == ["xcp-0d0c", "lvol-%08x" % lvolid] and tree["lvolspec"]["assoc"] == []',
      'origin, = tree["components"]',
      'assert origin["lvoltype"] == 6',
      'linear, = origin["components"]',
      'assert linear["lvoltype"] == 1 and linear["capacity"] == sum(m["capacity"] for m in linear["components"])',
      'for mirror in linear["components"]:',
      '    assert mirror["lvoltype"] == 2 and len(mirror["components"]) == tree["lvolspec"]["redundancy"] == 3',
      '    for extent in mirror["components"]:',
      '        assert extent["lvoltype"] == 3 and extent["mirror_status"] in (1, 2, 3) and extent["components"] == [] and len(extent["lvolspec"]["iscsi_path"]) == 1',
      'show("in use", call("deleteLogicalVolume", lvolid=lvolid))',
      'show("detached", call("detachLogicalVolume", lvolid=lvolid), call("detachLogicalVolume", lvolid=lvolid))',
      'show("deleted", call("deleteLogicalVolume", lvolid=lvolid), call("deleteLogicalVolume", lvolid=lvolid))',
      'show("after", call("listLogicalVolumes"))',
      's = x.ServerProxy("http://127.0.0.1:%s/" % sys.argv[1])',
      'for wrong in [lambda: s.listLogicalVolumes(), lambda: s.listLogicalVolumes({}), lambda: s.listLogicalVolumes({"ver": 5.0}), lambda: s.listLogicalVolumes({"ver": 5}, 1), lambda: s.noSuchThing({"ver": 5}), lambda: s.vsky.status({}), lambda: s.system.listMethods()]:',
      '    try: show(wrong())',
      '    except x.Fault as f: show(f.faultCode, f.faultString)',
      's = x.ServerProxy("http://127.0.0.1:%s/elsewhere" % sys.argv[1])',
      'try: s.listEvents({"ver": 5})',
      'except x.ProtocolError as e: show(e.errcode)',
    ].join('\n')

    it('goes through the life of a disk as a hypervisor\'s driver does, and gets each type that it expects', async () => {
      expect((await run('python3', ['-c', life, String(port)])).split('\n')).to.deep.equal([
        '\'registered\' 1 \'fault 17\'', '\'before\' []', '\'made\' \'int\' 1', '\'there\' [(1, 10737418240)]', '\'attached\' 0 \'fault 16\'',
        '[(\'associated_from\', \'list\'), (\'associated_to\', \'list\'), (\'bind_event\', \'int\'), (\'bind_status\', \'int\'), (\'capacity\', \'int\'), (\'ctime\', \'str\'), (\'fault\', \'bool\'), (\'hsvrid\', \'int\'), (\'lvolid\', \'int\'), (\'lvolname\', \'str\'), (\'redundancy\', \'int\')]',
        '\'in use\' \'fault 16\'', '\'detached\' 0 0', '\'deleted\' 0 \'fault 2\'', '\'after\' []',
        '1 "<type \'exceptions.TypeError\'>:listLogicalVolumes() takes exactly one struct"', '71 \'EPROTO: ver must be 5\'', '[]',
        '1 "<type \'exceptions.TypeError\'>:listLogicalVolumes() takes exactly one struct"', '1 \'<type \\\'exceptions.Exception\\\'>:method "noSuchThing" is not supported\'',
        '1 \'<type \\\'exceptions.Exception\\\'>:method "vsky.status" is not supported\'', '[\'system.listMethods\', \'system.methodHelp\', \'system.methodSignature\']', '404', '',
      ])
    })
  })

  describe('the npm package xmlrpc', () => {
    it('makes, lists and deletes, on both paths', async () => {
      const client = (path: string): ((method: string, members: object) => Promise<unknown>) => {
        const made = outside.createClient({ host: '127.0.0.1', port, path })
        return (method, members) => new Promise((resolve) => { made.methodCall(method, [{ ver: 5, ...members }], (error, value) => { resolve(error ?? value) }) })
      }
      const [one, other] = [client('/RPC2'), client('/')]
      expect(await one('createLogicalVolume', { lvolname: 'vol', capacity: 10, redundancy: 2 })).to.equal(1)
      expect(await other('createLogicalVolume', { lvolname: 'vol', capacity: 10 })).to.include({ faultCode: 17 })
      expect(await other('listLogicalVolumes', {})).to.have.nested.property('[0].lvolname', 'vol')
      expect(await other('listPhysicalDisks', { ssvrid: 2 })).to.have.nested.property('[0].local_path', '/dev/sdb')
      expect(await one('deleteLogicalVolume', { lvolname: 'vol' })).to.equal(0)
    })
  })

  describe('curl', () => {
    before(() => { needed('curl', ['--version'], 'curl') })

    const curl = (...args: readonly string[]): Promise<string> => run('curl', ['--silent', '--show-error', '--include', '--max-time', '20', '--noproxy', '*', ...args])
    const posted = (path: string, body: string, ...args: readonly string[]): Promise<string> => curl('-H', 'Content-Type: text/xml', '--data-binary', body, ...args, `http://127.0.0.1:${port}${path}`)

    for (const version of ['1.0', '1.1']) {
      it(`by HTTP/${version}: every answer says its length, is neither chunked nor compressed, and faults are 200`, async () => {
        const bodies = [
          call('createLogicalVolume', member('ver', '<int>5</int>') + member('lvolname', `<string>curl</string>`) + member('capacity', '<i4>10</i4>') + member('redundancy', '<int>2</int>')),
          call('listLogicalVolumes', member('ver', '<int>5</int>')), call('listLogicalVolumes', ''), 'not XML at all', '',
        ]
        const expected = [/<int>1<\/int>/, /<name>lvolname<\/name><value><string>curl<\/string>/, /<int>71<\/int>/, /<int>1<\/int>.*ExpatError/s, /<int>1<\/int>.*ExpatError/s]
        for (const [index, body] of bodies.entries()) {
          const [head = '', text = ''] = (await posted(index % 2 === 0 ? '/RPC2' : '/', body, `--http${version}`, '--compressed')).split('\r\n\r\n')
          expect(head).to.match(/^HTTP\/1\.[01] 200 OK/).and.to.match(new RegExp(`content-length: ${Buffer.byteLength(text)}\\b`, 'i')).and.to.match(/content-type: text\/xml/i)
          expect(head).not.to.match(/transfer-encoding|content-encoding/i)
          expect(text).to.match(/^<\?xml version="1\.0"/).and.to.match(expected[index] ?? /never/)
        }
      })
    }

    it('is told what is not there: other paths 404, other methods 501, other contents 415, more than 1 MiB 413; and nothing happens', async () => {
      const make = call('createLogicalVolume', member('ver', '<int>5</int>') + member('lvolname', '<string>x</string>') + member('capacity', '<int>1</int>'))
      const statuses = await Promise.all([
        posted('/other', make), curl(`http://127.0.0.1:${port}/RPC2`), curl('-X', 'PUT', '-H', 'Content-Type: text/xml', '--data-binary', make, `http://127.0.0.1:${port}/`),
        curl('--data-binary', make, `http://127.0.0.1:${port}/`), posted('/', make, '-H', 'Content-Encoding: gzip'),
        run('curl', ['--silent', '--include', '--max-time', '20', '-H', 'Content-Type: text/xml', '-H', 'Expect:', '--data-binary', '@-', `http://127.0.0.1:${port}/`], ' '.repeat(1_100_000)),
      ])
      expect(statuses.map((each) => /^HTTP\/1\.1 (\d+)/.exec(each)?.[1])).to.deep.equal(['404', '501', '501', '415', '415', '413'])
      expect(await posted('/', call('listLogicalVolumes', member('ver', '<int>5</int>')))).to.contain('<array><data></data></array>')
    })
  })
})
