import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { expect } from 'chai'
import type { Proof } from '../kernel/bench.js'
import { claims } from '../kernel/claims.js'

describe('the played kernel does what the product counts on of a real one (test/lab/kernel.test.ts)', () => {
  const proofs = new Map<string, Proof>()
  before(async function prove() {
    this.timeout(60_000)
    const text = await new Promise<string>((resolve) => {
      execFile(process.execPath, [join(import.meta.dirname, '../kernel/main.js'), 'played', '--seed', '3'], { timeout: 50_000, maxBuffer: 1 << 26 }, (_, stdout, stderr) => { resolve(`${stdout}${stderr}`) })
    })
    for (const line of text.split('\n').filter((each) => each.startsWith('{'))) {
      const proof = JSON.parse(line) as Proof
      proofs.set(proof.name, proof)
    }
    expect(proofs.size, text).to.equal(claims.length)
  })
  for (const { name } of claims) it(name, () => { expect(proofs.get(name)?.error).to.equal('') })
})
