import { expect } from 'chai'
import { readFileSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseConfig as parseAgent } from '../../../agent/config.js'
import { createRun } from '../../../lib/host/run.js'
import { parseConfig as parseManager } from '../../../manager/config.js'

const top = fileURLToPath(new URL('../../../../', import.meta.url))
const FOLDER = 'tools/systemd'
const text = (path: string): string => readFileSync(join(top, path), 'utf8')

/** `Section.Key` → its values in order. What an empty one takes back is gone. */
type Unit = ReadonlyMap<string, readonly string[]>

function readUnit(...texts: readonly string[]): Unit {
  const unit = new Map<string, readonly string[]>()
  for (const each of texts) {
    let section = ''
    for (const line of each.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) {
      const [, name] = /^\[(\w+)\]$/.exec(line) ?? []
      const [, key = '', value = ''] = /^(\w+)=(.*)$/.exec(line) ?? []
      if (name !== undefined) section = name
      else if (key === '' || section === '') throw new Error(`${JSON.stringify(line)} is no setting`)
      else unit.set(`${section}.${key}`, value === '' ? [] : [...unit.get(`${section}.${key}`) ?? [], value])
    }
  }
  return unit
}

const service = (unit: Unit, key: string): readonly string[] => unit.get(`Service.${key}`) ?? []
const last = (unit: Unit, key: string): string => service(unit, key).at(-1) ?? ''
const words = (unit: Unit, key: string): readonly string[] => service(unit, key).flatMap((value) => value.split(/\s+/))

