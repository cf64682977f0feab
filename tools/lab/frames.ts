/**
 * The lab's wire between the outer machine and a guest: JSON objects, one a line. The first line from the caller is the request;
 * then input goes in and output comes out, base64, until `exit`.
 */
import { createInterface } from 'node:readline'
import type { Socket } from 'node:net'

export type GuestRequest =
  | { readonly do: 'run'; readonly argv: readonly string[]; readonly timeoutMs: number; readonly tty?: boolean }
  | { readonly do: 'service'; readonly verb: ServiceVerb; readonly name?: string }
  | { readonly do: 'configure'; readonly daemon: readonly string[] }
  | { readonly do: 'ping' }

export const serviceVerbs = ['start', 'stop', 'restart', 'kill9', 'pause', 'resume', 'status'] as const
export type ServiceVerb = (typeof serviceVerbs)[number]

export interface Frame {
  readonly in?: string
  readonly inEnd?: boolean
  readonly out?: string
  readonly err?: string
  readonly exit?: number
  readonly pid?: number
}

export function send(socket: Socket, value: GuestRequest | Frame): void {
  if (socket.writable) socket.write(`${JSON.stringify(value)}\n`)
}

/** Calls `each` for every line until the peer ends. A line that is no JSON ends the connection. */
export function receive(socket: Socket, each: (value: unknown) => void): void {
  createInterface({ input: socket, crlfDelay: Infinity }).on('line', (line) => {
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      socket.destroy()
      return
    }
    each(value)
  }).on('error', () => undefined)
}
