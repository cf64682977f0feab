/**
 * A writer for trials, run inside a head: writes numbered, checksummed blocks of 4 KiB to a file or device, each synchronous, and
 * remembers durably-acknowledged numbers; then the same program proves that nothing acknowledged was lost. It stops when its stop
 * file appears, and makes a file of its own when it is under way. Usage: writer.js write PATH BLOCKS STOPFILE | writer.js verify PATH BLOCKS ACKNOWLEDGED
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import { constants } from 'node:fs'
import { underWay } from './writer-files.js'

const BLOCK = 4096
/** Writes after which it says that it is under way. */
const UNDER_WAY = 32

/** Number and hash in front, the number's pattern behind: a block of another round, or a torn one, is recognised. */
function block(slot: number, round: number): Buffer {
  const body = Buffer.alloc(BLOCK - 64, `${slot}:${round};`)
  const head = Buffer.alloc(64)
  head.writeUInt32LE(slot, 0)
  head.writeUInt32LE(round, 4)
  createHash('sha256').update(head.subarray(0, 8)).update(body).digest().copy(head, 32)
  return Buffer.concat([head, body])
}

/** Undefined for a block that no writer wrote whole. */
function roundOf(data: Buffer, slot: number): number | undefined {
  const round = data.readUInt32LE(4)
  return data.readUInt32LE(0) === slot && block(slot, round).equals(data) ? round : undefined
}

export interface Written {
  readonly writes: number
  /** Longest time of one write, ms. */
  readonly longestMs: number
  readonly error: string
  /** Round that was acknowledged last for each slot. */
  readonly acknowledged: readonly number[]
}

async function write(path: string, blocks: number, stopFile: string): Promise<Written> {
  const acknowledged = new Array<number>(blocks).fill(0)
  let writes = 0
  let longestMs = 0
  try {
    const file = await open(path, constants.O_WRONLY | constants.O_DSYNC | (path.startsWith('/dev/') ? 0 : constants.O_CREAT))
    try {
      for (let round = 1; !existsSync(stopFile); round += 1) {
        for (let slot = 0; slot < blocks && !(slot % 16 === 0 && existsSync(stopFile)); slot += 1) {
          const started = performance.now()
          await file.write(block(slot, round), 0, BLOCK, slot * BLOCK)
          longestMs = Math.max(longestMs, performance.now() - started)
          acknowledged[slot] = round
          writes += 1
          if (writes === UNDER_WAY) await writeFile(underWay(stopFile), '')
        }
      }
    } finally {
      await file.close()
    }
    return { writes, longestMs: Math.round(longestMs), error: '', acknowledged }
  } catch (thrown) {
    return { writes, longestMs: Math.round(longestMs), error: String(thrown), acknowledged }
  }
}

/** A slot may hold its acknowledged round or the one after it (written, not acknowledged), nothing older. */
async function verify(path: string, acknowledged: readonly number[]): Promise<{ readonly lost: number; readonly detail: string }> {
  const file = await open(path, 'r')
  let lost = 0
  let detail = ''
  try {
    for (const [slot, round] of acknowledged.entries()) {
      if (round === 0) continue
      const data = Buffer.alloc(BLOCK)
      await file.read(data, 0, BLOCK, slot * BLOCK)
      const found = roundOf(data, slot)
      if (found !== undefined && found >= round) continue
      lost += 1
      detail ||= `slot ${slot}: acknowledged round ${round}, found ${found ?? 'garbage'}`
    }
  } finally {
    await file.close()
  }
  return { lost, detail }
}

const [verb = '', path = '', blocks = '0', rest = ''] = process.argv.slice(2)
if (verb === 'write') console.log(JSON.stringify(await write(path, Number(blocks), rest)))
else {
  const text: Buffer[] = []
  for await (const chunk of process.stdin) text.push(chunk as Buffer)
  console.log(JSON.stringify(await verify(path, JSON.parse(Buffer.concat(text).toString()) as readonly number[])))
}
