/**
 * A real PostgreSQL for tests and benchmarks, from Debian's package: a cluster in a temporary folder, on a free port of the loopback, run
 * by the user `postgres` where we are root.
 */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

export const PASSWORD = 'of a test'

export class PostgresServer {
  readonly dir: string
  readonly port: number
  constructor(dir: string, port: number) {
    this.dir = dir
    this.port = port
  }

  /** Starts a new one. `settings`: lines of postgresql.conf. */
  static async create(settings: readonly string[] = []): Promise<PostgresServer> {
    const server = new PostgresServer(await makeDir(), await freePort())
    await writeFile(join(server.dir, 'password'), PASSWORD, { mode: 0o644 })
    await program('initdb', ['-D', server.#data, '-A', 'scram-sha-256', '-U', 'vsky', '--pwfile', join(server.dir, 'password'), '--locale=C', '-E', 'UTF8', '--no-sync'])
    await server.configure(settings)
    await server.start()
    return server
  }

  /** A copy of this one that follows it. */
  async standby(name: string): Promise<PostgresServer> {
    const other = new PostgresServer(await makeDir(), await freePort())
    await program('pg_basebackup', ['-D', other.#data, '-R', '--no-sync', '-c', 'fast', '-d', `postgres://vsky:${encodeURIComponent(PASSWORD)}@127.0.0.1:${this.port}/postgres?application_name=${name}`])
    await other.configure([])
    await other.start()
    return other
  }

  get #data(): string { return join(this.dir, 'data') }

  async configure(settings: readonly string[]): Promise<void> {
    await asServer('sh', ['-c', 'cat > "$0"/vsky.conf; grep -q vsky.conf "$0"/postgresql.conf || echo "include \'vsky.conf\'" >> "$0"/postgresql.conf', this.#data],
      [`port = ${this.port}`, `listen_addresses = '127.0.0.1'`, `unix_socket_directories = '${this.dir}'`, 'max_connections = 60', ...settings, ''].join('\n'))
  }

  async start(): Promise<void> { await program('pg_ctl', ['-D', this.#data, '-w', '-l', join(this.#data, 'log'), 'start']) }
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> { await program('pg_ctl', ['-D', this.#data, '-w', '-m', mode, 'stop']) }
  async reload(): Promise<void> { await program('pg_ctl', ['-D', this.#data, 'reload']) }
  async promote(): Promise<void> { await program('pg_ctl', ['-D', this.#data, '-w', 'promote']) }

  async remove(): Promise<void> {
    await this.stop('immediate').catch(() => undefined)
    await rm(this.dir, { recursive: true, force: true })
  }

  url(database = 'postgres', { hosts = [this] as readonly PostgresServer[], options = '' } = {}): string {
    return `postgres://vsky:${encodeURIComponent(PASSWORD)}@${hosts.map((each) => `127.0.0.1:${each.port}`).join(',')}/${database}${options}`
  }

  /** As an administrator, beside the product. */
  async sql(text: string, database = 'postgres'): Promise<readonly Record<string, unknown>[]> {
    const client = new pg.Client({ host: '127.0.0.1', port: this.port, user: 'vsky', password: PASSWORD, database })
    client.on('error', () => undefined)
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(text)).rows
    } finally {
      await client.end()
    }
  }

  #databases = 0
  /** A new and empty database; gives its name. */
  async database(): Promise<string> {
    this.#databases += 1
    const name = `t${this.#databases}`
    await this.sql(`create database ${name}`)
    return name
  }

  /** Makes a database as empty as it was. */
  async empty(name: string): Promise<void> {
    await this.sql('drop schema public cascade; create schema public', name)
  }
}

function programs(): string {
  const top = '/usr/lib/postgresql'
  const newest = existsSync(top) ? readdirSync(top).filter((each) => existsSync(join(top, each, 'bin/initdb'))).sort((a, b) => Number(b) - Number(a))[0] : undefined
  if (newest === undefined) throw new Error('PostgreSQL is not installed: apt-get install postgresql')
  return join(top, newest, 'bin')
}

const isRoot = process.getuid?.() === 0

async function program(name: string, args: readonly string[]): Promise<void> {
  await asServer(join(programs(), name), args)
}

function asServer(file: string, args: readonly string[], input = ''): Promise<void> {
  const [run = '', ...rest] = isRoot ? ['runuser', '-u', 'postgres', '--', file, ...args] : [file, ...args]
  return new Promise((resolve, reject) => {
    const child = execFile(run, rest, { cwd: '/', env: { PATH: process.env.PATH, LC_ALL: 'C' } }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${file} failed: ${stdout}${stderr}${error.message}`))
      else resolve()
    })
    child.stdin?.on('error', () => undefined) // it may end without having read: its exit code tells
    child.stdin?.end(input)
  })
}

async function makeDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'vsky-pg-'))
  if (isRoot) await chown(dir, Number(execFileSync('id', ['-u', 'postgres'])), Number(execFileSync('id', ['-g', 'postgres'])))
  return dir
}

/** On the loopback; nobody else has it at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => { resolve(typeof address === 'object' && address ? address.port : 0) })
    })
  })
}
