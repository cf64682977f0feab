import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLockFile } from '../../../../manager/store/lock-file.js'

const module = new URL('../../../../manager/store/lock-file.js', import.meta.url).href

describe('the lock of a process', function () {
  this.timeout(30_000)
  let dir: string
  let path: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-lock-'))
    path = join(dir, 'manager.lock')
  })
  afterEach(() => rm(dir, { recursive: true }))

  /** A process that holds it; gives its place and the means to end it. */
  async function holder(): Promise<{ readonly place: string; readonly pid: number; end(): Promise<void> }> {
    const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', `
      import { createLockFile } from ${JSON.stringify(module)}
      console.log(await createLockFile(${JSON.stringify(path)}, { beside: false }).place())
      setInterval(() => { globalThis.gc() }, 20)`], { stdio: ['ignore', 'pipe', 'inherit'] })
    const place = await new Promise<string>((resolve) => { child.stdout.once('data', (chunk: Buffer) => { resolve(chunk.toString().trim()) }) })
    const ended = new Promise<void>((resolve) => { child.once('close', () => { resolve() }) })
    return { place, pid: child.pid ?? 0, end: () => { child.kill('SIGKILL'); return ended } }
  }

  it('is free as soon as that one is killed, in the same place, and not before: not while it is stopped either', async () => {
    const other = await holder()
    const lock = createLockFile(path, { beside: false })
    try {
      expect(other.place).to.match(/^[0-9a-f-]{36} \d+:\d+$/)
      await new Promise((resolve) => setTimeout(resolve, 300)) // its garbage is collected all the while
      expect(await lock.place()).to.equal('')
      process.kill(other.pid, 'SIGSTOP')
      expect(await lock.place()).to.equal('')
    } finally {
      await other.end()
    }
    expect(await lock.place()).to.equal(other.place)
    await lock.release()
  })

  it('is held once, also within one process, and by another after its release', async () => {
    const [one, two] = [createLockFile(path, { beside: true }), createLockFile(path, { beside: true })]
    expect(await Promise.all([one.place(), one.place()])).to.deep.equal(['beside', 'beside'])
    expect(await two.place()).to.equal('')
    await one.release()
    expect(await two.place()).to.equal('beside')
    await two.release()
  })

  it('is never thought to be held where it can\'t be made', async () => {
    expect(await createLockFile(join(dir, 'none', 'manager.lock'), { beside: true }).place().then(() => '', (thrown: unknown) => String(thrown))).to.contain('open')
  })
})
