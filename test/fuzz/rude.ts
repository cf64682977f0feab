/** What no client of ours would ever send: damaged recordings, bombs, and HTTP that is none. */
import type { Dice } from '../../tools/thrash/dice.js'
import type { Caller } from '../support/manager.js'
import type { Attempt } from './grammar.js'
import { anyText } from './words.js'

const tokens = [
  '<', '>', '</', '/>', '<value>', '</value>', '<struct>', '</struct>', '<member>', '<array><data>', '<int>', '<i8>', '<nil/>', '<fault/>', '<string>', '&', '&lt;', '&#0;', '&#x110000;', '&bomb;', ']]>', '<![CDATA[', '<!--', '-->', '<!DOCTYPE a>', '<?pi?>',
  '{', '}', '[', ']', '"', '\\', '\\u0000', '\\ud800', ',', ':', 'null', '-', '1e999', '9'.repeat(40), '\0', '\u0001', '\x7f', '\ufffe', '__proto__', 'methodCall',
]

/** A recorded request with some damage. */
export function damaged(dice: Dice, recorded: Attempt): Attempt {
  let body = recorded.body
  for (let count = dice.between(1, 4); count > 0; count -= 1) {
    const at = dice.between(0, body.length)
    const cut = dice.between(0, Math.min(20, body.length - at))
    const put = dice.chance(0.6) ? Buffer.from(dice.pick(tokens)) : dice.chance(0.3) ? Buffer.from([dice.between(0, 255), dice.between(128, 255)])
      : dice.chance(0.3) ? Buffer.from(anyText(dice)) : body.subarray(dice.between(0, body.length), dice.between(0, body.length))
    body = Buffer.concat([body.subarray(0, at), ...Array.from({ length: dice.chance(0.05) ? dice.between(2, 200) : 1 }, () => put), body.subarray(at + cut)]).subarray(0, 60_000)
  }
  return { ...recorded, body }
}

const times = (piece: string, bytes: number): Buffer => Buffer.from(piece.repeat(Math.ceil(bytes / piece.length)))
const inXml = (inner: Buffer): Buffer => Buffer.concat([Buffer.from('<methodCall><methodName>vsky.volume.show</methodName><params><param><value>'), inner, Buffer.from('</value></param></params></methodCall>')])

/** Large, deep, many: `bytes` long. */
const bombs: readonly ((dice: Dice, bytes: number) => Buffer)[] = [
  (dice, bytes) => times(dice.pick(tokens), bytes), (dice, bytes) => times(dice.pick(tokens) + dice.pick(tokens), bytes), (_, bytes) => inXml(times('<array><data><value>', bytes)), (_, bytes) => inXml(times('<struct><member><name>a</name><value>', bytes)),
  (_, bytes) => inXml(Buffer.concat([Buffer.from('<array><data>'), times('<value/>', bytes), Buffer.from('</data></array>')])), (_, bytes) => inXml(Buffer.concat([Buffer.from('<string>'), times('a', bytes), Buffer.from('</string>')])),
  (_, bytes) => inXml(Buffer.concat([Buffer.from('<string>'), times('&lt;', bytes), Buffer.from('</string>')])), (_, bytes) => inXml(Buffer.concat([Buffer.from('<base64>'), times('QUJD \n', bytes), Buffer.from('</base64>')])),
  (_, bytes) => inXml(Buffer.concat([Buffer.from('<int>'), times('1', bytes), Buffer.from('</int>')])), (_, bytes) => times('[', bytes), (_, bytes) => times('{"a":', bytes), (_, bytes) => Buffer.concat([Buffer.from('{"volume":"'), times('a', bytes), Buffer.from('"}')]),
  (_, bytes) => Buffer.from(`[${'1,'.repeat(bytes / 2)}1]`), (_, bytes) => Buffer.from(`{${Array.from({ length: Math.ceil(bytes / 10) }, (__, at) => `"m${at}":1`).join()}}`), (_, bytes) => Buffer.from(`{"n":${'9'.repeat(bytes)}}`), (_, bytes) => times('"\\"', bytes),
  () => Buffer.from('<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><methodCall><methodName>&b;</methodName></methodCall>'),
  () => Buffer.from('<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><methodCall><methodName>system.methodHelp</methodName><params><param><value>&x;</value></param></params></methodCall>'),
  () => Buffer.from('<?xml version="1.0" encoding="UTF-16"?><methodCall><methodName>x</methodName></methodCall>', 'utf16le'), () => Buffer.from([0xff, 0xfe, 0x3c, 0xc0, 0xaf, 0xed, 0xa0, 0x80]),
]

export function bomb(dice: Dice, caller: Caller): Attempt {
  const bytes = dice.chance(0.1) ? dice.between(1_000_000, 1_300_000) : dice.between(1000, 40_000)
  const json = dice.chance(0.5)
  return {
    caller, verb: 'POST', path: json ? '/api/v1/vsky.volume.show' : '/RPC2', headers: { 'Content-Type': json ? 'application/json' : 'text/xml' },
    body: dice.pick(bombs)(dice, bytes), rude: bytes > 900_000,
  }
}

const paths = ['/', '//', '/RPC2/', '/RPC3', '/api/v1/', '/api/v1', '/api/v1/..%2f..%2fetc', '/api/v1/vsky.volume.show/../x', '/api/v1/%00', '/api/v1/vsky.volume.list?limit=1&limit=2', '/api/v1/vsky.volume.list?__proto__=1', '/api/v1/vsky.volume.list?' + 'a=1&'.repeat(500), '/metrics', '*', '/.git/config']

/** Well-formed HTTP that makes no sense. */
export function strangeHttp(dice: Dice, caller: Caller, recorded: Attempt): Attempt {
  const verb = dice.pick(['GET', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PATCH', 'POST', 'POST'])
  const type = dice.pick(['text/xml', 'application/json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/xml; charset=utf-16', 'application/json; charset=latin1', '', 'x'.repeat(500)])
  const more = dice.pick<Readonly<Record<string, string>>>([{}, {}, { 'Content-Encoding': 'gzip' }, { Expect: '100-continue' }, { Expect: 'miracles' }, { 'Transfer-Encoding': 'chunked' }, { Cookie: 'x'.repeat(4000) }, { 'X-Forwarded-For': '10.0.0.1' }, { Authorization: 'Basic YTpi' }, { Origin: 'https://evil.example' }])
  const body = verb === 'POST' || verb === 'PUT' || verb === 'PATCH' ? recorded.body.subarray(0, 5000) : Buffer.alloc(0)
  return { caller, verb, path: dice.chance(0.5) ? dice.pick(paths) : recorded.path, headers: { ...(type === '' ? {} : { 'Content-Type': type }), ...more }, body, rude: true }
}
