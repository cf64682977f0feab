/**
 * `vsky-agent join`: a host that was invited (vsky host invite) makes a key of its own, gets a certificate for it from whichever manager is active, and
 * writes a configuration where there is none. Nothing stays where no certificate has come.
 */
import { access, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { activeAddress } from '../lib/api/active.js'
import { readInvitation } from '../lib/api/invitation.js'
import type { Invitation } from '../lib/api/invitation.js'
import { apiMethods } from '../lib/api/methods.js'
import type { ApiParams, ApiResult } from '../lib/api/methods.js'
import { Fault, messageOf } from '../lib/faults.js'
import { writeDurably } from '../lib/host/files.js'
import { requestCertificate } from '../lib/host/pki.js'
import type { Clock, Run } from '../lib/ports.js'
import { createRpcClient } from '../lib/rpc/client.js'
import { ConfigError, parseConfig, readConfig } from './config.js'
import type { AgentConfig } from './config.js'

export interface JoinWish {
  /** Of the file with the invitation, or standard input. */
  readonly invitation: string
  readonly name: string
  readonly roles: readonly string[]
  /** host:port */
  readonly listen: string
  readonly dataAddresses: readonly string[]
  readonly zone: string
  readonly disks: readonly string[]
  readonly tlsDir: string
  readonly config: string
}

const CALL_MS = 10_000
/** While a manager takes over from another. */
const TRIES = 10
const PAUSE_MS = 2000

/** Gives what to say. Throws ConfigError for a wish that makes no sense, Error with each manager's answer when none lets the host in. */
export async function join(wish: JoinWish, { run, clock }: { readonly run: Run; readonly clock: Clock }): Promise<string> {
  const invitation = invitationOf(wish)
  const text = configText(wish, invitation.managers)
  const there = await exists(wish.config)
  const { name, listen, tlsDir } = there ? await readThere(wish) : parseConfig(text, wish.config)
  const asked = await requestCertificate(run, tlsDir, name)
  try {
    const { certificate, ca } = await askAll(invitation, { csr: asked.csr, addresses: [listen.slice(0, listen.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1')] }, clock)
    await asked.install(certificate, ca)
  } finally {
    await asked.forget()
  }
  if (!there) {
    await mkdir(dirname(wish.config), { recursive: true })
    await writeDurably(wish.config, text)
  }
  return `${name} has joined: its certificate is in ${tlsDir}${there ? `, ${wish.config} is as it was` : `, its configuration in ${wish.config}`}; start vsky-agent now, or restart it`
}

function invitationOf({ invitation }: JoinWish): Invitation {
  try {
    return readInvitation(invitation)
  } catch (thrown) {
    throw new ConfigError(messageOf(thrown), { cause: thrown })
  }
}

/** A host that joins anew keeps its configuration; what was said of it besides must not contradict. */
async function readThere({ config, name }: JoinWish): Promise<AgentConfig> {
  const known = await readConfig(config)
  if (name !== '' && name !== known.name) throw new ConfigError(`${config} is there already, for the host ${known.name}: remove it first, or leave out --name`)
  return known
}

function configText({ name, roles, listen, dataAddresses, zone, disks, tlsDir }: JoinWish, managers: readonly string[]): string {
  const lines: readonly (readonly [key: string, value: string | readonly string[]])[] = [
    ['name', name], ['roles', roles], ['managers', managers], ['listen', listen], ['data_addresses', dataAddresses], ['zone', zone], ['disks', disks], ['tls_dir', tlsDir],
  ]
  return lines.filter(([, value]) => value.length > 0).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join('')
}

async function askAll({ managers, ca, token }: Invitation, params: ApiParams<'hostJoin'>, clock: Clock): Promise<ApiResult<'hostJoin'>> {
  const { name, params: shape, result } = apiMethods.hostJoin
  const answers = new Map<string, string>()
  const waiting = [...managers]
  for (let tries = 0; tries < TRIES; tries += 1) {
    for (const url of [...waiting]) {
      const client = createRpcClient({ url, tls: { ca, serverRoles: ['manager'] }, token, timeoutMs: CALL_MS })
      try {
        return result.parse(await client.call(name, [shape.format(params)]), `the answer of ${url}`)
      } catch (thrown) {
        answers.set(url, messageOf(thrown))
        if (thrown instanceof Fault && !/^(?:not active|state unavailable|timed out|too many attempts)$/.test(thrown.fault)) throw new Error(`${url} does not let this host in: ${thrown.message}`, { cause: thrown })
        const active = activeAddress(thrown)
        if (active !== undefined && !waiting.includes(active)) waiting.push(active)
      } finally {
        client.close()
      }
    }
    if (tries + 1 < TRIES) await clock.sleep(PAUSE_MS)
  }
  throw new Error(`no manager lets this host in:\n${[...answers].map(([url, why]) => `  ${url}: ${why}`).join('\n')}\nWhere they hang up, the invitation was taken back or has expired: vsky host invite makes another`)
}

function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false)
}
