import { execFileSync, spawn } from 'node:child_process'
import { expect } from 'chai'
import { createRun, failureText } from '../../../../lib/host/run.js'
import { createSlots } from '../../../../lib/host/run-slots.js'
import type { RunRequest, RunResult } from '../../../../lib/ports.js'

const run = createRun()

function sh(script: string, more: Partial<RunRequest> = {}): RunRequest {
  return { file: 'sh', args: ['-c', script], timeoutMs: 5_000, ...more }
}

/** A command that nothing else on this machine runs. */
const long = (which: number): string => `sleep 4711.${which}${process.pid}`

/** Whether it goes on though it should end: a killed process may take a moment to go. */
async function goesOn(command: string): Promise<boolean> {
  for (let look = 0; look < 100; look += 1) {
    if (!execFileSync('ps', ['-eo', 'args']).toString().split('\n').some((line) => line.includes(command))) return false
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return true
}

describe('the runner', () => {
  it('gives back code, output and duration', async () => {
    const { exit, stdout, stderr, durationMs } = await run(sh('echo out; echo err >&2; exit 3'))
    expect({ exit, stdout, stderr }).to.deep.equal({ exit: { kind: 'code', code: 3 }, stdout: 'out\n', stderr: 'err\n' })
    expect(durationMs).to.be.within(0.1, 5_000)
  })

  it('passes arguments as they are, through no shell', async () => {
    const args = ['%s|', 'a b', '$HOME', '*', ';', '"', "'", '', 'x\ny']
    expect((await run({ file: 'printf', args, timeoutMs: 5_000 })).stdout).to.equal('a b|$HOME|*|;|"|\'||x\ny|')
  })

  it('gives a program the fixed environment and what was added, and nothing of ours', async () => {
    process.env['VSKY_TEST_SECRET'] = 'x'
    const { stdout } = await run({ file: 'env', args: [], timeoutMs: 5_000, env: { EXTRA: '1' } })
    delete process.env['VSKY_TEST_SECRET']
    expect(stdout.trim().split('\n').sort()).to.deep.equal(['EXTRA=1', 'LC_ALL=C', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin'])
  })

  it('sends the input and ends it, and without input there is none to wait for', async () => {
    expect((await run({ file: 'cat', args: [], timeoutMs: 5_000, input: 'hello' })).stdout).to.equal('hello')
    expect((await run({ file: 'cat', args: [], timeoutMs: 5_000 })).exit).to.deep.equal({ kind: 'code', code: 0 })
    expect((await run({ file: 'true', args: [], timeoutMs: 5_000, input: 'x'.repeat(1_000_000) })).exit).to.deep.equal({ kind: 'code', code: 0 })
  })

  it('says which signal ended a program', async () => {
    expect((await run(sh('kill -TERM $$'))).exit).to.deep.equal({ kind: 'signal', signal: 'SIGTERM' })
  })

  it('says why a program could not be started, and never rejects', async () => {
    expect((await run({ file: 'no-such-program', args: [], timeoutMs: 5_000 })).exit).to.deep.equal({ kind: 'not started', reason: 'ENOENT' })
    expect((await run({ file: '/etc/passwd', args: [], timeoutMs: 5_000 })).exit).to.deep.equal({ kind: 'not started', reason: 'EACCES' })
    expect((await run({ file: 'echo', args: ['a\0b'], timeoutMs: 5_000 })).exit.kind).to.equal('not started')
    expect((await run({ file: 'echo', args: ['x'.repeat(3_000_000)], timeoutMs: 5_000 })).exit).to.deep.equal({ kind: 'not started', reason: 'E2BIG' })
  })

  it('ends the whole family of a program at its deadline, and keeps what it had said', async () => {
    const { exit, stdout, durationMs } = await run(sh(`echo begun; ${long(1)} & ${long(1)}`, { timeoutMs: 200 }))
    expect({ exit, stdout }).to.deep.equal({ exit: { kind: 'timeout' }, stdout: 'begun\n' })
    expect(durationMs).to.be.within(190, 1_500)
    expect(await goesOn(long(1))).to.equal(false)
  })

  it('ends a program that ignores TERM', async () => {
    const { exit, durationMs } = await run(sh('trap "" TERM; while :; do sleep 4711.02; done', { timeoutMs: 200 }))
    expect(exit).to.deep.equal({ kind: 'timeout' })
    expect(durationMs).to.be.lessThan(1_500)
  })

  it('does not wait for a background process that holds the output open', async () => {
    const { exit, stdout, durationMs } = await run(sh('sleep 3.97 & echo $!'))
    expect(exit).to.deep.equal({ kind: 'code', code: 0 })
    expect(durationMs).to.be.lessThan(2_000)
    process.kill(Number(stdout)) // it lives on, as a daemon should
  })

  it('stops a program that says too much, and keeps as much as was allowed', async () => {
    const { exit, stdout, durationMs } = await run(sh('exec cat /dev/zero', { maxOutputBytes: 1_000_000 }))
    expect(exit).to.deep.equal({ kind: 'output too long' })
    expect(stdout).to.have.length(1_000_000)
    expect(durationMs).to.be.lessThan(3_000)
    expect((await run(sh('printf 12345', { maxOutputBytes: 5 }))).exit).to.deep.equal({ kind: 'code', code: 0 })
    expect((await run(sh('printf 123456', { maxOutputBytes: 5 }))).exit).to.deep.equal({ kind: 'output too long' })
  })

  it('reads a large output whole', async () => {
    expect((await run(sh('head -c 3000000 /dev/zero | tr "\\0" x'))).stdout).to.equal('x'.repeat(3_000_000))
  })

  it('loses nothing that a program said when this process was too busy to read it before its end', async () => {
    const busy = (ms: number): void => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms) }
    const result = run(sh('sleep 0.5; echo hello'))
    await new Promise(setImmediate)
    // Another program's words and end are seen in one look at the kernel. While its words are worked on the first one ends, so that its end is seen
    // with the other's, before its words; and what the other's end gives to do takes longer than the time for these.
    const other = spawn('echo', ['x'])
    other.stdout.once('data', () => { busy(1200) })
    other.once('exit', () => { busy(500) })
    busy(300)
    expect(await result).to.include({ stdout: 'hello\n' })
    expect((await result).exit).to.deep.equal({ kind: 'code', code: 0 })
  })

  it('ends a program when the caller gives up, and starts none when it already has', async () => {
    const controller = new AbortController()
    const started = run(sh(long(3), { signal: controller.signal }))
    setImmediate(() => { controller.abort() })
    expect((await started).exit).to.deep.equal({ kind: 'cancelled' })
    expect((await run(sh('true', { signal: AbortSignal.abort() }))).exit).to.deep.equal({ kind: 'cancelled' })
    expect(await goesOn(long(3))).to.equal(false)
  })

  it('runs no more of one program at once than it may, and the wait counts', async () => {
    const limited = createRun({ maxParallel: { sleep: 1 } })
    const first = limited({ file: 'sleep', args: ['0.3'], timeoutMs: 5_000 })
    const second = limited({ file: 'sleep', args: ['0.1'], timeoutMs: 5_000 })
    const third = limited({ file: 'sleep', args: ['0.1'], timeoutMs: 50 })
    const other = limited({ file: 'true', args: [], timeoutMs: 5_000 })
    expect((await third).exit).to.deep.equal({ kind: 'timeout' })
    expect((await other).durationMs).to.be.lessThan(290)
    expect((await first).exit).to.deep.equal({ kind: 'code', code: 0 })
    expect((await second).durationMs).to.be.greaterThan(380)
  })

  it('runs those of a line one at a time, and one that hangs in a line holds up nobody else', async () => {
    const limited = createRun({ maxParallel: { sleep: 1 } })
    const [gate, hangs] = [new AbortController(), (signal: AbortSignal): RunRequest => ({ file: 'sleep', args: ['20'], timeoutMs: 20_000, line: 'a', signal })]
    const [first, second] = [limited(hangs(gate.signal)), limited({ file: 'true', args: [], timeoutMs: 100, line: 'a' })]
    const others = await Promise.all([limited({ file: 'sleep', args: ['0'], timeoutMs: 10_000 }), limited({ file: 'sleep', args: ['0'], timeoutMs: 10_000, line: 'b' })])
    expect(others.map(({ exit }) => exit)).to.deep.equal([{ kind: 'code', code: 0 }, { kind: 'code', code: 0 }])
    expect((await second).exit).to.deep.equal({ kind: 'timeout' })
    gate.abort()
    expect((await first).exit).to.deep.equal({ kind: 'cancelled' })
    expect((await limited({ file: 'true', args: [], timeoutMs: 10_000, line: 'a' })).exit).to.deep.equal({ kind: 'code', code: 0 })
  })

  it('frees the place of a program that never started', async () => {
    const limited = createRun({ maxParallel: { 'no-such-program': 1 } })
    for (let round = 0; round < 3; round++) {
      expect((await limited({ file: 'no-such-program', args: [], timeoutMs: 1_000 })).exit.kind).to.equal('not started')
    }
  })
})

describe('places', () => {
  it('go to who asked first, and back when they are released, however often that is said', async () => {
    const slots = createSlots(1)
    const first = await slots.take(1_000)
    const order: string[] = []
    const second = slots.take(1_000).then((turn) => { order.push('second'); return turn })
    const third = slots.take(1_000).then((turn) => { order.push('third'); return turn })
    if (first.kind !== 'taken') throw new Error('no place')
    first.release()
    first.release()
    const turn = await second
    expect(order).to.deep.equal(['second'])
    if (turn.kind !== 'taken') throw new Error('no place')
    turn.release()
    expect((await third).kind).to.equal('taken')
  })
})

describe('the text of a failure', () => {
  const result = (exit: RunResult['exit'], stderr = ''): RunResult => ({ exit, stdout: '', stderr, durationMs: 31.4 })

  it('tells the command, how it ended, after how long, and its last words', () => {
    const request = { file: 'lvs', args: ['--foo', 'a b'], timeoutMs: 100 }
    expect(failureText(request, result({ kind: 'code', code: 5 }, 'one\n\n two\nthree\nfour\n'))).to.equal('lvs --foo "a b": exit code 5 after 31 ms: two | three | four')
    expect(failureText(request, result({ kind: 'timeout' }))).to.equal('lvs --foo "a b": no end within its 100 ms after 31 ms')
    expect(failureText(request, result({ kind: 'not started', reason: 'ENOENT' }))).to.equal('lvs --foo "a b": could not be started (ENOENT) after 31 ms')
  })

  it('shows no secret, and no end of arguments', () => {
    const text = (args: readonly string[]): string => failureText({ file: 'iscsiadm', args, timeoutMs: 1 }, result({ kind: 'code', code: 1 }))
    expect(text(['-o', 'update', '-n', 'node.session.auth.password', '-v', 'hunter2'])).to.contain('-v ***').and.not.contain('hunter2')
    expect(text(['-n', 'node.session.auth.password', '--value=hunter2'])).to.not.contain('hunter2')
    expect(text(['--password', 'hunter2'])).to.not.contain('hunter2')
    expect(text(['password=hunter2'])).to.not.contain('hunter2')
    expect(text(['-n', 'node.startup', '-v', 'manual'])).to.contain('-v manual')
    expect(text(['x'.repeat(10_000)]).length).to.be.lessThan(500)
  })
})
