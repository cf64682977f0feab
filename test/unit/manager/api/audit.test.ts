import { expect } from 'chai'
import { createAuditCheck } from '../../../../lib/audit.js'
import { apiMethods } from '../../../../lib/api/methods.js'
import { apiNames } from '../../../../lib/api/system.js'
import type { AuditEntryView } from '../../../../lib/api/views.js'
import { Fault } from '../../../../lib/faults.js'
import { systemClock } from '../../../../lib/host/clock.js'
import { systemRandom } from '../../../../lib/host/random.js'
import type { Clock, Log } from '../../../../lib/ports.js'
import { createRpcClient } from '../../../../lib/rpc/client.js'
import { flag, secret, struct, text } from '../../../../lib/rpc/shape.js'
import type { CallContext, Stranger as StrangerAtDoor } from '../../../../lib/rpc/server.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'
import { createClassicHandler } from '../../../../manager/api/classic/door.js'
import { callOf, paramsNoted, strangerAtDoor } from '../../../../manager/api/audited.js'
import { createAuditTrail } from '../../../../manager/run/audit.js'
import type { AuditTrail } from '../../../../manager/run/audit.js'
import { auditAfter } from '../../../../manager/store/audit.js'
import type { Db } from '../../../../manager/store/db.js'
import { migrate } from '../../../../manager/store/schema.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { takeOver } from '../../../../manager/store/store.js'
import { json } from '../../../support/json.js'
import { registration, startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'
import { sampleOf } from '../../../support/samples.js'

describe('the audit log of calls', function () {
  this.timeout(60_000)
  let rig: ManagerRig
  let from = 0
  before(async () => { rig = await startManager() })
  after(async () => { await rig.stop() })
  beforeEach(async () => {
    await rig.settle()
    from = (await rig.call('auditHead', {})).seq
  })

  const entries = (): Promise<readonly AuditEntryView[]> => rig.call('auditList', { after: from, limit: 1000 })
  const called = async (caller: 'viewer' | 'operator' | 'admin' | 'agent', method: string, params: XmlValue): Promise<string> => rig.client(caller).call(method, [params]).then(() => 'ok', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))

  it('says of a call that changed something who, from where, through which door, what, and how it ended', async () => {
    expect(await called('operator', 'vsky.setting.set', { name: 'repair.grace', value: 5, request: 'set-it-1' })).to.equal('ok')
    const [entry, ...more] = await entries()
    expect(more).to.deep.equal([])
    expect(entry).to.deep.include({ kind: 'call', who: 'operator', role: 'operator', proof: 'certificate', peer: '127.0.0.1', door: 'xml-rpc', method: 'vsky.setting.set', params: '{"name":"repair.grace","value":5}', result: 'ok', request: 'set-it-1', epoch: 1 })
    expect(entry?.logId).to.match(/^[0-9a-f]{16}$/)
    expect((await json(rig, 'admin', 'vsky.setting.set', { name: 'repair.grace', value: 6, request: 'set-it-2' })).status).to.equal(200)
    expect((await entries())[1]).to.deep.include({ who: 'admin', door: 'json', request: 'set-it-2' })
  })

  it('says of work that takes time that it was accepted, and how it ended', async () => {
    expect(await called('operator', 'vsky.volume.create', { name: 'aud1', bytes: '1048576', request: 'make-it-1' })).to.equal('ok')
    expect((await entries()).map(({ kind, who, method, result, request }) => [kind, who, method, result, request])).to.deep.equal([
      ['call', 'operator', 'vsky.volume.create', 'accepted', 'make-it-1'], ['outcome', '', 'vsky.volume.create', 'ok', 'make-it-1'],
    ])
  })

  it('has one entry of a call that is repeated with its request id, while it is under way and afterwards', async () => {
    const params = { name: 'aud2', bytes: '1048576', request: 'twice-0001' }
    await Promise.all([called('operator', 'vsky.volume.create', params), called('operator', 'vsky.volume.create', params)])
    await called('admin', 'vsky.volume.create', params)
    expect((await entries()).map(({ kind, result }) => `${kind} ${result}`)).to.deep.equal(['call accepted', 'outcome ok'])
    expect(await called('operator', 'vsky.volume.create', { ...params, name: 'other' })).to.equal('request reused')
    expect((await entries()).map(({ kind, result }) => `${kind} ${result}`).slice(2)).to.deep.equal(['call request reused'])
  })

  it('has an entry of a call that was refused, and of one that was denied, even a question', async () => {
    expect(await called('operator', 'vsky.volume.delete', { volume: 'nope', request: 'no-such-1' })).to.equal('unknown volume')
    expect(await called('operator', 'vsky.volume.delete', { volume: 7, request: 'no-such-2' })).to.equal('bad parameter')
    expect(await called('viewer', 'vsky.volume.delete', { volume: 'v3', request: 'no-right-1' })).to.equal('denied')
    expect(await called('agent', 'vsky.volume.list', {})).to.equal('denied')
    expect(await called('operator', 'vsky.audit.list', {})).to.equal('denied')
    expect((await json(rig, 'viewer', 'vsky.host.fail', { host: 'st1', force: true, request: 'no-right-2' })).status).to.equal(403)
    expect((await entries()).map(({ who, door, method, params, result }) => [who, door, method, params, result])).to.deep.equal([
      ['operator', 'xml-rpc', 'vsky.volume.delete', '{"volume":"nope"}', 'unknown volume'], ['operator', 'xml-rpc', 'vsky.volume.delete', '{"volume":7}', 'bad parameter'],
      ['viewer', 'xml-rpc', 'vsky.volume.delete', '{"volume":"v3"}', 'denied'], ['st1', 'xml-rpc', 'vsky.volume.list', '{}', 'denied'], ['operator', 'xml-rpc', 'vsky.audit.list', '{}', 'denied'],
      ['viewer', 'json', 'vsky.host.fail', '{"host":"st1","force":true}', 'denied'],
    ])
  })

  it('has an entry of each call of a multicall, and none of questions', async () => {
    await rig.client('viewer').call('system.multicall', [[{ methodName: 'vsky.host.list', params: [{}] }, { methodName: 'vsky.disk.fail', params: [{ disk: 'x', request: 'multi-001' }] }]])
    expect((await entries()).map(({ who, method, result }) => [who, method, result])).to.deep.equal([['viewer', 'vsky.disk.fail', 'denied']])
  })

  it('has an entry of a failed login: a certificate of another authority', async () => {
    const stranger = await startManager({ servers: 0, volumes: 0 })
    const client = createRpcClient({ url: rig.server.url, tls: { ...stranger.tls('admin'), ca: rig.tls('admin').ca } })
    try {
      await client.call('vsky.host.list', [{}]).catch(() => undefined)
      let found: readonly AuditEntryView[] = []
      while (found.length === 0) {
        const changed = rig.cluster.store.nextChange(1000) // before the look, so that it is not missed
        found = await entries()
        if (found.length === 0) await changed
      }
      expect(found[0]).to.deep.include({ kind: 'stranger', who: '', role: '', proof: '', door: 'tls', peer: '127.0.0.1', method: 'handshake', result: 'not authenticated' })
      expect(found[0]?.params).to.match(/^\{"claimed":"certificate of \\"admin\\"","why":"its certificate is refused: [A-Z_]+","times":1\}$/)
    } finally {
      client.close()
      await stranger.stop()
    }
  })

  it('has an entry of what a classic client did, in its own words', async () => {
    const handle = createClassicHandler(rig.cluster, { stepGb: 1 })
    const context: CallContext = { peer: { address: '10.0.0.7' }, path: '/', requestId: 'f00d', signal: new AbortController().signal, classic: true }
    const call = async (method: string, members: Readonly<Record<string, XmlValue>>): Promise<unknown> => handle(context, method, [{ ver: 5, ...members }]).catch((thrown: unknown) => (thrown as { readonly code: number }).code)
    expect(await call('createLogicalVolume', { lvolname: 'cls1', capacity: 1, redundancy: 2 })).to.be.a('number')
    await call('detachLogicalVolume', { lvolname: 'cls1' })
    expect(await call('deleteLogicalVolume', { lvolname: 'nope' })).to.equal(2)
    await call('listLogicalVolumes', {})
    await rig.settle()
    expect((await entries()).map(({ kind, who, proof, peer, door, method, result }) => [kind, who, proof, peer, door, method, result])).to.deep.equal([
      ['call', '', '', '10.0.0.7', 'classic', 'createLogicalVolume', 'accepted'], ['outcome', '', '', '', '', 'vsky.volume.create', 'ok'],
      ['call', '', '', '10.0.0.7', 'classic', 'detachLogicalVolume', 'ok'], ['call', '', '', '10.0.0.7', 'classic', 'deleteLogicalVolume', 'ENOENT'],
    ])
    expect((await entries())[0]?.params).to.equal('{"ver":5,"lvolname":"cls1","capacity":1,"redundancy":2}')
  })

  it('has an entry of an agent that says something new of its host, and none when it was only started anew or found another manager', async () => {
    const register = async (words: object): Promise<readonly string[]> => {
      from = (await rig.call('auditHead', {})).seq
      await rig.call('hostRegister', { ...registration('st1', 'storage'), ...words })
      return (await entries()).map(({ who, method, result }) => `${who} ${method} ${result}`)
    }
    expect(await register({})).to.deep.equal([])
    expect(await register({ incarnation: 'inc-2' })).to.deep.equal([])
    expect(await register({ bootId: 'boot-2', version: 'newer' })).to.deep.equal([])
    for (const words of [{ zone: 'z' }, { address: '127.0.0.1:2' }, { dataAddresses: ['127.0.0.2'] }, { initiator: 'iqn.2026-11.io.vsky:other' }, {}, { disks: ['/dev/sdb', '/dev/sdy'] }]) {
      expect(await register(words), JSON.stringify(words)).to.deep.equal(['st1 vsky.host.register ok'])
    }
    expect(await register({}), 'a disk stays').to.deep.equal([])
  })

  it('is shortened by nobody but an admin', async () => {
    for (const name of ['audit.entries', 'audit.days']) {
      expect(await called('operator', 'vsky.setting.set', { name, value: 1000, request: `shorter-${name}` })).to.equal('denied')
      expect(await called('admin', 'vsky.setting.set', { name, value: 1000, request: `${name}-shorter` })).to.equal('ok')
      expect(await called('operator', 'vsky.setting.set', { name, request: `back-${name}` }), 'nor set back').to.equal('denied')
    }
    expect((await entries()).map(({ who, result }) => `${who} ${result}`)).to.deep.equal(['operator denied', 'admin ok', 'operator denied', 'operator denied', 'admin ok', 'operator denied'])
  })

  it('that takes no entry lets no call change anything', async () => {
    const classic = createClassicHandler(rig.cluster, { stepGb: 1 })
    const context: CallContext = { peer: { address: '10.0.0.7' }, path: '/', requestId: 'f00d', signal: new AbortController().signal, classic: true }
    await classic(context, 'listLogicalVolumes', [{ ver: 5 }]) // gives numbers to what has none: that is no caller's change
    await rig.db.tx((tx) => tx.run(`create trigger takes_none before insert on audit begin select raise(abort, 'the log takes no entry'); end`))
    try {
      const before = await rig.state()
      const outcomes = new Map<string, string>()
      for (const name of apiNames.filter((each) => apiMethods[each].mutates)) outcomes.set(name, await rig.call(name, sampleOf(name) as never).then(() => 'ok', (thrown: unknown) => (thrown as Fault).fault))
      outcomes.set('hostRegister', await rig.call('hostRegister', { ...registration('st1', 'storage'), zone: 'elsewhere' }).then(() => 'ok', (thrown: unknown) => (thrown as Fault).fault))
      outcomes.set('classic', await classic(context, 'createLogicalVolume', [{ ver: 5, lvolname: 'cls9', capacity: 1, redundancy: 2 }]).then(() => 'ok', () => 'internal error'))
      expect([...outcomes.values()]).not.to.include('ok')
      for (const name of ['volumeCreate', 'volumeAttach', 'volumeDetach', 'volumeDelete', 'diskAdd', 'hostFail', 'settingSet', 'hostRegister', 'classic']) expect(outcomes.get(name), name).to.equal('internal error')
      expect(await rig.state()).to.equal(before)
    } finally {
      await rig.db.tx((tx) => tx.run('drop trigger takes_none'))
    }
    expect(await called('operator', 'vsky.setting.set', { name: 'repair.grace', value: 8, request: 'set-it-3' })).to.equal('ok')
  })

  it('counts what one caller has refused again and again, instead of a commit for each', async () => {
    for (let each = 0; each < 130; each += 1) await called('viewer', 'vsky.disk.fail', { disk: 'x', request: `again-${each}000` })
    const mine = async (): Promise<readonly AuditEntryView[]> => (await entries()).filter((entry) => entry.who === 'viewer')
    expect((await mine()).length).to.be.within(90, 100)
    expect(await called('operator', 'vsky.disk.fail', { disk: 'x', request: 'another-1' }), 'others are not held up').to.equal('unknown disk')
    expect((await entries()).at(-1)).to.deep.include({ who: 'operator' })
    await rig.cluster.audit.end()
    const last = (await mine()).at(-1)
    expect(last).to.deep.include({ kind: 'refusals', role: 'viewer' })
    expect((JSON.parse(last?.params ?? '{}') as { calls: number }).calls).to.be.within(30, 45)
  })

  it('fits from its first entry to its last, after all that', async () => {
    const check = createAuditCheck([await rig.call('auditHead', {})])
    for (const entry of await rig.call('auditList', { limit: 1000 })) check.add(entry)
    expect(check.end()).not.to.have.property('problem')
  })

  it('has no secret of a host in it, though passwords were made and used', async () => {
    const secrets = (await rig.cluster.store.read.all('select chap_password from hosts')).map((row) => String(row.chap_password))
    expect(secrets.length).to.be.greaterThan(3)
    const all = JSON.stringify(await rig.call('auditList', { limit: 1000 })) + rig.lines.join('')
    for (const password of secrets) expect(all).not.to.contain(password)
  })
})

