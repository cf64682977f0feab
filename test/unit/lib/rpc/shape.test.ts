import { expect } from 'chai'
import fc from 'fast-check'
import { Fault } from '../../../../lib/faults.js'
import { byteCount, flag, int, list, optional, record, struct, text, word } from '../../../../lib/rpc/shape.js'
import type { Shape } from '../../../../lib/rpc/shape.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'

/** Why a value is refused; undefined when it is taken. Anything but the fault `bad parameter` is a failure of the test. */
function refusal(shape: Shape<unknown>, value: XmlValue | undefined, at = 'x'): string | undefined {
  try {
    shape.parse(value, at)
    return undefined
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.fault !== 'bad parameter') throw thrown
    return thrown.message
  }
}

const anyLeaf = fc.oneof(fc.constant(null), fc.boolean(), fc.integer(), fc.double(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.string(), fc.date().map((date): XmlValue => date), fc.uint8Array().map((bytes): XmlValue => bytes))
const anyValue: fc.Arbitrary<XmlValue> = fc.oneof(anyLeaf, fc.array(anyLeaf), fc.dictionary(fc.string(), anyLeaf), fc.array(fc.dictionary(fc.string(), anyLeaf)))

describe('a struct\'s shape', () => {
  const closed = struct({ name: text(), count: optional(int()) })
  const open = record({ name: text(), count: optional(int()) })

  it('refuses a member that it does not know, and names those that there are', () => {
    expect(refusal(closed, { name: 'v', nmae: 'w' }, 'params')).to.equal('params: has no member "nmae"; it has name, count')
    expect(refusal(struct({}), { a: 1 }, 'params')).to.equal('params: has no member "a"; it has none')
  })

  it('of a record ignores a member that it does not know, at any depth', () => {
    expect(open.parse({ name: 'v', nmae: 'w' }, '')).to.deep.equal({ name: 'v' })
    expect(record({ inner: list(open) }).parse({ inner: [{ name: 'v', new: { deep: 1 } }], also: null }, '')).to.deep.equal({ inner: [{ name: 'v' }] })
  })

  it('keeps its rule whatever it stands in', () => {
    expect(refusal(record({ inner: closed }), { inner: { name: 'v', x: 1 } })).to.equal('x.inner: has no member "x"; it has name, count')
    expect(refusal(struct({ inner: open }), { inner: { name: 'v', x: 1 } })).to.equal(undefined)
  })

  it('needs every member but the optional ones', () => {
    expect(refusal(closed, {})).to.equal('x.name: expected a string of at most 1024 characters, found nothing')
    expect(closed.parse({ name: 'v' }, '')).to.deep.equal({ name: 'v' }).and.not.to.have.property('count')
    expect(refusal(closed, { name: 'v', count: null })).to.equal('x.count: expected a whole number from 0 to 9007199254740991, found nil')
  })

  it('reads no member that every object has by birth', () => {
    const strange: XmlValue = Object.fromEntries<XmlValue>([['name', 'v'], ['__proto__', { count: 9 }], ['constructor', 1]])
    expect(refusal(record({ toString: text() }), {})).to.contain('x.toString: expected a string')
    expect(refusal(closed, strange)).to.contain('has no member "__proto__"')
    expect(Object.getPrototypeOf(open.parse(strange, ''))).to.equal(Object.prototype)
  })

  it('takes nothing for a struct but a struct', () => {
    for (const [value, name] of [[[], 'an array'], [null, 'nil'], [undefined, 'nothing'], ['x', '"x"'], [1, '1'], [new Date(0), 'a date']] as const) {
      expect(refusal(open, value)).to.equal(`x: expected a struct, found ${name}`)
    }
    expect(refusal(open, new Uint8Array(3))).to.contain('x: expected a struct')
  })

  it('writes no member that is not there', () => {
    expect(closed.format({ name: 'v' })).to.deep.equal({ name: 'v' })
    expect(closed.format({ name: 'v', count: undefined })).to.deep.equal({ name: 'v' })
  })
})

describe('a fault\'s text', () => {
  it('has the path of what was wrong, through lists and structs', () => {
    const shape = record({ volume: record({ segments: list(record({ legs: list(record({ bytes: byteCount() })) })) }) })
    const value = { volume: { segments: [{ legs: [] }, { legs: [{ bytes: '1' }, { bytes: '2' }, { bytes: 'x' }] }] } }
    expect(refusal(shape, value, '')).to.equal('volume.segments[1].legs[2].bytes: expected a size in bytes, as a decimal string, found "x"')
    expect(refusal(shape, value, 'params[0]')).to.match(/^params\[0\]\.volume\.segments\[1\]/)
  })

  it('does not repeat a long value in full', () => {
    expect(refusal(word('a'), 'y'.repeat(1000))).to.equal(`x: expected one of a, found "${'y'.repeat(60)}…"`)
    expect(refusal(struct({}), { ['n'.repeat(1000)]: 1 })).to.have.length.below(120)
  })
})

describe('a size on the wire', () => {
  it('is a decimal string, and comes back as the same bigint to the last byte', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (size) => {
      expect(byteCount().format(size)).to.equal(size.toString())
      expect(byteCount().parse(byteCount().format(size), 'x')).to.equal(size)
    }))
  })

  it('is read from an integer too, of a client that sends one', () => {
    expect([7, 0, 2 ** 53 - 1, 2n ** 62n].map((each) => byteCount().parse(each, 'x'))).to.deep.equal([7n, 0n, 2n ** 53n - 1n, 2n ** 62n])
  })

  it('is never negative, broken, written otherwise, or above 2^63 - 1', () => {
    for (const value of ['-1', '1.5', '1e3', '0x10', '', ' 1', '9223372036854775808', '99999999999999999999', -1, 1.5, 2 ** 53, Number.NaN, -1n, 2n ** 63n, null, true, ['1']]) {
      expect(refusal(byteCount(), value), String(value)).to.contain('x: expected a size in bytes, as a decimal string')
    }
  })
})

