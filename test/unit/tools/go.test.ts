import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

describe('npm run bench', () => {
  const bench = (...args: readonly string[]): { readonly code: number | null; readonly out: string; readonly error: string } => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['tools/go.mjs', 'bench', ...args], { encoding: 'utf8', timeout: 20_000 })
    return { code: status, out: stdout, error: stderr }
  }

  it('tells every benchmark that there is, and what it takes', () => {
    const { code, out } = bench('--help')
    expect(code).to.equal(0)
    const names = [...out.matchAll(/bench -- --(\w+)/g)].map(([, name]) => name ?? '')
    expect(names).to.have.members(['memory', 'repair', 'peers', 'rpc', 'state', 'placement', 'clients', 'scale'])
    for (const name of names) expect(existsSync(name === 'scale' ? 'test/scale/main.ts' : `bench/${name}.ts`), name).to.equal(true)
    expect(out).to.contain('--clients [--clients …] [--seconds …]')
  })

  for (const [args, named] of [
    [['--scal'], '--scal'], [['--peers', '--rounds'], '--rounds'], [['--rpc', '--volumes', '3'], '--volumes'], [['--clients', '20', '7'], '7'], [['--peers', '--memory'], '--memory and --peers'],
  ] as const) {
    it(`refuses ${args.join(' ')} before anything begins: it would be the wrong one for half an hour`, () => {
      const { code, out, error } = bench(...args)
      expect([code, out]).to.deep.equal([1, ''])
      expect(error.split('\n')[0]).to.contain(` ${named}`)
      expect(error).to.contain('usage:')
    })
  }
})
