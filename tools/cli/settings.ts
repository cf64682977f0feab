/** Where the command finds the manager, and its own certificate: its options, then the environment, then a file. */
import { readIfThere } from '../../lib/host/files.js'
import { messageOf } from '../../lib/faults.js'

/** A mistake in how the command was called or set up: nothing was sent. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export interface Place {
  /** `https://host:port` or `unix:/path`, at least one: the first that answers is asked. */
  readonly managers: readonly string[]
  /** Folder of ca.pem, cert.pem and key.pem; with a token only the first is needed. */
  readonly tlsDir: string
  /** The file of a token, which is shown instead of the certificate. */
  readonly tokenFile?: string
}

export const settingsFile = '/etc/vsky/cli.toml'
const defaultTlsDir = '/etc/vsky/admin'
const keys = ['manager', 'tls_dir', 'token_file'] as const

type Settings = Readonly<Partial<Record<(typeof keys)[number], string>>>

/** The file is read only for what is said nowhere else. An empty --token-file says that there is none. Throws UsageError for what makes no sense. */
export async function placeOf(
  given: { readonly manager?: string | undefined; readonly tlsDir?: string | undefined; readonly tokenFile?: string | undefined }, env: Readonly<Record<string, string | undefined>>, path = settingsFile,
): Promise<Place> {
  const manager = given.manager ?? said(env.VSKY_MANAGER)
  const tlsDir = given.tlsDir ?? said(env.VSKY_TLS_DIR)
  const tokenFile = given.tokenFile ?? said(env.VSKY_TOKEN_FILE)
  const file = manager === undefined || tlsDir === undefined || tokenFile === undefined ? await readSettings(path) : {}
  const where = manager ?? file.manager
  if (where === undefined) throw new UsageError(`no manager is known: give --manager https://host:port, set VSKY_MANAGER, or write it to ${path}`)
  const token = tokenFile ?? file.token_file ?? ''
  return { managers: managersOf(where), tlsDir: tlsDir ?? file.tls_dir ?? defaultTlsDir, ...(token === '' ? {} : { tokenFile: token }) }
}

function said(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

function managersOf(text: string): readonly string[] {
  const managers = text.split(',').map((each) => each.trim())
  const wrong = managers.find((each) => !isManager(each))
  if (wrong !== undefined) throw new UsageError(`${JSON.stringify(wrong)} is no manager's address: write https://host:port or unix:/path, several with commas`)
  return managers
}

function isManager(text: string): boolean {
  return /^unix:\/./.test(text) || (/^https:\/\/[^/]/.test(text) && URL.canParse(text))
}

async function readSettings(path: string): Promise<Settings> {
  let table: Readonly<Record<string, unknown>>
  try {
    const text = await readIfThere(path)
    if (text === undefined) return {}
    const { parse } = await import('smol-toml') // most calls do without
    table = parse(text)
  } catch (thrown) {
    throw new UsageError(`cannot read ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  const problems = Object.keys(table).filter((key) => !keys.some((known) => known === key)).map((key) => `${key} is not a setting; there are ${keys.join(', ')}`)
  const one = (key: (typeof keys)[number], needed: string): string | undefined => {
    const value = table[key]
    if (value === undefined || (typeof value === 'string' && value !== '')) return value
    problems.push(`${key}: expected ${needed}, found ${JSON.stringify(value)}`)
    return undefined
  }
  const manager = one('manager', 'https://host:port or unix:/path, several with commas')
  const tlsDir = one('tls_dir', 'a path')
  const tokenFile = one('token_file', 'a path')
  if (problems.length > 0) throw new UsageError(`${path}: ${problems.join('; ')}`)
  return { ...(manager === undefined ? {} : { manager }), ...(tlsDir === undefined ? {} : { tls_dir: tlsDir }), ...(tokenFile === undefined ? {} : { token_file: tokenFile }) }
}
