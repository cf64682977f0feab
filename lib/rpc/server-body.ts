/** What an HTTP request must look like before it is read as XML-RPC, and its body, counted as it comes. */
import type { IncomingMessage } from 'node:http'

/** Refused before XML-RPC begins: an HTTP status and one line of text. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal'
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.status = status
    this.headers = headers
  }
}

/**
 * The path of a POST of XML in UTF-8 to one of `paths`; throws HttpRefusal (404, 405, 415) for all else. The content type keeps
 * web pages out: a browser asks first (CORS) before it posts XML to a stranger, and we never allow it.
 */
export function checkHead(req: IncomingMessage, paths: readonly string[]): string {
  const path = (req.url ?? '').split('?', 1)[0] ?? ''
  if (!paths.includes(path)) throw new HttpRefusal(404, 'nothing is here')
  if (req.method !== 'POST') throw new HttpRefusal(405, 'XML-RPC is sent by POST', { Allow: 'POST' })
  if (!isXml(req.headers['content-type'] ?? '')) throw new HttpRefusal(415, 'the content type must be text/xml in UTF-8')
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') throw new HttpRefusal(415, 'no content encoding is understood')
  return path
}

function isXml(contentType: string): boolean {
  const [type = '', ...parameters] = contentType.slice(0, 200).toLowerCase().split(';').map((part) => part.trim())
  if (type !== 'text/xml' && type !== 'application/xml') return false
  return parameters.every((parameter) => !parameter.startsWith('charset=') || /^charset="?(utf-?8|us-ascii)"?$/.test(parameter))
}

/**
 * The whole body as text. Throws HttpRefusal 413 past `maxBytes` (said or sent) and 400 for what is not UTF-8; rejects when
 * the client breaks off. The server's requestTimeout is its deadline.
 */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<string> {
  const tooLong = new HttpRefusal(413, `more than ${maxBytes} bytes`, { Connection: 'close' })
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) throw tooLong
  const chunks: Buffer[] = []
  await new Promise<void>((resolve, reject) => {
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxBytes) {
        chunks.push(chunk)
        return
      }
      req.pause()
      reject(tooLong)
    })
    req.once('end', resolve)
    req.once('error', reject)
    req.once('close', () => { reject(new Error('the client broke off')) })
  })
  return decodeUtf8(chunks) ?? refuseEncoding()
}

/** The bytes as text, or undefined when they are not UTF-8. */
export function decodeUtf8(chunks: readonly Uint8Array[]): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch {
    return undefined
  }
}

function refuseEncoding(): never {
  throw new HttpRefusal(400, 'the body is not UTF-8')
}
