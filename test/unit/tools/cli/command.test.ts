/** The command as a person runs it: a process of its own, against a manager's real door (mutual TLS) that answers what a test says. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { notActive } from '../../../../lib/api/active.js'
import { apiMethods } from '../../../../lib/api/methods.js'
import { Fault, faultNameOf, faults } from '../../../../lib/faults.js'
import type { FaultName } from '../../../../lib/faults.js'
import { createLog } from '../../../../lib/host/log.js'
import { createAuthority, issueCertificate, loadTls } from '../../../../lib/host/pki.js'
import { createRun } from '../../../../lib/host/run.js'
import { startRpcServer, WireFault } from '../../../../lib/rpc/server.js'
import type { RpcServer } from '../../../../lib/rpc/server.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'
import { exitCodes } from '../../../../tools/cli/explain.js'

type Params = Readonly<Record<string, XmlValue>>
type Answers = (method: string, params: Params, count: number) => XmlValue | Promise<XmlValue>

const command = fileURLToPath(new URL('../../../../tools/cli/main.js', import.meta.url))
const size = 100n * 1024n * 1024n
const volume = {
  id: '1'.repeat(32), name: 'vol1', bytes: size, redundancy: 2, state: 'attached', head: 'hd1', device: '/dev/vsky/vol1', attachEpoch: 3, health: 'degraded', problem: 'st2 is offline', createdAt: 0,
  segments: [{
    index: 0, offset: 0n, bytes: size, generation: 2,
    legs: [['a', 'st1', true, 'insync'] as const, ['b', 'st2', false, 'stale'] as const].map(([digit, host, online, state]) => ({
      extent: digit.repeat(32), state, disk: 'c'.repeat(32), device: '/dev/sdb', host, zone: '', online, bytes: size,
    })),
  }],
} as const
const event = (seq: number): XmlValue => ({ seq, atMs: 1000 * seq, kind: 'volume created', about: 'volume', name: `v${seq}`, text: 'made' })

describe('vsky', function () {
  this.timeout(60_000) // a dozen processes, each with its own TLS, on a machine that may be busy
  const run = createRun()
  let dir = ''
  let server: RpcServer
  let answers: Answers = () => ({})
  const calls: { readonly method: string; readonly params: Params }[] = []

  async function vsky(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<{ code: number; out: string; said: string }> {
    const result = await run({ file: process.execPath, args: [command, ...args], timeoutMs: 30_000, env: { VSKY_MANAGER: server.url, VSKY_TLS_DIR: join(dir, 'admin'), ...env } })
    return { code: result.exit.kind === 'code' ? result.exit.code : -1, out: result.stdout, said: result.stderr }
  }

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-command-'))
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'test' })
    for (const role of ['manager', 'admin', 'agent'] as const) await issueCertificate(run, authority, { commonName: role, role, hosts: ['127.0.0.1'], outDir: join(dir, role) })
    server = await startRpcServer({
      host: '127.0.0.1', port: 0, tls: await loadTls(join(dir, 'manager')), log: createLog({ name: 'test', level: 'silent' }), closeGraceMs: 100,
      async handle(_, method, [params]) {
        calls.push({ method, params: params as Params })
        return answers(method, params as Params, calls.length)
      },
    })
  })
  beforeEach(() => { calls.length = 0 })
  after(async () => {
    await server.close()
    await rm(dir, { recursive: true, force: true })
  })

  it('ends with the exit code of a fault\'s class, and tells what, why and what to do', async () => {
    const classes: readonly FaultName[] = ['bad parameter', 'unknown volume', 'volume busy', 'no room', 'host offline', 'denied', 'stale epoch', 'internal error']
    for (const name of classes) {
      answers = () => { throw new Fault(name, `Cannot show v: ${name}`) }
      const { code, out, said } = await vsky(['volume', 'show', 'v'])
      expect([name, code]).to.deep.equal([name, exitCodes[faults[name].class]])
      expect([out, said]).to.deep.equal(['', `vsky: Cannot show v: ${name}\n  ${name} (fault ${faults[name].code})\n  to do: ${faults[name].correction}\n`])
    }
  })

  it('tells a fault as one JSON object of stable fields when asked for JSON', async () => {
    answers = () => { throw new Fault('no room', 'nothing is free') }
    const { code, said } = await vsky(['volume', 'list', '--json'])
    expect([code, JSON.parse(said)]).to.deep.equal([5, { error: 'no room', code: 1201, class: 'no room', message: 'nothing is free', correction: faults['no room'].correction }])
  })

  it('shows a volume as its view in JSON, sizes as decimal strings, and as a table for people', async () => {
    answers = () => apiMethods.volumeShow.result.format(volume)
    const shown: unknown = JSON.parse((await vsky(['volume', 'show', 'vol1', '--json'])).out)
    expect(shown).to.deep.equal(JSON.parse(JSON.stringify(volume, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each))))
    const { out } = await vsky(['volume', 'show', 'vol1'])
    for (const part of ['vol1: attached to hd1 as /dev/vsky/vol1, degraded', 'st2 is offline', 'insync', 'st2 (offline)', '100 MiB']) expect(out).to.contain(part)
  })

  it('asks nobody when the mistake can be seen here', async () => {
    answers = () => ({})
    const wrong: readonly (readonly [readonly string[], string])[] = [
      [['volume', 'create', 'v', '--size', '1x'], 'is not a size'], [['volume', 'create', 'v', '--size', '1000000001'], 'not a multiple of 512'], [['volume', 'create', 'v', '--size', '0'], 'less than the smallest'],
      [['volume', 'create', '-v-', '--size', '1G'], 'unknown option'], [['volume', 'create', 'a/b', '--size', '1G'], 'can\'t be the name'], [['volume', 'create', 'v'], '--size'],
      [['volume', 'create', 'v', '--size', '1G', '--redundancy', '10'], 'from 1 to 9'], [['disk', 'add', 'st1', 'sdb'], 'not the path of a block device'], [['volume', 'list', '--timeout', '0'], '--timeout takes'],
      [['volume', 'show', 'a\u0001b'], 'cannot be sent'], [['volume', 'fly'], 'unknown command'],
    ]
    for (const [args, part] of wrong) {
      const { code, said } = await vsky(args)
      expect([args, code]).to.deep.equal([args, 2])
      expect(said).to.contain(part)
    }
    expect(calls).to.deep.equal([])
  })

  it('takes a manager\'s address that is none for a mistake of usage', async () => {
    for (const url of ['foo', 'http://127.0.0.1:1', 'https://', 'unix:relative', 'https://127.0.0.1:1,foo', 'https://127.0.0.1:99999', ',']) {
      const { code, said } = await vsky(['host', 'list', '--manager', url])
      expect([url, code]).to.deep.equal([url, 2])
      expect(said).to.contain('https://host:port')
    }
    expect((await vsky(['host', 'list'], { VSKY_MANAGER: '' })).code).to.equal(2)
    expect((await vsky(['host', 'list', '--tls-dir', '/none'])).said).to.contain('ENOENT')
  })

  it('is unavailable (6) when nobody listens there, and asks the next manager of the list', async () => {
    answers = () => []
    expect((await vsky(['host', 'list', '--timeout', '1'], { VSKY_MANAGER: 'https://127.0.0.1:1' })).code).to.equal(6)
    expect(await vsky(['host', 'list', '--json'], { VSKY_MANAGER: `https://127.0.0.1:1,${server.url}` })).to.deep.equal({ code: 0, out: '[]\n', said: '' })
  })

  it('is not taken in by a server of another role', async () => {
    const other = await startRpcServer({ host: '127.0.0.1', port: 0, tls: await loadTls(join(dir, 'agent')), log: createLog({ name: 'test', level: 'silent' }), closeGraceMs: 100, handle: () => Promise.resolve([]) })
    try {
      expect((await vsky(['host', 'list', '--timeout', '1'], { VSKY_MANAGER: other.url })).code).to.equal(6)
    } finally {
      await other.close()
    }
  })

  it('takes an answer that it can\'t read for another release, not for a mistake of the person', async () => {
    answers = () => [{ name: 1 }]
    expect((await vsky(['host', 'list'])).code).to.equal(70)
    answers = () => { throw new WireFault(4711, 'unheard of') }
    const { code, said } = await vsky(['host', 'list'])
    expect([faultNameOf(4711), code]).to.deep.equal([undefined, 70])
    expect(said).to.contain('another release')
  })

  it('repeats what changes something under one request id until it is done', async () => {
    answers = (_, __, count) => {
      if (count <= 2) throw new Fault('timed out', 'still at work')
      return apiMethods.volumeCreate.result.format(volume)
    }
    expect((await vsky(['volume', 'create', 'vol1', '--size', '100MiB', '--redundancy', '2'])).code).to.equal(0)
    expect(calls.map(({ params }) => [params.name, params.bytes, params.redundancy])).to.deep.equal(Array.from({ length: 3 }, () => ['vol1', size.toString(), 2]))
    expect(new Set(calls.map(({ params }) => params.request)).size).to.equal(1)
  })

  it('says that the work goes on when the time is over', async () => {
    answers = async () => { await new Promise((resolve) => setImmediate(resolve)); throw new Fault('timed out', 'still at work') }
    const { code, said } = await vsky(['volume', 'delete', 'vol1', '--timeout', '1'])
    expect(code).to.equal(6)
    expect(said).to.contain('the work goes on')
    expect(new Set(calls.map(({ params }) => params.request)).size).to.equal(1)
  })

  it('lists the newest events, or those after a number, oldest first', async () => {
    const kept = Array.from({ length: 2345 }, (_, index) => 700 + index)
    answers = (_, { after, limit, newest }) => kept.filter((seq) => seq > Number(after ?? 0)).slice(...(newest === true ? [-Number(limit)] : [0, Number(limit)])).map(event)
    const seqs = async (...args: readonly string[]): Promise<readonly number[]> => (JSON.parse((await vsky(['event', 'list', '--json', ...args])).out) as { seq: number }[]).map((each) => each.seq)
    expect(await seqs('--limit', '3')).to.deep.equal([3042, 3043, 3044])
    expect(await seqs('--after', '3000', '--limit', '2')).to.deep.equal([3001, 3002])
    expect(await seqs('--after', '3044')).to.deep.equal([])
    kept.length = 5
    expect(await seqs()).to.deep.equal([700, 701, 702, 703, 704])
    kept.length = 0
    expect(await seqs()).to.deep.equal([])
  })

  it('tells of who was not let in whom he claims to be, why he was not and how often, and never as if it had been him', async () => {
    const entry = { seq: 1, atMs: 0, epoch: 1, kind: 'stranger', who: '', role: '', proof: '', peer: '192.0.2.7', door: 'xml-rpc', method: 'login', params: '', result: 'not authenticated', request: '', logId: '', previous: '', hash: '' }
    const params = ['{"claimed":"user \\"ann\\"","why":"wrong secret","times":7}', '{"why":"no such name","times":1}', '{"others":12,"why":"locked out","times":40}', 'not of ours']
    answers = () => params.map((each) => ({ ...entry, params: each }))
    const rows = (await vsky(['audit', 'list'])).out.split('\n').slice(1)
    for (const [at, parts] of [['claims: user "ann"', 'wrong secret, 7 times'], ['a stranger', 'no such name'], ['12 others', 'locked out, 40 times'], ['a stranger', 'not of ours']].entries()) {
      for (const part of parts) expect(rows[at]).to.contain(part)
      expect(rows[at]).to.contain('not authenticated').and.not.to.contain('{')
    }
  })

  it('asks for a long list page by page, or for as much as is wanted', async () => {
    const all = Array.from({ length: 2100 }, (_, at) => ({ ...volume, name: `v${String(at).padStart(4, '0')}` }))
    answers = (_, { after, limit }) => apiMethods.volumeList.result.format(all.filter((each) => typeof after !== 'string' || each.name > after).slice(0, Number(limit ?? 1000)))
    expect(JSON.parse((await vsky(['volume', 'list', '--json'])).out)).to.have.length(2100)
    expect(calls.map(({ params }) => params.after)).to.deep.equal([undefined, 'v0999', 'v1999'])
    expect(JSON.parse((await vsky(['volume', 'list', '--json', '--limit', '5', '--prefix', 'v', '--state', 'attached'])).out)).to.have.length(5)
    expect(calls.at(-1)?.params).to.deep.equal({ limit: 5, prefix: 'v', state: 'attached' })
  })

  it('only tells what it would do when asked for a plan, and calls nothing that changes anything', async () => {
    answers = () => apiMethods.volumeShow.result.format(volume)
    expect((await vsky(['volume', 'delete', 'vol1', '--plan'])).out).to.contain('2 extents on st1, st2 overwritten').and.to.contain('it would be refused: it is attached (hd1)')
    expect((await vsky(['volume', 'attach', 'vol1', '--host', 'hd2', '--force-from-dead-host', '--plan'])).out).to.contain('hd1 would be shut out of vol1 on st1, st2 (offline)')
    expect((await vsky(['volume', 'detach', 'vol1', '--plan'])).out).to.contain('/dev/vsky/vol1 would be removed from hd1')
    expect(calls.map(({ method }) => method)).to.deep.equal(Array.from({ length: 3 }, () => 'vsky.volume.show'))
  })

  it('does not wait when told so', async () => {
    answers = () => apiMethods.volumeCreate.result.format({ ...volume, state: 'creating' })
    expect((await vsky(['volume', 'create', 'vol1', '--size', '100MiB', '--no-wait'])).out).to.contain('vol1 is creating')
    expect(calls[0]?.params).to.include({ wait: false })
  })

  it('rebalances only when told which of plan, apply and cancel is meant', async () => {
    const jobView = { id: 'j1', kind: 'evacuate' as const, work: 'rebalance' as const, name: 'cluster', segment: 0, state: 'running' as const, note: 'on the way', bytes: size, doneBytes: 0n, rate: 0n, etaSeconds: -1, createdAt: 1, startedAt: 1, endedAt: 0 }
    const level = (disk: string, perMille: number): { readonly disk: string; readonly perMille: number } => ({ disk, perMille })
    const plan = {
      before: { fullest: level('st1:/dev/sdb', 812), emptiest: level('st2:/dev/sdb', 100) }, after: { fullest: level('st1:/dev/sdb', 470), emptiest: level('st2:/dev/sdb', 440) },
      legs: 3, bytes: 3n * size, moves: [{ from: 'st1:/dev/sdb', to: 'st2:/dev/sdb', legs: 3, bytes: 3n * size }], pairs: 1, balanced: true, complete: true, seconds: 4,
    }
    let open = true
    answers = (method) => (method === 'vsky.rebalance.plan' ? apiMethods.rebalancePlan.result.format(plan) : method === 'vsky.rebalance.apply' ? apiMethods.rebalanceApply.result.format(jobView)
      : method === 'vsky.job.list' ? apiMethods.jobList.result.format(open ? [jobView] : []) : apiMethods.jobCancel.result.format({ ...jobView, state: 'cancelled' }))
    for (const args of [[], ['--plan', '--apply'], ['--plan', '--wait']]) expect([(await vsky(['rebalance', ...args])).code, calls.length], args.join()).to.deep.equal([2, 0])
    const planned = (await vsky(['rebalance', '--plan'])).out
    for (const part of ['3 legs, 300 MiB, some 4 s; nothing has been changed', /now +81\.2 % {2}st1:\/dev\/sdb +10\.0 % {2}st2/, /then +47\.0 %/, /st1:\/dev\/sdb +st2:\/dev\/sdb +3 +300 MiB/]) expect(planned).to.match(typeof part === 'string' ? new RegExp(part) : part)
    expect((await vsky(['rebalance', '--apply', '--yes'])).out).to.equal('the rebalance has begun, 100 MiB: vsky job list shows how far it is\n')
    expect((await vsky(['job', 'list', '--kind', 'rebalance'])).out).to.match(/j1 +rebalance +cluster +running/)
    expect((await vsky(['rebalance', '--cancel'])).out).to.contain('is cancelled')
    open = false
    expect(await vsky(['rebalance', '--cancel'])).to.deep.include({ code: 2, said: 'vsky: there is no rebalance under way\n  usage\n' })
    expect(calls.map(({ method }) => method)).to.deep.equal(['vsky.rebalance.plan', 'vsky.rebalance.apply', 'vsky.job.list', 'vsky.job.list', 'vsky.job.cancel', 'vsky.job.list'])
  })

  it('waits for a move to its end, and fails when it failed', async () => {
    const jobView = { id: 'j1', kind: 'evacuate' as const, name: 'st1:/dev/sdb', segment: 0, state: 'done' as const, note: 'all is elsewhere', bytes: 10n, doneBytes: 10n, rate: 0n, etaSeconds: -1, createdAt: 1, startedAt: 1, endedAt: 2 }
    const diskView = { id: 'c', host: 'st1', device: '/dev/sdb', zone: '', state: 'ready' as const, problem: '', duty: 'evacuate' as const, bytes: 1n, freeBytes: 1n, cleanBytes: 1n, extents: 0, readErrors: 0 }
    let state: 'done' | 'failed' = 'done'
    answers = (method) => (method === 'vsky.disk.evacuate' ? apiMethods.diskEvacuate.result.format(diskView)
      : method === 'vsky.job.list' ? apiMethods.jobList.result.format([{ ...jobView, state }]) : apiMethods.jobShow.result.format({ ...jobView, state }))
    expect(await vsky(['disk', 'evacuate', 'st1:/dev/sdb', '--wait'])).to.deep.include({ code: 0, out: 'st1:/dev/sdb is empty\n' })
    state = 'failed'
    const failed = await vsky(['job', 'wait', 'j1'])
    expect([failed.code, failed.said]).to.deep.equal([4, 'vsky: the evacuate of st1:/dev/sdb has failed: all is elsewhere\n  job not done\n  to do: vsky explain tells more about what it was doing\n'])
  })

  it('asks a person before it destroys anything, and colours what is wrong; NO_COLOR and a pipe take the colours away', async () => {
    const person = async (args: string, answer: string, env: Readonly<Record<string, string>> = {}): Promise<{ code: number; out: string }> => {
      const { exit, stdout } = await run({
        file: 'script', args: ['-qec', `stty cols 100 && ${process.execPath} ${command} ${args}`, '/dev/null'], input: answer, timeoutMs: 30_000, env: { TERM: 'xterm', VSKY_MANAGER: server.url, VSKY_TLS_DIR: join(dir, 'admin'), ...env },
      })
      return { code: exit.kind === 'code' ? exit.code : -1, out: stdout }
    }
    answers = (method) => (method === 'vsky.volume.show' ? apiMethods.volumeShow.result.format(volume) : {})
    const refused = await person('volume delete vol1', 'n\n')
    expect([refused.code, calls]).to.deep.equal([2, []])
    expect(refused.out).to.contain('All data of vol1 will be overwritten. Go on? [y/N]').and.to.contain('nothing was done')
    expect((await person('volume delete vol1', 'y\n')).code).to.equal(0)
    expect((await person('volume delete vol1 --yes', '')).code).to.equal(0)
    expect(calls.map(({ method }) => method)).to.deep.equal(['vsky.volume.delete', 'vsky.volume.delete'])
    expect((await person('volume show vol1', '')).out).to.contain('\u001b[31mstale')
    expect((await person('volume show vol1', '', { NO_COLOR: '1' })).out).not.to.contain('\u001b[31m')
    expect((await vsky(['volume', 'show', 'vol1'])).out).not.to.contain('\u001b[')
  })

  it('follows events for longer than its time for one call, through a manager that is away for a moment', async () => {
    const quietMs = 400
    answers = async (_, { after, waitMs }, count) => {
      if (count === 3) throw new Fault('not active', 'ask the other one')
      if (waitMs !== undefined && count < 6) await new Promise((resolve) => setTimeout(resolve, Math.min(quietMs, Number(waitMs))))
      if (count >= 8) throw new Fault('denied', 'enough')
      return count % 2 === 0 ? [event(Number(after) + 1)] : []
    }
    const { code, out } = await vsky(['event', 'list', '--follow', '--json', '--after', '10', '--timeout', '1'])
    expect(code).to.equal(7) // the only way in which this manager ends it
    expect(out.trim().split('\n').map((line) => (JSON.parse(line) as { seq: number }).seq)).to.deep.equal([11, 12, 13])
    expect(calls.slice(1).every(({ params }) => Number(params.waitMs) <= 500)).to.equal(true)
  })

  it('follows a standby to the active manager that it names, also outside the list, and waits out one without its database', async () => {
    const seen: string[] = []
    const manager = async (name: string, answer: (method: string, count: number) => XmlValue): Promise<RpcServer> => {
      let count = 0
      return startRpcServer({
        host: '127.0.0.1', port: 0, tls: await loadTls(join(dir, 'manager')), log: createLog({ name: 'test', level: 'silent' }), closeGraceMs: 100,
        handle: (_, method) => {
          if (method !== apiMethods.managerStatus.name) seen.push(name)
          count += 1
          return Promise.resolve().then(() => answer(method, count))
        },
      })
    }
    const active = await manager('active', (method, count) => {
      if (method === apiMethods.managerStatus.name) return {}
      if (count < 4) throw new Fault('state unavailable', 'frozen')
      return []
    })
    const standby = await manager('standby', () => { throw notActive('mgr2', { holder: 'mgr1', address: active.url }) })
    try {
      expect(await vsky(['volume', 'list', '--json'], { VSKY_MANAGER: standby.url })).to.deep.equal({ code: 0, out: '[]\n', said: '' })
      expect(seen.slice(0, 2)).to.deep.equal(['standby', 'active'])
    } finally {
      await Promise.all([active.close(), standby.close()])
    }
  })

  it('hands over, and tells who is active then', async () => {
    const view = (epoch: number): XmlValue => apiMethods.managerStatus.result.format({
      name: `mgr${epoch}`, state: 'active', epoch, holder: `mgr${epoch}`, address: '', leaseAgeMs: 10, ttlMs: 6000, managers: [{ name: 'mgr1', address: '', version: '1', state: 'standby' }, { name: 'mgr2', address: '', version: '1', state: 'active' }],
      version: '1', startedAt: 0, schema: 1, hostsOnline: 0, hosts: 0, volumes: 0, underWay: 0, extentBytes: 1n,
    })
    answers = (method, _, count) => (method === apiMethods.managerHandOver.name ? { from: 'mgr1', epoch: 1 } : view(count < 4 ? 1 : 2))
    const { code, out } = await vsky(['manager', 'hand-over', '--to', 'mgr2'])
    expect([code, calls[0]?.params.to]).to.deep.equal([0, 'mgr2'])
    expect(out).to.match(/^mgr2: active, epoch 2/).and.to.contain('mgr1     standby')
  })

  it('reads from its file what neither options nor environment say', async () => {
    const { placeOf } = await import('../../../../tools/cli/settings.js')
    const path = join(dir, 'cli.toml')
    await writeFile(path, `manager = "https://10.0.0.1:8881"\ntls_dir = "/keys"\n`)
    expect(await placeOf({}, {}, path)).to.deep.equal({ managers: ['https://10.0.0.1:8881'], tlsDir: '/keys' })
    expect(await placeOf({ manager: 'unix:/m' }, { VSKY_MANAGER: 'https://x:1', VSKY_TLS_DIR: '/env' }, path)).to.deep.equal({ managers: ['unix:/m'], tlsDir: '/env' })
    expect(await placeOf({}, { VSKY_MANAGER: 'https://x:1, https://y:2' }, join(dir, 'none'))).to.deep.equal({ managers: ['https://x:1', 'https://y:2'], tlsDir: '/etc/vsky/admin' })
    await writeFile(path, 'manger = "https://10.0.0.1:8881"\ntls_dir = 7\n')
    const refused = await placeOf({}, {}, path).then(() => '', (thrown: unknown) => String(thrown))
    for (const part of [path, 'manger is not a setting', 'tls_dir: expected a path']) expect(refused).to.contain(part)
  })
})
