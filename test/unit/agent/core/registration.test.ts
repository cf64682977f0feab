import { expect } from 'chai'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRegistration } from '../../../../agent/core/registration.js'
import { notActive } from '../../../../lib/api/active.js'
import { apiMethods } from '../../../../lib/api/methods.js'
import { Fault } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import { createAuthority, issueCertificate, loadTls } from '../../../../lib/host/pki.js'
import type { TlsMaterial } from '../../../../lib/host/pki.js'
import { createRun } from '../../../../lib/host/run.js'
import type { Log } from '../../../../lib/ports.js'
import { startRpcServer } from '../../../../lib/rpc/server.js'
import type { RpcServer } from '../../../../lib/rpc/server.js'

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent }

describe('an agent that looks for the active manager', () => {
  let dir: string
  let tls: { readonly agent: TlsMaterial; readonly manager: TlsMaterial }
  const servers: RpcServer[] = []
  const heard: string[] = []
  const stopping: AbortController[] = []

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-registration-'))
    const run = createRun()
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'test' })
    for (const role of ['manager', 'agent'] as const) await issueCertificate(run, authority, { commonName: 'st1', role, hosts: ['127.0.0.1'], outDir: join(dir, role) })
    tls = { agent: await loadTls(join(dir, 'agent')), manager: await loadTls(join(dir, 'manager')) }
  })
  afterEach(async () => {
    for (const each of stopping.splice(0)) each.abort()
    for (const server of servers.splice(0)) await server.close()
    heard.length = 0
  })
  after(() => rm(dir, { recursive: true }))

  async function manager(name: string, answer: (method: string, count: number) => undefined | Fault | 'never', more: { readonly protocol?: number } = {}): Promise<string> {
    let count = 0
    const server = await startRpcServer({
      host: '127.0.0.1', port: 0, tls: tls.manager, log: silent, closeGraceMs: 50,
      async handle(_, method) {
        count += 1
        heard.push(`${name} ${method.split('.').at(-1) ?? ''}`)
        const refused = answer(method, count)
        if (refused === 'never') await new Promise(() => undefined)
        if (refused instanceof Fault) throw refused
        return method === apiMethods.hostRegister.name ? { epoch: 3, heartbeatMs: 100, ...more } : method === apiMethods.hostHeartbeat.name ? { known: true, epoch: 3 } : {}
      },
    })
    servers.push(server)
    return server.url
  }

  function agent(managers: readonly string[]): ReturnType<typeof createRegistration> {
    const stop = new AbortController()
    stopping.push(stop)
    const registration = createRegistration({
      managers, tls: tls.agent, changed: () => 0, clock: systemClock, log: silent,
      self: { name: 'st1', roles: ['storage'], zone: '', address: '127.0.0.1:1', dataAddresses: [], initiator: '', version: '', bootId: 'b', incarnation: 'i', disks: [] },
    })
    void registration.keep(stop.signal)
    return registration
  }

  async function until(good: () => boolean): Promise<void> {
    for (let tries = 0; !good(); tries += 1) {
      if (tries > 400) throw new Error(`never: ${heard.join(', ')}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  it('follows a standby to the address that it tells, though it is none of its list', async () => {
    const active = await manager('active', () => undefined)
    const standby = await manager('standby', () => notActive('mgr2', { holder: 'mgr1', address: active }))
    agent([standby])
    await until(() => heard.includes('active heartbeat'))
    expect(heard.slice(0, 3)).to.deep.equal(['standby register', 'active register', 'active heartbeat'])
  })

  it('leaves a manager at the first heartbeat that finds it not active, and comes to the next', async () => {
    const second = await manager('second', () => undefined)
    const first = await manager('first', (_, count) => (count > 1 ? notActive('mgr1', { holder: '', address: '' }) : undefined))
    agent([first, second])
    await until(() => heard.includes('second heartbeat'))
    expect(heard.slice(0, 3)).to.deep.equal(['first register', 'first heartbeat', 'second register'])
  })

  it('leaves one that answers nothing as soon as another says that it has taken over, and stays there', async () => {
    const second = await manager('second', () => undefined)
    const first = await manager('first', (_, count) => (count > 2 ? 'never' : undefined))
    const registration = agent([first, second])
    await until(() => heard.length >= 3)
    registration.follow(second)
    await until(() => heard.filter((each) => each === 'second heartbeat').length > 1)
    expect(heard.slice(0, 5)).to.deep.equal(['first register', 'first heartbeat', 'first heartbeat', 'second register', 'second heartbeat'])
    registration.follow(second) // told again
    await until(() => heard.filter((each) => each === 'second heartbeat').length > 3)
    expect(heard.filter((each) => each.endsWith('register'))).to.have.length(2)
  })

  it('stays with one that can\'t reach its database', async () => {
    const second = await manager('second', () => undefined)
    const first = await manager('first', (_, count) => (count > 1 && count < 6 ? new Fault('state unavailable', 'frozen') : undefined))
    agent([first, second])
    await until(() => heard.length >= 8)
    expect(heard.some((each) => each.startsWith('second'))).to.equal(false)
  })

  it('does not beat for a manager that wants a protocol which it does not speak, and comes to the next', async () => {
    const later = await manager('later', () => undefined, { protocol: 9 })
    const same = await manager('same', () => undefined, { protocol: 1 })
    agent([later, same])
    await until(() => heard.includes('same heartbeat'))
    expect(heard).not.to.include('later heartbeat')
  })

  it('is not held in a ring of standbys that name each other', async () => {
    const urls: string[] = []
    for (const name of ['a', 'b']) urls.push(await manager(name, () => notActive(name, { holder: 'x', address: urls[name === 'a' ? 1 : 0] ?? '' })))
    const active = await manager('active', () => undefined)
    agent([...urls, active])
    await until(() => heard.includes('active heartbeat'))
  })
})
