import { expect } from 'chai'
import { XmlRpcSyntaxError, decodeCall, decodeResponse, double, encodeCall, encodeFault, encodeResponse } from '../../../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'

/** What the writer puts between `<value>` and `</value>`. */
function written(value: XmlValue): string {
  return /<param><value>(.*)<\/value><\/param>/s.exec(encodeResponse(value))?.[1] ?? 'nothing'
}

function readValue(xml: string): XmlValue {
  const response = decodeResponse(`<methodResponse><params><param>${xml}</param></params></methodResponse>`)
  if (response.kind !== 'value') throw new Error('a fault was read')
  return response.value
}

function refused(xml: string): string {
  try {
    readValue(xml)
  } catch (thrown) {
    if (thrown instanceof XmlRpcSyntaxError) return thrown.message
    throw thrown
  }
  return 'it was accepted'
}

const call = (inner: string): string => `<methodCall><methodName>x</methodName>${inner}</methodCall>`

describe('writing XML-RPC', () => {
  it('puts a whole number into the smallest type that holds it', () => {
    expect(written(2147483647)).to.equal('<int>2147483647</int>')
    expect(written(-2147483648)).to.equal('<int>-2147483648</int>')
    expect(written(2147483648)).to.equal('<i8>2147483648</i8>')
    expect(written(5n)).to.equal('<int>5</int>')
    expect(written(2n ** 63n - 1n)).to.equal('<i8>9223372036854775807</i8>')
    expect(written(-0)).to.equal('<int>0</int>')
  })

  it('writes doubles without exponent, and whole ones where it is told to', () => {
    expect(written(1.5)).to.equal('<double>1.5</double>')
    expect(written(1e21)).to.equal('<double>1000000000000000000000.0</double>')
    expect(written(-1.25e-9)).to.equal('<double>-0.00000000125</double>')
    expect(written(double(2))).to.equal('<double>2.0</double>')
  })

  it('escapes what XML would change or mistake', () => {
    expect(written('<a]]>b]]>c & \r\n')).to.equal('<string>&lt;a]]&gt;b]]&gt;c &amp; &#13;\n</string>')
  })

  it('leaves out undefined members and keeps null', () => {
    expect(written({ a: undefined, b: null })).to.equal('<struct><member><name>b</name><value><nil/></value></member></struct>')
  })

  it('writes a date in UTC in the form that Python reads', () => {
    expect(written(new Date('2026-11-21T03:04:05.678Z'))).to.equal('<dateTime.iso8601>20261121T03:04:05</dateTime.iso8601>')
  })

  const circle: XmlValue[] = []
  circle.push(circle)
  const unsendable: readonly (readonly [string, unknown])[] = [
    ['undefined', undefined], ['a function', () => 1], ['a symbol', Symbol('x')], ['a Map', new Map()], ['a Set', new Set()],
    ['an Error', new Error('x')], ['a URL', new URL('http://x')], ['NaN', NaN], ['infinity', -Infinity], ['a 65-bit integer', 2n ** 63n],
    ['an invalid date', new Date(NaN)], ['the year 10000', new Date(Date.UTC(10000, 0))], ['a control character', 'a\u0001b'], ['U+FFFF', '\uffff'],
    ['half a surrogate pair', '\ud800x'], ['a hole in an array', new Array(1)], ['a circle', circle],
    ['a member called __proto__', JSON.parse('{"__proto__": 1}')], ['a very long member name', { ['n'.repeat(129)]: 1 }],
  ]
  for (const [name, value] of unsendable) {
    it(`refuses to send ${name}`, () => { expect(() => encodeResponse(value as XmlValue)).to.throw(TypeError) })
  }

  it('refuses a method name that is none', () => {
    for (const name of ['', 'a b', 'a<b', 'n'.repeat(129)]) expect(() => encodeCall(name, [])).to.throw(TypeError)
  })

  it('gives a classic client neither nil nor i8', () => {
    expect(() => encodeResponse(null, { classic: true })).to.throw(TypeError, /nil/)
    expect(() => encodeResponse(2 ** 31, { classic: true })).to.throw(TypeError, /32 bits/)
    expect(() => encodeResponse([{ a: 2n ** 40n }], { classic: true })).to.throw(TypeError, /32 bits/)
    expect(encodeResponse([{ a: 7n }], { classic: true })).to.contain('<int>7</int>')
  })

  it('always gets a fault written, whatever its text and code', () => {
    expect(decodeResponse(encodeFault(1001, 'no <volume>'))).to.deep.equal({ kind: 'fault', code: 1001, text: 'no <volume>' })
    expect(decodeResponse(encodeFault(NaN, 'a\0b\ud800c'))).to.deep.equal({ kind: 'fault', code: -32603, text: 'a\ufffdb\ufffdc' })
    expect(decodeResponse(encodeFault(1, 'x'.repeat(1_000_000)))).to.have.property('text').with.length(4000)
  })
})

