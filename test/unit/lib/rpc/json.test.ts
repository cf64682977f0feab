import { expect } from 'chai'
import fc from 'fast-check'
import { JsonSyntaxError, decodeJson, encodeJson } from '../../../../lib/rpc/json.js'

const refusal = (text: string, limits = {}): string => {
  try {
    decodeJson(text, limits)
  } catch (thrown) {
    expect(thrown, text.slice(0, 40)).to.be.instanceOf(JsonSyntaxError)
    return (thrown as Error).message
  }
  return 'taken'
}
const legal = fc.string({ unit: 'binary' }).filter((text) => !/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/u.test(text))
const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof({ depthSize: 'small' }, legal, fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e15, max: 1e15 }), fc.boolean(), fc.constant(null), fc.array(tie('value')),
    fc.dictionary(legal.filter((name) => name !== '__proto__' && name.length < 100), tie('value'))),
}))

describe('JSON', () => {
  it('is read as JSON.parse reads it, whatever the values and blanks', () => {
    fc.assert(fc.property(anyValue, fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent)
      expect(JSON.parse(JSON.stringify(decodeJson(text)))).to.deep.equal(JSON.parse(text))
    }), { numRuns: 500 })
  })

  it('is refused where JSON.parse refuses it, and nothing but a syntax error is thrown', () => {
    const damage = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(3), put: fc.constantFrom('', '"', '\\', '{', '}', '[', ']', ',', ':', '-', '0', '1e', 'nul', ' ', 'é', '\u0001') })
    fc.assert(fc.property(anyValue, fc.array(damage, { minLength: 1, maxLength: 3 }), (value, damages) => {
      let text = JSON.stringify(value)
      for (const { at, cut, put } of damages) {
        const from = Math.floor(at * text.length)
        text = text.slice(0, from) + put + text.slice(from + cut)
      }
      const parses = ((): boolean => { try { JSON.parse(text); return true } catch { return false } })()
      const said = refusal(text)
      if (!parses) expect(said).not.to.equal('taken')
      else if (said !== 'taken') expect(said).to.match(/64 bits|XML forbids|stands there twice|not a member's name|bounds/)
    }), { numRuns: 2000 })
  })

  it('keeps integers to the last digit, or refuses them', () => {
    expect(decodeJson('[9007199254740993, -9223372036854775808, 9223372036854775807, 9007199254740991, -0]')).to.deep.equal([9007199254740993n, -(2n ** 63n), 2n ** 63n - 1n, 9007199254740991, 0])
    expect(refusal('9223372036854775808')).to.contain('64 bits')
    expect(refusal('1e999')).to.contain('bounds')
    expect(refusal('1'.repeat(1_000_000))).to.contain('bounds')
  })

  it('has no member twice, none that reaches a prototype, and no character that the other wire could not carry', () => {
    expect(refusal('{"a":1,"a":2}')).to.contain('twice')
    expect(refusal('{"__proto__":{"x":1}}')).to.contain('not a member')
    expect(Object.getPrototypeOf(decodeJson('{"constructor":1}'))).to.equal(null)
    for (const bad of ['"\\u0000"', '"\\ud800"', '"\\uffff"', '"a\nb"', '{"\\u0001":1}']) expect(refusal(bad), bad).not.to.equal('taken')
  })

  it('is bounded in depth, in values and in time', () => {
    expect(refusal('['.repeat(65) + ']'.repeat(65))).to.contain('deeper than 64')
    expect(refusal(`[${'1,'.repeat(10)}1]`, { values: 10 })).to.contain('more than 10 values')
    for (const piece of ['[', '{"a":', '"', '\\', '"\\', '\\"', '-', '1', ' ', '{}', '[],', '"a",', 'é', 'true ']) refusal(piece.repeat(Math.ceil(4_000_000 / piece.length)))
    refusal(`"${'\\'.repeat(4_000_001)}`)
    refusal(`["${'\\"'.repeat(2_000_000)}"]`)
  })

  it('carries what it has no type for as text', () => {
    expect(JSON.parse(encodeJson({ big: 2n ** 60n, bytes: Buffer.from('hi'), at: new Date(0), none: undefined }))).to.deep.equal({ big: '1152921504606846976', bytes: 'aGk=', at: '1970-01-01T00:00:00.000Z' })
    expect(() => encodeJson({ a: NaN })).to.throw(TypeError)
  })
})
