/**
 * The runner: the one door through which Vsky starts programs. It stands on execa for argument handling and spawning, and keeps
 * the time limit itself: execa's own limit signals only the direct child and then waits for every holder of the output pipe (a
 * background grandchild made a 300 ms limit take 7 s). Here each program leads a process group of its own, the whole group gets
 * SIGKILL at the deadline, and a timer of our own settles the call even when a process in uninterruptible sleep can't die.
 */
import type { ChildProcess } from 'node:child_process'
import { execa } from 'execa'
import { messageOf } from '../faults.js'
import type { Log, Run, RunRequest, RunResult } from '../ports.js'
import { showArgv } from './failure-text.js'
import { createSlots } from './run-slots.js'
import type { Slots } from './run-slots.js'

export { failureText } from './failure-text.js'

export interface RunOptions {
  readonly log?: Log
  /** Programs of one file name that may run at once; others wait, within their own time limit. Default 8 each. */
  readonly maxParallel?: Readonly<Record<string, number>>
}

type Exit = RunResult['exit']

const FIXED_PATH = '/usr/sbin:/usr/bin:/sbin:/bin'
const DEFAULT_PARALLEL = 8
const DEFAULT_OUTPUT_BYTES = 4 * 1024 * 1024
/** After the program ended, how long its output may still be held open by something that it left running. */
const PIPE_GRACE_MS = 300
/** A turn reads at least 64 KiB of a pipe, which holds 1 MiB at most (pipe(7)); what was left running may go on writing for ever. */
const READ_TURNS = 17
/** After SIGKILL, how long to wait for the end before the call settles without it. */
const KILL_GRACE_MS = 200

/**
 * Makes a runner. A run settles at most 200 ms after its `timeoutMs` (the wait for its turn included), and never rejects. A
 * program that SIGKILL did not end keeps its place among `maxParallel`, so that a stuck device cannot collect processes without
 * end; it is logged once. What a program leaves running in the background lives on after a regular end (lvm starts dmeventd).
 */
export function createRun({ log, maxParallel = {} }: RunOptions = {}): Run {
  const slotsOf = new Map<string, Slots>()
  return async (request) => {
    const startedMs = performance.now()
    const ended = (exit: Exit, stdout = '', stderr = ''): RunResult => {
      const durationMs = performance.now() - startedMs
      log?.debug('ran a program', { argv: showArgv(request), exit: exit.kind === 'code' ? exit.code : exit.kind, durationMs: Math.round(durationMs) })
      return { exit, stdout, stderr, durationMs }
    }
    if (request.signal?.aborted) return ended({ kind: 'cancelled' })
    const { file, line } = request
    const key = line === undefined ? file : `line ${line}`
    const slots = slotsOf.get(key) ?? createSlots(line === undefined ? Math.max(1, maxParallel[file] ?? DEFAULT_PARALLEL) : 1)
    slotsOf.set(key, slots)
    const turn = await slots.take(request.timeoutMs, request.signal)
    if (turn.kind !== 'taken') return ended({ kind: turn.kind })
    const release = (): void => {
      turn.release()
      if (line !== undefined && slots.idle()) slotsOf.delete(key)
    }
    const leftMs = Math.max(1, request.timeoutMs - (performance.now() - startedMs))
    try {
      const { exit, stdout, stderr } = await perform(request, leftMs, release, log)
      return ended(exit, stdout, stderr)
    } catch (thrown) {
      release()
      return ended({ kind: 'not started', reason: messageOf(thrown) })
    }
  }
}

interface Ended { readonly exit: Exit; readonly stdout: string; readonly stderr: string }

