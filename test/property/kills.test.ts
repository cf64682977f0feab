import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { expect } from 'chai'

/** A process of its own: its module loader puts the world in the place of the kernel's tools. Gives what it said and whether all went well. */
function kill(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(import.meta.dirname, '../sim/kills-main.js'), '--lines', '40', ...args], { timeout: 170_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => { resolve({ code: error === null ? 0 : 1, text: `${stdout}${stderr}` }) })
  })
}

/** There are so many of these points at least, and every one goes well. */
async function allGoWell(least: number, ...args: readonly string[]): Promise<void> {
  const { code, text } = await kill(...args)
  expect(code, text).to.equal(0)
  expect(Number(/^(\d+) points, every one of them went well/m.exec(text)?.[1] ?? 0)).to.be.at.least(least)
}

describe('a manager or an agent that dies at a step, in a simulated cluster (all steps: npm run sim:kills)', () => {
  it('the manager dies anywhere while it makes a volume: there is one volume in the end, and nothing else', async () => {
    await allGoWell(20, '--story', 'create', '--process', 'manager')
  }).timeout(180_000)

  it('an agent dies while it ends a session of its head\'s last copy: the next one ends it, though no order comes any more', async () => {
    await allGoWell(1, '--story', 'evacuate detached', '--process', 'hd2', '--step', 'before iscsiadm -m session')
  }).timeout(180_000)

  it('a server\'s agent dies while it lets a head in or shuts one out: what is half done is done by the next order', async () => {
    await allGoWell(10, '--story', 'move from a lost head', '--process', 'st1', '--step', '/acls/')
  }).timeout(180_000)

  it('a server\'s agent dies while it exports a new leg: what is half made is made anew, and the repair goes on', async () => {
    await allGoWell(6, '--story', 'repair', '--step', 'iblock_7717')
  }).timeout(180_000)

  for (const story of ['move from a lost head', 'attach to a head that is lost meanwhile', 'detach from a head that is lost meanwhile']) {
    it(`what is acknowledged is so, and is done once, wherever the manager dies: ${story}`, async () => {
      await allGoWell(2, '--story', story, '--process', 'manager', '--every', '30')
    }).timeout(180_000)
  }

  it('a leg that is lost while its head lets go of the volume is left behind, wherever the manager dies', async () => {
    await allGoWell(20, '--story', 'detach while a leg is lost', '--process', 'manager')
  }).timeout(180_000)

  it('legs that move so that disks become equally full arrive, and are nowhere twice, wherever the manager dies', async () => {
    await allGoWell(5, '--story', 'rebalance', '--process', 'manager', '--every', '10')
  }).timeout(180_000)

  it('a request that is taken for a new one when it is repeated is found', async () => {
    const { code, text } = await kill('--story', 'create', '--process', 'manager', '--step', 'before answering', '--mutant', 'a request that is repeated is a new one')
    expect(code, text).to.equal(1)
    expect(text).to.contain('FAILED: create: manager dies at point')
  }).timeout(180_000)
})
