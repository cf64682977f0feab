/** `npm run lab -- …`: the lab from the shell. */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { messageOf } from '../../lib/faults.js'
import { bytes, formatSizeRounded, parseSize } from '../../lib/units.js'
import { Lab, LabError } from './lab.js'
import { serviceVerbs } from './frames.js'
import { readWish } from './plan.js'

const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const program = new Command('npm run lab --').description('A cluster of real Linux kernels on this machine, for Vsky')
  .addOption(new Option('--lab <name>', 'which lab: several can run side by side').default('lab')).enablePositionalOptions().showHelpAfterError()
  .exitOverride((end) => process.exit(end.exitCode === 0 ? 0 : 2))

const named = (): string => program.opts<{ lab: string }>().lab
const open = (): Promise<Lab> => Lab.open(named())
const diskNumber = (text: string): number => {
  const match = /^(?:disk)?(\d{1,2})$/.exec(text)
  if (!match) throw new LabError(`${JSON.stringify(text)} is not a disk of a host: say its number, or diskN`)
  return Number(match[1])
}

program.command('up').description('starts the hosts and waits until all agents have registered')
  .option('--managers <n>').addOption(new Option('--db <engine>', 'where managers keep their state; several need postgres').choices(['sqlite', 'postgres'])).option('--storage <n>').option('--heads <n>').option('--disks <n>', 'data disks of each storage server').option('--disk-size <size>')
  .option('--zones <n>', 'failure domains the storage servers are dealt out over').option('--both <n>', 'how many storage servers are heads as well')
  .option('--extent-size <size>').option('--no-daemons', 'kernels only').option('--no-register-disks', 'leave the disks to "vsky disk add"')
  .option('--dist <dir>', 'compiled JavaScript for the hosts')
  .action(async (options: Record<string, string | boolean | undefined>) => {
    const { wish, problems } = readWish({ ...options, lab: named() }, dist)
    if (problems.length > 0) throw new LabError(problems.join('\n'))
    const interrupted = (): void => {
      console.error('interrupted: the lab is taken down')
      void Lab.down(wish.name).then(() => process.exit(130))
    }
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
    const lab = await Lab.up(wish, (line) => { console.log(line) })
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    console.log(`\nto use the vsky command from here:\n  npm run lab -- ${wish.name === 'lab' ? '' : `--lab ${wish.name} `}vsky host list\nor in this shell:`)
    for (const [key, value] of Object.entries(lab.environment)) console.log(`  export ${key}=${value}`)
  })

program.command('status').description('what is up').option('--json').action(async ({ json }: { json?: boolean }) => {
  const lab = await open()
  const hosts = await Promise.all(lab.hosts.map(async (host) => ({
    name: host.name, kind: host.kind, zone: host.zone, power: await lab.running(host.name) ? 'on' : 'off', data: host.dataAddress, control: host.controlAddress, disks: host.disks,
  })))
  if (json === true) console.log(JSON.stringify({ lab: lab.name, hosts, environment: lab.environment }))
  else {
    console.log(`lab ${lab.name}, disks of ${formatSizeRounded(lab.wish.diskBytes)}`)
    for (const host of hosts) console.log(`  ${host.name.padEnd(6)} ${host.kind.padEnd(8)} power ${host.power.padEnd(4)} ${host.data.padEnd(11)} ${host.control.padEnd(11)} ${host.disks > 0 ? `${host.disks} disks` : ''} ${host.zone}`)
  }
})

program.command('exec').description('runs a program on a host; its exit code and output pass through').argument('<host>').argument('<command...>').passThroughOptions()
  .action(async (host: string, argv: readonly string[]) => {
    const lab = await open()
    const result = await lab.exec(host, argv[0] === '--' ? argv.slice(1) : argv, { timeoutMs: 0, stdout: process.stdout, stderr: process.stderr, ...(process.stdin.isTTY ? {} : { stdin: process.stdin }) })
    process.exit(result.code)
  })

program.command('shell').description('a shell on a host').argument('<host>').action(async (host: string) => {
  const lab = await open()
  if (process.stdin.isTTY) process.stdin.setRawMode(true)
  const result = await lab.exec(host, ['bash', '-i'], { timeoutMs: 0, tty: true, stdin: process.stdin, stdout: process.stdout, stderr: process.stderr })
  process.exit(result.code)
})

program.command('power-off').description('pulls the plug of a host').argument('<host>').action(async (host: string) => { await (await open()).powerOff(host) })
program.command('power-on').description('starts a host again').argument('<host>').action(async (host: string) => { await (await open()).powerOn(host) })
program.command('reboot').description('restarts a host cleanly').argument('<host>').action(async (host: string) => { await (await open()).reboot(host) })

program.command('cut').description('drops packets between two hosts, or between one and all others').argument('<host>').argument('[other]')
  .option('--one-way', 'only what the first one sends').addOption(new Option('--plane <plane>').choices(['data', 'control', 'both']).default('both'))
  .action(async (from: string, to: string | undefined, { oneWay = false, plane }: { oneWay?: boolean; plane: 'data' | 'control' | 'both' }) => {
    await (await open()).cut({ from, plane, oneWay, ...(to === undefined ? {} : { to }) })
  })