/** Starts the program and watches it to its end. `release` is called when the process is really gone. */
async function perform(request: RunRequest, leftMs: number, release: () => void, log: Log | undefined): Promise<Ended> {
  const { file, args, input, env, signal, maxOutputBytes = DEFAULT_OUTPUT_BYTES } = request
  const child = execa(file, [...args], {
    detached: true, cleanup: false, reject: false, buffer: false, shell: false, preferLocal: false, windowsHide: false,
    extendEnv: false, env: { LC_ALL: 'C', PATH: FIXED_PATH, ...env },
    stdout: 'pipe', stderr: 'pipe', ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
  })
  if (child.pid === undefined) {
    const { code, shortMessage } = await child
    release()
    return { exit: { kind: 'not started', reason: code ?? shortMessage ?? 'unknown' }, stdout: '', stderr: '' }
  }
  void child.then(undefined, () => undefined) // our own listeners below tell how it ended
  return new Promise<Ended>((resolve) => {
    let exit: Exit | undefined
    let gone = false
    let settled = false
    let grace: NodeJS.Timeout | undefined
    const outputs = [collect(child.stdout, maxOutputBytes, tooLong), collect(child.stderr, maxOutputBytes, tooLong)] as const
    const deadline = setTimeout(() => { end({ kind: 'timeout' }) }, leftMs)

    function settle(): void {
      if (settled || !exit) return
      settled = true
      clearTimeout(deadline)
      clearTimeout(grace)
      signal?.removeEventListener('abort', onAbort)
      const [stdout, stderr] = outputs.map((output) => output.finish())
      if (!gone) {
        log?.warn('a program does not die: the kernel holds it', { argv: showArgv(request), pid: child.pid })
        child.unref()
      }
      resolve({ exit, stdout: stdout ?? '', stderr: stderr ?? '' })
    }
    const received = (): number => outputs.reduce((bytes, output) => bytes + output.received(), 0)
    /** In a busy process that time can be over before one look at the pipes: what the program wrote is there, and would be taken for nothing. */
    function settleWhenRead(turns = READ_TURNS): void {
      const before = received()
      setImmediate(() => { // after a turn in which every pipe was read
        if (turns > 1 && received() > before) settleWhenRead(turns - 1)
        else settle()
      })
    }
    function end(reason: Exit): void {
      if (exit) return
      exit = reason
      killGroup(child)
      if (gone) settle()
      else if (request.untilGone !== true) grace = setTimeout(settle, KILL_GRACE_MS)
    }
    function tooLong(): void { end({ kind: 'output too long' }) }
    function onAbort(): void { end({ kind: 'cancelled' }) }
    function onOutputEnd(): void {
      if (gone && outputs.every((output) => output.ended())) settle()
    }

    signal?.addEventListener('abort', onAbort, { once: true })
    for (const stream of [child.stdout, child.stderr]) stream.once('close', onOutputEnd)
    child.once('exit', (code, killedBy) => {
      gone = true
      release()
      if (exit) return settle()
      exit = code === null ? { kind: 'signal', signal: killedBy ?? 'unknown' } : { kind: 'code', code }
      if (outputs.every((output) => output.ended())) settle()
      else grace = setTimeout(() => { settleWhenRead() }, PIPE_GRACE_MS)
      return undefined
    })
  })
}

/** The group exists as long as any member does, so this reaches grandchildren whose parent has ended. */
function killGroup(child: Pick<ChildProcess, 'pid'>): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // ESRCH: the whole group is gone already
  }
}

interface Output { ended(): boolean; received(): number; finish(): string }

function collect(stream: NodeJS.ReadableStream & { destroy(): unknown; readonly closed: boolean }, maxBytes: number, tooLong: () => void): Output {
  const chunks: Buffer[] = []
  let size = 0
  stream.on('error', () => undefined) // its end follows, and the exit code tells the rest
  stream.on('data', (chunk: Buffer) => {
    if (size < maxBytes) chunks.push(chunk.subarray(0, maxBytes - size))
    size += chunk.length
    if (size > maxBytes) tooLong()
  })
  return {
    ended: () => stream.closed,
    received: () => size,
    finish: () => {
      stream.destroy()
      return Buffer.concat(chunks).toString('utf8')
    },
  }
}
