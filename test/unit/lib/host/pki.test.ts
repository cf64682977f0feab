import { X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createAuthority, issueCertificate, loadTls, openAuthority } from '../../../../lib/host/pki.js'
import type { Run } from '../../../../lib/ports.js'
import { createRun } from '../../../../lib/host/run.js'

const run = createRun()
const failing: Run = async () => ({ exit: { kind: 'code', code: 1 }, stdout: '', stderr: 'no entropy\n', durationMs: 3 })

async function rejection(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'nothing was thrown', (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown)))
}

describe('the cluster authority', () => {
  let dir = ''
  beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'vsky-pki-')) })
  afterEach(async () => { await rm(dir, { recursive: true, force: true }) })

  it('issues certificates that carry role, name and addresses and serve both sides', async () => {
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    await issueCertificate(run, authority, { commonName: 'm-1', role: 'manager', hosts: ['m-1', '10.0.0.1', '::1'], outDir: join(dir, 'm-1') })
    const tls = await loadTls(join(dir, 'm-1'))
    const certificate = new X509Certificate(tls.cert)
    expect(certificate.subject).to.equal('OU=manager\nCN=m-1')
    expect(certificate.subjectAltName).to.equal('DNS:m-1, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1')
    expect(certificate.keyUsage).to.deep.equal(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
    expect(certificate.ca).to.equal(false)
    expect(certificate.verify(new X509Certificate(tls.ca).publicKey)).to.equal(true)
    expect(Date.parse(certificate.validTo) - Date.now()).to.be.greaterThan(3600 * 24 * 3600 * 1000)
  })

  it('issues certificates that a host takes whose clock is hours behind, and so is the authority\'s own', async () => {
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    await issueCertificate(run, authority, { commonName: 'a', role: 'agent', hosts: [], outDir: join(dir, 'a') })
    for (const pem of [authority.certificate, (await loadTls(join(dir, 'a'))).cert]) expect(Date.now() - Date.parse(new X509Certificate(pem).validFrom)).to.be.within(23 * 3_600_000, 25 * 3_600_000)
  })

  it('keeps every private key readable by its owner alone', async () => {
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    await issueCertificate(run, authority, { commonName: 'a', role: 'agent', hosts: [], outDir: join(dir, 'a') })
    for (const path of [authority.keyPath, join(dir, 'a', 'key.pem')]) expect((await stat(path)).mode & 0o777, path).to.equal(0o600)
    expect(await readdir(join(dir, 'a'))).to.have.members(['ca.pem', 'cert.pem', 'key.pem'])
    expect(await readdir(dir)).to.have.members(['a', 'ca'])
  })

  it('is never overwritten', async () => {
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    expect(await rejection(createAuthority(run, join(dir, 'ca'), { name: 'lab' }))).to.match(/something is there already/)
    expect((await openAuthority(join(dir, 'ca'))).certificate).to.equal(authority.certificate)
    expect(await readdir(dir)).to.deep.equal(['ca'])
  })

  it('refuses names that would change the subject or the extensions', async () => {
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    const issue = (commonName: string, hosts: readonly string[]): Promise<string> =>
      rejection(issueCertificate(run, authority, { commonName, role: 'agent', hosts, outDir: join(dir, 'x') }))
    expect(await issue('a/OU=admin', [])).to.match(/cannot be a common name/)
    expect(await issue('a\nb', [])).to.match(/cannot be a common name/)
    expect(await issue('', [])).to.match(/cannot be a common name/)
    expect(await issue('a', ['b,DNS:c'])).to.match(/neither an IP address nor a DNS name/)
    expect(await rejection(createAuthority(run, join(dir, 'y'), { name: 'a=b' }))).to.match(/cannot be the name of a cluster/)
  })

  it('says what openssl said when it fails, and leaves nothing behind', async () => {
    expect(await rejection(createAuthority(failing, join(dir, 'ca'), { name: 'lab' }))).to.match(/^openssl req .*exit code 1 after 3 ms: no entropy$/)
    expect(await readdir(dir)).to.deep.equal([])
  })

  it('does not load a key beside a certificate that is not its own', async () => {
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    for (const name of ['a', 'b']) await issueCertificate(run, authority, { commonName: name, role: 'agent', hosts: [], outDir: join(dir, name) })
    await writeFile(join(dir, 'a', 'key.pem'), await readFile(join(dir, 'b', 'key.pem')))
    expect(await rejection(loadTls(join(dir, 'a')))).to.match(/does not belong to the certificate/)
    const other = await createAuthority(run, join(dir, 'ca2'), { name: 'lab' })
    await writeFile(join(dir, 'b', 'ca.pem'), other.certificate)
    expect(await rejection(loadTls(join(dir, 'b')))).to.match(/was not signed by the authority/)
  })

  it('can be asked for many certificates at once', async () => {
    const authority = await createAuthority(run, join(dir, 'ca'), { name: 'lab' })
    const names = Array.from({ length: 12 }, (_, index) => `host-${index}`)
    await Promise.all(names.map((commonName) => issueCertificate(run, authority, { commonName, role: 'agent', hosts: [commonName], outDir: join(dir, commonName) })))
    const serials = await Promise.all(names.map(async (name) => new X509Certificate((await loadTls(join(dir, name))).cert).serialNumber))
    expect(new Set(serials).size).to.equal(12)
  })
})
