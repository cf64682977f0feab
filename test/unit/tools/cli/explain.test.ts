import { expect } from 'chai'
import { Fault, faults } from '../../../../lib/faults.js'
import { list, byteCount, int, optional, record, struct, text } from '../../../../lib/rpc/shape.js'
import { TransportError } from '../../../../lib/rpc/client.js'
import { formatSize, parseSize } from '../../../../lib/units.js'
import { checkLayers } from '../../../../tools/check/layers.js'
import { checkPages } from '../../../../tools/check/pages.js'
import { exitCodes, explain } from '../../../../tools/cli/explain.js'
import { age, table } from '../../../../tools/cli/print.js'
import { UsageError } from '../../../../tools/cli/settings.js'

describe('a failure at the terminal', () => {
  it('says what, why, and what to do, and its exit code tells the class', () => {
    const { code, text: said } = explain(new Fault('no room', 'Cannot create volume v: 3 bytes are free'))
    expect(code).to.equal(5)
    expect(said).to.equal('vsky: Cannot create volume v: 3 bytes are free\n  no room (fault 1201)\n  to do: add a disk on a storage server that holds no leg of this volume')
  })

  it('has an exit code for every fault there is', () => {
    for (const [name, spec] of Object.entries(faults)) expect(exitCodes[spec.class], name).to.be.greaterThan(1)
  })

  it('of usage is 2, of an unreachable manager 6', () => {
    expect(explain(new UsageError('no')).code).to.equal(2)
    expect(explain(new TransportError('refused', 'nobody there', { sent: false })).code).to.equal(6)
  })
})

describe('a table', () => {
  it('fits the terminal by its elastic column alone', () => {
    const rows = [{ name: 'volume-one', problem: 'a very long reason that does not fit' }]
    const shown = table(rows, [{ title: 'NAME', of: (each) => each.name }, { title: 'PROBLEM', of: (each) => each.problem, elastic: true }], 30)
    expect(shown).to.equal('NAME        PROBLEM\nvolume-one  a very long reaso…')
  })

  it('is never cut when it is piped', () => {
    expect(table([{ a: 'x'.repeat(300) }], [{ title: 'A', of: (each) => each.a, elastic: true }])).to.contain('x'.repeat(300))
  })

  it('tells ages in the unit that people would', () => {
    expect([340, 12_000, 300_000, 3 * 3_600_000, 5 * 86_400_000].map(age)).to.deep.equal(['340 ms', '12 s', '5 min', '3 h', '5 d'])
  })
})

describe('a size that a person types', () => {
  it('is read in powers of 1024, with fractions and sectors', () => {
    expect(['1GiB', '1G', '100MiB', '1.5g', '1048576', '8s'].map((each) => parseSize(each))).to.deep.equal([1073741824n, 1073741824n, 104857600n, 1610612736n, 1048576n, 4096n])
  })

  it('is refused when it is none', () => {
    for (const each of ['', '-1', '1GB2', 'x', '1e9', '0.0001K', '1,5G']) expect(parseSize(each), each).to.equal(undefined)
  })

  it('is shown exactly', () => {
    expect([1073741824n, 1610612736n, 104858112n, 100n].map(formatSize)).to.deep.equal(['1 GiB', '1.5 GiB', '104858112 B', '100 B'])
  })
})

describe('a value from the wire', () => {
  const shape = struct({ name: text({ min: 1 }), bytes: byteCount(), count: optional(int({ min: 1, max: 9 })) })
  it('becomes the typed value', () => {
    expect(shape.parse({ name: 'v', bytes: '9223372036854775807' }, '')).to.deep.equal({ name: 'v', bytes: 9223372036854775807n })
  })

  it('is refused with the path of what is wrong', () => {
    expect(() => list(shape).parse([{ name: 'v', bytes: '-1' }], 'volumes')).to.throw('volumes[0].bytes: expected a size in bytes')
    expect(() => shape.parse({ name: 'v', bytes: '1', count: 10 }, '')).to.throw('count: expected a whole number from 1 to 9, found 10')
    expect(() => shape.parse({ bytes: '1' }, '')).to.throw('name: expected')
    expect(() => shape.parse([], 'params')).to.throw('params: expected a struct, found an array')
  })

  it('with a member too many is refused in a struct, and read in a record', () => {
    expect(() => shape.parse({ name: 'v', bytes: '1', nmae: 'x' }, 'params')).to.throw('has no member "nmae"; it has name, bytes, count')
    expect(record({ name: text() }).parse({ name: 'v', more: 1 }, '')).to.deep.equal({ name: 'v' })
  })
})

describe('the check of the pages', () => {
  it('finds the name of a file that is gone', () => {
    const page = { path: 'README.md', text: 'see `lib/units.ts`\nand `lib/gone.ts` and [this](GONE.md)' }
    expect(checkPages([page], (path) => path === 'lib/units.ts').map(({ line, why }) => `${line} ${why}`)).to.deep.equal(['2 names lib/gone.ts, which is not there', '2 names GONE.md, which is not there'])
  })
})

describe('the layer check', () => {
  const offences = (path: string, source: string): readonly string[] => checkLayers([{ path, text: source }]).map((each) => each.why)
  it('keeps manager and agent apart', () => {
    expect(offences('manager/run/x.ts', `import { a } from '../../agent/config.js'\n`)[0]).to.contain('may not import agent/config.ts')
  })

  it('keeps clocks, dice and programs out of pure rooms', () => {
    expect(offences('manager/plan/x.ts', `import { readFile } from 'node:fs/promises'\nconst t = Date.now()\n`)).to.have.length(2)
  })

  it('lets each tool be run by its door alone', () => {
    expect(offences('agent/head/role.ts', `await run({ file: 'dmsetup' })\n`)[0]).to.contain('only in agent/dm/dmsetup.ts')
  })

  it('finds rings and long files', () => {
    expect(checkLayers([{ path: 'lib/a.ts', text: `import { b } from './b.js'\n` }, { path: 'lib/b.ts', text: `import { a } from './a.js'\n` }])[0]?.why).to.contain('a ring of imports')
    expect(offences('lib/x.ts', 'const a = 1\n'.repeat(401))[0]).to.contain('has 401 lines')
  })

  it('passes a file that keeps the rules', () => {
    expect(offences('lib/x.ts', `import { b } from './y.js'\n`)).to.deep.equal([])
  })
})
