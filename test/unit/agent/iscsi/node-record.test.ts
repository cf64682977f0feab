import { expect } from 'chai'
import { nodeRecord, recordPath, timers } from '../../../../agent/iscsi/node-record.js'

const [target, address] = ['iqn.2026-11.io.vsky:storage.st1', '10.77.0.21']
const chap = { initiator: 'iqn.2026-11.io.vsky:head.hd1', user: 'hd1', password: 'Secret12Secret34' }
const lines = nodeRecord({ target, address, chap }).split('\n')
const settings = new Map(lines.filter((line) => line.includes(' = ')).map((line): readonly [string, string] => [line.slice(0, line.indexOf(' = ')), line.slice(line.indexOf(' = ') + 3)]))

describe('open-iscsi\'s record of a target', () => {
  it('is one record: a beginning, settings once each, an end', () => {
    expect(lines[0]).to.match(/^# BEGIN RECORD /)
    expect(lines.slice(-2)).to.deep.equal(['# END RECORD', ''])
    expect(lines.slice(1, -2).every((line) => /^[a-z]+\.\S+ = \S+$/.test(line))).to.equal(true)
    expect(settings.size).to.equal(lines.length - 3)
  })

  it('stands where open-iscsi looks for the target and the portal that it names', () => {
    expect(recordPath(target, address)).to.equal(`/etc/iscsi/nodes/${target}/${address},3260,1/default`)
    expect([settings.get('node.name'), settings.get('node.tpgt'), settings.get('node.conn[0].address'), settings.get('node.conn[0].port')]).to.deep.equal([target, '1', address, '3260'])
  })

  it('lets nobody but us log in or look for LUNs', () => {
    for (const key of ['node.startup', 'node.conn[0].startup', 'node.session.scan']) expect(settings.get(key), key).to.equal('manual')
    expect(settings.get('node.session.nr_sessions')).to.equal('1')
  })

  it('answers CHAP with this head\'s own name, and its password stands nowhere else', () => {
    expect([settings.get('node.session.auth.authmethod'), settings.get('node.session.auth.username'), settings.get('node.session.auth.password')]).to.deep.equal(['CHAP', 'hd1', 'Secret12Secret34'])
    expect(lines.filter((line) => line.includes(chap.password))).to.have.length(1)
    expect(recordPath(target, address)).not.to.contain(chap.password)
  })

  it('notices a dead server within five seconds', () => {
    expect(timers.noopInterval + timers.noopTimeout + timers.replacement).to.be.at.most(5)
    expect([settings.get('node.conn[0].timeo.noop_out_interval'), settings.get('node.conn[0].timeo.noop_out_timeout'), settings.get('node.session.timeo.replacement_timeout')])
      .to.deep.equal([timers.noopInterval, timers.noopTimeout, timers.replacement].map(String))
  })

  it('gives up every step of an error\'s handling in the same time', () => {
    for (const step of ['abort', 'lu_reset', 'tgt_reset', 'host_reset']) expect(settings.get(`node.session.err_timeo.${step}_timeout`), step).to.equal(String(timers.errorHandling))
  })
})
