/**
 * Where a PostgreSQL is, read from `postgres://USER[:PASSWORD]@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?OPTION=VALUE&…]`. Pure.
 *
 * A host may be a name, an address (`[::1]` with colons), or the folder of a socket with its slashes written %2F. Options:
 * `sslmode` (disable, require, verify-ca, verify-full; verify-full unless all hosts are this machine), `sslrootcert`, `sslcert`, `sslkey`
 * (absolute paths), `password_file` (absolute path; its first line), `target_session_attrs` (read-write, which is how it always is).
 */

export interface PostgresTarget {
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  readonly user: string
  readonly password: string
  readonly database: string
  readonly ssl: { readonly mode: SslMode; readonly rootCert: string; readonly cert: string; readonly key: string }
  /** Empty: the password is `password`. */
  readonly passwordFile: string
}

export const sslModes = ['disable', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof sslModes)[number]

const options = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'password_file', 'target_session_attrs'] as const
const HOSTS_MAX = 16

/** Gives what is wrong, for a person; the text never repeats what may be a password. */
export function parsePostgres(url: string): PostgresTarget | { readonly problem: string } {
  const match = /^postgres(?:ql)?:\/\/(?:([^@/]*)@)?([^@/?]+)\/([^/?]+)(?:\?(.*))?$/.exec(url)
  if (!match) return { problem: 'expected postgres://USER@HOST[:PORT][,HOST…]/DATABASE' }
  try {
    const [, login = '', places = '', database = '', query = ''] = match
    const colon = login.indexOf(':')
    const given = new Map(query.split('&').filter((each) => each !== '').map((each) => {
      const at = each.indexOf('=')
      return [at < 0 ? each : each.slice(0, at), at < 0 ? '' : decodeURIComponent(each.slice(at + 1))] as const
    }))
    const stranger = [...given.keys()].find((key) => !options.some((known) => known === key))
    if (stranger !== undefined) return { problem: `there is no option ${JSON.stringify(stranger)}; there are ${options.join(', ')}` }
    const hosts = places.split(',').map(hostOf)
    const bad = hosts.findIndex((each) => each === undefined)
    if (bad >= 0 || hosts.length > HOSTS_MAX) return { problem: hosts.length > HOSTS_MAX ? `more than ${HOSTS_MAX} hosts` : `host ${bad + 1} is not HOST or HOST:PORT` }
    const known = hosts.filter((each) => each !== undefined)
    const mode = given.get('sslmode') ?? (known.every(({ host }) => isHere(host)) ? 'disable' : 'verify-full')
    const sslMode = sslModes.find((each) => each === mode)
    if (!sslMode) return { problem: `sslmode must be one of ${sslModes.join(', ')}` }
    if ((given.get('target_session_attrs') ?? 'read-write') !== 'read-write') return { problem: 'target_session_attrs can only be read-write' }
    for (const key of ['sslrootcert', 'sslcert', 'sslkey', 'password_file']) if (given.get(key)?.startsWith('/') === false) return { problem: `${key} must be an absolute path` }
    if (given.has('sslcert') !== given.has('sslkey')) return { problem: 'sslcert and sslkey go together' }
    if (sslMode === 'verify-ca' && !given.has('sslrootcert')) return { problem: 'sslmode=verify-ca needs sslrootcert' }
    const user = decodeURIComponent(colon < 0 ? login : login.slice(0, colon))
    if (user === '') return { problem: 'it names no user: postgres://USER@…' }
    if (colon >= 0 && given.has('password_file')) return { problem: 'it has a password and a password_file: leave one out' }
    return {
      hosts: known, user, password: colon < 0 ? '' : decodeURIComponent(login.slice(colon + 1)), database: decodeURIComponent(database), passwordFile: given.get('password_file') ?? '',
      ssl: { mode: sslMode, rootCert: given.get('sslrootcert') ?? '', cert: given.get('sslcert') ?? '', key: given.get('sslkey') ?? '' },
    }
  } catch {
    return { problem: 'a % in it is not followed by two hex digits' }
  }
}

function hostOf(text: string): PostgresTarget['hosts'][number] | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._%-]+))(?::(\d{1,5}))?$/.exec(text)
  const host = match?.[1] ?? decodeURIComponent(match?.[2] ?? '')
  const port = Number(match?.[3] ?? 5432)
  return host === '' || port < 1 || port > 65535 ? undefined : { host, port }
}

function isHere(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127\./.test(host)
}

/** For messages and logs: hosts and database, nothing else. */
export function describePostgres({ hosts, database }: PostgresTarget): string {
  return `PostgreSQL database ${database} at ${hosts.map(({ host, port }) => `${host}:${port}`).join(', ')}`
}
