/**
 * The cluster's own certificate authority. One key signs every certificate of a cluster; who holds a certificate signed by it
 * belongs to the cluster, as the role and the name that stand in its subject (`/OU=ROLE/CN=NAME`). A certificate serves both as
 * server and as client. Keys are EC P-256; one `openssl` process makes key and certificate in about 20 ms, and many may run at
 * once: serial numbers are random and nothing is written to the authority's directory.
 */
import { X509Certificate, createPrivateKey, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { messageOf } from '../faults.js'
import type { Run } from '../ports.js'
import { failureText } from './failure-text.js'
import { isErrno, syncDirectory, writeDurably } from './files.js'

export const certificateRoles = ['manager', 'agent', 'admin', 'operator', 'viewer'] as const
export type CertificateRole = (typeof certificateRoles)[number]

/** An authority on disk: `dir`/ca.pem and `dir`/ca.key (0600). */
export interface Authority {
  readonly dir: string
  readonly certificatePath: string
  readonly keyPath: string
  /** The authority's certificate, PEM. */
  readonly certificate: string
}

/** What one end of a TLS connection needs, each PEM. */
export interface TlsMaterial {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface CertificateRequest {
  /** 1 to 64 of letters, digits, `.`, `_` and `-`, beginning with a letter or digit. */
  readonly commonName: string
  readonly role: CertificateRole
  /** DNS names and IP addresses under which a server with this certificate may be reached. */
  readonly hosts: readonly string[]
  /** Made when absent. Gets ca.pem, cert.pem and key.pem (0600), replacing older ones. */
  readonly outDir: string
}

const VALID_DAYS = 3650
const OPENSSL_TIMEOUT_MS = 20_000

/**
 * Makes the authority of a new cluster, valid for 10 years. `dir` must be absent or an empty directory and belongs to the
 * authority alone; it appears whole or not at all. Throws Error when it holds anything (nothing is overwritten), when the name
 * is malformed, or when openssl fails.
 */
export async function createAuthority(run: Run, dir: string, { name }: { readonly name: string }): Promise<Authority> {
  checkName('the name of a cluster', name)
  await mkdir(dirname(dir), { recursive: true })
  const work = await mkdtemp(join(dirname(dir), `.${basename(dir)}-`)) // mode 0700
  try {
    await openssl(run, [
      'req', '-x509', ...newKey(join(work, 'ca.key')), '-out', join(work, 'ca.pem'), '-days', String(VALID_DAYS), '-subj', `/O=Vsky/CN=${name}`,
      '-addext', 'basicConstraints=critical,CA:TRUE,pathlen:0', '-addext', 'keyUsage=critical,keyCertSign,cRLSign',
    ])
    await hardenCopy(join(work, 'ca.key'), 0o600)
    await hardenCopy(join(work, 'ca.pem'), 0o644)
    await rename(work, dir) // takes the place of an empty directory, and of nothing else
    await syncDirectory(dirname(dir))
  } catch (thrown) {
    await rm(work, { recursive: true, force: true })
    if (isErrno(thrown, 'ENOTEMPTY') || isErrno(thrown, 'EEXIST') || isErrno(thrown, 'ENOTDIR')) {
      throw new Error(`Cannot make an authority in ${JSON.stringify(dir)}: something is there already`, { cause: thrown })
    }
    throw thrown
  }
  return openAuthority(dir)
}

/** Opens the authority that `createAuthority` made. Throws Error when a file is missing, or is no certificate of an authority. */
export async function openAuthority(dir: string): Promise<Authority> {
  const certificatePath = join(dir, 'ca.pem')
  const keyPath = join(dir, 'ca.key')
  const certificate = await readFile(certificatePath, 'utf8')
  if (!parseCertificate(certificatePath, certificate).ca) throw new Error(`${JSON.stringify(certificatePath)} is not the certificate of an authority`)
  await stat(keyPath)
  return { dir, certificatePath, keyPath, certificate }
}

/**
 * Makes a key and a certificate, valid for 10 years, usable as server and as client. Issuing again replaces both; who reads in
 * between sees a pair that does not match, which `loadTls` refuses. Throws Error for malformed names and when openssl fails.
 */
export async function issueCertificate(run: Run, authority: Authority, request: CertificateRequest): Promise<void> {
  const { commonName, role, hosts, outDir } = request
  checkName('a common name', commonName)
  if (!certificateRoles.includes(role)) throw new Error(`Unknown role ${JSON.stringify(role)}: it is one of ${certificateRoles.join(', ')}`)
  const names = hosts.length === 0 ? [] : ['-addext', `subjectAltName=${hosts.map(alternativeName).join(',')}`]
  await mkdir(outDir, { recursive: true })
  const suffix = `${randomBytes(6).toString('hex')}.tmp`
  const key = join(outDir, `key.pem.${suffix}`)
  const cert = join(outDir, `cert.pem.${suffix}`)
  try {
    await openssl(run, [
      'req', '-x509', '-CA', authority.certificatePath, '-CAkey', authority.keyPath, ...newKey(key), '-out', cert,
      '-days', String(VALID_DAYS), '-subj', `/OU=${role}/CN=${commonName}`,
      '-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'keyUsage=critical,digitalSignature',
      '-addext', 'extendedKeyUsage=serverAuth,clientAuth', ...names,
    ])
    await writeDurably(join(outDir, 'ca.pem'), authority.certificate)
    await writeDurably(join(outDir, 'key.pem'), await readFile(key, 'utf8'), 0o600)
    await writeDurably(join(outDir, 'cert.pem'), await readFile(cert, 'utf8'))
  } finally {
    await rm(key, { force: true })
    await rm(cert, { force: true })
  }
}

/** Reads what `issueCertificate` wrote. Throws Error when a file is missing or the key is not the certificate's. */
export async function loadTls(dir: string): Promise<TlsMaterial> {
  const [ca, cert, key] = await Promise.all(['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFile(join(dir, name), 'utf8')))
  if (ca === undefined || cert === undefined || key === undefined) throw new Error(`No certificate in ${JSON.stringify(dir)}`)
  const certificate = parseCertificate(join(dir, 'cert.pem'), cert)
  if (!certificate.checkPrivateKey(createPrivateKey(key))) {
    throw new Error(`The key in ${JSON.stringify(dir)} does not belong to the certificate beside it: issue both again`)
  }
  if (!certificate.verify(parseCertificate(join(dir, 'ca.pem'), ca).publicKey)) {
    throw new Error(`The certificate in ${JSON.stringify(dir)} was not signed by the authority beside it: issue it again`)
  }
  return { ca, cert, key }
}

function parseCertificate(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (thrown) {
    throw new Error(`${JSON.stringify(path)} is not a certificate: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** The arguments that make openssl write a new key; it creates the file with mode 0600. No configuration file has a say. */
function newKey(path: string): readonly string[] {
  return ['-config', '/dev/null', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-sha256', '-keyout', path]
}

async function openssl(run: Run, args: readonly string[]): Promise<void> {
  const request = { file: 'openssl', args, timeoutMs: OPENSSL_TIMEOUT_MS }
  const result = await run(request)
  if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Error(failureText(request, result))
}

/** openssl neither syncs what it writes nor promises a mode for it. */
async function hardenCopy(path: string, mode: number): Promise<void> {
  await writeDurably(path, await readFile(path, 'utf8'), mode)
}

/** Neither the subject's `/` and `=` nor the configuration's `,` and line ends can come through this. */
function checkName(what: string, name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new Error(`${JSON.stringify(name)} cannot be ${what}: 1 to 64 of letters, digits, "." "_" and "-" are needed`)
  }
}

function alternativeName(host: string): string {
  if (isIP(host) !== 0 && !host.includes('%')) return `IP:${host}`
  if (/^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$/.test(host)) return `DNS:${host}`
  throw new Error(`${JSON.stringify(host)} is neither an IP address nor a DNS name`)
}
