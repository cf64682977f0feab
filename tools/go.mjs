// The entry to everything, in plain JavaScript that needs nothing but Node: makes sure of what a verb needs (npm packages, Debian
// packages, compiled code), says in one line each what it does, and hands over. What is there already is skipped without a word.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, statfsSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const top = dirname(dirname(fileURLToPath(import.meta.url)))
const [verb = '', ...args] = process.argv.slice(2)

// For building sqlite3, for certificates, and for the kernel lab.
const buildPackages = { python3: 'python3', make: 'make', 'g++': 'g++', openssl: 'openssl' }
// For the unit tests: clients that we did not write, and a database that the store's tests run against.
const testPackages = { python3: 'python3', curl: 'curl', psql: 'postgresql' }
const labPackages = {
  'linux.uml': 'user-mode-linux', uml_mconsole: 'uml-utilities', modprobe: 'kmod', lvm: 'lvm2', dmsetup: 'dmsetup', iscsid: 'open-iscsi', fio: 'fio',
  ip: 'iproute2', nft: 'nftables', 'mkfs.ext4': 'e2fsprogs', era_invalidate: 'thin-provisioning-tools', ps: 'procps', script: 'bsdutils', blkdiscard: 'util-linux', openssl: 'openssl',
}

// Each benchmark, and what it takes a number for (one takes an address).
const benches = {
  '': ['rounds', 'seconds', 'repeats'], memory: ['rounds', 'seconds'], repair: ['servers', 'repeats'], peers: ['rounds', 'seconds', 'repeats'], rpc: ['rounds', 'seconds'],
  state: ['rounds', 'seconds', 'volumes'], placement: ['runs', 'volumes', 'postgres'], clients: ['clients', 'seconds', 'volumes', 'think'], scale: ['servers', 'calls'],
}

const say = (text) => { console.log(text) }
const fail = (text) => { console.error(text); process.exit(1) }
const isRoot = process.getuid?.() === 0
const onDebian = existsSync('/etc/debian_version')
const has = (program) => ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin'].some((dir) => existsSync(join(dir, program)))
const missingOf = (packages) => [...new Set(Object.entries(packages).filter(([program]) => !has(program)).map(([, name]) => name))]

function quietly(file, argv, doing) {
  const started = Date.now()
  say(`${doing} …`)
  const result = spawnSync(file, argv, { cwd: top, encoding: 'utf8', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, maxBuffer: 1 << 28 })
  if (result.status !== 0) {
    const tail = `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`.trim().split('\n').slice(-15).join('\n')
    fail(`${tail}\n\n${doing}: failed (${file} ${argv.join(' ')}). The last lines above say why.`)
  }
  say(`  done in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

// Which benchmark is asked for, and what with. What it does not know would otherwise be found out after half an hour of the wrong one.
function benchmark() {
  const usage = `usage: one of\n${Object.entries(benches).map(([name, takes]) => `  npm run bench --${name === '' ? '' : ` --${name}`}${takes.map((each) => ` [--${each} …]`).join('')}`).join('\n')}`
  if (args.includes('--help') || args.includes('-h')) {
    say(usage)
    process.exit(0)
  }
  const named = Object.keys(benches).filter((name) => name !== '' && args.includes(`--${name}`))
  const [name = ''] = named
  const at = args.indexOf(`--${name}`)
  const valued = benches[name].includes(name) && /^[^-]/.test(args[at + 1] ?? '') // --clients 20 is its name, and how many
  const given = valued ? args : args.filter((_, each) => each !== at)
  const unknown = given.find((each, place) => place % 2 === 0 && (!benches[name].some((known) => each === `--${known}`) || given[place + 1] === undefined))
  if (named.length > 1) fail(`the benchmark can't be ${named.map((each) => `--${each}`).join(' and ')} at once; ${usage}`)
  if (unknown !== undefined) fail(`the benchmark does not take ${unknown}, or a value is missing behind it; ${usage}`)
  return { name, given }
}

// Installs what is missing, or says what a person has to do. Gives the packages that are still missing.
function debianPackages(packages, what) {
  const missing = missingOf(packages)
  if (missing.length === 0) return []
  if (!isRoot || !onDebian) {
    say(`${what} needs packages that are missing: ${missing.join(' ')}${onDebian ? `\n  as root: apt-get install ${missing.join(' ')}` : '\n  (their names on Debian 12: install what your system calls them)'}`)
    return missing
  }
  quietly('apt-get', ['update', '-q'], 'refreshing the list of Debian packages')
  quietly('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], `installing Debian packages: ${missing.join(' ')}`)
  return missingOf(packages)
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) fail(`Vsky needs Node 20.19 or newer; this is ${process.version}`)
}

function npmPackages() {
  const key = createHash('sha256').update(readFileSync(join(top, 'package-lock.json'))).update(`${process.version} ${process.arch}`).digest('hex')
  const stamp = join(top, 'node_modules/.vsky-stamp')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return
  const missing = debianPackages(buildPackages, 'building sqlite3')
  if (missing.length > 0) fail(`can't go on without ${missing.join(', ')}`)
  quietly('npm', ['ci', '--no-audit', '--no-fund'], 'installing npm packages (sqlite3 is compiled, that takes a minute or two)')
  writeFileSync(stamp, key)
}

function newest(folder, ending) {
  let time = 0
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile() && entry.name.endsWith(ending)) time = Math.max(time, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs)
  }
  return time
}

