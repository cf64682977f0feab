/** The body of a request, counted as it comes, within what one request and all of them together may hold. */
import type { IncomingMessage } from 'node:http'
import { HttpRefusal } from './dialect.js'

export { HttpRefusal } from './dialect.js'

/** Bytes that requests hold together until they are answered. */
export interface BodyBudget {
  /** False when there is no room for so many more; then nothing was taken. */
  take(bytes: number): boolean
  give(bytes: number): void
}

export function createBodyBudget(maxBytes: number): BodyBudget {
  let held = 0
  return {
    take(bytes) {
      if (held + bytes > maxBytes) return false
      held += bytes
      return true
    },
    give(bytes) { held -= bytes },
  }
}

/**
 * The whole body as text; what it takes of the budget is told to `took`, and is given back by the caller. Throws HttpRefusal 413 past `maxBytes`
 * (said or sent), 503 when the budget is spent, and 400 for what is not UTF-8; rejects when the client breaks off. The server's requestTimeout
 * is its deadline.
 */
export async function readBody(req: IncomingMessage, maxBytes: number, budget: BodyBudget, took: (bytes: number) => void): Promise<string> {
  const tooLong = (): HttpRefusal => new HttpRefusal(413, `more than ${maxBytes} bytes`, { Connection: 'close' })
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) throw tooLong()
  const chunks: Buffer[] = []
  await new Promise<void>((resolve, reject) => {
    let size = 0
    const stop = (refusal: HttpRefusal): void => {
      req.pause()
      reject(refusal)
    }
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) return stop(tooLong())
      if (!budget.take(chunk.length)) return stop(new HttpRefusal(503, 'too much is being read already', { 'Retry-After': '1', Connection: 'close' }))
      took(chunk.length)
      chunks.push(chunk)
      return undefined
    })
    req.once('end', resolve)
    req.once('error', reject)
    req.once('close', () => { if (!req.readableEnded) reject(new Error('the client broke off')) }) // it comes after each request: an error is dear
  })
  return decodeUtf8(chunks) ?? refuseEncoding()
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The bytes as text, or undefined when they are not UTF-8. */
export function decodeUtf8(chunks: readonly Uint8Array[]): string | undefined {
  try {
    const [only] = chunks
    return utf8.decode(chunks.length === 1 ? only : Buffer.concat(chunks))
  } catch {
    return undefined
  }
}

function refuseEncoding(): never {
  throw new HttpRefusal(400, 'the body is not UTF-8')
}
