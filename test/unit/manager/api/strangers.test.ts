/** Who was not let in, from the door to the audit log. */
import { expect } from 'chai'
import type { AuditEntryView } from '../../../../lib/api/views.js'
import { writeToken } from '../../../../manager/access/secret.js'
import { basic, bearer, callWith, makeToken, makeUser, password } from '../../../support/credentials.js'
import { registration, startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('who was not let in', function () {
  this.timeout(60_000)
  let rig: ManagerRig
  let from = 0
  let token = ''
  before(async () => {
    rig = await startManager({ servers: 1, volumes: 0 })
    token = await makeToken(rig, 'ci', 'viewer')
    await makeUser(rig, 'ann', 'admin')
  })
  after(async () => { await rig.stop() })
  beforeEach(async () => { from = (await rig.call('auditHead', {})).seq })

  const entries = async (): Promise<readonly AuditEntryView[]> => {
    await rig.cluster.audit.end() // the clock stands still
    return rig.call('auditList', { after: from, limit: 1000 })
  }
  const paramsOf = (list: readonly AuditEntryView[]): readonly unknown[] => list.map(({ params }) => JSON.parse(params) as unknown)
  const knock = async (authorization?: string, wire: 'xml' | 'json' = 'json'): Promise<string> => (await callWith(rig, { authorization, wire }, 'vsky.volume.list', {})).outcome

  it('with a wrong token or password, or with none, leaves an entry that says who was meant, from where and why, and never what was offered', async () => {
    const wrong = token.slice(0, -64) + 'f'.repeat(64)
    const unknown = writeToken('0123456789abcdef', 'e'.repeat(64))
    for (const each of [bearer(wrong), basic('ann', 'not her password'), bearer(unknown), basic('correct horse', password), bearer('S3CRET'), undefined]) expect(await knock(each, 'xml')).to.equal('not authenticated')
    const found = await entries()
    expect(found.every(({ kind, who, role, proof, peer, door, method, result }) => [kind, who, role, proof, peer, door, method, result].join() === 'stranger,,,,127.0.0.1,xml-rpc,login,not authenticated')).to.equal(true)
    expect(paramsOf(found)).to.deep.equal([
      { claimed: 'token "ci"', why: 'wrong secret', times: 1 }, { claimed: 'user "ann"', why: 'wrong secret', times: 1 },
      { claimed: 'token with id 0123456789abcdef', why: 'no such name (2), no token of ours (1), no certificate, token or password (1)', times: 4 },
    ])
    const all = JSON.stringify(found) + rig.lines.join('')
    for (const secret of ['f'.repeat(64), 'e'.repeat(64), 'not her password', password, 'correct horse', 'S3CRET']) expect(all).not.to.contain(secret)
  })

  it('leaves none when he is let in the next time, nor when the secret is right', async () => {
    expect(await knock(bearer(token))).to.equal('done')
    expect(await knock(basic('ann', password))).to.equal('done')
    expect(await entries()).to.deep.equal([])
  })

  it('with a certificate that was revoked leaves one entry, however often its agent knocks', async () => {
    await rig.call('hostRevoke', { name: 'st1' })
    from = (await rig.call('auditHead', {})).seq
    for (let each = 0; each < 20; each += 1) expect(await rig.call('hostRegister', registration('st1', 'storage')).catch((thrown: unknown) => (thrown as { readonly fault: string }).fault)).to.equal('denied')
    const [entry, ...more] = await entries()
    expect(more).to.deep.equal([])
    expect(entry).to.deep.include({ kind: 'stranger', who: '', peer: '127.0.0.1', door: 'xml-rpc', method: 'vsky.host.register', result: 'denied', params: '{"claimed":"certificate of \\"st1\\"","why":"revoked","times":20}' })
  })

  it('because his secret had failed too often leaves an entry that says so', async () => {
    const outcomes: string[] = []
    for (let each = 0; each < 20; each += 1) outcomes.push(await knock(basic('ann', `guess ${each}`)))
    expect(outcomes.at(-1)).to.equal('too many attempts')
    const locked = outcomes.filter((each) => each === 'too many attempts').length
    expect(paramsOf(await entries())).to.deep.equal([{ claimed: 'user "ann"', why: `wrong secret (${20 - locked}), locked out (${locked})`, times: 20 }])
  })
})
