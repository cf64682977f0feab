/**
 * The door between the outer machine and a lab's network: a process inside the lab's name space that listens on socket files (they
 * belong to no network), so that nothing of the outer network is touched. `exec.sock`: the first line says where to connect.
 * `NAME.sock`: a manager, of those that are given as NAME=ADDRESS.
 */
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { rmSync } from 'node:fs'

const [folder = '', ...managers] = process.argv.slice(2)
const MANAGER_PORT = 8881

function join(left: Socket, right: Socket): void {
  left.pipe(right)
  right.pipe(left)
  for (const [one, other] of [[left, right], [right, left]] as const) {
    one.on('error', () => other.destroy())
    one.on('close', () => other.destroy())
  }
}

function dial(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true })
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), 3000)
    socket.once('connect', () => { clearTimeout(timer); resolve(socket) })
    socket.once('error', (error) => { clearTimeout(timer); reject(error) })
  })
}

function onExec(client: Socket): void {
  client.on('error', () => undefined)
  let head = ''
  const read = (data: Buffer): void => {
    head += data.toString('latin1')
    const end = head.indexOf('\n')
    if (end < 0) return
    client.off('data', read)
    client.pause()
    const address = head.slice(0, end)
    const rest = Buffer.from(head.slice(end + 1), 'latin1')
    dial(address, 7).then((guest) => {
      guest.write(rest)
      join(client, guest)
    }, () => client.destroy())
  }
  client.on('data', read)
}

function onManager(client: Socket, address: string): void {
  client.on('error', () => undefined)
  dial(address, MANAGER_PORT).then((manager) => { join(client, manager) }, () => client.destroy())
}

function listen(name: string, onClient: (client: Socket) => void, pauseOnConnect: boolean): void {
  rmSync(`${folder}/${name}.sock`, { force: true })
  createServer({ pauseOnConnect, allowHalfOpen: true }, onClient).listen(`${folder}/${name}.sock`)
}

listen('exec', onExec, false)
for (const manager of managers) {
  const [name = '', address = ''] = manager.split('=')
  listen(name, (client) => { onManager(client, address) }, true)
}
