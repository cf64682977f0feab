/** What the product counts on of the kernel, LVM and open-iscsi, proved of real ones; the played ones are held to the same (test/property/kernel.test.ts). */
import { join } from 'node:path'
import { expect } from 'chai'
import type { Proof } from '../kernel/bench.js'
import { claims } from '../kernel/claims.js'
import { dist, useLab } from './cluster.js'

describe('a real kernel does what the product counts on', () => {
  const lab = useLab('t-kernel', { managers: 0, storage: 1, both: 1, heads: 0, disks: 2, diskBytes: 128n * 1024n ** 2n, daemons: false, registerDisks: false })
  const proofs = new Map<string, Proof>()
  before(async function prove() {
    this.timeout(240_000)
    const { stdout, stderr } = await lab().exec('st1', ['node', join(dist, 'test/kernel/main.js'), 'real', '--disks', '/dev/mapper/disk1,/dev/mapper/disk2', '--address', lab().host('st1').dataAddress], { timeoutMs: 230_000 })
    for (const line of stdout.split('\n').filter((each) => each.startsWith('{'))) {
      const proof = JSON.parse(line) as Proof
      proofs.set(proof.name, proof)
    }
    expect(proofs.size, `${stdout}${stderr}`).to.equal(claims.length)
  })
  for (const { name } of claims) it(name, () => { expect(proofs.get(name)?.error).to.equal('') })
})
