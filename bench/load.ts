/** A client that costs next to nothing, so that what is measured is the server: bytes made beforehand, answers counted and thrown away. */
import { connect } from 'node:net'

export interface ClosedLoop {
  readonly port: number
  /** XML of one call. */
  readonly body: string
  readonly connections: number
  readonly seconds: number
}

/** Answers a second. Each connection sends its next request when the last answer has ended. Understands Content-Length and chunks. */
export async function closedLoop({ port, body, connections, seconds }: ClosedLoop): Promise<number> {
  const request = Buffer.from(`POST /RPC2 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/xml\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
  const from = performance.now()
  const until = from + seconds * 1000
  const counts = await Promise.all(Array.from({ length: connections }, () => oneConnection(port, request, until)))
  return counts.reduce((sum, each) => sum + each, 0) / ((performance.now() - from) / 1000)
}

/** Only the first answer is read: all the others must have its length. The bytes come into one buffer, for a stream of new ones costs as much as the rest. */
function oneConnection(port: number, request: Buffer, until: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let answered = 0
    let length = 0
    let come = 0
    const reads = startOfAnswer()
    const take = (chunk: Buffer): boolean => {
      if (come === 0 && chunk.toString('latin1', 0, OK.length) !== OK) throw new Error(`answered ${chunk.toString('latin1', 0, 60)}`)
      come += chunk.length
      if (length === 0 ? !reads(chunk) : come < length) return false
      if (length > 0 && come > length) throw new Error(`an answer of ${come} bytes after one of ${length}`)
      length = come
      come = 0
      return true
    }
    const socket = connect({
      port, host: '127.0.0.1', noDelay: true,
      onread: {
        buffer: Buffer.alloc(262_144),
        callback: (count, bytes) => {
          try {
            if (take(Buffer.from(bytes.buffer, bytes.byteOffset, count))) {
              answered += 1
              if (performance.now() < until) socket.write(request)
              else socket.destroy()
            }
          } catch (thrown) {
            socket.destroy(thrown as Error)
          }
          return true
        },
      },
    }, () => { socket.write(request) })
    socket.once('error', reject)
    socket.once('close', () => { resolve(answered) })
  })
}

const OK = 'HTTP/1.1 200'

/** True when the chunk was the end of an answer. One request is on its way at a time, so nothing follows an end. */
function startOfAnswer(): (chunk: Buffer) => boolean {
  let head = ''
  let left: number | undefined
  let tail = ''
  return (chunk) => {
    let body = chunk
    if (left === undefined) {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return false
      const length = /\r\ncontent-length: (\d+)/i.exec(head.slice(0, end))?.[1]
      left = length === undefined ? Number.POSITIVE_INFINITY : Number(length)
      body = Buffer.from(head.slice(end + 4), 'latin1')
    }
    if (Number.isFinite(left)) {
      left -= body.length
      return left <= 0
    }
    tail = (tail + body.subarray(-5).toString('latin1')).slice(-5)
    return tail === '0\r\n\r\n'
  }
}
