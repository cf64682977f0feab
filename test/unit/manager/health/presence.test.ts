import { expect } from 'chai'
import fc from 'fast-check'
import { createPresence, HEARTBEAT_MS, OFFLINE_AFTER_MS } from '../../../../manager/health/presence.js'

describe('who is alive', () => {
  it('is not lost by four late heartbeats, and is by five', () => {
    const presence = createPresence()
    presence.heard('st1', 0)
    expect(presence.online('st1', 4 * HEARTBEAT_MS)).to.equal(true)
    expect(presence.online('st1', 5 * HEARTBEAT_MS)).to.equal(false)
  })

  it('is told again when a host comes back', () => {
    const presence = createPresence()
    presence.heard('st1', 0)
    presence.changes(0)
    presence.changes(OFFLINE_AFTER_MS + 1)
    presence.heard('st1', OFFLINE_AFTER_MS + 2)
    expect(presence.changes(OFFLINE_AFTER_MS + 3)).to.deep.equal([{ host: 'st1', online: true }])
  })

  it('tells all hosts that changed, by name', () => {
    const presence = createPresence()
    for (const host of ['st2', 'st1', 'hd1']) presence.heard(host, 0)
    expect(presence.changes(0).map((each) => each.host)).to.deep.equal(['hd1', 'st1', 'st2'])
  })

  it('does not take a heartbeat back when a host is expected after it was heard', () => {
    const presence = createPresence()
    presence.heard('st1', 5000)
    presence.expect('st1', 0)
    expect(presence.lastHeard('st1')).to.equal(5000)
    expect(presence.changes(5000)).to.deep.equal([{ host: 'st1', online: true }])
  })

  it('is proved by a host\'s own word alone, not by what is expected, presumed or said by an unknown start of it', () => {
    const presence = createPresence()
    presence.expect('st1', 0)
    presence.changes(0)
    presence.presume(100)
    presence.stirs('st1', 200)
    expect([presence.lastHeard('st1'), presence.proved('st1')]).to.deep.equal([200, undefined])
    presence.heard('st1', 300)
    presence.stirs('st1', 400)
    expect([presence.lastHeard('st1'), presence.proved('st1')]).to.deep.equal([400, 300])
  })

  it('is presumed of those that were online when nobody listened for a while, and of no others', () => {
    const presence = createPresence()
    presence.heard('gone', 0)
    presence.heard('here', 5000)
    presence.changes(5000)
    presence.presume(60_000)
    expect([presence.online('here', 60_000), presence.online('gone', 60_000)]).to.deep.equal([true, false])
    expect(presence.changes(60_000)).to.deep.equal([])
  })

  it('tells each change once, and what it told last is what is', () => {
    fc.assert(fc.property(fc.array(fc.record({ host: fc.constantFrom('a', 'b', 'c'), heard: fc.boolean(), after: fc.nat(6000) }), { maxLength: 40 }), (steps) => {
      const presence = createPresence()
      const told = new Map<string, boolean>()
      let now = 0
      for (const step of steps) {
        now += step.after
        if (step.heard) presence.heard(step.host, now)
        for (const { host, online } of presence.changes(now)) {
          expect(told.get(host)).to.not.equal(online)
          told.set(host, online)
        }
        for (const [host, online] of told) expect(presence.online(host, now)).to.equal(online)
      }
    }))
  })
})
