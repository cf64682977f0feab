import { expect } from 'chai'
import fc from 'fast-check'
import { parseConfig } from '../../../../agent/config.js'
import { parseConfig as parseManagerConfig } from '../../../../manager/config.js'
import { configOf, defaultWish, planHosts, readWish } from '../../../../tools/lab/plan.js'
import type { LabWish } from '../../../../tools/lab/plan.js'

const wishOf = (more: Partial<LabWish> = {}): LabWish => ({ ...defaultWish, dist: '/dist', ...more })
const anyWish = fc.record({
  managers: fc.integer({ min: 1, max: 5 }), database: fc.constantFrom('sqlite' as const, 'postgres' as const), storage: fc.nat(30), heads: fc.nat(30), disks: fc.nat(12), zones: fc.nat(30), both: fc.nat(30), registerDisks: fc.boolean(), extentSize: fc.constantFrom('64MiB', '512MiB', '1GiB'),
}).map(wishOf)

describe('a lab\'s hosts', () => {
  it('have names that count from one, and addresses that tell what they are', () => {
    expect(planHosts(wishOf({ managers: 2, storage: 2, heads: 1 })).map((host) => [host.name, host.kind, host.controlAddress, host.dataAddress, host.disks])).to.deep.equal([
      ['mgr1', 'manager', '10.78.0.11', '10.77.0.11', 0], ['mgr2', 'manager', '10.78.0.12', '10.77.0.12', 0],
      ['st1', 'storage', '10.78.0.21', '10.77.0.21', 2], ['st2', 'storage', '10.78.0.22', '10.77.0.22', 2],
      ['hd1', 'head', '10.78.0.61', '10.77.0.61', 0],
    ])
  })

  it('never share a name, an address, a link or a MAC, in any lab', () => {
    fc.assert(fc.property(anyWish, (wish) => {
      const hosts = planHosts(wish)
      const all = hosts.flatMap((host) => [host.name, host.controlAddress, host.dataAddress, host.controlLink, host.dataLink, host.mac.control, host.mac.data])
      expect(new Set(all).size).to.equal(hosts.length * 7)
      for (const { dataAddress, controlAddress, dataLink, controlLink, mac } of hosts) {
        for (const address of [dataAddress, controlAddress]) expect(Number(address.split('.')[3])).to.be.within(1, 254)
        for (const link of [dataLink, controlLink]) expect(link, 'a network device\'s name has at most 15 characters').to.have.length.within(1, 15)
        for (const each of [mac.data, mac.control]) expect(each).to.match(/^02(:[0-9a-f]{2}){5}$/)
      }
    }))
  })

  it('are dealt out over the zones in turn, and have none without zones', () => {
    const zonesOf = (zones: number): readonly string[] => planHosts(wishOf({ storage: 5, zones })).filter((host) => host.kind === 'storage').map((host) => host.zone)
    expect(zonesOf(2)).to.deep.equal(['z1', 'z2', 'z1', 'z2', 'z1'])
    expect(zonesOf(0)).to.deep.equal(['', '', '', '', ''])
  })

  it('are heads as well where that was wished: the first storage servers', () => {
    expect(planHosts(wishOf({ storage: 3, heads: 1, both: 2 })).map((host) => host.kind)).to.deep.equal(['manager', 'both', 'both', 'storage', 'head'])
  })
})

