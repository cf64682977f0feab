/** `vsky-manager init` and `issue`: the cluster's authority, and the certificates that let managers, agents and people in. */
import { createAuthority, certificateRoles, issueCertificate, openAuthority } from '../lib/host/pki.js'
import type { CertificateRole } from '../lib/host/pki.js'
import type { Run } from '../lib/ports.js'
import { join } from 'node:path'

/** Makes DIR/ca, DIR/manager (for the manager at `hosts`) and DIR/admin. Throws Error when DIR/ca is there already. */
export async function initCluster(run: Run, { dir, name, hosts }: { dir: string; name: string; hosts: readonly string[] }): Promise<string> {
  const authority = await createAuthority(run, join(dir, 'ca'), { name: 'vsky' })
  await issueCertificate(run, authority, { commonName: name, role: 'manager', hosts, outDir: join(dir, 'manager') })
  await issueCertificate(run, authority, { commonName: 'admin', role: 'admin', hosts: [], outDir: join(dir, 'admin') })
  return `made ${dir}/ca (keep its key offline), ${dir}/manager (tls_dir of manager ${name}) and ${dir}/admin (VSKY_TLS_DIR of a person)`
}

export async function issue(run: Run, { dir, name, role, hosts, out }: { dir: string; name: string; role: string; hosts: readonly string[]; out: string }): Promise<string> {
  const known: CertificateRole | undefined = certificateRoles.find((each) => each === role)
  if (!known) throw new Error(`Cannot issue a certificate for the role ${JSON.stringify(role)}: there are ${certificateRoles.join(', ')}`)
  await issueCertificate(run, await openAuthority(join(dir, 'ca')), { commonName: name, role: known, hosts, outDir: out })
  return `made ${out}: role ${role}, name ${name}`
}
