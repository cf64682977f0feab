/**
 * The door between the outer machine and a lab's network: a process inside the lab's name space that listens on socket files (they
 * belong to no network), so that nothing of the outer network is touched. `exec.sock`: the first line says where to connect.
 * `manager.sock`: goes to the first manager that takes the connection.
 */
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { rmSync } from 'node:fs'

const [folder = '', ...managers] = process.argv.slice(2)

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

async function onManager(client: Socket): Promise<void> {
  client.on('error', () => undefined)
  for (const manager of managers) {
    try {
      join(client, await dial(manager, 8881))
      return
    } catch {
      continue // the next one, then
    }
  }
  client.destroy()
}

for (const name of ['exec.sock', 'manager.sock']) rmSync(`${folder}/${name}`, { force: true })
createServer({ pauseOnConnect: false, allowHalfOpen: true }, onExec).listen(`${folder}/exec.sock`)
createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => { void onManager(client) }).listen(`${folder}/manager.sock`)
