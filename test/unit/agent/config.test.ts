import { expect } from 'chai'
import fc from 'fast-check'
import { ConfigError, parseConfig, readConfig } from '../../../agent/config.js'
import { parseConfig as parseManagerConfig } from '../../../manager/config.js'

const good = 'name = "st1"\nroles = ["storage"]\nmanagers = ["https://10.78.0.11:8881"]\nlisten = "10.78.0.21:8882"\ndata_addresses = ["10.77.0.21"]\n'
const head = 'name = "hd1"\nroles = ["head"]\nmanagers = ["https://m:8881"]\nlisten = "h:8882"\n'

/** The complaints about a configuration, a line each, without the line of the file's name. */
function complaints(text: string): readonly string[] {
  try {
    parseConfig(text, '/etc/vsky/agent.toml')
    return []
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown
    const [file, ...lines] = thrown.message.split('\n')
    expect(file).to.equal('/etc/vsky/agent.toml:')
    return lines.map((line) => line.trim())
  }
}

/** One setting of a good configuration put otherwise. */
function withSetting(key: string, value: string): string {
  return [...good.split('\n').filter((line) => line !== '' && !line.startsWith(`${key} =`)), `${key} = ${value}`, ''].join('\n')
}

describe('an agent\'s configuration file', () => {
  it('needs five settings of a storage server, and has defaults for the rest', () => {
    expect(parseConfig(good, 'x')).to.deep.equal({
      name: 'st1', roles: ['storage'], zone: '', managers: ['https://10.78.0.11:8881'], listen: '10.78.0.21:8882', dataAddresses: ['10.77.0.21'],
      stateDir: '/var/lib/vsky', tlsDir: '/etc/vsky/tls', disks: [], udev: true, lvmTypes: [],
    })
  })

  it('needs no data address of a head server', () => {
    expect(parseConfig(head, 'x').dataAddresses).to.deep.equal([])
    expect(complaints(head.replace('["head"]', '["head", "storage"]'))).to.deep.equal(['data_addresses: expected at least one address, for a storage server, found nothing'])
  })

  it('names everything that an empty file lacks', () => {
    expect(complaints('').map((line) => line.split(':')[0])).to.deep.equal(['roles', 'name', 'managers', 'listen'])
  })

  it('tells all mistakes at once, each with what is needed and what was found', () => {
    const told = complaints('name = "-x"\nroles = ["storage"]\nmanagers = ["http://m"]\nlisten = "here"\ndata_addresses = ["st1.example"]\nstate_dir = "var"\ntls_dir = 1\ndisks = ["sdb"]\nudev = 0\nlvm_types = ["ubd"]\nzone = "a b"\nrole = "x"\n')
    for (const expected of [
      'role is not a setting; there are name, roles,', 'name: expected 1 to 63 letters', 'managers: expected a list of https://host:port, found ["http://m"]', 'listen: expected address:port, the port from 1 to 65535, found "here"',
      'data_addresses: expected a list of IP addresses, found ["st1.example"]', 'state_dir: expected an absolute path, found "var"', 'tls_dir: expected an absolute path, found 1', 'disks: expected a list of devices, /dev/…, found ["sdb"]',
      'udev: expected true or false, found 0', 'lvm_types: expected a list of type:partitions, found ["ubd"]', 'zone: expected at most 63 letters, digits, dots, dashes, found "a b"',
    ]) expect(told.some((line) => line.startsWith(expected)), expected).to.equal(true)
  })

  it('has at least one role and one manager', () => {
    expect(complaints(withSetting('roles', '[]'))).to.deep.equal(['roles: expected at least one role, found []'])
    expect(complaints(withSetting('managers', '[]'))).to.deep.equal(['managers: expected at least one manager, found []'])
  })

  it('takes a list for a list only, and text for text only', () => {
    for (const [key, value] of [['roles', '"storage"'], ['disks', '"/dev/sdb"'], ['name', '["st1"]'], ['zone', '7'], ['listen', '8882']] as const) {
      expect(complaints(withSetting(key, value))[0], key).to.match(new RegExp(`^${key}: expected .*, found `))
    }
  })

  it('names the ports that a daemon can listen on as the manager does', () => {
    fc.assert(fc.property(fc.oneof(fc.integer({ min: 0, max: 70_000 }), fc.constantFrom(0, 1, 9, 59_999, 60_000, 64_999, 65_000, 65_535, 65_536, 99_999)), (port) => {
      const right = port >= 1 && port <= 65_535
      expect(complaints(withSetting('listen', `"[::1]:${port}"`)).length === 0, String(port)).to.equal(right)
      const manager = (): unknown => parseManagerConfig(`name = "m"\nlisten = "[::1]:${port}"\n`, 'x')
      if (right) expect(manager()).to.include({ port })
      else expect(manager).to.throw('listen: expected')
    }))
  })

  it('that is no TOML, or not there, is told with its path', async () => {
    expect(() => parseConfig('name = ', '/etc/vsky/agent.toml')).to.throw(ConfigError, '/etc/vsky/agent.toml: ')
    const thrown: unknown = await readConfig('/no/such/agent.toml').catch((each: unknown) => each)
    expect(thrown).to.be.instanceOf(ConfigError).and.have.property('message').that.contains('Cannot read /no/such/agent.toml: ENOENT')
  })
})
