/** The manager's configuration file: read once, every mistake named with what is needed. Pure but for the reading itself. */
import { readFile } from 'node:fs/promises'
import { parse } from 'smol-toml'
import { messageOf } from '../lib/faults.js'
import { limits, namePattern, nameRule } from '../lib/model.js'
import { formatSize, parseSize } from '../lib/units.js'

export interface ManagerConfig {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly stateDir: string
  readonly tlsDir: string
  /** Size of a full segment, bytes: a multiple of 4 MiB. */
  readonly extentBytes: bigint
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const keys = ['name', 'listen', 'state_dir', 'tls_dir', 'extent_size'] as const

/** Throws ConfigError with every mistake at once. */
export async function readConfig(path: string): Promise<ManagerConfig> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (thrown) {
    throw new ConfigError(`Cannot read ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  return parseConfig(text, path)
}

export function parseConfig(text: string, path: string): ManagerConfig {
  const problems: string[] = []
  const table = tableOf(text, path)
  for (const key of Object.keys(table)) if (!keys.some((known) => known === key)) problems.push(`${key} is not a setting; there are ${keys.join(', ')}`)
  const textAt = (key: string, fallback: string | undefined, good: (value: string) => boolean, needed: string): string => {
    const value = table[key] ?? fallback
    if (typeof value === 'string' && good(value)) return value
    problems.push(`${key}: expected ${needed}, found ${value === undefined ? 'nothing' : JSON.stringify(value)}`)
    return ''
  }
  const absolute = (value: string): boolean => value.startsWith('/')
  const name = textAt('name', undefined, (value) => namePattern.test(value), nameRule)
  const listen = textAt('listen', '0.0.0.0:8881', (value) => isListen(value), 'address:port, the port from 1 to 65535')
  const stateDir = textAt('state_dir', '/var/lib/vsky', absolute, 'an absolute path')
  const tlsDir = textAt('tls_dir', '/etc/vsky/tls', absolute, 'an absolute path')
  const size = textAt('extent_size', '8GiB', (value) => {
    const parsed = parseSize(value)
    return parsed !== undefined && parsed >= 16n * limits.physicalExtent && parsed % limits.physicalExtent === 0n
  }, `a size of at least ${formatSize(16n * limits.physicalExtent)}, a multiple of 4 MiB`)
  if (problems.length > 0) throw new ConfigError(`${path}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
  const colon = listen.lastIndexOf(':')
  return { name, host: listen.slice(0, colon), port: Number(listen.slice(colon + 1)), stateDir, tlsDir, extentBytes: parseSize(size) ?? 0n }
}

/** A port that a manager can be reached at. */
function isListen(value: string): boolean {
  const port = Number(/^\S+:(\d{1,5})$/.exec(value)?.[1] ?? 0)
  return port >= 1 && port <= 65535
}

function tableOf(text: string, path: string): Readonly<Record<string, unknown>> {
  try {
    return parse(text)
  } catch (thrown) {
    throw new ConfigError(`${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}
