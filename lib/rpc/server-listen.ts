/** Begins to listen, on a port or on a socket file; a file that a killed process left behind does not stand in the way. */
import { chmod, lstat, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Server } from 'node:net'

export type RpcAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export type ListenWhere = { readonly host: string; readonly port: number } | { readonly socketPath: string }

/** Resolves once connections are accepted. Rejects with the system's error (EADDRINUSE, EACCES, …). */
export async function listenOn(server: Server, where: ListenWhere): Promise<RpcAddress> {
  if (!('socketPath' in where)) {
    await listen(server, { host: where.host, port: where.port })
    const bound = server.address()
    if (bound === null || typeof bound === 'string') throw new Error('the server has no address')
    return { kind: 'tcp', host: bound.address, port: bound.port }
  }
  const { socketPath } = where
  try {
    await listen(server, { path: socketPath })
  } catch (thrown) {
    if (!isErrno(thrown, 'EADDRINUSE') || !(await isDeadSocket(socketPath))) throw thrown
    await rm(socketPath, { force: true })
    await listen(server, { path: socketPath })
  }
  await chmod(socketPath, 0o600)
  return { kind: 'unix', path: socketPath }
}

async function listen(server: Server, where: { host: string; port: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
}

/** A socket file with nobody behind it refuses at once. So does every other kind of file, which must not be touched. */
async function isDeadSocket(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket()) return false
  return new Promise((resolve) => {
    const probe = connect({ path })
    probe.setTimeout(1_000, () => { settle(false) })
    probe.once('connect', () => { settle(false) })
    probe.once('error', (error) => { settle(isErrno(error, 'ECONNREFUSED')) })
    function settle(dead: boolean): void {
      probe.destroy()
      resolve(dead)
    }
  })
}

function isErrno(thrown: unknown, code: string): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === code
}
