import { expect } from 'chai'
import fc from 'fast-check'
import { XmlRpcSyntaxError, decodeCall, decodeResponse, encodeCall, encodeResponse } from '../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'

const legalText = fc.string({ unit: 'binary' }).filter((text) => !/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/u.test(text))
const nasty = fc.constantFrom('\r', '\r\n', ']]>', '<![CDATA[', '&amp;', '<!--', '</value>', ' ', '\t')
const anyText = fc.oneof(legalText, fc.array(fc.oneof(legalText, nasty)).map((parts) => parts.join('')))
const beyondSafe = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).filter((value) => !Number.isSafeInteger(Number(value)))
const wholeSeconds = fc.integer({ min: Date.UTC(100, 0) / 1000, max: Date.UTC(9999, 11, 31) / 1000 }).map((seconds) => new Date(seconds * 1000))

/** Every value that comes back as it was sent: no negative zero, no small bigints, no undefined members. */
const { value: anyValue } = fc.letrec<{ value: XmlValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    anyText, fc.integer(), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => (Object.is(x, -0) ? 0 : x)),
    fc.boolean(), fc.constant(null), beyondSafe, wholeSeconds, fc.uint8Array(),
    fc.array(tie('value')),
    fc.dictionary(anyText.filter((name) => name !== '__proto__' && name.length <= 128), tie('value')),
  ),
}))

describe('XML-RPC, whatever the values', () => {
  it('reads back exactly what it wrote', () => {
    fc.assert(fc.property(fc.array(anyValue), (params) => {
      expect(decodeCall(encodeCall('a.b', params))).to.deep.equal({ method: 'a.b', params })
    }), { numRuns: 300 })
  })

  it('reads back every double to the last bit', () => {
    fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      expect(decodeResponse(encodeResponse(value))).to.deep.equal({ kind: 'value', value: value === 0 ? 0 : value })
    }), { numRuns: 2000 })
  })

  it('reads each struct of a list by its own names, whatever the ones before it were called, and refuses a name that comes twice', () => {
    const rare = ['a<!---->', '<![CDATA[a]]>', '&amp;', 'x y'].map((xml) => ({ xml, name: { '&amp;': '&', 'x y': 'x y' }[xml] ?? 'a' }))
    const written = fc.oneof({ weight: 9, arbitrary: fc.constantFrom({ xml: 'a', name: 'a' }, { xml: 'b', name: 'b' }) }, { weight: 1, arbitrary: fc.constantFrom(...rare) })
    const member = fc.record({ written, before: fc.constantFrom('', '', '', ' '), value: fc.constantFrom('<int>1</int>', '<string>b</string>', 'b', '<struct><member><name>a</name><value/></member></struct>') })
    fc.assert(fc.property(fc.array(fc.array(member, { maxLength: 3 }), { maxLength: 5 }), (structs) => {
      const xml = structs.map((each) => `<value><struct>${each.map((one) => `<member>${one.before}<name>${one.written.xml}</name>${one.before}<value>${one.value}</value></member>`).join('')}</struct></value>`).join('')
      const read = (): XmlValue | undefined => decodeCall(`<methodCall><methodName>x</methodName><params><param><value><array><data>${xml}</data></array></value></param></params></methodCall>`).params[0]
      const names = structs.map((each) => each.map((one) => one.written.name))
      if (names.some((each) => new Set(each).size < each.length)) expect(read).to.throw(XmlRpcSyntaxError, /two members called/)
      else expect((read() as XmlValue[]).map((each) => Object.keys(each ?? {}))).to.deep.equal(names)
    }), { numRuns: 2000 })
  })

  it('answers any damage with a syntax error or a value, never with anything else', () => {
    const damage = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(12), put: fc.oneof(anyText, fc.string({ unit: 'binary' }), nasty) })
    fc.assert(fc.property(fc.array(anyValue), fc.array(damage, { minLength: 1, maxLength: 4 }), (params, damages) => {
      let text = encodeCall('a.b', params)
      for (const { at, cut, put } of damages) {
        const from = Math.floor(at * text.length)
        text = text.slice(0, from) + put + text.slice(from + cut)
      }
      for (const decode of [decodeCall, decodeResponse]) {
        try {
          decode(text)
        } catch (thrown) {
          expect(thrown).to.be.instanceOf(XmlRpcSyntaxError)
        }
      }
    }), { numRuns: 500 })
  })
})

describe('XML-RPC, whatever the length', () => {
  // Quadratic reading of these takes minutes (147 s were measured for the first with a usual parser); linear reading takes milliseconds.
  // The limit of mocha, 10 s for one test, lies between.
  const document = (inner: string): string => `<methodCall><methodName>x</methodName><params><param><value>${inner}</value></param></params></methodCall>`
  const million = (piece: string): string => piece.repeat(Math.ceil(8_000_000 / piece.length))
  const bodies: readonly (readonly [string, string])[] = [
    ['unmatched end tags', million('<value></b>')], ['open tags', million('<value>')], ['empty comments', document(million('<!---->'))],
    ['open comments', document(million('<!--'))], ['open CDATA', document(million('<![CDATA['))], ['full CDATA', document(million('<![CDATA[x]]>'))],
    ['ampersands', document(million('&'))], ['references', document(million('&lt;'))], ['line ends', document(`<array><data>${million('<value>\r</value>\r')}</data></array>`)],
    ['angle brackets', document(million('<'))], ['brackets', document(million(']]'))], ['a long tag', document(`<${million('a')}>`)], ['blanks in a tag', document(`<int${million(' ')}>1</int>`)],
    ['blanks before a name space', document(`<int${million(' xmlns')}>`)], ['an endless name space', document(`<int xmlns="${million('a')}`)],
    ['digits', document(`<int>${million('1')}</int>`)], ['digits of a double', document(`<double>${million('1')}</double>`)],
    ['base64', document(`<base64>${million('QUJD')}</base64>`)], ['base64 with blanks', document(`<base64>${million('Q U\nJD')}</base64>`)],
    ['one string', document(million('abc '))], ['blanks', million(' ')], ['blanks after the end', document('') + million(' \n')],
    ['members of one name', document(`<struct>${million('<member><name>a</name><value/></member>')}</struct>`)],
    ['structs of names that no other has', document(`<array><data>${Array.from({ length: 110_000 }, (_, at) => `<value><struct><member><name>n${at}</name><value/></member></struct></value>`).join('')}</data></array>`)],
    ['members of different names', document(`<struct>${Array.from({ length: 170_000 }, (_, at) => `<member><name>n${at}</name><value/></member>`).join('')}</struct>`)],
    ['a declaration', `<?xml${million(' ')}?>`], ['a method name', `<methodCall><methodName>${million('x')}</methodName></methodCall>`],
  ]
  for (const [name, body] of bodies) {
    it(`gets through 8 MB of ${name} at once`, () => {
      try {
        decodeCall(body)
      } catch (thrown) {
        expect(thrown).to.be.instanceOf(XmlRpcSyntaxError)
      }
    })
  }

  it('refuses 1.1 MB of unmatched end tags', () => {
    expect(() => decodeCall('<value></b>'.repeat(100_000))).to.throw(XmlRpcSyntaxError)
  })
})
