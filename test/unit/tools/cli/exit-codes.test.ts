import { expect } from 'chai'
import { Fault, faults } from '../../../../lib/faults.js'
import type { FaultName } from '../../../../lib/faults.js'
import { RemoteFault, TransportError } from '../../../../lib/rpc/client.js'
import { UsageError } from '../../../../tools/cli/settings.js'
import { exitCodes, explain } from '../../../../tools/cli/explain.js'

const names = Object.keys(faults) as readonly FaultName[]

describe('an exit code', () => {
  it('is one for each class, and never that of success or of a crash of node', () => {
    const codes = Object.values(exitCodes)
    expect(new Set(codes).size).to.equal(codes.length)
    expect(codes.filter((code) => code < 2 || code > 125)).to.deep.equal([])
  })
})

describe('every fault at the terminal', () => {
  it('has its exit code, its number and its advice', () => {
    for (const name of names) {
      const { code, text, json } = explain(new Fault(name, 'Cannot do it'))
      expect(code, name).to.equal(exitCodes[faults[name].class])
      expect(text, name).to.equal(`vsky: Cannot do it\n  ${name} (fault ${faults[name].code})\n  to do: ${faults[name].correction}`)
      expect(json, name).to.deep.equal({ error: name, code: faults[name].code, class: faults[name].class, message: 'Cannot do it', correction: faults[name].correction })
    }
  })
})

describe('a call without an answer', () => {
  it('says whether it may have been carried out', () => {
    expect(explain(new TransportError('timeout', 'no answer in 5 s', { sent: true })).text).to.equal('vsky: no answer in 5 s\n  manager unreachable\n  to do: the call may have been carried out: look before you repeat it')
    expect(explain(new TransportError('refused', 'nobody there', { sent: false })).text).to.contain('check that the manager runs and can be reached from here')
  })

  it('for want of trust leads to the certificate', () => {
    expect(explain(new TransportError('tls', 'self-signed', { sent: false }))).to.deep.include({ code: 6 }).and.have.property('text').that.contains('check that the certificate is of this cluster')
  })
})

describe('what is none of our faults', () => {
  it('is another release\'s when the server sent it, with its number', () => {
    expect(explain(new RemoteFault(4711, 'what?')).json).to.deep.equal({ error: 'unknown fault', code: 4711, class: 'internal', message: 'what?', correction: 'the server is of another release' })
  })

  it('is the caller\'s when nothing was sent, and then needs no advice', () => {
    expect(explain(new UsageError('no manager is known'))).to.deep.include({ code: 2, text: 'vsky: no manager is known\n  usage' })
  })

  it('is a bug of the command when it is anything else that can be thrown', () => {
    for (const thrown of [new TypeError('x is undefined'), 'x is undefined']) expect(explain(thrown)).to.deep.include({ code: 70, text: 'vsky: x is undefined\n  internal error\n  to do: this is a bug of the command' })
  })
})