describe('the parameters that the audit log shows', () => {
  const context = { peer: { address: 'x', commonName: 'anna', role: 'admin' }, path: '/RPC2', requestId: 'r' } as unknown as CallContext
  const method = { ...apiMethods.settingSet, params: struct({ name: text(), pin: secret(text()), force: flag() }) } as never

  it('are the method\'s own, without those that it calls secret, nor any whose name says that it is', () => {
    const call = callOf(context, 'json', method, [{ name: 'a', pin: 'S3CRET', force: true, request: 'req-00001', chapPassword: 'S3CRET', other: 'S3CRET' }])
    expect([call.params, call.request]).to.deep.equal(['{"name":"a","pin":"(secret)","force":true}', 'req-00001'])
    const noted = paramsNoted([{ name: 'a', token: 'S3CRET', passwd: 'S3CRET', userPassword: 'S3CRET', CHAP: 'S3CRET', deep: { join_token: 'S3CRET', list: [{ secret: 'S3CRET' }] } }])
    expect(noted).to.contain('(secret)').and.not.contain('S3CRET')
  })

  it('are short, whatever was sent, and say nothing of what is no struct', () => {
    const huge = 'x'.repeat(100_000)
    expect(paramsNoted([{ a: huge, b: Array.from({ length: 10_000 }, () => huge), c: { d: { e: { f: huge } } } }]).length).to.be.at.most(4000)
    expect(paramsNoted([{ a: 2n ** 60n, b: new Date(0), c: new Uint8Array(9), d: null }])).to.equal('{"a":"1152921504606846976","b":"1970-01-01T00:00:00.000Z","c":"(9 bytes)","d":null}')
    expect([paramsNoted(['S3CRET']), paramsNoted([]), paramsNoted([{}, {}])]).to.deep.equal(['{"parameters":1}', '{}', '{"parameters":2}'])
    expect(paramsNoted([JSON.parse('{"__proto__":{"x":1},"a":"\\ud800"}') as XmlValue])).to.be.a('string')
  })
})

