/**
 * The cluster's own certificate authority. One key signs every certificate of a cluster; who holds a certificate signed by it
 * belongs to the cluster, as the role and the name that stand in its subject (`/OU=ROLE/CN=NAME`). A certificate serves both as
 * server and as client. Keys are EC P-256; two `openssl` processes make key and certificate in about 40 ms, and many may run at
 * once: serial numbers are random and nothing is written to the authority's directory.
 */
import { X509Certificate, createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
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
/** A host whose clock is behind the issuer's takes a new certificate all the same. */
const BACKDATED_DAYS = 1
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
    await certify(run, {
      key: join(work, 'ca.key'), out: join(work, 'ca.pem'), subject: `/O=Vsky/CN=${name}`, extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign,cRLSign', 'subjectKeyIdentifier=hash'],
    })
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
  await mkdir(outDir, { recursive: true })
  const suffix = `${randomBytes(6).toString('hex')}.tmp`
  const key = join(outDir, `key.pem.${suffix}`)
  const cert = join(outDir, `cert.pem.${suffix}`)
  try {
    await certify(run, {
      key, out: cert, subject: `/OU=${role}/CN=${commonName}`, authority, extensions: leafExtensions(hosts),
    })
    await writeDurably(join(outDir, 'ca.pem'), authority.certificate)
    await writeDurably(join(outDir, 'key.pem'), await readFile(key, 'utf8'), 0o600)
    await writeDurably(join(outDir, 'cert.pem'), await readFile(cert, 'utf8'))
  } finally {
    await rm(key, { force: true })
    await rm(cert, { force: true })
  }
}

/** Certifies keys that others made. */
export interface Signer {
  /** The authority's, PEM. */
  readonly certificate: string
  /**
   * `csr`: a request, PEM, for an EC P-256 key, whose own words count for nothing. Gives the certificate, PEM, and the SHA-256 of the public key
   * (SubjectPublicKeyInfo, DER), in hex. Throws TypeError for a request that is none, or of another key; Error when openssl fails.
   */
  sign(wish: Omit<CertificateRequest, 'outDir'> & { readonly csr: string }): Promise<{ readonly certificate: string; readonly keyDigest: string }>
}

export function createSigner(run: Run, authority: Authority): Signer {
  return {
    certificate: authority.certificate,
    sign: ({ csr, commonName, role, hosts }) => inWorkFolder(tmpdir(), async (work) => {
      checkName('a common name', commonName)
      const [request, out] = [join(work, 'request.pem'), join(work, 'cert.pem')]
      await writeFile(request, csr)
      const looked = await run({ file: 'openssl', args: ['req', '-in', request, '-verify', '-noout', '-pubkey'], timeoutMs: OPENSSL_TIMEOUT_MS })
      if (looked.exit.kind !== 'code') throw new Error(failureText({ file: 'openssl', args: ['req'], timeoutMs: OPENSSL_TIMEOUT_MS }, looked))
      const pem = /-----BEGIN PUBLIC KEY-----[\s\S]*-----END PUBLIC KEY-----/.exec(looked.stdout)?.[0]
      if (looked.exit.code !== 0 || pem === undefined) throw new TypeError('csr: expected a certificate request that is signed by its own key, PEM')
      const key = createPublicKey(pem)
      if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new TypeError('csr: expected a request for an EC key on the curve P-256')
      await signRequest(run, { work, request, out, subject: `/OU=${role}/CN=${commonName}`, signer: ['-cert', authority.certificatePath, '-keyfile', authority.keyPath], extensions: leafExtensions(hosts) })
      return { certificate: await readFile(out, 'utf8'), keyDigest: digestOfKey(key) }
    }),
  }
}

/** SHA-256 of a public key (SubjectPublicKeyInfo, DER), in hex. */
export function digestOfKey(key: KeyObject): string {
  return createHash('sha256').update(key.export({ type: 'spki', format: 'der' })).digest('hex')
}

/**
 * Makes a key for DIR, which stays in this process and on this disk, and a request for its certificate. `install` puts both into DIR, as
 * `issueCertificate` does, when the certificate is this key's and signed by `ca`; `forget` removes what was not installed.
 */