describe('the shape of', () => {
  it('a number takes its limits, and a decimal string from a client without i8', () => {
    const shape = int({ min: -1, max: 9 })
    expect([-1, 9, '5', '-1'].map((each) => shape.parse(each, 'x'))).to.deep.equal([-1, 9, 5, -1])
    for (const value of [-2, 10, 1.5, '10', '1.0', '', 'x', 5n, true, null]) expect(refusal(shape, value), String(value)).to.contain('x: expected a whole number from -1 to 9')
    expect(refusal(int(), 2 ** 53)).to.contain('found 9007199254740992')
  })

  it('a word takes that word alone', () => {
    expect(word('none', 'all').parse('all', 'x')).to.equal('all')
    for (const value of ['All', '', 'none ', 'toString', 0, null]) expect(refusal(word('none', 'all'), value), String(value)).to.contain('x: expected one of none, all')
  })

  it('a text takes its length and its pattern, and a flag nothing but true and false', () => {
    const shape = text({ min: 2, max: 3, pattern: /^[a-z]+$/ })
    expect(['ab', 'abc', 'a', 'abcd', 'A1', 7].map((each) => refusal(shape, each) === undefined)).to.deep.equal([true, true, false, false, false, false])
    expect([true, false, 0, 1, 'true', null].map((each) => refusal(flag(), each) === undefined)).to.deep.equal([true, true, false, false, false, false])
  })

  it('a list has an end', () => {
    expect(refusal(list(int(), { max: 2 }), [1, 2])).to.equal(undefined)
    expect(refusal(list(int(), { max: 2 }), [1, 2, 3])).to.equal('x: has 3 items, more than 2')
    expect(refusal(list(int()), { 0: 1 })).to.equal('x: expected an array, found a struct')
  })

  it('anything explains itself for a help text', () => {
    expect(struct({ name: text(), count: optional(int()) }).describe).to.equal('a struct {name, count?}')
    expect(list(word('a', 'b')).describe).to.equal('a list of one of a, b')
    expect(optional(flag()).describe).to.equal('true or false; may be left out')
  })

  it('anything takes what comes, or refuses it with \'bad parameter\', whatever it is', () => {
    const shapes: readonly Shape<unknown>[] = [text(), word('a', 'b'), int(), byteCount(), flag(), list(text()), list(record({ a: int() })), record({ a: optional(text()) }), struct({ a: text() })]
    fc.assert(fc.property(anyValue, (value) => { for (const shape of shapes) refusal(shape, value) }))
  })

  it('a struct reads what it wrote', () => {
    const shape = struct({ name: text(), bytes: byteCount(), on: flag(), copy: word('none', 'all'), items: list(record({ n: int() })), more: optional(int({ min: -5 })) })
    const anyOne = fc.record({ name: fc.string({ unit: 'grapheme', maxLength: 50 }), bytes: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), on: fc.boolean(), copy: fc.constantFrom('none', 'all'), items: fc.array(fc.record({ n: fc.nat() })), more: fc.integer({ min: -5 }) }, { requiredKeys: ['name', 'bytes', 'on', 'copy', 'items'] })
    fc.assert(fc.property(anyOne, (value) => { expect(shape.parse(shape.format(value), '')).to.deep.equal({ ...value }) }))
  })
})
