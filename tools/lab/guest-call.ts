/** One call to a lab host, through the lab's gate. */
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { receive, send } from './frames.js'
import type { Frame, GuestRequest } from './frames.js'
import type { HostPlan } from './plan.js'

export interface ExecResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly pid?: number
}

export interface ExecOptions {
  /** Text for the program's standard input, or a stream to pass on. Without it the input is empty. */
  readonly stdin?: string | Readable
  /** Where output goes as it comes, instead of into the result. */
  readonly stdout?: Writable
  readonly stderr?: Writable
  /** Default 60 s; 0: none. The program is killed there. */
  readonly timeoutMs?: number
  readonly tty?: boolean
}

/** Rejects with Error when the host can't be reached or goes away in the middle. */
export function callGuest(folder: string, host: HostPlan, request: GuestRequest, options: ExecOptions = {}): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, 'exec.sock'))
    const out: Buffer[] = []
    const err: Buffer[] = []
    const { timeoutMs = 60_000 } = options
    const timer = timeoutMs > 0 ? setTimeout(() => { fail(new Error(`${host.name} did not answer within ${timeoutMs + 5000} ms`)) }, timeoutMs + 5000) : undefined
    const fail = (error: Error): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    socket.on('error', fail)
    socket.on('close', () => { fail(new Error(`${host.name} can't be reached, or went away`)) })
    receive(socket, (value) => {
      const frame = value as Frame
      if (frame.out !== undefined) take(frame.out, options.stdout, out)
      if (frame.err !== undefined) take(frame.err, options.stderr, err)
      if (frame.exit === undefined) return
      clearTimeout(timer)
      resolve({ code: frame.exit, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString(), ...(frame.pid === undefined ? {} : { pid: frame.pid }) })
      socket.destroy()
    })
    socket.write(`${host.controlAddress}\n`)
    send(socket, request)
    if (request.do !== 'run') return
    const { stdin } = options
    if (stdin === undefined || typeof stdin === 'string') {
      if (stdin !== undefined) send(socket, { in: Buffer.from(stdin).toString('base64') })
      send(socket, { inEnd: true })
      return
    }
    stdin.on('data', (data: Buffer) => { send(socket, { in: data.toString('base64') }) })
    stdin.on('end', () => { send(socket, { inEnd: true }) })
  })
}

function take(text: string, stream: Writable | undefined, kept: Buffer[]): void {
  const data = Buffer.from(text, 'base64')
  if (stream) stream.write(data)
  else kept.push(data)
}