export async function requestCertificate(run: Run, dir: string, commonName: string): Promise<{ readonly csr: string; install(certificate: string, ca: string): Promise<void>; forget(): Promise<void> }> {
  checkName('a common name', commonName)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const work = await mkdtemp(join(dir, '.joining-'))
  const [keyPath, request] = [join(work, 'key.pem'), join(work, 'request.pem')]
  const forget = (): Promise<void> => rm(work, { recursive: true, force: true })
  try {
    await makeRequest(run, { work, key: keyPath, request, subject: `/OU=agent/CN=${commonName}` })
    const [csr, key] = await Promise.all([readFile(request, 'utf8'), readFile(keyPath, 'utf8')])
    return {
      csr, forget,
      async install(certificate, ca) {
        const given = parseCertificate('the certificate', certificate)
        if (!given.checkPrivateKey(createPrivateKey(key)) || !given.verify(parseCertificate('the authority', ca).publicKey)) throw new Error('the certificate that came back is not for this host\'s key, or of another authority')
        await writeDurably(join(dir, 'ca.pem'), ca)
        await writeDurably(join(dir, 'key.pem'), key, 0o600)
        await writeDurably(join(dir, 'cert.pem'), certificate)
        await forget()
      },
    }
  } catch (thrown) {
    await forget()
    throw thrown
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

/** Writes a new key to `key` (openssl creates it with mode 0600) and its certificate to `out`, signed by the authority, or by the key itself. */
async function certify(run: Run, { key, out, subject, authority, extensions }: {
  readonly key: string; readonly out: string; readonly subject: string; readonly authority?: Authority; readonly extensions: readonly string[]
}): Promise<void> {
  await inWorkFolder(dirname(out), async (work) => {
    const request = join(work, 'request.pem')
    await makeRequest(run, { work, key, request, subject })
    await signRequest(run, { work, request, out, subject, signer: authority ? ['-cert', authority.certificatePath, '-keyfile', authority.keyPath] : ['-selfsign', '-keyfile', key], extensions })
  })
}

async function makeRequest(run: Run, { work, key, request, subject }: { readonly work: string; readonly key: string; readonly request: string; readonly subject: string }): Promise<void> {
  const config = join(work, 'request.conf')
  await writeFile(config, '[req]\ndistinguished_name=name\n[name]\n') // no configuration of the machine has a say
  await openssl(run, ['req', '-new', '-config', config, '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-sha256', '-keyout', key, '-out', request, '-subj', subject])
}

/**
 * What the request says of its subject and extensions is not looked at: ours stand in the certificate.
 * `openssl req -x509` would be one process less, and can't say from when on a certificate is valid (before OpenSSL 3.4).
 */
async function signRequest(run: Run, { work, request, out, subject, signer, extensions }: {
  readonly work: string; readonly request: string; readonly out: string; readonly subject: string; readonly signer: readonly string[]; readonly extensions: readonly string[]
}): Promise<void> {
  const at = (name: string): string => join(work, name)
  const day = (days: number): string => `${new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`
  await Promise.all([
    writeFile(at('index.txt'), ''),
    writeFile(at('ca.conf'), ['[ca]', 'default_ca=one', '[one]', `database=${at('index.txt')}`, `new_certs_dir=${work}`, 'rand_serial=yes', 'default_md=sha256', 'preserve=yes', 'policy=any', 'x509_extensions=these', 'copy_extensions=none',
      '[any]', 'organizationName=optional', 'organizationalUnitName=optional', 'commonName=supplied', '[these]', ...extensions, ''].join('\n')),
  ])
  await openssl(run, ['ca', '-batch', '-notext', '-config', at('ca.conf'), '-in', request, '-out', out, '-subj', subject, '-startdate', day(-BACKDATED_DAYS), '-enddate', day(VALID_DAYS), ...signer])
}

async function inWorkFolder<T>(parent: string, work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(parent, '.certify-'))
  try {
    return await work(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
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

function leafExtensions(hosts: readonly string[]): readonly string[] {
  const names = hosts.length === 0 ? [] : [`subjectAltName=${hosts.map(alternativeName).join(',')}`]
  return ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth,clientAuth', 'subjectKeyIdentifier=hash', 'authorityKeyIdentifier=keyid', ...names]
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
  throw new TypeError(`${JSON.stringify(host)} is neither an IP address nor a DNS name`)
}
