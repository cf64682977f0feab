/**
 * The thrasher's writer, run inside a head: four writes in flight, of 4 to 64 KiB, each past the page cache and synchronous, never two
 * on the same block, and a reader that looks whether what was acknowledged is there. Each acknowledgement goes out as a line at once: the
 * record is kept outside, because this kernel may be killed any moment. Its input tells it what to do, a line each: `read`: finish what is in
 * flight, flush, read everything back past the page cache, and wait; `go`: write on; `stop`: end.
 * Usage: writer.js PATH RUN VOLUME BLOCKS SEGMENTBLOCKS LIFE PAUSE < least rounds as JSON, one line; then commands
 */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { messageOf } from '../../lib/faults.js'
import { BLOCK, CHUNK_BLOCKS, chunksOf, roundOf, stampBlock } from './block.js'
import { createDice } from './dice.js'
import { formatLine } from './lines.js'
import type { WriterLine } from './lines.js'

const DEPTH = 4
const CHUNK_BYTES = CHUNK_BLOCKS * BLOCK
const AFTER_ERROR_MS = 250
const TELL_WAITING_MS = 500
/** Rounds of one life of the writer: a later life's are all higher, whatever of this one's was issued and not told. */
const ROUNDS_A_LIFE = 2 ** 32

const [path = '', ...numbers] = process.argv.slice(2)
const [run = 0, volume = 0, blocks = 0, segmentBlocks = 1, life = 0, pauseMs = 0] = numbers.map(Number)
const chunks = chunksOf(blocks, segmentBlocks)
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Memory for requests past the page cache must be aligned, and JavaScript can't see addresses: so the offset is found by trying.
 * Gives 0 of O_DIRECT when none will do.
 */
function alignedBuffers(count: number): { readonly flag: number; readonly buffers: readonly Buffer[] } {
  const memory = Buffer.allocUnsafeSlow((count + 1) * CHUNK_BYTES)
  const file = openSync(path, constants.O_RDONLY | constants.O_DIRECT)
  try {
    for (let offset = 0; offset < BLOCK; offset += 8) {
      try {
        readSync(file, memory, offset, BLOCK, 0)
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code === 'EINVAL') continue
        throw thrown
      }
      return { flag: constants.O_DIRECT, buffers: Array.from({ length: count }, (_, index) => memory.subarray(offset + index * CHUNK_BYTES, offset + (index + 1) * CHUNK_BYTES)) }
    }
  } finally {
    closeSync(file)
  }
  return { flag: 0, buffers: Array.from({ length: count }, () => Buffer.alloc(CHUNK_BYTES)) }
}

