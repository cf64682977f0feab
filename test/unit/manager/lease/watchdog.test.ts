/** The watchdog ends whole processes, so each test has one of its own. */
import { expect } from 'chai'
import { spawn } from 'node:child_process'

const module = new URL('../../../../manager/lease/watchdog.js', import.meta.url).href

/** Runs a process with a watchdog; `body` may use `dog`, `block(ms)` and `sleep(ms)`. A second line of output makes `signals` go out. */
async function life(body: string, onReady?: (pid: number) => Promise<void>): Promise<{ readonly code: number | null; readonly signal: string | null; readonly said: string }> {
  const text = `
    import { startWatchdog } from ${JSON.stringify(module)}
    const dog = await startWatchdog({ tickMs: 20, onDeath: (why) => { console.error(why); process.exit(9) } })
    const block = (ms) => { const end = performance.now() + ms; while (performance.now() < end); }
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
    const guard = (ms) => dog.guard(performance.now() + ms)
    ${body}
    process.exit(0)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', text], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => { said += chunk.toString() })
  child.stdout.once('data', () => { if (child.pid !== undefined) void onReady?.(child.pid) })
  return new Promise((resolve) => { child.once('close', (code, signal) => { resolve({ code, signal, said }) }) })
}

describe('the watchdog', function () {
  this.timeout(30_000)

  it('kills a process whose event loop hangs past the hard stop, and says so', async () => {
    const { signal, said } = await life('guard(300); block(20_000)')
    expect(signal).to.equal('SIGKILL')
    expect(said).to.match(/killed by its watchdog: \d+ ms past the hard stop/)
  })

  it('leaves one alone that moves the moment on, that is frozen by its own hand, or that hangs while it holds nothing', async () => {
    expect(await life('for (let i = 0; i < 20; i += 1) { guard(8000); await sleep(10) }')).to.include({ code: 0, said: '' })
    expect(await life('guard(5000); dog.rest(); block(300)')).to.include({ code: 0, said: '' })
    expect(await life('block(300)')).to.include({ code: 0 })
  })

  it('kills a process that was stopped past its hard stop, as soon as it goes on', async () => {
    const { signal } = await life('guard(400); console.log("ready"); await sleep(20_000)', async (pid) => {
      process.kill(pid, 'SIGSTOP')
      await new Promise((resolve) => setTimeout(resolve, 1000))
      process.kill(pid, 'SIGCONT')
    })
    expect(signal).to.equal('SIGKILL')
  })

  it('ends with the process that it guards, and does not keep one alive', async () => {
    expect(await life('guard(60_000); await dog.stop()')).to.include({ code: 0, said: '' })
  })
})
