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

function oneConnection(port: number, request: Buffer, until: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let answered = 0
    let read = startOfAnswer()
    const socket = connect(port, '127.0.0.1', () => { socket.write(request) })
    socket.setNoDelay(true)
    socket.on('data', (chunk) => {
      if (!read(chunk)) return
      answered += 1
      read = startOfAnswer()
      if (performance.now() < until) socket.write(request)
      else socket.destroy()
    })
    socket.once('error', reject)
    socket.once('close', () => { resolve(answered) })
  })
}

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
      if (!head.startsWith('HTTP/1.1 200')) throw new Error(`answered ${head.slice(0, 60)}`)
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
