import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { expect } from 'chai'

/** A process of its own: its module loader puts the world in the place of the kernel's tools. */
function simulate(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(import.meta.dirname, '../sim/main.js'), ...args], { timeout: 110_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => { resolve({ code: error === null ? 0 : 1, text: `${stdout}${stderr}` }) })
  })
}

const seedLines = (text: string): readonly string[] => text.split('\n').filter((line) => line.startsWith('seed ')).map((line) => line.replace(/[\d.]+ s, /, ''))

describe('a simulated cluster, the product\'s own code over a played kernel', () => {
  it('keeps every law while things break, and comes right when they are healed', async () => {
    const { code, text } = await simulate('--seed', '1', '--seeds', '4', '--ticks', '30', '--faults', 'any')
    expect(code, text).to.equal(0)
    expect(seedLines(text)).to.have.length(4)
  }).timeout(120_000)

  it('gives a segment its next table though a flush that failed is held below it, and nothing shows that', async () => {
    const { code, text } = await simulate('--seed', '6', '--ticks', '40', '--faults', 'any')
    expect(code, text).to.equal(0)
  }).timeout(120_000)

  it('judges a leg whose server was started anew while its volume was being detached', async () => {
    const { code, text } = await simulate('--seed', '373', '--faults', 'any')
    expect(code, text).to.equal(0)
  }).timeout(120_000)

  it('does the same again from the same seed', async () => {
    const [first, second] = [await simulate('--seed', '7', '--ticks', '10', '--faults', 'all'), await simulate('--seed', '7', '--ticks', '10', '--faults', 'all')]
    expect(seedLines(first.text)).to.deep.equal(seedLines(second.text)).and.to.have.length(1)
  }).timeout(120_000)
})
