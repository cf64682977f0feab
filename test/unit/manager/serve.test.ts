/** Managers as processes of their own, on one SQLite file, with their real door, lock and watchdog. */
import { expect } from 'chai'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import sqlite3 from 'sqlite3'
import { activeAddress } from '../../../lib/api/active.js'
import { apiMethods } from '../../../lib/api/methods.js'
import type { ManagerView } from '../../../lib/api/views.js'
import { Fault } from '../../../lib/faults.js'
import { createAuthority, issueCertificate, loadTls } from '../../../lib/host/pki.js'
import { createRun } from '../../../lib/host/run.js'
import { createRpcClient } from '../../../lib/rpc/client.js'
import type { RpcClient } from '../../../lib/rpc/client.js'

const main = fileURLToPath(new URL('../../../manager/main.js', import.meta.url))

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', () => { resolve() }) })
  const address = server.address()
  await new Promise<void>((resolve) => { server.close(() => { resolve() }) })
  return typeof address === 'object' && address !== null ? address.port : 0
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50))

describe('managers on one database', function () {
  this.timeout(60_000) // real processes, on a machine that may be busy
  let dir: string
  const running = new Map<string, ChildProcess>()
  const clients = new Map<string, RpcClient>()
  const said = new Map<string, string>()
  const urls = new Map<string, string>()

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-serve-'))
    const run = createRun()
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'test' })
    await issueCertificate(run, authority, { commonName: 'admin', role: 'admin', hosts: [], outDir: join(dir, 'admin') })
    const tls = await loadTls(join(dir, 'admin'))
    for (const name of ['mgr1', 'mgr2']) {
      await issueCertificate(run, authority, { commonName: name, role: 'manager', hosts: ['127.0.0.1'], outDir: join(dir, name) })
      const port = await freePort()
      const text = `name = "${name}"\nlisten = "127.0.0.1:${port}"\nstate_dir = "${dir}/state"\ntls_dir = "${dir}/${name}"\n[lease]\nttl = 3\n`
      await writeFile(join(dir, `${name}.toml`), text)
      await writeFile(join(dir, `${name}-device.toml`), `${text}device = "${dir}/lease"\n`)
      urls.set(name, `https://127.0.0.1:${port}`)
      clients.set(name, createRpcClient({ url: `https://127.0.0.1:${port}`, tls: { ...tls, serverRoles: ['manager'] }, timeoutMs: 5000 }))
    }
  })
  afterEach(async () => {
    for (const name of [...running.keys()]) await end(name, 'SIGKILL')
    await rm(join(dir, 'state'), { recursive: true, force: true })
  })
  after(async () => {
    for (const client of clients.values()) client.close()
    await rm(dir, { recursive: true })
  })

  function start(name: string, file = name): void {
    const child = spawn(process.execPath, [main, '--config', join(dir, `${file}.toml`)], { stdio: ['ignore', 'pipe', 'pipe'] })
    said.set(name, '')
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { said.set(name, `${said.get(name) ?? ''}${chunk.toString()}`) })
    running.set(name, child)
  }
  async function end(name: string, signal: NodeJS.Signals): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    const child = running.get(name)
    running.delete(name)
    if (!child) throw new Error(`${name} does not run`)
    if (child.exitCode !== null || child.signalCode !== null) return { code: child.exitCode, signal: child.signalCode }
    const over = new Promise<{ readonly code: number | null; readonly signal: string | null }>((resolve) => { child.once('exit', (code, by) => { resolve({ code, signal: by }) }) })
    child.kill(signal)
    return over
  }
  async function status(name: string): Promise<ManagerView | undefined> {
    const answer = await clients.get(name)?.call('vsky.manager.status', [{}]).catch(() => undefined)
    return answer === undefined ? undefined : apiMethods.managerStatus.result.parse(answer, 'status')
  }
  async function until(name: string, good: (status: ManagerView) => boolean): Promise<ManagerView> {
    for (let tries = 0; tries < 600; tries += 1) {
      const now = await status(name)
      if (now && good(now)) return now
      await pause()
    }
    throw new Error(`${name} never came so far: ${inspect(await status(name), { depth: 4 })}\n${said.get(name) ?? ''}`)
  }
  /** Their database, seen from beside them. */
  async function withDatabase(work: (exec: (sql: string) => Promise<void>) => Promise<void>): Promise<void> {
    const db = await new Promise<sqlite3.Database>((resolve, reject) => { const opened = new sqlite3.Database(join(dir, 'state/manager.db'), (error) => { if (error) reject(error); else resolve(opened) }) })
    const exec = (sql: string): Promise<void> => new Promise((resolve, reject) => { db.exec(sql, (error) => { if (error) reject(error); else resolve() }) })
    try {
      await exec('pragma busy_timeout = 5000')
      await work(exec)
    } finally {
      await new Promise<void>((resolve) => { db.close(() => { resolve() }) })
    }
  }
  const call = (name: string, method: string, params: Readonly<Record<string, string>> = {}): Promise<unknown> => (clients.get(name)?.call(method, [params]) ?? Promise.reject(new Error(name))).catch((thrown: unknown) => thrown)

  it('have one that serves, and one that waits and says who does and where', async () => {
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active')
    start('mgr2')
    const waiting = await until('mgr2', (now) => now.holder === 'mgr1' && now.managers.length === 2)
    expect(waiting).to.include({ state: 'standby', address: urls.get('mgr1'), epoch: 1, ttlMs: 3000 })
    expect(waiting.managers.map(({ name, state }) => `${name} ${state}`)).to.deep.equal(['mgr1 active', 'mgr2 standby'])
    const refused = await call('mgr2', 'vsky.host.list')
    expect(refused).to.be.instanceOf(Fault).and.to.include({ fault: 'not active' })
    expect(activeAddress(refused)).to.equal(urls.get('mgr1'))
    expect(await clients.get('mgr2')?.call('system.listMethods', [])).to.include('vsky.manager.handOver')
    expect(await call('mgr2', 'vsky.volume.fly')).to.include({ fault: 'unknown method' })
    expect(await call('mgr1', 'vsky.host.list')).to.deep.equal([])
  })

  it('lose no time when the only one is killed and started anew, and take the next epoch', async () => {
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active')
    for (const epoch of [2, 3]) {
      await end('mgr1', 'SIGKILL')
      start('mgr1')
      expect((await until('mgr1', (now) => now.state === 'active')).epoch).to.equal(epoch)
      const told = (line: string): string | undefined => (said.get('mgr1') ?? '').split('\n').slice(0, -1).find((each) => each.includes(line))
      while (told('"msg":"active"') === undefined) await pause() // its answer may be here before what it said
      const times = ['"msg":"standby"', '"msg":"active"'].map((line) => Date.parse(/"time":"([^"]+)"/.exec(told(line) ?? '')?.[1] ?? ''))
      expect((times[1] ?? 0) - (times[0] ?? 0), 'ms from its door to its work').to.be.lessThan(1000)
    }
  })

  it('lose no entry of the audit log when one is killed between its commit and its answer, and have none twice when it is asked again', async () => {
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active')
    const set = (at: number): Promise<unknown> => call('mgr1', 'vsky.setting.set', { name: 'repair.grace', value: `${at}`, request: `request-${at}` })
    const answered: number[] = []
    const calls = Array.from({ length: 40 }, async (_, at) => { if (!(await set(at) instanceof Error)) answered.push(at) })
    await Promise.race(calls)
    await end('mgr1', 'SIGKILL')
    await Promise.all(calls)
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active' && now.epoch === 2)
    const entries = async (): Promise<readonly { readonly request: string; readonly epoch: number }[]> => apiMethods.auditList.result.parse(await call('mgr1', 'vsky.audit.list', { limit: '1000', method: 'vsky.setting.set' }) as never, '')
    const before = (await entries()).map((entry) => entry.request)
    expect(before).to.include.members(answered.map((at) => `request-${at}`)).and.have.length(new Set(before).size)
    for (let at = 0; at < 40; at += 1) for (let tries = 0; tries < 200 && await set(at) instanceof Error; tries += 1) await pause() // a busy machine may freeze it
    const after = (await entries()).map((entry) => entry.request)
    expect([...after].sort()).to.deep.equal(Array.from({ length: 40 }, (_, at) => `request-${at}`).sort())
    const verify = spawn(process.execPath, [main, '--config', join(dir, 'mgr1.toml'), 'audit', 'verify'], { stdio: ['ignore', 'pipe', 'inherit'] })
    let told = ''
    verify.stdout.on('data', (piece: Buffer) => { told += piece.toString() })
    expect(await new Promise((resolve) => { verify.once('close', resolve) })).to.equal(0)
    expect(told).to.match(/^40 entries fit: 1 to 40\nhead: 40:[0-9a-f]{64}\n$/)
    expect(said.get('mgr1'), 'the head that it found').to.match(/head of the audit log|epoch/)
  })

  it('hand over when asked to, once for one request, and at SIGTERM', async () => {
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active')
    expect(await call('mgr1', 'vsky.manager.handOver', { request: 'request-0' })).to.include({ fault: 'no standby' })
    start('mgr2')
    await until('mgr1', (now) => now.managers.some((each) => each.name === 'mgr2' && each.state === 'standby'))
    expect(await call('mgr1', 'vsky.manager.handOver', { request: 'request-1', to: 'mgr9' })).to.include({ fault: 'no standby' })
    expect(await call('mgr1', 'vsky.manager.handOver', { request: 'request-2', to: 'mgr2' })).to.deep.equal({ from: 'mgr1', epoch: 1 })
    await until('mgr2', (now) => now.state === 'active' && now.epoch === 2)
    expect(await call('mgr2', 'vsky.manager.handOver', { request: 'request-2', to: 'mgr2' })).to.deep.equal({ from: 'mgr1', epoch: 1 })
    await until('mgr1', (now) => now.state === 'standby' && now.holder === 'mgr2')
    expect(await status('mgr2')).to.include({ state: 'active', epoch: 2 })
    expect((await end('mgr2', 'SIGTERM')).code).to.equal(0)
    await until('mgr1', (now) => now.state === 'active' && now.epoch === 3)
    expect(said.get('mgr1')).to.contain('mgr2 has given it up')
  })

  it('let the next one begin when one was stopped, which ends when it goes on', async () => {
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active')
    start('mgr2')
    await until('mgr2', (now) => now.holder === 'mgr1')
    const stopped = running.get('mgr1')
    // Not in the middle of a transaction: its lock on the file would be kept until it goes on, and nobody could begin.
    await withDatabase(async (exec) => {
      await exec('begin immediate')
      stopped?.kill('SIGSTOP')
      await exec('rollback')
    })
    await until('mgr2', (now) => now.state === 'active' && now.epoch === 2)
    const over = new Promise<string | number | null>((resolve) => { stopped?.once('exit', (code, signal) => { resolve(signal ?? code) }) })
    stopped?.kill('SIGCONT')
    expect(await over, 'its watchdog was first, or its own look at the lease').to.be.oneOf(['SIGKILL', 75])
  })

  it('keep their lease on a device as well: one serves, the other waits, and the epoch goes on from the database\'s', async () => {
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active')
    await end('mgr1', 'SIGTERM')
    await writeFile(join(dir, 'lease'), Buffer.alloc(1024 * 1024))
    start('mgr1', 'mgr1-device')
    await until('mgr1', (now) => now.state === 'active' && now.epoch === 2)
    start('mgr2', 'mgr2-device')
    await until('mgr2', (now) => now.state === 'standby' && now.holder === 'mgr1')
    await end('mgr1', 'SIGKILL')
    expect((await until('mgr2', (now) => now.state === 'active')).epoch).to.equal(3)
  })

  it('refuse at the start, in one line, a device that is too small', async () => {
    await writeFile(join(dir, 'lease'), Buffer.alloc(4096))
    start('mgr1', 'mgr1-device')
    const child = running.get('mgr1')
    expect(await new Promise((resolve) => { child?.once('close', resolve) })).to.equal(78)
    expect(said.get('mgr1')).to.equal(`vsky-manager: lease device ${dir}/lease is too small: it has 4096 bytes, 1048576 are needed\n`)
  })

  it('freeze while the database takes nothing, say so, and go on under the same epoch', async () => {
    start('mgr1')
    await until('mgr1', (now) => now.state === 'active')
    await withDatabase(async (exec) => {
      await exec('begin immediate')
      await until('mgr1', (now) => now.state === 'frozen')
      expect(await call('mgr1', 'vsky.host.list')).to.include({ fault: 'state unavailable' })
      expect(await call('mgr1', 'vsky.volume.delete', { volume: 'v', request: 'request-1' })).to.include({ fault: 'state unavailable' })
      await exec('commit')
      expect((await until('mgr1', (now) => now.state === 'active')).epoch).to.equal(1)
      expect(await call('mgr1', 'vsky.host.list')).to.deep.equal([])
    })
  })
})