/** The lines `#   WORD  why` (or `# WORD  why`) of a comment that begins with this line, up to the next blank one. */
function listed(unitText: string, head: string): readonly string[] {
  const lines = unitText.split('\n')
  const from = lines.findIndex((line) => line.startsWith(head))
  if (from < 0) throw new Error(`there is no comment ${JSON.stringify(head)}`)
  const rest = lines.slice(from + 1)
  const end = rest.findIndex((line) => !/^# {3}/.test(line))
  return rest.slice(0, end).flatMap((line) => /^# {3}([^\s,]+(?:, [^\s,]+)*) /.exec(line)?.[1]?.split(', ') ?? [])
}

/** Sources without their comments. */
function sourcesOf(...rooms: readonly string[]): string {
  const paths = rooms.flatMap((room) => readdirSync(join(top, room), { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts')).map((path) => join(room, path)))
  return paths.map((path) => text(path).replace(/\/\*[^]*?\*\//g, '').replace(/(^|\s)\/\/ .*$/gm, '')).join('\n')
}

const managerText = text(`${FOLDER}/vsky-manager.service`)
const agentText = text(`${FOLDER}/vsky-agent.service`)
const units = [['vsky-manager', managerText], ['vsky-agent', agentText]] as const
const manager = readUnit(managerText)
const agent = readUnit(agentText)
const examples = readdirSync(join(top, FOLDER, 'examples'))
/** Each service alone, and with each of its examples. */
const allWays = units.flatMap(([name, unitText]) => [
  [name, readUnit(unitText)] as const,
  ...examples.filter((each) => each.startsWith(name)).map((each) => [each, readUnit(unitText, text(`${FOLDER}/examples/${each}`))] as const),
])

/** With a - before it, it need not be there. */
const opened = (unit: Unit): readonly string[] => words(unit, 'ReadWritePaths').map((path) => path.replace(/^-/, ''))

/** Where a service may write, but for /dev, /proc and /sys. */
function writable(unit: Unit): readonly string[] {
  const under = (key: string, parent: string): readonly string[] => words(unit, key).map((each) => `${parent}/${each}`)
  return [...opened(unit), ...under('StateDirectory', '/var/lib'), ...under('RuntimeDirectory', '/run'), ...under('ConfigurationDirectory', '/etc'), ...last(unit, 'PrivateTmp') === 'yes' ? ['/tmp'] : []]
}
const within = (path: string, folders: readonly string[]): boolean => folders.some((folder) => path === folder || path.startsWith(`${folder}/`))

/** A protection with what would cancel it, and would only look like a protection. */
const cancelled: readonly (readonly [what: string, is: (unit: Unit) => boolean])[] = [
  ['a read-only system, of which all is writable', (unit) => opened(unit).some((path) => ['/', '/usr', '/etc', '/var', '/run', '/boot'].includes(path))],
  ['hidden homes, some of them opened', (unit) => last(unit, 'ProtectHome') === 'yes' && opened(unit).some((path) => within(path, ['/home', '/root', '/run/user']))],
  ['a private /tmp, the host\'s opened', (unit) => last(unit, 'PrivateTmp') === 'yes' && opened(unit).some((path) => within(path, ['/tmp', '/var/tmp']))],
  ['a /dev without disks, and disks allowed', (unit) => last(unit, 'PrivateDevices') === 'yes' && (service(unit, 'DeviceAllow').length > 0 || words(unit, 'CapabilityBoundingSet').includes('CAP_MKNOD'))],
  ['disks allowed, and so is every other device', (unit) => service(unit, 'DeviceAllow').length > 0 && last(unit, 'DevicePolicy') !== 'closed'],
  ['no modules, and what loads them', (unit) => last(unit, 'ProtectKernelModules') === 'yes' && (words(unit, 'CapabilityBoundingSet').includes('CAP_SYS_MODULE') || words(unit, 'SystemCallFilter').includes('@module'))],
  ['no kernel log, and what reads it', (unit) => last(unit, 'ProtectKernelLogs') === 'yes' && (words(unit, 'CapabilityBoundingSet').includes('CAP_SYSLOG') || service(unit, 'DeviceAllow').some((each) => each.startsWith('/dev/kmsg')))],
  ['a read-only /sys, opened', (unit) => last(unit, 'ProtectKernelTunables') === 'yes' && opened(unit).some((path) => within(path, ['/sys', '/proc']))],
  ['a user of its own, with capabilities', (unit) => last(unit, 'User') !== '' && (words(unit, 'CapabilityBoundingSet').length > 0 || words(unit, 'AmbientCapabilities').length > 0)],
  ['no new privileges, taken back', (unit) => last(unit, 'NoNewPrivileges') !== 'yes'],
  ['calls allowed and denied at once', (unit) => {
    const filters = service(unit, 'SystemCallFilter')
    const denied = filters.filter((each) => each.startsWith('~')).flatMap((each) => each.slice(1).split(' '))
    return filters.filter((each) => !each.startsWith('~')).flatMap((each) => each.split(' ')).some((each) => denied.includes(each))
  }],
]

describe('the services of systemd', () => {
  it('start programs that the package installs, and are in the package themselves', () => {
    const { bin, files } = JSON.parse(text('package.json')) as { readonly bin: Readonly<Record<string, string>>; readonly files: readonly string[] }
    for (const [name, unitText] of units) {
      const [program = '', ...args] = last(readUnit(unitText), 'ExecStart').split(' ')
      expect(Object.keys(bin)).to.include(program).and.include(name)
      expect(args).to.deep.equal(['--config', `/etc/vsky/${name.slice('vsky-'.length)}.toml`])
      const main = text(`${name.slice('vsky-'.length)}/main.ts`)
      expect(main, 'the same file as without it').to.include(`'--config <file>', 'configuration file', '${args[1] ?? ''}'`)
    }
    const wanted = [FOLDER, ...Object.values(bin), 'dist/agent/main.js', 'dist/manager/main.js', 'dist/tools/cli/main.js', 'dist/lib/units.js']
    for (const path of wanted) expect(within(path, files), path).to.equal(true)
    expect(within('dist/test/unit', files)).to.equal(false)
  })

  it('may write where the programs keep their state and find their certificates unless told otherwise', () => {
    const defaults = [
      [manager, parseManager('name = "m1"\n', 'x')], [agent, parseAgent('name = "a1"\nroles = ["head"]\nmanagers = ["https://m:1"]\nlisten = "0.0.0.0:8882"\n', 'x')],
    ] as const
    for (const [unit, config] of defaults) {
      expect(`/var/lib/${last(unit, 'StateDirectory')}`).to.equal(config.stateDir)
      expect(within(config.tlsDir, [`/etc/${last(unit, 'ConfigurationDirectory')}`])).to.equal(true)
      expect([last(unit, 'StateDirectoryMode'), last(unit, 'ProtectSystem')]).to.deep.equal(['0700', 'strict'])
    }
  })

  for (const [name, unit] of allWays) {
    it(`have no protection that another line cancels: ${name}`, () => {
      expect(cancelled.filter(([, is]) => is(unit)).map(([what]) => what)).to.deep.equal([])
    })
  }

  it('say of every protection that they don\'t have why', () => {
    const protections = [
      'User', 'PrivateDevices', 'PrivateNetwork', 'PrivateIPC', 'PrivateUsers', 'PrivateTmp', 'ProtectSystem', 'ProtectHome', 'ProtectProc', 'ProcSubset', 'ProtectClock', 'ProtectControlGroups', 'ProtectHostname',
      'ProtectKernelLogs', 'ProtectKernelModules', 'ProtectKernelTunables', 'LockPersonality', 'MemoryDenyWriteExecute', 'NoNewPrivileges', 'RestrictAddressFamilies', 'RestrictNamespaces', 'RestrictRealtime',
      'RestrictSUIDSGID', 'SystemCallArchitectures', 'SystemCallFilter', 'CapabilityBoundingSet', 'UMask',
    ]
    for (const [name, unitText] of units) {
      const unit = readUnit(unitText)
      const excused = listed(unitText, '# Not set, because').map((each) => each.split('=')[0] ?? '')
      for (const each of protections) expect(unit.has(`Service.${each}`) !== excused.includes(each), `${name}: ${each} is either set or excused`).to.equal(true)
      for (const each of excused) expect(unit.has(`Service.${each}`), `${name}: ${each} is excused, and set`).to.equal(false)
    }
  })

  it('never end what a volume needs: nothing is tied to them, and what an agent started goes on when it is stopped', () => {
    for (const [, unit] of allWays) {
      for (const tie of ['Requires', 'Requisite', 'BindsTo', 'PartOf', 'RequiredBy', 'PropagatesStopTo', 'Conflicts']) expect([...unit.keys()].filter((key) => key.endsWith(`.${tie}`))).to.deep.equal([])
      expect([last(unit, 'Restart'), unit.get('Unit.StartLimitIntervalSec')?.at(-1)]).to.deep.equal(['always', '0'])
      expect(parseInt(last(unit, 'RestartSec'), 10), 'a pause between attempts, s').to.be.within(1, 10)
    }
    expect([last(agent, 'KillMode'), last(agent, 'OOMPolicy'), last(agent, 'RuntimeDirectoryPreserve')]).to.deep.equal(['process', 'continue', 'yes'])
  })

  it('are understood by systemd to the last line, where there is one', async function understood() {
    this.timeout(60_000)
    const run = createRun()
    const there = await run({ file: 'systemd-analyze', args: ['--version'], timeoutMs: 20_000 })
    if (there.exit.kind !== 'code' || there.exit.code !== 0 || Number(/^systemd (\d+)/.exec(there.stdout)?.[1] ?? 0) < 252) this.skip()
    const folder = await mkdtemp(join(tmpdir(), 'vsky-test-'))
    try {
      for (const [name, unitText] of units) {
        const path = join(folder, `${name}.service`)
        await writeFile(path, unitText.replace(/^ExecStart=\S+/m, 'ExecStart=/bin/true')) // the programs are not installed here
        const { stdout, stderr } = await run({ file: 'systemd-analyze', args: ['verify', '--man=no', path], timeoutMs: 30_000 })
        expect(`${stdout}${stderr}`.split('\n').filter((line) => line.includes(basename(path)))).to.deep.equal([])
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('the manager\'s service', () => {
  it('has no capability and needs none: no port of its own below 1024', () => {
    expect([last(manager, 'User'), service(manager, 'CapabilityBoundingSet'), service(manager, 'AmbientCapabilities')]).to.deep.equal(['vsky', [], []])
    expect(manager.has('Service.CapabilityBoundingSet'), 'without the line it would have them all').to.equal(true)
    expect(parseManager('name = "m1"\n', 'x').port).to.be.greaterThan(1023)
    expect(text(`${FOLDER}/vsky.sysusers.conf`)).to.match(/^u vsky /m)
  })

  it('sees what the manager reads of the host', () => {
    expect(sourcesOf('manager')).to.include('/proc/sys/kernel/random/boot_id')
    expect(manager.has('Service.ProcSubset'), 'it would hide /proc/sys').to.equal(false)
    const named = [...sourcesOf('manager').matchAll(/['`](\/(?:etc|home|opt|root|run|srv|tmp|usr|var)\/[\w./-]*)/g)].map((match) => match[1] ?? '')
    for (const path of named) expect(within(path, writable(manager)), path).to.equal(true)
  })

  it('can have its state in PostgreSQL as its example says', () => {
    const example = text(`${FOLDER}/examples/vsky-manager-postgres.conf`)
    const { database } = parseManager(`name = "m1"\n${/^# {3}(database = .*)$/m.exec(example)?.[1] ?? ''}\n`, 'x')
    const [credential = '', file] = last(readUnit(example), 'LoadCredential').split(':')
    expect(database).to.include({ engine: 'postgres', passwordFile: `/run/credentials/vsky-manager.service/${credential}` })
    expect(within(file ?? '', [`/etc/${last(manager, 'ConfigurationDirectory')}`])).to.equal(true)
  })

  it('can have its lease on a device as its example says: on that one, and no other', () => {
    const example = text(`${FOLDER}/examples/vsky-manager-lease-device.conf`)
    const { leaseDevice } = parseManager(`name = "m1"\n[lease]\n${/^# {3}(device = .*)$/m.exec(example)?.[1] ?? ''}\n`, 'x')
    const unit = readUnit(managerText, example)
    expect(service(unit, 'DeviceAllow')).to.deep.equal([`${leaseDevice ?? ''} rw`])
    expect([last(unit, 'PrivateDevices'), last(unit, 'DevicePolicy')]).to.deep.equal(['no', 'closed'])
    const escaped = `${(leaseDevice ?? '').slice(1).split('/').map((part) => part.replaceAll('-', '\\x2d')).join('-')}.device`
    expect([unit.get('Unit.Wants')?.at(-1), unit.get('Unit.After')?.at(-1)]).to.deep.equal([escaped, escaped])
  })
})

describe('the agent\'s service', () => {
  it('names every program that the agent runs, and no other', () => {
    const sources = sourcesOf('agent', 'lib/host')
    const run = [/file: '([^']+)'/g, /\bmust\('([a-z_]+)', \[/g, /\['([a-z_]+)', \['/g].flatMap((pattern) => [...sources.matchAll(pattern)].map((match) => match[1] ?? ''))
    expect(run).to.include.members(['lvm', 'era_invalidate', 'losetup'])
    expect([...new Set(run)].sort()).to.deep.equal([...listed(agentText, '# The programs that it runs')].sort())
  })

  it('gives a reason for each capability, and has each that a program is said to need', () => {
    const explained = [...agentText.matchAll(/^# (CAP_\w+) {2,}\S/gm)].map((match) => match[1] ?? '')
    expect(explained.sort()).to.deep.equal([...words(agent, 'CapabilityBoundingSet')].sort())
    const needed = [...agentText.matchAll(/^# {3}\w+ .*?: (CAP_\w+)/gm)].map((match) => match[1] ?? '')
    expect(needed.length).to.be.greaterThan(4)
    expect(words(agent, 'CapabilityBoundingSet')).to.include.members(needed)
  })

  it('lets the agent write wherever it names a file', () => {
    const open = [...writable(agent), '/dev', '/proc', '/sys']
    const named = [...sourcesOf('agent').matchAll(/['`](\/(?:boot|dev|etc|home|lib|opt|proc|root|run|srv|sys|tmp|usr|var)\/[\w./-]*)/g)].map((match) => match[1] ?? '')
    expect(named).to.include.members(['/etc/iscsi/nodes', '/run/vsky/copies', '/var/target/pr', '/sys/kernel/config/target', '/dev/mapper/'])
    for (const path of named) expect(within(path, open), path).to.equal(true)
    for (const path of opened(agent)) expect(listed(agentText, '# What it and they write'), 'said why').to.include(path)
    const made = last(agent, 'ExecStartPre').split(' ')
    for (const path of opened(agent)) expect(made.some((each) => within(each, [path])), `${path} is there before the agent: it could not write there else`).to.equal(true)
    for (const path of words(agent, 'ReadWritePaths')) expect(path, 'not even the line that makes it is run where it is missing, unless that may be').to.match(/^-/)
  })

  it('has the host\'s /dev, /sys and modules, and every disk', () => {
    for (const key of ['PrivateDevices', 'ProtectKernelTunables', 'ProtectKernelModules', 'ProtectKernelLogs', 'PrivateNetwork', 'PrivateIPC', 'ProtectProc', 'ProcSubset']) expect(agent.has(`Service.${key}`), key).to.equal(false)
    expect(service(agent, 'DeviceAllow')).to.include.members(['block-* rwm', '/dev/mapper/control rw', '/dev/loop-control rw', '/dev/kmsg r'])
    expect(last(agent, 'UMask'), 'guests\' users must get through /dev/vsky').to.equal('0022')
  })

  it('comes before guests where processors are short: their writes wait for its programs when a leg is lost', () => {
    expect(Number(last(agent, 'Nice'))).to.be.below(0)
  })

  it('keeps away from a manager\'s folder on the same host, as the manager\'s does from an agent\'s', () => {
    const beside = readUnit(agentText, text(`${FOLDER}/examples/vsky-agent-beside-manager.conf`))
    expect([agent.get('Unit.AssertPathExists'), manager.get('Unit.AssertPathExists')]).to.deep.equal([['!/var/lib/vsky/manager.lock'], ['!/var/lib/vsky/agent.lock']])
    expect(sourcesOf('manager')).to.include(`'manager.lock'`)
    expect(sourcesOf('agent')).to.include(`'agent.lock'`)
    expect([beside.get('Unit.AssertPathExists'), service(beside, 'StateDirectory')]).to.deep.equal([[], ['vsky-agent']])
  })
})
