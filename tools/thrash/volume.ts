/** One volume under thrash: its writer on whatever head it is attached to, its ledger out here, and the comparison with what can be read. */
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import type { VolumeView } from '../../lib/api/views.js'
import { messageOf } from '../../lib/faults.js'
import { ask } from '../lab/ask.js'
import type { ExecResult, Lab } from '../lab/lab.js'
import { LabError } from '../lab/lab.js'
import { BLOCK, CHUNK_BLOCKS, chunksOf } from './block.js'
import type { VolumePlan } from './faults.js'
import { Ledger } from './ledger.js'
import type { Loss } from './ledger.js'
import { parseLine } from './lines.js'
import type { WriterLine } from './lines.js'

const READY_MS = 30_000
const END_MS = 60_000
/** For what is in flight, and for reading all back. */
const READ_MS = 120_000
/** A request that waits is told of twice a second; for so long the last word is believed. */
const WORD_MS = 3000
/** A stall of so long is told when it has come to that, and when it ends. */
const LONG_STALL_MS = 10_000

interface Running {
  readonly host: string
  readonly input: PassThrough
  readonly ended: Promise<ExecResult>
  pid: number
  found: (rounds: readonly number[]) => void
}

export interface Listener {
  stall(ms: number): void
  /** A request waits since so long; told again and again. */
  waits(ms: number): void
  note(text: string): void
  error(text: string): void
  violation(text: string): void
}

export class ThrashedVolume {
  readonly name: string
  readonly plan: VolumePlan
  readonly ledger: Ledger
  /** Where it is, or should be. */
  head: string
  readonly #lab: Lab
  readonly #run: number
  readonly #segmentBlocks: number
  readonly #pauseMs: number
  readonly #listener: Listener
  #lives = 0
  #running: Running | undefined
  /** When a write was last acknowledged, by our clock; unset when it was we who ended the writer since. */
  #ackAt: number | undefined
  /** A long stall was told. */
  #stalled = false
  /** What the writer said last of its oldest request. */
  #waits: { readonly ms: number; readonly atMs: number } | undefined

