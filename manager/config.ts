/** The manager's configuration file: read once, every mistake named with what is needed. Pure but for the reading itself. */
import { readFile } from 'node:fs/promises'
import { parse } from 'smol-toml'
import { messageOf } from '../lib/faults.js'
import { limits, namePattern, nameRule } from '../lib/model.js'
import { formatSize, parseSize } from '../lib/units.js'
import { parseClassic } from './config-classic.js'
import type { ClassicConfig } from './config-classic.js'
import { TTL_DEFAULT_MS, TTL_MAX_MS, TTL_MIN_MS } from './lease/timeline.js'
import type { DatabaseTarget } from './store/open.js'
import { parsePostgres } from './store/postgres-target.js'

export interface ManagerConfig {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly stateDir: string
  readonly tlsDir: string
  /** Size of a full segment, bytes: a multiple of 4 MiB. */
  readonly extentBytes: bigint
  /** How others reach this manager, `https://host:port`; empty: not known, because it listens everywhere. */
  readonly address: string
  readonly leaseTtlMs: number
  /** A shared block device or file that the lease is kept on; absent: in the database. */
  readonly leaseDevice?: string
  readonly database: DatabaseTarget
  /** The folder of the cluster's authority, to certify hosts that join with; absent: this manager can't. */
  readonly authorityDir?: string
  /** Where clients of the original API are answered; absent: nowhere. */
  readonly classic?: ClassicConfig
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const keys = ['name', 'listen', 'state_dir', 'tls_dir', 'extent_size', 'address', 'lease', 'database', 'database_unreplicated', 'authority', 'classic'] as const
const leaseKeys = ['ttl', 'device'] as const

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
  const address = textAt('address', wildcard.test(listen) ? '' : listen, (value) => value === '' || isListen(value), 'host:port, as agents and people reach this manager')
  const lease = leaseOf(table.lease, problems)
  const database = databaseAt(table, problems)
  const authorityDir = table.authority === undefined ? '' : textAt('authority', undefined, absolute, 'an absolute path')
  const classic = parseClassic(table.classic, problems)
  if (problems.length > 0) throw new ConfigError(`${path}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
  const colon = listen.lastIndexOf(':')
  return { name, host: listen.slice(0, colon), port: Number(listen.slice(colon + 1)), stateDir, tlsDir, extentBytes: parseSize(size) ?? 0n, database, address: address === '' ? '' : `https://${address}`, ...lease, ...(authorityDir === '' ? {} : { authorityDir }), ...(classic ? { classic } : {}) }
}

const wildcard = /^(?:0\.0\.0\.0|\[::\]|\*):/

function leaseOf(value: unknown, problems: string[]): Pick<ManagerConfig, 'leaseTtlMs' | 'leaseDevice'> {
  const standard = { leaseTtlMs: TTL_DEFAULT_MS }
  if (value === undefined) return standard
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push('lease: expected a table [lease]')
    return standard
  }
  const { ttl = TTL_DEFAULT_MS / 1000, device, ...others } = value as Readonly<Record<string, unknown>>
  for (const key of Object.keys(others)) problems.push(`lease.${key} is not a setting; there are ${leaseKeys.map((known) => `lease.${known}`).join(', ')}`)
  const good = typeof ttl === 'number' && ttl * 1000 >= TTL_MIN_MS && ttl * 1000 <= TTL_MAX_MS
  if (!good) problems.push(`lease.ttl: expected ${TTL_MIN_MS / 1000} to ${TTL_MAX_MS / 1000} seconds, found ${JSON.stringify(ttl)}`)
  if (device !== undefined && !(typeof device === 'string' && device.startsWith('/'))) problems.push(`lease.device: expected an absolute path, found ${JSON.stringify(device)}`)
  return { leaseTtlMs: good ? Math.round(ttl * 1000) : TTL_DEFAULT_MS, ...(typeof device === 'string' ? { leaseDevice: device } : {}) }
}

/** A problem never repeats the address: it may hold a password. */
function databaseAt({ database, database_unreplicated: unreplicated }: Readonly<Record<string, unknown>>, problems: string[]): DatabaseTarget {
  const nowhere: DatabaseTarget = { engine: 'sqlite', path: undefined }
  if (unreplicated !== undefined && typeof unreplicated !== 'boolean') problems.push('database_unreplicated: expected true or false')
  if (database === undefined) return nowhere
  if (typeof database === 'string' && /^sqlite:\/[^/]/.test(database)) return { engine: 'sqlite', path: database.slice('sqlite:'.length) }
  const scheme = typeof database === 'string' ? /^([a-z0-9+.-]{1,20}):/i.exec(database)?.[1] ?? '' : ''
  const found = typeof database === 'string' && /^postgres(?:ql)?$/.test(scheme) ? parsePostgres(database) : { problem: `expected sqlite:/PATH or postgres://…${scheme === '' ? '' : `, found the scheme ${JSON.stringify(scheme)}`}` }
  if (!('problem' in found)) return { engine: 'postgres', unreplicated: unreplicated === true, ...found }
  problems.push(`database: ${found.problem}`)
  return nowhere
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
