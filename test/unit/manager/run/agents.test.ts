import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createLog } from '../../../../lib/host/log.js'
import { createAuthority, issueCertificate, loadTls } from '../../../../lib/host/pki.js'
import { systemRandom } from '../../../../lib/host/random.js'
import { createRun } from '../../../../lib/host/run.js'
import { startRpcServer } from '../../../../lib/rpc/server.js'
import type { RpcServer } from '../../../../lib/rpc/server.js'
import { agentMethods } from '../../../../lib/wire/agent.js'
import { AgentSilent, createAgents } from '../../../../manager/run/agents.js'
import type { Agents } from '../../../../manager/run/agents.js'

describe('a manager\'s calls to a host that has joined', () => {
  let dir = ''
  let server: RpcServer
  let agents: Agents
  /** What the database says of st1's key. */
  let known: string | undefined
  /** Digests of the keys that were asked, by what they showed. */
  const asked: string[] = []

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-agents-'))
    const run = createRun()
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'test' })
    for (const [commonName, role] of [['mgr1', 'manager'], ['st1', 'agent']] as const) await issueCertificate(run, authority, { commonName, role, hosts: ['127.0.0.1'], outDir: join(dir, commonName) })
    server = await startRpcServer({
      host: '127.0.0.1', port: 0, tls: await loadTls(join(dir, 'st1')), log: createLog({ name: 'test', level: 'silent' }), closeGraceMs: 200,
      handle: async (_, name) => { asked.push(name); return {} },
    })
    agents = createAgents({ tls: await loadTls(join(dir, 'mgr1')), epoch: 1, random: systemRandom, gate: { standing: () => 'active', open: () => Promise.resolve() }, keyOf: () => Promise.resolve(known) })
  })
  after(async () => {
    agents.close()
    await server.close()
    await rm(dir, { recursive: true })
  })

  const call = (): Promise<unknown> => agents.call({ name: 'st1', address: new URL(server.url).host } as never, agentMethods.releaseDisk, { disk: 'a'.repeat(32) })
  const refused = (): Promise<unknown> => call().then(() => 'answered', (thrown: unknown) => thrown)

  it('go to the key that it joined with alone, from the call after a change on: a certificate of its name is not enough', async () => {
    await call()
    known = 'f'.repeat(64)
    const error = await refused()
    expect(error).to.be.instanceOf(AgentSilent)
    expect(String(error)).to.contain('its key is another one than it is known by')
    known = 'none' // revoked
    expect(await refused()).to.be.instanceOf(AgentSilent)
    known = undefined
    await call()
    expect(asked).to.have.length(2)
  })
})