  constructor(lab: Lab, run: number, plan: VolumePlan, { extentMebibytes, pauseMs }: { readonly extentMebibytes: number; readonly pauseMs: number }, listener: Listener) {
    this.#lab = lab
    this.#run = run
    this.plan = plan
    this.name = plan.name
    this.head = plan.head
    this.#segmentBlocks = extentMebibytes * 256
    this.#pauseMs = pauseMs
    this.#listener = listener
    this.ledger = new Ledger(chunksOf(this.#blocks, this.#segmentBlocks), CHUNK_BLOCKS)
  }

  get #blocks(): number { return (this.plan.mebibytes * 1024 * 1024) / BLOCK }

  show(): Promise<VolumeView> {
    return ask(this.#lab, 'volumeShow', { volume: this.name })
  }

  get isWriting(): boolean { return this.#running !== undefined }

  get chunks(): readonly number[] { return chunksOf(this.#blocks, this.#segmentBlocks) }

  /** How long its oldest request waits by now, ms; 0 when none waits for long. */
  get waitsMs(): number {
    if (!this.#running || !this.#waits) return 0
    const age = performance.now() - this.#waits.atMs
    return age > WORD_MS ? 0 : Math.round(this.#waits.ms + age)
  }

  #program(): readonly string[] {
    const place = [`/dev/vsky/${this.name}`, this.#run, this.plan.number, this.#blocks, this.#segmentBlocks, this.#lives, this.#pauseMs].map(String)
    // More threads than requests, so that each of them really is in flight.
    return ['env', 'UV_THREADPOOL_SIZE=12', 'node', join(this.#lab.wish.dist, 'tools/thrash/writer.js'), ...place]
  }

  /** Starts the writer on the volume's head, and comes back when it has opened the device. */
  async start(): Promise<void> {
    if (this.#running) return
    this.#lives += 1
    const input = new PassThrough()
    input.write(`${JSON.stringify(this.ledger.least)}\n`)
    let ready: (pid: number) => void = () => undefined
    const began = new Promise<number>((resolve) => { ready = resolve })
    const output = new Writable({ write: eachLine((line) => { this.#hear(running, line, ready) }) })
    const ended = this.#lab.exec(this.head, this.#program(), { stdin: input, stdout: output, timeoutMs: 0 })
    const running: Running = { host: this.head, input, ended, pid: 0, found: () => undefined }
    this.#running = running
    this.#waits = undefined
    const failed = ended.then((result) => `ended with ${result.code}: ${result.stderr.trim()}`, messageOf)
    const first = await Promise.race([began, failed, wait(READY_MS).then(() => `did not open the device within ${READY_MS / 1000} s`)])
    if (typeof first === 'number') return
    this.#running = undefined
    throw new LabError(`the writer of ${this.name} on ${this.head} ${first}`)
  }

  #hear(running: Running, line: WriterLine, ready: (pid: number) => void): void {
    switch (line.is) {
      case 'ready':
        running.pid = line.pid
        if (!line.direct) this.#listener.violation(`${this.name}: the device takes no requests past the page cache`)
        ready(line.pid)
        break
      case 'ack':
        this.ledger.acknowledge(line.round, line.block, line.count)
        // A head without power can't say how long its volume was away: the gap between two acknowledgements does.
        this.#stall(running, Math.max(line.ms, this.#ackAt === undefined ? 0 : Math.round(performance.now() - this.#ackAt)), true)
        this.#ackAt = performance.now()
        break
      case 'waits':
        if (running !== this.#running) break
        this.#waits = { ms: line.ms, atMs: performance.now() }
        this.#stall(running, line.ms, false)
        this.#listener.waits(line.ms)
        break
      case 'found': running.found(line.rounds); break
      case 'error': this.#listener.error(`${this.name} on ${running.host}: ${line.text}`); break
      case 'older': this.#listener.violation(`${this.name} on ${running.host}: a read of block ${line.block} found round ${line.found}, after ${line.least} was acknowledged`); break
    }
  }

  #stall({ host }: Running, ms: number, isOver: boolean): void {
    this.#listener.stall(ms)
    if (ms < LONG_STALL_MS) return
    if (isOver) this.#listener.note(`${this.name} on ${host}: a write was acknowledged ${ms} ms after it was issued, or after the one before`)
    else if (!this.#stalled) this.#listener.note(`${this.name} on ${host}: a request waits since ${ms} ms`)
    this.#stalled = !isOver
  }

  /** What is known of a writer that does not end: of its oldest request, if that waits. */
  #late({ host }: Running, what: string, ms: number): LabError {
    const waits = this.waitsMs
    return new LabError(`${this.name} on ${host}: ${what} within ${ms / 1000} s${waits > 0 ? `; its oldest request waits since ${(waits / 1000).toFixed(1)} s` : ''}`)
  }

  /** Ends the writer when its last writes are acknowledged; all that it told has been heard then. */
  async stop(): Promise<void> {
    const running = this.#running
    if (!running) return
    running.input.write('stop\n')
    const result = await Promise.race([running.ended, wait(END_MS).then(() => undefined)])
    const late = result ? undefined : this.#late(running, 'its writer was told to stop, and what it has in flight was not done', END_MS)
    this.abandon()
    this.#ackAt = undefined
    if (!result) {
      await this.#lab.exec(running.host, ['kill', '-9', String(running.pid)], { timeoutMs: 5000 }).catch(() => undefined)
      throw late ?? new LabError(this.name)
    }
    if (result.code !== 0) throw new LabError(`the writer of ${this.name} on ${running.host} ended with ${result.code}: ${result.stderr.trim()}`)
  }

  /** Its head is dead. What had left the guest by then is still heard: it was acknowledged. */
  abandon(): void {
    this.#running?.ended.catch(() => undefined)
    this.#running = undefined
    this.#waits = undefined
  }

  /**
   * The writer finishes what is in flight, flushes, reads every block that is written past the page cache, and waits for `goOn`. Gives the
   * blocks that went back, or hold garbage. Throws LabError when something in flight is not done.
   */
  async verify(): Promise<readonly Loss[]> {
    const running = this.#running
    if (!running) throw new LabError(`no writer runs on ${this.name}`)
    const found = new Promise<readonly number[]>((resolve) => { running.found = resolve })
    running.input.write('read\n')
    const ended = running.ended.then((result) => `ended with ${result.code}: ${result.stderr.trim()}`, messageOf)
    const rounds = await Promise.race([found, ended, wait(READ_MS).then(() => undefined)])
    if (rounds === undefined) throw this.#late(running, 'what was in flight when all was to be read back was not done, or not read,', READ_MS)
    if (typeof rounds === 'string') throw new LabError(`the writer of ${this.name} on ${running.host} ${rounds}`)
    this.#ackAt = undefined
    if (rounds.length === 0) throw new LabError(`${this.name} on ${running.host} can't be read back`) // why was told as an error
    return this.ledger.judge(rounds)
  }

  /** After `verify`. */
  goOn(): void {
    this.#running?.input.write('go\n')
  }
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** A stream's write function that calls `each` for every whole line that can be read. */
function eachLine(each: (line: WriterLine) => void): (data: Buffer, encoding: string, done: () => void) => void {
  let rest = ''
  return (data, _, done) => {
    const lines = (rest + data.toString()).split('\n')
    rest = lines.pop() ?? ''
    for (const text of lines) {
      const line = parseLine(text)
      if (line) each(line)
    }
    done()
  }
}