describe('calls that change nothing', () => {
  let db: Db
  let now = 0
  let trail: AuditTrail
  const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent }
  let standing: 'active' | 'frozen' = 'active'
  const stranger = async (words: Partial<StrangerAtDoor> = {}): Promise<void> => {
    trail.stranger(strangerAtDoor({ address: '192.0.2.7', path: '/RPC2', claimed: 'user "anna"', known: true, why: 'wrong secret', fault: 'not authenticated', logId: 'f00d', ...words }))
    await written()
  }
  const minute = async (): Promise<void> => {
    now += 60_000
    await trail.flush()
  }
  const strangers = async (): Promise<readonly string[]> => (await auditAfter(db, 0, 1000)).filter(({ kind }) => kind === 'stranger').map(({ peer, params }) => `${peer} ${params}`)
  /** What a stranger caused is written behind his back; SQLite answers in order. */
  const written = async (): Promise<void> => { for (let each = 0; each < 3; each += 1) await db.get('select 1 as one') }
  const person = (who: string): Promise<void> => trail.answered({ who, role: 'viewer', proof: 'certificate', peer: '10.0.0.9', door: 'json', method: 'vsky.disk.fail', params: '{}', request: '', logId: '', noted: '' }, 'denied')
  const noted = async (): Promise<readonly string[]> => (await auditAfter(db, 0, 1000)).map(({ kind, who, params }) => `${kind} ${who}${kind === 'refusals' ? params : ''}`)
  beforeEach(async () => {
    db = await openSqlite(':memory:')
    await migrate(db)
    now = 0
    const clock: Clock = { ...systemClock, monoMs: () => now }
    trail = createAuditTrail({ store: await takeOver(db, 'mgr1', { clock, random: systemRandom }), clock, log: silent, gate: { standing: () => standing, open: () => Promise.resolve() } })
    standing = 'active'
  })
  afterEach(() => db.close())

  it('of who was not let in have an entry at once, then one a minute for each name and address, with their number and why', async () => {
    for (let each = 0; each < 300; each += 1) await stranger(each < 10 ? {} : { why: 'locked out', fault: 'too many attempts' })
    await stranger({ address: '192.0.2.8' })
    expect(await strangers()).to.deep.equal(['192.0.2.7 {"claimed":"user \\"anna\\"","why":"wrong secret","times":1}'])
    now = 59_999
    await trail.flush()
    expect(await strangers()).to.have.length(1)
    now = 60_000
    await trail.flush()
    expect((await strangers()).slice(1)).to.deep.equal(['192.0.2.7 {"claimed":"user \\"anna\\"","why":"wrong secret (9), locked out (290)","times":299}', '192.0.2.8 {"claimed":"user \\"anna\\"","why":"wrong secret","times":1}'])
    await minute()
    expect(await strangers(), 'nobody came').to.have.length(3)
    expect((await auditAfter(db, 0, 1000))[1]).to.deep.include({ kind: 'stranger', who: '', role: '', proof: '', door: 'xml-rpc', method: 'login', result: 'not authenticated', logId: 'f00d' })
  })

  it('of who was not let in have ten in a minute, however many names and addresses there are, and one for all the others', async () => {
    await stranger()
    for (let each = 0; each < 500; each += 1) await stranger({ address: `10.0.${each % 50}.1`, claimed: `user "u${each}"` })
    await minute()
    expect((await strangers()).slice(1, 11).map((each) => /^10\.0\.\d\.1 .*"times":1}$/.test(each))).to.deep.equal(Array.from({ length: 10 }, () => true))
    expect((await strangers()).slice(11)).to.deep.equal([' {"others":490,"why":"wrong secret","times":490}'])
  })

  it('of names that were thought out, and of addresses of one network, are told together', async () => {
    await stranger()
    for (let each = 0; each < 50; each += 1) await stranger({ address: `2001:db8::${each}`, claimed: `certificate of "c${each}"`, known: false })
    await minute()
    expect((await strangers()).slice(1)).to.deep.equal(['2001:db8::0 {"claimed":"certificate of \\"c0\\"","why":"wrong secret","times":50}'])
  })

  it('of who was not let in wait while the manager can write nothing, and are not lost', async () => {
    standing = 'frozen'
    await stranger()
    await minute()
    expect(await strangers()).to.deep.equal([])
    standing = 'active'
    await minute()
    expect(await strangers()).to.have.length(1)
    await db.tx((tx) => tx.run(`create trigger takes_none before insert on audit begin select raise(abort, 'the log takes no entry'); end`))
    now += 60_000
    await stranger()
    now += 60_000
    await trail.flush().catch(() => undefined)
    await db.tx((tx) => tx.run('drop trigger takes_none'))
    await minute()
    expect((await strangers()).slice(1)).to.deep.equal(['192.0.2.7 {"claimed":"user \\"anna\\"","why":"wrong secret","times":1}'])
  })

  it('of who was not let in are written by no manager that another has taken over from', async () => {
    await takeOver(db, 'mgr2', { clock: systemClock, random: systemRandom })
    await stranger()
    await trail.end()
    expect(await strangers()).to.deep.equal([])
  })

  it('of one caller have a hundred, and others have theirs', async () => {
    for (let each = 0; each < 150; each += 1) await person('anna')
    await person('otto')
    await trail.end()
    expect(await noted()).to.deep.equal([...Array.from({ length: 100 }, () => 'call anna'), 'call otto', 'refusals anna{"calls":50}'])
  })
})
