/** What the command proves itself by: a certificate, or a token with the authority that its manager's certificate must be of. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../lib/faults.js'
import { loadTls } from '../../lib/host/pki.js'
import type { TlsMaterial } from '../../lib/host/pki.js'
import { UsageError } from './settings.js'

export async function certificateIn(dir: string): Promise<TlsMaterial> {
  return loadTls(dir).catch((thrown: unknown) => {
    throw new UsageError(`no certificate in ${dir}: give --tls-dir, or set VSKY_TLS_DIR, to a folder with ca.pem, cert.pem and key.pem (vsky-manager init makes one), or --token-file: ${messageOf(thrown)}`, { cause: thrown })
  })
}

export async function authorityIn(dir: string): Promise<{ readonly ca: string }> {
  return readFile(join(dir, 'ca.pem'), 'utf8').then((ca) => ({ ca }), (thrown: unknown) => {
    throw new UsageError(`no ca.pem in ${dir}: give --tls-dir, or set VSKY_TLS_DIR, to a folder with the cluster's: ${messageOf(thrown)}`, { cause: thrown })
  })
}

/** Throws UsageError, which never repeats what is in the file. */
export async function readToken(path: string): Promise<string> {
  const { mode, text } = await read(path).catch((thrown: unknown) => { throw new UsageError(`cannot read the token: ${messageOf(thrown)}`, { cause: thrown }) })
  if ((mode & 0o007) !== 0) throw new UsageError(`everybody can read the token in ${path}: chmod 600 ${path}; and it may be known already`)
  const token = text.trim()
  if (!/^vsky_[0-9a-f_]{1,200}$/.test(token)) throw new UsageError(`${path} holds no token: one line, vsky_…, is needed (vsky token create makes one)`)
  return token
}

async function read(path: string): Promise<{ readonly mode: number; readonly text: string }> {
  const { mode } = await stat(path)
  return { mode, text: await readFile(path, 'utf8') }
}
