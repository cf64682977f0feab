import { expect } from 'chai'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError, parseConfig, readConfig } from '../../../manager/config.js'

/** What a refused configuration is told, without the name of the file. */
function refusal(text: string): readonly string[] {
  try {
    parseConfig(text, 'vsky.toml')
  } catch (thrown) {
    expect(thrown).to.be.instanceOf(ConfigError)
    return String((thrown as Error).message).split('\n').slice(1).map((line) => line.trim())
  }
  return []
}

describe('the configuration file of the manager', () => {
  it('has every mistake named at once, one a line, each with what is needed', () => {
    const told = refusal('name = "-"\nlisten = "8881"\nstate_dir = "var"\ntls_dir = 7\nextent_size = "60MiB"\nport = 1\n')
    expect(told.map((line) => line.split(/:| is not/)[0])).to.have.members(['name', 'listen', 'state_dir', 'tls_dir', 'extent_size', 'port'])
    expect(told).to.include('listen: expected address:port, the port from 1 to 65535, found "8881"').and.to.include('tls_dir: expected an absolute path, found 7')
  })

  it('names the file in which the mistake is', () => {
    expect(() => parseConfig('', '/etc/vsky/manager.toml')).to.throw(ConfigError, '/etc/vsky/manager.toml')
    expect(() => parseConfig('name = ', '/etc/vsky/manager.toml')).to.throw(ConfigError, '/etc/vsky/manager.toml')
  })

  it('must have a name', () => {
    expect(refusal('')[0]).to.match(/^name: expected 1 to 63 letters.*found nothing$/)
  })

  it('takes an address with colons: the last one is before the port', () => {
    expect(parseConfig('name = "m"\nlisten = "[::1]:99"', 'x')).to.deep.include({ host: '[::1]', port: 99 })
  })

  it('takes segments from 64 MiB, in steps of 4 MiB', () => {
    expect(parseConfig('name = "m"\nextent_size = "64MiB"', 'x').extentBytes).to.equal(64n * 1024n ** 2n)
    for (const size of ['60MiB', '66MiB', '0', '-1', 'large']) expect(refusal(`name = "m"\nextent_size = "${size}"`), size).to.have.length(1)
  })

  it('takes a lease of 3 to 120 s, in the database or on a device, and refuses others in one line', () => {
    expect(parseConfig('name = "m"\n[lease]\nttl = 4.5\ndevice = "/dev/lease"', 'x')).to.include({ leaseTtlMs: 4500, leaseDevice: '/dev/lease' })
    expect(parseConfig('name = "m"', 'x')).to.include({ leaseTtlMs: 6000 }).and.not.to.have.property('leaseDevice')
    for (const ttl of ['2.9', '121', '-6', '"6"', 'nan', 'inf']) expect(refusal(`name = "m"\n[lease]\nttl = ${ttl}`), ttl).to.have.length(1)
    expect(refusal('name = "m"\n[lease]\nttl = 2')).to.deep.equal(['lease.ttl: expected 3 to 120 seconds, found 2'])
    expect(refusal('name = "m"\n[lease]\ndevice = "lease"\nrenew = 1')).to.deep.equal(['lease.renew is not a setting; there are lease.ttl, lease.device', 'lease.device: expected an absolute path, found "lease"'])
    expect(refusal('name = "m"\nlease = 6')).to.deep.equal(['lease: expected a table [lease]'])
  })

  it('is reached where it listens, unless that is everywhere or it says otherwise', () => {
    const address = (text: string): string => parseConfig(`name = "m"\n${text}`, 'x').address
    expect([address(''), address('listen = "[::]:1"'), address('listen = "10.0.0.1:8881"'), address('address = "mgr1:8881"')]).to.deep.equal(['', '', 'https://10.0.0.1:8881', 'https://mgr1:8881'])
    expect(refusal('name = "m"\naddress = "mgr1"')).to.have.length(1)
  })

  it('names its database: a file beside the state unless it says otherwise', () => {
    expect(parseConfig('name = "m"', 'x').database).to.deep.equal({ engine: 'sqlite', path: undefined })
    expect(parseConfig('name = "m"\ndatabase = "sqlite:/var/lib/x.db"', 'x').database).to.deep.equal({ engine: 'sqlite', path: '/var/lib/x.db' })
    expect(parseConfig('name = "m"\ndatabase = "postgres://u:p@h1:1,h2/db"\ndatabase_unreplicated = true', 'x').database).to.deep.include({ engine: 'postgres', unreplicated: true, user: 'u', database: 'db', hosts: [{ host: 'h1', port: 1 }, { host: 'h2', port: 5432 }] })
  })

  it('refuses a database that it does not know, in one line in which no password stands', () => {
    for (const [value, said] of [['"mysql://u:secret@h/d"', 'found the scheme "mysql"'], ['"sqlite:relative"', 'sqlite:/PATH'], ['7', 'sqlite:/PATH'], ['"postgres://u:secret@h"', 'expected postgres://'], ['"/var/lib/x.db"', 'sqlite:/PATH']] as const) {
      const [line = '', ...more] = refusal(`name = "m"\ndatabase = ${value}\n`)
      expect(line, value).to.match(/^database: /).and.to.contain(said).and.not.to.contain('secret')
      expect(more).to.deep.equal([])
    }
  })

  it('is told apart from one that can\'t be read', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    try {
      const path = join(dir, 'vsky.toml')
      const failure = await readConfig(path).catch((thrown: unknown) => thrown)
      expect(failure).to.be.instanceOf(ConfigError)
      expect(String(failure)).to.contain(`Cannot read ${path}`)
      await writeFile(path, 'name = "m"\n')
      expect((await readConfig(path)).name).to.equal('m')
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})
