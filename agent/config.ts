/** The agent's configuration file: read once at start, every mistake named with what is needed. Pure but for the reading itself. */
import { readFile } from 'node:fs/promises'
import { parse } from 'smol-toml'
import { messageOf } from '../lib/faults.js'
import { hostRoles, namePattern, nameRule } from '../lib/model.js'
import type { HostRole } from '../lib/model.js'

export interface AgentConfig {
  readonly name: string
  readonly roles: readonly HostRole[]
  /** Failure domain; empty: the host is its own. */
  readonly zone: string
  readonly managers: readonly string[]
  /** host:port of the agent's own door, as managers reach it. */
  readonly listen: string
  /** Where the iSCSI target is reached. */
  readonly dataAddresses: readonly string[]
  readonly stateDir: string
  readonly tlsDir: string
  /** Devices registered at start. */
  readonly disks: readonly string[]
  /** False where no udev runs: device nodes are then made by ourselves. */
  readonly udev: boolean
  /** More block device types for LVM: `ubd:16`. */
  readonly lvmTypes: readonly string[]
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const keys = ['name', 'roles', 'zone', 'managers', 'listen', 'data_addresses', 'state_dir', 'tls_dir', 'disks', 'udev', 'lvm_types'] as const

/** Throws ConfigError with every mistake at once. */
export async function readConfig(path: string): Promise<AgentConfig> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (thrown) {
    throw new ConfigError(`Cannot read ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  return parseConfig(text, path)
}

export function parseConfig(text: string, path: string): AgentConfig {
  let table: Readonly<Record<string, unknown>>
  try {
    table = parse(text)
  } catch (thrown) {
    throw new ConfigError(`${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  const problems: string[] = []
  for (const key of Object.keys(table)) if (!keys.some((known) => known === key)) problems.push(`${key} is not a setting; there are ${keys.join(', ')}`)
  const complain = (key: string, needed: string, value: unknown): void => { problems.push(`${key}: expected ${needed}, found ${value === undefined ? 'nothing' : JSON.stringify(value)}`) }
  const one = (key: string, fallback: string | undefined, pattern: RegExp, needed: string): string => {
    const value = table[key] ?? fallback
    if (typeof value === 'string' && pattern.test(value)) return value
    complain(key, needed, value)
    return ''
  }
  const many = (key: string, fallback: readonly string[] | undefined, pattern: RegExp, needed: string): readonly string[] => {
    const value: unknown = table[key] ?? fallback
    if (Array.isArray(value) && value.every((each): each is string => typeof each === 'string' && pattern.test(each))) return value
    complain(key, needed, value)
    return []
  }
  const roles = many('roles', undefined, /^(?:storage|head)$/, 'a list of "storage", "head" or both')
  if (roles.length === 0 && Array.isArray(table.roles)) complain('roles', 'at least one role', table.roles)
  const config: AgentConfig = {
    name: one('name', undefined, namePattern, nameRule),
    roles: hostRoles.filter((role) => roles.includes(role)),
    zone: one('zone', '', /^[A-Za-z0-9._-]{0,63}$/, 'at most 63 letters, digits, dots, dashes'),
    managers: many('managers', undefined, /^https:\/\/\S+$/, 'a list of https://host:port'),
    listen: one('listen', undefined, /^\S+:(?!0+$)(?:[0-5]?\d{1,4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])$/, 'address:port, the port from 1 to 65535'),
    dataAddresses: many('data_addresses', [], /^[0-9a-fA-F.:]+$/, 'a list of IP addresses'),
    stateDir: one('state_dir', '/var/lib/vsky', /^\//, 'an absolute path'),
    tlsDir: one('tls_dir', '/etc/vsky/tls', /^\//, 'an absolute path'),
    disks: many('disks', [], /^\/dev\/\S+$/, 'a list of devices, /dev/…'),
    udev: table.udev === undefined || table.udev === true,
    lvmTypes: many('lvm_types', [], /^[a-z]+:\d+$/, 'a list of type:partitions'),
  }
  if (table.udev !== undefined && typeof table.udev !== 'boolean') complain('udev', 'true or false', table.udev)
  const noUrl = config.managers.find((url) => !URL.canParse(url))
  if (noUrl !== undefined) complain('managers', 'https://host:port', noUrl)
  if (config.managers.length === 0 && Array.isArray(table.managers)) complain('managers', 'at least one manager', table.managers)
  if (config.roles.includes('storage') && config.dataAddresses.length === 0) complain('data_addresses', 'at least one address, for a storage server', table.data_addresses)
  if (problems.length > 0) throw new ConfigError(`${path}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
  return config
}