async function write(): Promise<void> {
  const tell = (line: WriterLine): void => { writeSync(1, `${formatLine(line)}\n`) } // at once, whatever the event loop does
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const least = JSON.parse((await lines.next()).value as string) as number[]
  let stopped = false
  let held: Promise<void> | undefined
  let release = (): void => undefined
  const dice = createDice(run, volume, life)
  const busy = new Set<number>()
  const since = new Map<number, number>()
  const { flag, buffers } = alignedBuffers(DEPTH + 1)
  const file = await open(path, constants.O_RDWR | constants.O_DSYNC | flag)
  let round = life * ROUNDS_A_LIFE

  /** Places of the volume that nobody has a request on, marked until `work` is done. */
  const on = async (who: number, count: number, work: (block: number, at: number) => Promise<void>): Promise<void> => {
    let at = 0
    do at = dice.between(0, chunks.length - 1) * CHUNK_BLOCKS + dice.between(0, CHUNK_BLOCKS - count)
    while (Array.from({ length: count }, (_, index) => busy.has(at + index)).some(Boolean))
    const block = (chunks[Math.floor(at / CHUNK_BLOCKS)] ?? 0) + (at % CHUNK_BLOCKS)
    for (let index = 0; index < count; index += 1) busy.add(at + index)
    since.set(who, performance.now())
    try {
      await work(block, at)
    } catch (thrown) {
      tell({ is: 'error', text: `${count} blocks at ${block} after ${Math.round(performance.now() - (since.get(who) ?? 0))} ms: ${messageOf(thrown)}` })
      await pause(AFTER_ERROR_MS)
    } finally {
      since.delete(who)
      for (let index = 0; index < count; index += 1) busy.delete(at + index)
    }
  }
  const writer = async (who: number, buffer: Buffer): Promise<void> => {
    while (!stopped) {
      if (held) {
        await held
        continue
      }
      const count = dice.chance(0.5) ? 1 : dice.between(2, CHUNK_BLOCKS)
      await on(who, count, async (block, at) => {
        round += 1
        const mine = round
        for (let index = 0; index < count; index += 1) stampBlock(buffer.subarray(index * BLOCK), { run, volume, block: block + index }, mine)
        const from = performance.now()
        const { bytesWritten } = await file.write(buffer, 0, count * BLOCK, block * BLOCK)
        if (bytesWritten !== count * BLOCK) throw new Error(`${bytesWritten} of ${count * BLOCK} bytes were written`)
        for (let index = 0; index < count; index += 1) least[at + index] = mine
        tell({ is: 'ack', round: mine, block, count, ms: Math.round(performance.now() - from) })
      })
      await pause(dice.between(0, pauseMs))
    }
  }
  const reader = async (who: number, buffer: Buffer): Promise<void> => {
    while (!stopped) {
      if (held) {
        await held
        continue
      }
      await on(who, 1, async (block, at) => {
        const found = await readRound(file, buffer, block)
        const wanted = least[at] ?? 0
        if (found < wanted) tell({ is: 'older', block, least: wanted, found })
      })
      await pause(dice.between(0, pauseMs))
    }
  }
  tell({ is: 'ready', pid: process.pid, direct: flag !== 0 })
  const watch = setInterval(() => {
    const ms = Math.round(performance.now() - Math.min(...since.values(), performance.now()))
    if (ms >= TELL_WAITING_MS) tell({ is: 'waits', ms })
  }, TELL_WAITING_MS)
  /** Timed like a request: one that does not end is told as one that waits. */
  const readBack = async (): Promise<void> => {
    while (since.size > 0) await pause(5)
    since.set(DEPTH + 1, performance.now())
    let rounds: readonly number[] = []
    try {
      await file.sync()
      rounds = await readAll(file, buffers[0] ?? Buffer.alloc(CHUNK_BYTES))
      for (const [at, found] of rounds.entries()) least[at] = Math.max(least[at] ?? 0, found)
    } catch (thrown) {
      tell({ is: 'error', text: `reading everything back: ${messageOf(thrown)}` })
    }
    since.delete(DEPTH + 1)
    tell({ is: 'found', rounds })
  }
  const obey = async (): Promise<void> => {
    while (!stopped) {
      const line = await lines.next()
      if (line.value === 'read') {
        held ??= new Promise((resolve) => { release = resolve })
        await readBack()
        continue
      }
      stopped = line.value === 'stop' || line.done === true // or nobody is there any more
      held = undefined
      release()
    }
  }
  await Promise.all([obey(), ...buffers.map((buffer, who) => (who < DEPTH ? writer(who, buffer) : reader(who, buffer)))])
  clearInterval(watch)
  await file.sync()
  await file.close()
}

async function readRound(file: FileHandle, buffer: Buffer, block: number): Promise<number> {
  await file.read(buffer, 0, BLOCK, block * BLOCK)
  return roundOf(buffer.subarray(0, BLOCK), { run, volume, block })
}

/** The round of each block, in the order of the chunks. */
async function readAll(file: FileHandle, buffer: Buffer): Promise<readonly number[]> {
  const found: number[] = []
  for (const start of chunks) {
    const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, start * BLOCK)
    if (bytesRead !== CHUNK_BYTES) throw new Error(`${bytesRead} of ${CHUNK_BYTES} bytes were read at block ${start}`)
    for (let index = 0; index < CHUNK_BLOCKS; index += 1) found.push(roundOf(buffer.subarray(index * BLOCK), { run, volume, block: start + index }))
  }
  return found
}

try {
  await write()
  process.exit(0)
} catch (thrown) {
  writeSync(2, `${messageOf(thrown)}\n`)
  process.exit(1)
}