describe('a lab\'s configurations', () => {
  it('are taken by the daemons that read them, in any lab', () => {
    fc.assert(fc.property(anyWish, (wish) => {
      const hosts = planHosts(wish)
      for (const host of hosts.filter((each) => each.kind !== 'database')) {
        const { file, text } = configOf(host, hosts, wish)
        if (host.kind === 'manager') {
          expect(file).to.equal('manager.toml')
          expect(parseManagerConfig(text, file)).to.include({ name: host.name, host: host.controlAddress, port: 8881, stateDir: '/var/lib/vsky', tlsDir: '/etc/vsky/tls' })
          continue
        }
        expect(file).to.equal('agent.toml')
        expect(parseConfig(text, file)).to.deep.equal({
          name: host.name, roles: host.kind === 'both' ? ['storage', 'head'] : [host.kind], zone: host.zone,
          managers: hosts.filter((each) => each.kind === 'manager').map((each) => `https://${each.controlAddress}:8881`), listen: `${host.controlAddress}:8882`, dataAddresses: [host.dataAddress],
          stateDir: '/var/lib/vsky', tlsDir: '/etc/vsky/tls', disks: wish.registerDisks ? Array.from({ length: host.disks }, (_, index) => `/dev/mapper/disk${index + 1}`) : [], udev: false, lvmTypes: ['ubd:16'],
        })
      }
    }), { numRuns: 40 })
  })

  it('give all managers one database on a host of its own where that was wished, and else each its file', () => {
    const databases = (wish: LabWish): readonly unknown[] => {
      const hosts = planHosts(wish)
      return hosts.filter((host) => host.kind === 'manager').map((host) => parseManagerConfig(configOf(host, hosts, wish).text, 'x').database)
    }
    const [first, second] = databases(wishOf({ managers: 2, database: 'postgres' }))
    expect(first).to.deep.include({ engine: 'postgres' }).and.to.deep.equal(second)
    expect(JSON.stringify(first)).to.contain('10.78.0.6')
    expect(databases(wishOf())).to.have.length(1).and.not.to.deep.include(first)
  })

  it('give the manager the extent size that was wished', () => {
    const hosts = planHosts(wishOf())
    const text = hosts.filter((host) => host.kind === 'manager').map((host) => configOf(host, hosts, wishOf({ extentSize: '64MiB' })).text).join()
    expect(parseManagerConfig(text, 'x').extentBytes).to.equal(67_108_864n)
  })
})

describe('a wish for a lab', () => {
  it('for several managers needs a database that they can share', () => {
    expect(readWish({ managers: '2' }, '/dist').problems.join()).to.match(/--db postgres/)
    expect(readWish({ managers: '2', db: 'postgres' }, '/dist')).to.deep.include({ problems: [] })
    expect(readWish({ db: 'mysql' }, '/dist').problems).to.have.length(1)
  })

  it('that says nothing is the lab that everybody gets', () => {
    expect(readWish({}, '/dist')).to.deep.equal({ wish: wishOf(), problems: [] })
  })

  it('is read as it was said', () => {
    const options = { lab: 'x-1', managers: '2', db: 'postgres', storage: '4', heads: '0', disks: '12', zones: '3', both: '1', diskSize: '64MiB', extentSize: '1GiB', daemons: false, registerDisks: false, dist: '/other' }
    expect(readWish(options, '/dist')).to.deep.equal({
      wish: { name: 'x-1', managers: 2, database: 'postgres', storage: 4, heads: 0, disks: 12, zones: 3, both: 1, diskBytes: 67_108_864n, extentSize: '1GiB', daemons: false, registerDisks: false, dist: '/other' }, problems: [],
    })
  })

  it('is told every problem at once, each with the option\'s name, its limits and what was said', () => {
    expect(readWish({ managers: '6', storage: '-1', heads: '1.5', disks: '13', zones: 'two', both: true, diskSize: '63MiB', lab: '-lab' }, '/dist').problems).to.deep.equal([
      '--disk-size takes a size of at least 64MiB, not "63MiB"', '--lab takes 1 to 20 lower-case letters, digits and dashes, not "-lab"',
      '--managers takes a number from 0 to 5, not "6"', '--storage takes a number from 0 to 30, not "-1"', '--heads takes a number from 0 to 30, not "1.5"',
      '--disks takes a number from 0 to 12, not "13"', '--zones takes a number from 0 to 30, not "two"', '--both takes a number from 0 to 30, not true',
    ])
  })

  it('takes the limits themselves', () => {
    for (const [option, min, max] of [['managers', 0, 5], ['storage', 0, 30], ['heads', 0, 30], ['disks', 0, 12], ['zones', 0, 30], ['both', 0, 30]] as const) {
      for (const number of [min, max]) expect(readWish({ [option]: String(number), db: 'postgres' }, '/dist').problems, `${option} ${number}`).to.deep.equal([])
      expect(readWish({ [option]: String(max + 1), db: 'postgres' }, '/dist').problems, option).to.have.length(1)
    }
  })

  it('has no name that could lead out of its folder', () => {
    for (const lab of ['', '..', 'a/b', 'A', 'a b', 'a'.repeat(21), '.a', 'a\n']) expect(readWish({ lab }, '/dist').problems, JSON.stringify(lab)).to.have.length(1)
  })
})