function build() {
  const rooms = ['lib', 'agent', 'manager', 'tools', 'test', 'bench'].filter((room) => existsSync(join(top, room)))
  const stamp = join(top, 'dist/.tsbuildinfo')
  const sources = Math.max(...rooms.map((room) => newest(join(top, room), '.ts')), statSync(join(top, 'tsconfig.json')).mtimeMs)
  if (existsSync(stamp) && statSync(stamp).mtimeMs > sources && existsSync(join(top, 'dist/tools/lab/main.js'))) return
  step('types', process.execPath, ['tools/build.mjs'])
}

function step(name, file, argv, options = {}) {
  const started = Date.now()
  const result = spawnSync(file, argv, { cwd: top, stdio: 'inherit', ...options })
  if (result.status !== 0) {
    console.error(`${name}: failed`)
    process.exit(result.status ?? 1)
  }
  say(`ok: ${name} in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

// A folder in memory for what the tests write, when there is one with room: a disk that has just taken all packages can let a commit wait for a minute.
function inMemory() {
  const { type, bavail, bsize } = existsSync('/dev/shm') ? statfsSync('/dev/shm') : { type: 0, bavail: 0, bsize: 0 }
  if (type !== 0x01021994 || bavail * bsize < 2 ** 30) return process.env
  const folder = mkdtempSync('/dev/shm/vsky-test-')
  chmodSync(folder, 0o755) // PostgreSQL runs as a user of its own
  process.once('exit', () => { rmSync(folder, { recursive: true, force: true }) })
  return { ...process.env, TMPDIR: folder }
}

const bin = (name) => join(top, 'node_modules/.bin', name)

function gate() {
  step('types', process.execPath, ['tools/build.mjs'])
  step('lint', bin('eslint'), ['.'])
  step('layers', process.execPath, ['dist/tools/check/main.js'])
  debianPackages(testPackages, 'the unit tests') // without them they fail, and say so
  const env = inMemory()
  step('unit and property tests', bin('mocha'), [], { env })
  return env
}

function handOver(file, argv) {
  const child = spawn(process.execPath, ['--enable-source-maps', file, ...argv], { cwd: process.cwd(), stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => { if (signal !== 'SIGINT') child.kill(signal) }) // the terminal sends ^C to both
  child.once('close', (code, signal) => { process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)) })
}

// What stands in the way of the kernel lab here; empty when nothing does.
function labObstacle() {
  const missing = debianPackages(labPackages, 'the kernel lab')
  if (missing.length > 0) return `packages are missing: ${missing.join(' ')}`
  if (!isRoot) return 'it needs root (network name spaces, links)'
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun'
  return ''
}

// Branches of a room that some test went through, of all that it has; in brackets the files with the most that none did.
function coverageOf(room, summary) {
  const files = Object.entries(summary).filter(([path]) => path.startsWith(join(top, `${room}/`))).map(([path, { branches }]) => ({ path: path.slice(top.length + 1), ...branches }))
  const sum = (what) => files.reduce((all, file) => all + file[what], 0)
  const worst = files.sort((a, b) => (b.total - b.covered) - (a.total - a.covered)).slice(0, 5).map((file) => `${file.path} ${file.total - file.covered}`)
  return `${room.padEnd(8)} ${(sum('covered') / Math.max(1, sum('total')) * 100).toFixed(1)} % of ${sum('total')} branches (${worst.join(', ')})`
}

// Every kind of fault comes in these; the long runs are by hand.
const shortThrash = ['--seed', '2912', '--faults', '26', '--minutes', '9', '--all', '--lab', 't-thrash']

// Longer ones are by hand: npm run fuzz.
const shortFuzz = ['--seed', '2912', '--requests', '20000']

// Of mixed sizes. Longer ones are by hand: npm run sim.
const someSeeds = ['--seed', '3000', '--seeds', '200', '--processes', '2', '--ticks', '40', '--faults', 'any']

const verbs = {
  ok() {
    gate()
  },
  test() {
    const obstacle = labObstacle()
    const env = gate()
    step('hostile requests', process.execPath, ['--enable-source-maps', 'dist/test/fuzz/main.js', ...shortFuzz], { env })
    step('simulated clusters', process.execPath, ['--enable-source-maps', 'dist/test/sim/main.js', ...someSeeds], { env })
    if (obstacle !== '') {
      const specs = readdirSync(join(top, 'dist/test/lab')).filter((name) => name.endsWith('.test.js'))
      say(`SKIPPED: ${specs.length} files of kernel lab tests: ${obstacle}`)
      return
    }
    step('kernel lab tests', bin('mocha'), ['--config', 'test/lab.mocharc.json', ...args])
    if (args.length === 0) step('faults without end, for a while', process.execPath, ['--enable-source-maps', 'dist/tools/thrash/main.js', ...shortThrash])
  },
  demo() {
    const obstacle = labObstacle()
    if (obstacle !== '') fail(`the demo can't run here: ${obstacle}`)
    build()
    handOver(join(top, 'dist/tools/demo/main.js'), args)
  },
  lab() {
    const afterName = args[0] === '--lab' ? args.slice(2) : args
    if (['up', 'shell', 'disk'].includes(afterName.find((arg) => !arg.startsWith('-')) ?? '')) {
      const obstacle = labObstacle()
      if (obstacle !== '') fail(`the lab can't run here: ${obstacle}`)
      if (args.includes('postgres')) debianPackages({ psql: 'postgresql' }, 'a lab with PostgreSQL')
    }
    build()
    handOver(join(top, 'dist/tools/lab/main.js'), args)
  },
  'lab:test'() {
    const obstacle = labObstacle()
    if (obstacle !== '') fail(`the lab tests can't run here: ${obstacle}`)
    debianPackages({ psql: 'postgresql', systemctl: 'systemd' }, 'a lab with PostgreSQL and systemd')
    build()
    const long = readdirSync(join(top, 'dist/test/lab/long')).filter((name) => name.endsWith('.test.js')).map((name) => join('dist/test/lab/long', name))
    step('kernel lab tests, the long ones as well', bin('mocha'), ['--config', 'test/lab.mocharc.json', ...args, ...long])
  },
  'lab:thrash'() {
    const obstacle = labObstacle()
    if (obstacle !== '') fail(`the thrasher can't run here: ${obstacle}`)
    build()
    handOver(join(top, 'dist/tools/thrash/main.js'), args)
  },
  'lab:managers'() {
    const obstacle = labObstacle()
    if (obstacle !== '') fail(`the managers' lab can't run here: ${obstacle}`)
    debianPackages({ psql: 'postgresql' }, 'a lab with PostgreSQL')
    build()
    handOver(join(top, 'dist/tools/failover/main.js'), args)
  },
  docs() {
    build()
    handOver(join(top, 'dist/tools/docs/main.js'), args)
  },
  fuzz() {
    build()
    handOver(join(top, 'dist/test/fuzz/main.js'), args)
  },
  sim() {
    build()
    handOver(join(top, 'dist/test/sim/main.js'), args)
  },
  'sim:kills'() {
    build()
    handOver(join(top, 'dist/test/sim/kills-main.js'), args)
  },
  coverage() {
    const missing = debianPackages(testPackages, 'the unit tests')
    if (missing.length > 0) fail(`they would not run whole: ${missing.join(' ')}`)
    build()
    const folder = join(top, 'coverage')
    rmSync(folder, { recursive: true, force: true })
    const env = { ...inMemory(), NODE_V8_COVERAGE: join(folder, 'raw') }
    // Node itself hands the folder to every child, so one claim about what a child gets does not hold here.
    step('unit and property tests', bin('mocha'), ['--fgrep', 'gives a program the fixed environment', '--invert'], { env })
    step('simulated clusters', process.execPath, ['--enable-source-maps', 'dist/test/sim/main.js', '--seed', '3000', '--seeds', '20', '--processes', '2', '--ticks', '40', '--faults', 'any'], { env })
    step('report', bin('c8'), ['report', '--temp-directory', join(folder, 'raw'), '--reports-dir', folder, '-r', 'json-summary', '-r', 'html', '--exclude-after-remap', '--include', '{manager,agent,lib}/**'])
    const summary = JSON.parse(readFileSync(join(folder, 'coverage-summary.json'), 'utf8'))
    for (const room of ['manager', 'agent', 'lib']) say(coverageOf(room, summary))
    say('line by line: coverage/index.html')
  },
  'sim:mutants'() {
    build()
    handOver(join(top, 'dist/test/sim/mutants-main.js'), args)
  },
  bench() {
    const { name, given } = benchmark()
    if (['rpc', 'placement', 'state', 'clients', 'scale'].includes(name)) { // no kernels in these
      if (name === 'state') debianPackages(testPackages, 'the benchmark of the state')
      build()
      handOver(join(top, name === 'scale' ? 'dist/test/scale/main.js' : `dist/bench/${name}.js`), given)
      return
    }
    const obstacle = labObstacle()
    if (obstacle !== '') fail(`the benchmark can't run here: ${obstacle}`)
    if (name === 'peers') debianPackages({ drbdadm: 'drbd-utils' }, 'the comparison with DRBD')
    build()
    handOver(join(top, 'dist/bench/main.js'), args)
  },
}

checkNode()
if (!Object.hasOwn(verbs, verb)) fail(`usage: npm run ok | npm test | npm run demo | npm run lab -- … | npm run lab:thrash -- … | npm run lab:managers | npm run sim -- … | npm run sim:kills | npm run sim:mutants | npm run bench | npm run coverage | npm run docs | npm run fuzz`)
npmPackages()
verbs[verb]()