program.command('heal').description('ends all cuts').action(async () => { await (await open()).heal() })

const disk = program.command('disk').description('disks of a host, and faults under them')
disk.command('add').argument('<host>').option('--size <size>', 'default 2GiB').action(async (host: string, { size = '2GiB' }: { size?: string }) => {
  const parsed = parseSize(size)
  if (parsed === undefined) throw new LabError(`--size takes a size such as 2GiB, not ${JSON.stringify(size)}`)
  console.log(await (await open()).faults.add(host, bytes(parsed)))
})
disk.command('remove').description('as pulling the disk out').argument('<host>').argument('<disk>').action(async (host: string, which: string) => { await (await open()).faults.set(host, diskNumber(which), { kind: 'removed' }) })
disk.command('fail').argument('<host>').argument('<disk>').option('--read', 'only reads fail').option('--write', 'only writes fail')
  .action(async (host: string, which: string, { read, write }: { read?: boolean; write?: boolean }) => {
    const direction = read === true && write !== true ? 'read' : write === true && read !== true ? 'write' : 'both'
    await (await open()).faults.set(host, diskNumber(which), { kind: 'fail', direction })
  })
disk.command('slow').argument('<host>').argument('<disk>').argument('<ms>', 'delay of every request').action(async (host: string, which: string, ms: string) => {
  if (!/^\d{1,5}$/.test(ms)) throw new LabError(`a delay is a number of milliseconds, not ${JSON.stringify(ms)}`)
  await (await open()).faults.set(host, diskNumber(which), { kind: 'slow', ms: Number(ms) })
})
disk.command('bad').description('sectors that can\'t be read until they are written').argument('<host>').argument('<disk>').argument('<sectors...>').action(async (host: string, which: string, sectors: readonly string[]) => {
  if (!sectors.every((sector) => /^\d{1,12}$/.test(sector))) throw new LabError(`sectors are numbers, not ${sectors.join(' ')}`)
  await (await open()).faults.set(host, diskNumber(which), { kind: 'bad', sectors: sectors.map(Number) })
})
disk.command('hang').description('requests are neither done nor refused').argument('<host>').argument('<disk>').action(async (host: string, which: string) => { await (await open()).faults.set(host, diskNumber(which), { kind: 'hang' }) })
disk.command('heal').argument('<host>').argument('<disk>').action(async (host: string, which: string) => { await (await open()).faults.heal(host, diskNumber(which)) })

program.command('service').description('controls the Vsky daemon of a host as its service manager would').argument('<host>').addArgument(program.createArgument('<verb>').choices([...serviceVerbs]))
  .option('--name <service>', 'vsky or iscsid', 'vsky').action(async (host: string, verb: (typeof serviceVerbs)[number], { name }: { name: string }) => {
    const pid = await (await open()).service(host, verb, name)
    if (verb === 'status') console.log(pid === 0 ? 'not running' : `running as process ${pid}`)
  })

program.command('logs').description('the log of a host\'s daemon').argument('<host>').option('--follow').option('--console', 'its kernel\'s console').option('--name <service>', 'vsky or iscsid', 'vsky')
  .action(async (host: string, { follow, console: wantsConsole, name }: { follow?: boolean; console?: boolean; name: string }) => {
    const lab = await open()
    if (wantsConsole === true) process.stdout.write(await readFile(join(lab.folder, `${lab.host(host).name}.console`), 'utf8'))
    else if (follow === true) process.exit((await lab.exec(host, ['tail', '-n', '50', '-F', `/var/lib/vsky/log/${name}.log`], { timeoutMs: 0, stdout: process.stdout, stderr: process.stderr })).code)
    else process.stdout.write(await lab.logs(host, { service: name, lines: 1000 }))
  })

program.command('vsky').description('the vsky command, against this lab\'s manager').argument('[args...]').passThroughOptions().helpOption(false).allowUnknownOption()
  .action(async (args: readonly string[]) => {
    const lab = await open()
    const child = spawn(process.execPath, [join(lab.wish.dist, 'tools/cli/main.js'), ...(args[0] === '--' ? args.slice(1) : args)], { stdio: 'inherit', env: { ...process.env, ...lab.environment } })
    child.once('close', (code) => { process.exit(code ?? 1) })
  })

program.command('down').description('removes exactly what the lab made, also after a crash').option('--all', 'every lab').action(async ({ all }: { all?: boolean }) => {
  for (const name of all === true ? await Lab.list() : [named()]) console.log(await Lab.down(name) ? `lab ${name} is gone` : `lab ${name} was not up`)
})

/** `up --lab x` as well as `--lab x up`; not where what follows is another program's command line. */
function labFirst(argv: readonly string[]): readonly string[] {
  const at = argv.indexOf('--lab')
  if (at < 1 || argv[at + 1] === undefined || argv.slice(0, at).some((each) => ['exec', 'vsky', '--'].includes(each))) return argv
  return [...argv.slice(at, at + 2), ...argv.slice(0, at), ...argv.slice(at + 2)]
}

try {
  await program.parseAsync(labFirst(process.argv.slice(2)), { from: 'user' })
} catch (thrown) {
  console.error(thrown instanceof LabError ? thrown.message : `lab: ${messageOf(thrown)}`)
  process.exit(1)
}