describe('reading XML-RPC', () => {
  const good: readonly (readonly [string, XmlValue])[] = [
    ['<value>text</value>', 'text'], ['<value></value>', ''], ['<value/>', ''], ['<value>  </value>', '  '], ['<value><string/></value>', ''],
    ['<value> <int>+7</int> </value>', 7], ['<value><i4>-0</i4></value>', 0], ['<value><i8>9007199254740991</i8></value>', 9007199254740991],
    ['<value><i8>9007199254740993</i8></value>', 9007199254740993n], ['<value><ex:i8>3</ex:i8></value>', 3], ['<value><nil/></value>', null],
    ['<value><ex:nil></ex:nil></value>', null], ['<value><boolean>1</boolean></value>', true], ['<value><double>1e3</double></value>', 1000],
    ['<value><double>-.5</double></value>', -0.5], ['<value>a<!-- b -->c<![CDATA[<d>&amp;\r\n]]></value>', 'ac<d>&amp;\n'],
    ['<value>&lt;&#13;&#x1F600;&quot;</value>', '<\r\u{1F600}"'], ['<value>a\r\nb\rc</value>', 'a\nb\nc'],
    ['<value><base64> YW\n Jj </base64></value>', new Uint8Array([97, 98, 99])], ['<value><array><data/></array></value>', []],
    ['<value><dateTime.iso8601>20240229T23:59:59</dateTime.iso8601></value>', new Date('2024-02-29T23:59:59Z')],
    ['<value><dateTime.iso8601>2024-02-29T23:59:59Z</dateTime.iso8601></value>', new Date('2024-02-29T23:59:59Z')],
    ['<value xmlns:ex="urn:x"><int >1</int ></value>', 1],
  ]
  for (const [xml, value] of good) {
    it(`reads ${JSON.stringify(xml)}`, () => { expect(readValue(xml)).to.deep.equal(value) })
  }

  const bad: readonly string[] = [
    '<value><int>12abc</int></value>', '<value><int>1e3</int></value>', '<value><int></int></value>', '<value><int> 1</int></value>',
    '<value><int>2147483648</int></value>', '<value><i8>9223372036854775808</i8></value>', `<value><i8>${'1'.repeat(100_000)}</i8></value>`,
    '<value><double>1.5xyz</double></value>', '<value><double>NaN</double></value>', '<value><double>1e999</double></value>', '<value><double>0x10</double></value>',
    '<value><boolean>2</boolean></value>', '<value><boolean>true</boolean></value>', '<value><base64>a*bc</base64></value>', '<value><base64>abc</base64></value>',
    '<value><base64>=abc</base64></value>', '<value><dateTime.iso8601>junk20240101zz</dateTime.iso8601></value>',
    '<value><dateTime.iso8601>20240230T00:00:00</dateTime.iso8601></value>', '<value><dateTime.iso8601>20240101T24:00:00</dateTime.iso8601></value>',
    '<value><INT>1</INT></value>', '<value><int>1</i4></value>', '<value><int>1</value></int>', '<value><int>1</int>x</value>', '<value>x<int>1</int></value>',
    '<value><int>1</int><int>2</int></value>', '<value><int/></value>', '<value><array/></value>', '<value><float>1</float></value>', '<value a="1">x</value>',
    '<value>a]]>b</value>', '<value>&nbsp;</value>', '<value>& </value>', '<value>&#0;</value>', '<value>&#xD800;</value>', '<value>&#x110000;</value>', '<value>\u0001</value>',
    '<value><!-- a -- b --></value>', '<value><![CDATA[x</value>', '<value><?x y?></value>',
    '<value><struct><member><value><int>1</int></value><name>a</name></member></struct></value>',
    '<value><struct><member><name>a</name><value/></member><member><name>a</name><value/></member></struct></value>',
    '<value><struct><member><name>__proto__</name><value/></member></struct></value>',
    `<value><struct><member><name>${'n'.repeat(129)}</name><value/></member></struct></value>`,
    '<value/></param><param><value/>', '<value/></param></params></methodResponse><methodResponse><params><param><value/>',
  ]
  for (const xml of bad) {
    it(`refuses ${JSON.stringify(xml.slice(0, 110))}`, () => { expect(refused(xml)).to.match(/ at offset \d+$/) })
  }

  it('names the place of the error', () => {
    expect(() => decodeCall('<methodCall><methodName>x</methodName><paramz/></methodCall>')).to.throw(XmlRpcSyntaxError, /<params> was expected before this at offset 47/)
  })

  it('refuses what kills other servers: a fault inside a call', () => {
    expect(() => decodeCall(call('<fault/>'))).to.throw(XmlRpcSyntaxError)
  })

  it('refuses a DOCTYPE, so that there are no entities to expand', () => {
    expect(() => decodeCall(`<!DOCTYPE a [<!ENTITY b "c">]>${call('')}`)).to.throw(XmlRpcSyntaxError)
  })

  it('accepts a byte order mark, a declaration, comments, and a call without params', () => {
    expect(decodeCall(`\ufeff<?xml version='1.0' encoding='utf-8'?>\r\n<!-- x -->${call('')}\n`)).to.deep.equal({ method: 'x', params: [] })
    expect(decodeCall(call('<params/>')).params).to.deep.equal([])
  })

  it('refuses another encoding, two roots, and text around the root', () => {
    expect(() => decodeCall(`<?xml version="1.0" encoding="latin1"?>${call('')}`)).to.throw(XmlRpcSyntaxError, /latin1/)
    for (const text of [call('') + call(''), `x${call('')}`, `${call('')}x`, '', '<methodCall>', '<methodCall/>', '<']) {
      expect(() => decodeCall(text), text).to.throw(XmlRpcSyntaxError)
    }
  })

  it('gives structs no prototype, so that no name finds what was not sent', () => {
    const value = readValue('<value><struct/></value>') as Record<string, unknown>
    expect(value['constructor']).to.equal(undefined)
    expect(value['__proto__']).to.equal(undefined)
    expect(Object.getPrototypeOf(readValue('<value><struct><member><name>a</name><value/></member></struct></value>'))).to.equal(null)
  })

  it('stops at its limits of depth, values and names, and not before', () => {
    const nested = (depth: number): string => '<value><array><data>'.repeat(depth) + '</data></array></value>'.repeat(depth)
    expect(readValue(nested(64))).to.be.an('array')
    expect(refused(nested(65))).to.match(/deeper than 64/)
    const params = (count: number): string => call(`<params>${'<param><value/></param>'.repeat(count)}</params>`)
    expect(decodeCall(params(3), { values: 3 }).params).to.have.length(3)
    expect(() => decodeCall(params(4), { values: 3 })).to.throw(XmlRpcSyntaxError, /more than 3 values/)
  })

  it('writes nothing deeper than it reads', () => {
    let value: XmlValue = []
    for (let depth = 1; depth < 64; depth++) value = [value]
    expect(readValue(`<value>${written(value)}</value>`)).to.deep.equal(value)
    expect(() => encodeResponse([value])).to.throw(TypeError, /deeper/)
  })

  it('wants an integer code and a text in a fault', () => {
    const fault = (inner: string): string => `<methodResponse><fault><value>${inner}</value></fault></methodResponse>`
    const members = '<member><name>faultCode</name><value><int>4</int></value></member><member><name>faultString</name><value>no</value></member>'
    expect(decodeResponse(fault(`<struct>${members}</struct>`))).to.deep.equal({ kind: 'fault', code: 4, text: 'no' })
    for (const inner of ['<nil/>', '', '<struct/>', '<int>1</int>']) expect(() => decodeResponse(fault(inner))).to.throw(XmlRpcSyntaxError)
  })
})
