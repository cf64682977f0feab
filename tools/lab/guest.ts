/**
 * What runs inside a lab host in the place of an init system: it keeps the host's services running (each in a process group of its
 * own, started again a second after it died), and carries out commands from the outer machine.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { closeSync, fstatSync, mkdirSync, openSync, renameSync } from 'node:fs'
import { receive, send } from './frames.js'
import type { Frame, GuestRequest, ServiceVerb } from './frames.js'

const LOGS = '/var/lib/vsky/log'
const LOG_BYTES_MAX = 16 * 1024 * 1024
// bash takes a socket on its input for a remote shell and reads ~/.bashrc, which may take seconds: no home, no such file.
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/', LC_ALL: 'C.UTF-8', DM_DISABLE_UDEV: '1', TERM: 'linux' }

interface Service {
  readonly name: string
  readonly argv: readonly string[]
  wanted: boolean
  child: ChildProcess | undefined
}

const services = new Map<string, Service>()

function openLog(name: string): number {
  mkdirSync(LOGS, { recursive: true })
  const path = `${LOGS}/${name}.log`
  const file = openSync(path, 'a', 0o600)
  if (fstatSync(file).size < LOG_BYTES_MAX) return file
  closeSync(file)
  renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}

function start(service: Service): void {
  service.wanted = true
  if (service.child) return
  const log = openLog(service.name)
  const [file = '', ...args] = service.argv
  const child = spawn(file, args, { env, detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  service.child = child
  child.on('error', () => undefined) // 'exit' or the next start tells
  child.once('close', () => {
    service.child = undefined
    if (service.wanted) setTimeout(() => { if (service.wanted) start(service) }, 1000)
  })
}

function signal(service: Service, name: NodeJS.Signals): void {
  const pid = service.child?.pid
  if (pid === undefined) return
  try {
    process.kill(name === 'SIGTERM' ? pid : -pid, name)
  } catch {
    // it has just ended by itself
  }
}

async function ended(service: Service, ms: number): Promise<void> {
  const { child } = service
  if (!child) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => { signal(service, 'SIGKILL') }, ms)
    child.once('close', () => { clearTimeout(timer); resolve() })
  })
}

async function control(service: Service, verb: ServiceVerb): Promise<Frame> {
  switch (verb) {
    case 'start': start(service); break
    case 'stop':
      service.wanted = false
      signal(service, 'SIGCONT')
      signal(service, 'SIGTERM')
      await ended(service, 10_000)
      break
    case 'restart':
      await control(service, 'stop')
      start(service)
      break
    case 'kill9': signal(service, 'SIGKILL'); break
    case 'pause': signal(service, 'SIGSTOP'); break
    case 'resume': signal(service, 'SIGCONT'); break
    case 'status': break
  }
  return { pid: service.child?.pid ?? 0, exit: 0 }
}

function run(socket: Socket, { argv, timeoutMs, tty = false }: Extract<GuestRequest, { do: 'run' }>): (frame: Frame) => void {
  const [file = '', ...args] = tty ? ['script', '-qfc', argv.map((each) => `'${each.replaceAll(`'`, `'\\''`)}'`).join(' '), '/dev/null'] : argv
  const child = spawn(file, args, { env, detached: true, stdio: 'pipe', cwd: '/' })
  const kill = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // ended already
    }
  }
  const timer = timeoutMs > 0 ? setTimeout(() => { send(socket, { err: Buffer.from(`lab: no end within ${timeoutMs} ms: killed\n`).toString('base64') }); kill() }, timeoutMs) : undefined
  child.stdin.on('error', () => undefined)
  child.stdout.on('data', (data: Buffer) => { send(socket, { out: data.toString('base64') }) })
  child.stderr.on('data', (data: Buffer) => { send(socket, { err: data.toString('base64') }) })
  child.once('error', (error) => { send(socket, { err: Buffer.from(`lab: ${error.message}\n`).toString('base64'), exit: 127 }); socket.end() })
  child.once('close', (code, signalName) => {
    clearTimeout(timer)
    send(socket, { exit: code ?? (signalName === 'SIGKILL' ? 137 : 143) })
    socket.end()
  })
  socket.once('close', kill) // nobody listens any more
  return (frame) => {
    if (frame.in !== undefined) child.stdin.write(Buffer.from(frame.in, 'base64'))
    if (frame.inEnd === true) child.stdin.end()
  }
}

function serve(socket: Socket): void {
  socket.on('error', () => undefined)
  let input: ((frame: Frame) => void) | undefined
  receive(socket, (value) => {
    if (input) {
      input(value as Frame)
      return
    }
    const request = value as GuestRequest
    input = () => undefined
    if (request.do === 'run') input = run(socket, request)
    else if (request.do === 'service') {
      const service = services.get(request.name ?? 'vsky')
      if (!service) {
        send(socket, { err: Buffer.from(`lab: this host has no service ${request.name ?? 'vsky'}\n`).toString('base64'), exit: 1 })
        socket.end()
      } else void control(service, request.verb).then((frame) => { send(socket, frame); socket.end() })
    } else if (request.do === 'configure') {
      services.set('vsky', { name: 'vsky', argv: request.daemon, wanted: false, child: undefined })
      send(socket, { exit: 0 })
      socket.end()
    } else {
      send(socket, { exit: 0 })
      socket.end()
    }
  })
}

const [address = '', isHead = '', ...daemon] = process.argv.slice(2)
if (isHead === 'head') {
  const iscsid: Service = { name: 'iscsid', argv: ['iscsid', '-f'], wanted: false, child: undefined }
  services.set('iscsid', iscsid)
  start(iscsid)
}
if (daemon.length > 0) {
  const vsky: Service = { name: 'vsky', argv: daemon, wanted: false, child: undefined }
  services.set('vsky', vsky)
  start(vsky)
}
createServer({ allowHalfOpen: true }, serve).listen(7, address)
