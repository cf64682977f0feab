import { expect } from 'chai'
import { importsOf } from '../../../../tools/check/imports.js'
import { checkLayers } from '../../../../tools/check/layers.js'

/** `path:line why` of each offence in a made-up tree. */
function offences(tree: Readonly<Record<string, string>>): readonly string[] {
  return checkLayers(Object.entries(tree).map(([path, text]) => ({ path, text }))).map(({ path, line, why }) => `${path}:${line} ${why}`)
}

describe('the arrows of the house', () => {
  it('are broken by a manager that imports the agent, the agent the manager, lib either, even for types', () => {
    expect(offences({ 'agent/x.ts': `import type { A } from '../manager/config.js'\n` })).to.deep.equal(['agent/x.ts:1 agent/ may not import manager/config.ts: the agent and the manager meet on the wire only'])
    expect(offences({ 'lib/x.ts': `// first\nexport { a } from '../agent/roles.js'\n` })[0]).to.contain('lib/x.ts:2 lib/ may not import agent/roles.ts')
    expect(offences({ 'manager/run/x.ts': `const a = await import('../../agent/roles.js')\n` })[0]).to.contain('may not import agent/roles.ts')
  })

  it('let tests import anything, and no file stand outside the rooms', () => {
    expect(offences({ 'test/unit/x.test.ts': `import { a } from '../../agent/a.js'\nimport { b } from '../../manager/b.js'\nconst t = Date.now()\n` })).to.deep.equal([])
    expect(offences({ 'attic/x.ts': '' })[0]).to.contain('stands in no room')
  })

  it('go from turns to plans and never back', () => {
    expect(offences({ 'manager/plan/x.ts': `import { a } from '../run/work.js'\n` })[0]).to.contain('manager/plan/ may not import manager/run/work.ts')
    expect(offences({ 'manager/run/x.ts': `import { a } from '../plan/health.js'\n` })).to.deep.equal([])
  })
})

describe('a pure file', () => {
  it('has no clock, dice, timer, net or program, and names each by its line', () => {
    for (const word of ['Date.now()', 'new Date()', 'Math.random()', 'setTimeout(f, 1)', 'setImmediate(f)', 'performance.now()', 'console.log(1)', 'process.env.A', 'fetch(u)', 'crypto.randomUUID()']) {
      expect(offences({ 'agent/dm/table.ts': `const a = 1\nconst b = ${word}\n` })[0], word).to.contain('agent/dm/table.ts:2 is pure and may not use')
    }
    for (const from of ['node:fs', 'node:net', 'node:child_process', 'node:timers/promises', 'execa', '../../lib/host/files.js', '../../lib/rpc/client.js']) {
      expect(offences({ 'manager/plan/x.ts': `import { a } from '${from}'\n` }).some((each) => each.includes('is pure and may not import')), from).to.equal(true)
    }
  })

  it('may speak of them in comments, take them as types, and read a time that it was given', () => {
    expect(offences({ 'manager/state/x.ts': `/** Not Date.now():\n * setTimeout is for others */\nimport type { RpcClient } from '../../lib/rpc/client.js'\nconst shown = new Date(atMs)\n` })).to.deep.equal([])
  })
})

describe('an outside thing', () => {
  it('is reached through its own door alone', () => {
    const doors: readonly (readonly [string, string])[] = [
      [`run({ file: 'dmsetup' })`, 'agent/dm/dmsetup.ts'], [`run({ file: 'lvm' })`, 'agent/lvm/lvm.ts'], [`run({ file: 'iscsiadm' })`, 'agent/iscsi/sessions.ts'],
      [`const root = '/sys/kernel/config/target'`, 'agent/lio/configfs.ts'], [`import { execa } from 'execa'`, 'lib/host/run.ts'], [`import db from 'sqlite3'`, 'manager/store/sqlite.ts'], [`import { request } from 'node:https'`, 'lib/rpc/client.ts'],
    ]
    for (const [code, door] of doors) {
      expect(offences({ [door]: `${code}\n` }), door).to.deep.equal([])
      expect(offences({ 'manager/run/x.ts': `\n${code}\n` })[0], code).to.match(/^manager\/run\/x\.ts:2 .* only in /)
    }
  })
})

describe('a file', () => {
  it('of 400 lines is not too long; one more needs a reason in its head', () => {
    expect(offences({ 'lib/x.ts': 'const a = 1\n'.repeat(400) })).to.deep.equal([])
    expect(offences({ 'test/x.ts': 'const a = 1\n'.repeat(401) })).to.have.length(1)
    expect(offences({ 'lib/x.ts': `/** Longer than 400 lines because it is a table. */\n${'const a = 1\n'.repeat(401)}` })).to.deep.equal([])
  })

  it('in a ring of imports is told once, with the whole ring; a ring of types is none', () => {
    const ring = { 'lib/a.ts': `import { b } from './b.js'\n`, 'lib/b.ts': `import { c } from './c.js'\n`, 'lib/c.ts': `import { a } from './a.js'\n`, 'lib/d.ts': `import { a } from './a.js'\n` }
    expect(offences(ring)).to.deep.equal(['lib/c.ts:1 a ring of imports: lib/a.ts → lib/b.ts → lib/c.ts → lib/a.ts'])
    expect(offences({ ...ring, 'lib/c.ts': `import type { A } from './a.js'\n` })).to.deep.equal([])
  })
})

describe('imports', () => {
  it('are read over several lines, with side effects, from re-exports, and with their line', () => {
    const text = `import {\n  a,\n  b,\n} from './a.js'\nimport 'node:fs'\nexport * from '../b.js'\nexport type { T } from 'chai'\nconst m = await import('../../manager/m.js')\n`
    expect(importsOf({ path: 'agent/x/y.ts', text }).map(({ line, target, typeOnly }) => `${line} ${target}${typeOnly ? ' (type)' : ''}`))
      .to.deep.equal(['1 agent/x/a.ts', '5 node:fs', '6 agent/b.ts', '7 chai (type)', '8 manager/m.ts'])
  })
})
