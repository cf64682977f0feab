import { expect } from 'chai'
import { systemClock } from '../../../../lib/host/clock.js'
import { systemRandom } from '../../../../lib/host/random.js'
import type { Log } from '../../../../lib/ports.js'
import type { CallContext } from '../../../../lib/rpc/server.js'
import { createAccess } from '../../../../manager/access/access.js'
import { createHandler } from '../../../../manager/api/door.js'
import { createPresence } from '../../../../manager/health/presence.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { createAgents } from '../../../../manager/run/agents.js'
import { DbError } from '../../../../manager/store/db.js'
import type { Db } from '../../../../manager/store/db.js'
import { migrate } from '../../../../manager/store/schema.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { EpochLost, takeOver } from '../../../../manager/store/store.js'

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent }

describe('a manager that can\'t renew its lease', () => {
  let db: Db
  let cluster: Cluster
  let standing: 'active' | 'soft-stopped' | 'frozen'
  let reading: (() => never) | undefined

  beforeEach(async () => {
    db = await openSqlite(':memory:')
    await migrate(db)
    standing = 'active'
    reading = undefined
    const store = await takeOver(db, 'mgr1', { clock: systemClock, random: systemRandom })
    const read: typeof store.read = { all: (sql, params) => reading?.() ?? db.all(sql, params), get: (sql, params) => reading?.() ?? db.get(sql, params) }
    cluster = {
      name: 'mgr1', store: { ...store, read }, gate: { standing: () => standing, open: () => Promise.resolve() }, presence: createPresence(), clock: systemClock, log: silent, foreign: new Map(), fenced: new Map(), seen: new Map(),
      audit: { answered: () => Promise.resolve(), flush: () => Promise.resolve(), keep: () => Promise.resolve(), end: () => Promise.resolve() },
      work: { kick: () => undefined, busy: () => 0, stop: () => Promise.resolve() },
    } as unknown as Cluster // what these calls look at
  })
  afterEach(() => db.close())

  function call(method: string, params: Readonly<Record<string, string | number | boolean>>, role = 'admin'): Promise<unknown> {
    const context = { peer: { commonName: role === 'agent' ? 'st1' : 'x', role }, path: '/RPC2', requestId: '', signal: new AbortController().signal } as unknown as CallContext
    return createHandler(cluster, createAccess({ db: cluster.store.read, clock: systemClock, random: systemRandom, log: silent }))(context, method, [params]).catch((thrown: unknown) => (thrown as { readonly fault?: string }).fault ?? String(thrown))
  }
  const beat = (): Promise<unknown> => call('vsky.host.heartbeat', { name: 'st1', bootId: 'b', incarnation: 'i', changed: 0 }, 'agent')

  it('takes no change from the soft stop on, answers questions until it freezes, and nothing then', async () => {
    const both = async (): Promise<readonly unknown[]> => [await call('vsky.host.list', {}), await call('vsky.volume.delete', { volume: 'v', request: 'request-1' })]
    expect(await both()).to.deep.equal([[], 'unknown volume'])
    standing = 'soft-stopped'
    expect(await both()).to.deep.equal([[], 'state unavailable'])
    standing = 'frozen'
    expect(await both()).to.deep.equal(['state unavailable', 'state unavailable'])
  })

  it('hears its agents all the while, without the database', async () => {
    cluster.presence.heard('st1', 0)
    reading = () => { throw new Error('the database was asked') }
    standing = 'frozen'
    expect(await beat()).to.equal('state unavailable')
    expect(cluster.presence.online('st1', systemClock.monoMs())).to.equal(true)
  })

  it('does not take up an agent that it never knew', async () => {
    standing = 'frozen'
    await beat()
    expect(cluster.presence.lastHeard('st1')).to.equal(undefined)
  })

  it('says "ask again" where the database can\'t be reached, not that something is broken', async () => {
    reading = () => { throw new DbError('unavailable', 'no connection') }
    expect(await call('vsky.host.list', {})).to.equal('state unavailable')
    reading = () => { throw new DbError('corrupt', 'a page') }
    expect(await call('vsky.host.list', {})).to.contain('a page')
  })

  it('sends nothing to an agent until it is open again, and never when another has taken over', async () => {
    const agents = createAgents({ tls: { ca: '', cert: '', key: '' }, epoch: 1, random: systemRandom, gate: { standing: () => 'frozen', open: () => Promise.reject(new EpochLost('over')) } })
    const { agentMethods } = await import('../../../../lib/wire/agent.js')
    const sent = await agents.call({ name: 'st1', address: '127.0.0.1:1' } as never, agentMethods.fence, {}).then(() => 'answered', (thrown: unknown) => thrown)
    expect(sent).to.be.instanceOf(EpochLost)
    agents.close()
  })
})
