/**
 * A lab: a cluster of real Linux kernels (user-mode-linux) on this machine, each with its own disks and network. Everything that a
 * lab makes lives in its own network name space and in its own folder in memory, so that `down` can find exactly that, also after
 * a crash: every process in the name space, the name space, the folder.
 */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createAuthority, issueCertificate } from '../../lib/host/pki.js'
import { kernelArguments, postgres, stage1, stage2 } from './boot.js'
import { answerOf, ask } from './ask.js'
import { LabError, command, run } from './command.js'
import { callGuest } from './guest-call.js'
import type { ExecOptions, ExecResult } from './guest-call.js'
import type { ServiceVerb } from './frames.js'
import { configOf, hasAgent, planHosts } from './plan.js'
import type { HostPlan, LabWish } from './plan.js'
import { Faults } from './disk-faults.js'
import { checkMachine, kernelPids, kill, makeImage } from './machine.js'
import { addCut, clearCuts, makeNetwork, namespaceOf, removeNamespace } from './network.js'
import type { Cut } from './network.js'
import { removeFolder } from './wreck.js'

export { LabError } from './command.js'
export type { ExecOptions, ExecResult } from './guest-call.js'

const MEMORY_MIB = 320
const STATE_DISK_BYTES = 192 * 1024 * 1024
const BOOT_MS = 60_000

/** Where labs live: one folder each, in memory. */
export function folderOf(name: string): string {
  return `/dev/shm/vsky-lab-${name}`
}

/** What the guests read while they boot: their own /dev hides the outer /dev/shm. */
function bootFolderOf(name: string): string {
  return `/run/vsky-lab-${name}`
}

interface SavedState {
  readonly wish: Omit<LabWish, 'diskBytes'> & { readonly diskBytes: string }
  /** Extra disks of each host, in order, and faults by HOST:DISK, put back at power-on. */
  images: Record<string, string[]>
  faults: Record<string, string>
  powered: Record<string, boolean>
}

export class Lab {
  readonly name: string
  readonly folder: string
  readonly wish: LabWish
  readonly hosts: readonly HostPlan[]
  readonly faults: Faults
  readonly #state: SavedState
  private constructor(state: SavedState) {
    this.#state = state
    this.wish = { ...state.wish, diskBytes: BigInt(state.wish.diskBytes) }
    this.name = this.wish.name
    this.folder = folderOf(this.name)
    this.hosts = planHosts(this.wish)
    this.faults = new Faults(this, state, () => this.#save())
  }

  /** Makes a lab and waits until it can be used. Throws LabError; what was made by then is removed again. */
  static async up(wish: LabWish, say: (line: string) => void = () => undefined): Promise<Lab> {
    await checkMachine(wish)
    const folder = folderOf(wish.name)
    try {
      await mkdir(folder, { mode: 0o700 })
    } catch (thrown) {
      throw new LabError(`lab ${wish.name} is up already, or a wreck of it is left: take it down first (npm run lab -- down --lab ${wish.name})`, { cause: thrown })
    }
    try {
      const lab = new Lab({ wish: { ...wish, diskBytes: wish.diskBytes.toString() }, images: {}, faults: {}, powered: {} })
      await lab.#make(say)
      return lab
    } catch (thrown) {
      await Lab.down(wish.name)
      throw thrown
    }
  }

  /** Opens a lab that is up. Throws LabError when it isn't. */
  static async open(name: string): Promise<Lab> {
    let text: string
    try {
      text = await readFile(join(folderOf(name), 'state.json'), 'utf8')
    } catch (thrown) {
      throw new LabError(`lab ${name} is not up: start it (npm run lab -- up --lab ${name})`, { cause: thrown })
    }
    return new Lab(JSON.parse(text) as SavedState)
  }

  static async list(): Promise<readonly string[]> {
    const entries = await readdir('/dev/shm').catch(() => [])
    return entries.filter((entry) => entry.startsWith('vsky-lab-')).map((entry) => entry.slice('vsky-lab-'.length)).sort()
  }

  /** Removes all that a lab of this name made, whole or half. Gives false when there was nothing. */
  static async down(name: string): Promise<boolean> {
    const namespace = namespaceOf(name)
    const there = existsSync(folderOf(name)) || existsSync(bootFolderOf(name)) || existsSync(`/run/netns/${namespace}`)
    await removeNamespace(namespace)
    await removeFolder(folderOf(name))
    await removeFolder(bootFolderOf(name))
    return there
  }

  get #bootFolder(): string { return bootFolderOf(this.name) }
  /** Where its managers are asked: the active one answers, others say that they are not. */
  get managerUrls(): readonly string[] {
    return this.hosts.filter((host) => host.kind === 'manager').map((host) => `unix:${join(this.folder, `${host.name}.sock`)}`)
  }
  get adminTlsDir(): string { return join(this.folder, 'tls-admin') }
  /** Key and certificate that a host was made with. */
  tlsDirOf(name: string): string { return join(this.#bootFolder, 'conf', this.host(name).name, 'tls') }
  /** What the CLI needs to reach this lab's managers. */
  get environment(): Readonly<Record<string, string>> {
    return { VSKY_MANAGER: this.managerUrls.join(','), VSKY_TLS_DIR: this.adminTlsDir }
  }

  host(name: string): HostPlan {
    const host = this.hosts.find((each) => each.name === name)
    if (!host) throw new LabError(`lab ${this.name} has no host ${JSON.stringify(name)}: it has ${this.hosts.map((each) => each.name).join(', ')}`)
    return host
  }

  /** Runs a program on a host. Its exit code and output come back; LabError only when the host can't be reached. */
  exec(name: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return callGuest(this.folder, this.host(name), { do: 'run', argv, timeoutMs: options.timeoutMs ?? 60_000, ...(options.tty === undefined ? {} : { tty: options.tty }) }, options)
  }

  /** `exec` that must succeed; gives standard output. */
  async must(name: string, argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    const result = await this.exec(name, argv, options)
    if (result.code !== 0) throw new LabError(`${name}: ${argv.join(' ')} ended with ${result.code}: ${(result.stderr || result.stdout).trim()}`)
    return result.stdout
  }

  /** Controls a host's Vsky daemon (or `iscsid`). kill9 is followed by a restart after a second, as a service manager does. */
  async service(name: string, verb: ServiceVerb, service = 'vsky'): Promise<number> {
    const result = await callGuest(this.folder, this.host(name), { do: 'service', verb, name: service }, { timeoutMs: 20_000 })
    if (result.code !== 0) throw new LabError(`${name}: service ${service}: ${result.stderr.trim()}`)
    return result.pid ?? 0
  }

  powered(name: string): boolean {
    return this.#state.powered[this.host(name).name] === true
  }

  /** Whether the host's kernel lives: one that halted by itself does not, though nobody pulled its plug. */
  async running(name: string): Promise<boolean> {
    return (await this.#kernel(this.host(name))).length > 0
  }

  #kernel(host: HostPlan): Promise<readonly number[]> {
    return kernelPids(namespaceOf(this.name), `umid=${host.name}`, `uml_dir=${this.folder}/umid/`)
  }

  /** Pulls the plug: every process of the host's kernel gets SIGKILL. What had been acknowledged as written stays. */
  async powerOff(name: string): Promise<void> {
    const host = this.host(name)
    for (let tries = 0; tries < 100; tries += 1) {
      const pids = await this.#kernel(host)
      if (pids.length === 0) break
      for (const pid of pids) kill(pid)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await rm(join(this.folder, 'umid', host.name), { recursive: true, force: true })
    this.#state.powered[host.name] = false
    await this.#save()
  }

  async powerOn(name: string): Promise<void> {
    const host = this.host(name)
    if (await this.running(name)) throw new LabError(`${name} is powered on already`)
    await this.powerOff(name) // a kernel that halted by itself leaves its control socket
    await this.#boot(host)
    await this.#answers(host)
    await this.faults.restore(name)
  }

  /** A clean restart: file systems are synced, then the kernel is started anew. */
  async reboot(name: string): Promise<void> {
    await this.exec(name, ['sync'], { timeoutMs: 10_000 }).catch(() => undefined) // a dead host reboots all the same
    await this.powerOff(name)
    await this.powerOn(name)
  }

  /** Drops packets between two hosts (or of one host to all others) on a plane, in one direction or both. */
  async cut(cut: Cut): Promise<void> {
    await addCut(this.name, [this.host(cut.from), cut.to === undefined ? undefined : this.host(cut.to)], cut)
  }

  async heal(): Promise<void> {
    await clearCuts(this.name)
  }

  /** The daemon's log, from the host's own disk. */
  async logs(name: string, { service = 'vsky', lines = 200 }: { service?: string; lines?: number } = {}): Promise<string> {
    return this.must(name, ['tail', '-n', String(lines), `/var/lib/vsky/log/${service}.log`])
  }

  /** Runs the `vsky` command on the outer machine against this lab's manager. */
  async vsky(args: readonly string[], { timeoutMs = 180_000 }: { timeoutMs?: number } = {}): Promise<ExecResult> {
    const result = await run({ file: process.execPath, args: [join(this.wish.dist, 'tools/cli/main.js'), ...args], timeoutMs, env: this.environment, maxOutputBytes: 64 * 1024 * 1024 })
    return { code: result.exit.kind === 'code' ? result.exit.code : 124, stdout: result.stdout, stderr: result.stderr }
  }

  /** A `vsky … --json` that must succeed; a plain question is asked without starting the command. Throws LabError with what it said. */
  async json<T>(args: readonly string[], options: { timeoutMs?: number } = {}): Promise<T> {
    const answer = await answerOf(this, args).catch(() => undefined) // what is wrong, and for how long to try again, the command knows
    if (answer !== undefined) return answer as T
    const result = await this.vsky([...args, '--json'], options)
    if (result.code !== 0) throw new LabError(`vsky ${args.join(' ')} ended with ${result.code}: ${result.stderr.trim()}`)
    return JSON.parse(result.stdout) as T
  }

  async down(): Promise<void> {
    await Lab.down(this.name)
  }

  /** Waits until every agent is heard and every configured disk is ready. Throws LabError with what is missing. */
  async waitRegistered(timeoutMs = 90_000): Promise<void> {
    const until = performance.now() + timeoutMs
    const agents = this.hosts.filter(hasAgent)
    const disks = this.wish.registerDisks ? agents.reduce((sum, host) => sum + host.disks, 0) : 0
    let missing = 'the manager does not answer'
    while (performance.now() < until) {
      try {
        const [hosts, known] = await Promise.all([ask(this, 'hostList', {}, 3000), ask(this, 'diskList', {}, 3000)])
        const away = agents.filter((agent) => !hosts.some((host) => host.name === agent.name && host.state === 'online')).map((agent) => agent.name)
        const ready = known.filter((disk) => disk.state === 'ready').length
        if (away.length === 0 && ready >= disks) return
        missing = away.length > 0 ? `not heard of: ${away.join(', ')}` : `${ready} of ${disks} disks are ready`
      } catch {
        // not yet
      }
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    throw new LabError(`lab ${this.name}: after ${Math.round(timeoutMs / 1000)} s ${missing}`)
  }

  /** Adds an image to a host; gives ubd's letter. */
  async addImage(name: string, bytes: bigint): Promise<{ readonly image: string; readonly index: number }> {
    const images = this.#images(this.host(name))
    const index = images.length
    if (index > 12) throw new LabError(`${name} has ${index} disks: there is no place for another`)
    const image = join(this.folder, `${name}-disk${index}.img`)
    await makeImage(image, bytes)
    images.push(image)
    await this.#save()
    return { image, index }
  }

  #images(host: HostPlan): string[] {
    return this.#state.images[host.name] ??= [join(this.folder, `${host.name}-state.img`), ...Array.from({ length: host.disks }, (_, index) => join(this.folder, `${host.name}-disk${index + 1}.img`))]
  }

  async #save(): Promise<void> {
    const path = join(this.folder, 'state.json')
    const fresh = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`
    await writeFile(fresh, JSON.stringify(this.#state))
    await rename(fresh, path)
  }

  async #make(say: (line: string) => void): Promise<void> {
    const started = performance.now()
    await mkdir(join(this.folder, 'umid'))
    await mkdir(this.#bootFolder, { mode: 0o700 })
    await writeFile(join(this.#bootFolder, 'stage1.sh'), stage1, { mode: 0o755 })
    await writeFile(join(this.#bootFolder, 'stage2.sh'), stage2, { mode: 0o755 })
    await Promise.all([makeNetwork(this.name, this.hosts), this.#makeImages(), this.#makeConfiguration()])
    this.#openGate()
    await this.#save()
    for (const host of this.hosts) await this.#boot(host)
    await Promise.all(this.hosts.map((host) => this.#answers(host)))
    say(`${this.hosts.length} hosts are up after ${((performance.now() - started) / 1000).toFixed(1)} s`)
    if (!this.wish.daemons) return
    await this.waitRegistered()
    say(`all agents have registered, all disks are ready after ${((performance.now() - started) / 1000).toFixed(1)} s`)
  }

  async #makeImages(): Promise<void> {
    const template = join(this.folder, 'template.img')
    await makeImage(template, BigInt(STATE_DISK_BYTES))
    await command('mkfs.ext4', ['-q', '-F', '-O', '^metadata_csum', template])
    await Promise.all(this.hosts.map(async (host) => {
      const [state = '', ...disks] = this.#images(host)
      await command('cp', ['--sparse=always', template, state])
      for (const disk of disks) await makeImage(disk, this.wish.diskBytes)
    }))
  }

  async #makeConfiguration(): Promise<void> {
    const authority = await createAuthority(run, join(this.folder, 'ca'), { name: `lab ${this.name}`.replace(/[^A-Za-z0-9._-]/g, '-') })
    await issueCertificate(run, authority, { commonName: 'admin', role: 'admin', hosts: [], outDir: this.adminTlsDir })
    await Promise.all(this.hosts.map(async (host) => {
      const folder = join(this.#bootFolder, 'conf', host.name)
      await mkdir(folder, { recursive: true })
      const { file, text } = host.kind === 'database' ? { file: 'postgres.sh', text: postgres } : configOf(host, this.hosts, this.wish)
      await writeFile(join(folder, file), text)
      if (host.kind === 'manager') await cp(authority.dir, join(folder, 'authority'), { recursive: true })
      await issueCertificate(run, authority, {
        commonName: host.name, role: host.kind === 'manager' ? 'manager' : 'agent', hosts: [host.controlAddress, host.name], outDir: join(folder, 'tls'),
      })
    }))
  }

  #openGate(): void {
    const managers = this.hosts.filter((host) => host.kind === 'manager').map((host) => `${host.name}=${host.controlAddress}`)
    this.#spawn('gate', ['netns', 'exec', namespaceOf(this.name), process.execPath, join(this.wish.dist, 'tools/lab/gate.js'), this.folder, ...managers])
  }

  /** Starts a process that outlives us, in a session of its own, inside the lab's name space. */
  #spawn(log: string, args: readonly string[]): void {
    const out = openSync(join(this.folder, `${log}.console`), 'a')
    const child = spawn('ip', args, { cwd: '/', detached: true, stdio: ['ignore', out, out], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', TMPDIR: '/dev/shm' } })
    closeSync(out)
    child.on('error', () => undefined) // the wait for its answer tells
    child.unref()
  }

  async #boot(host: HostPlan): Promise<void> {
    this.#spawn(host.name, kernelArguments({
      run: this.folder, boot: this.#bootFolder, host, dist: this.wish.dist, daemon: this.wish.daemons, memoryMiB: MEMORY_MIB, netns: namespaceOf(this.name), images: this.#images(host),
    }))
    this.#state.powered[host.name] = true
    await this.#save()
  }

  async #answers(host: HostPlan): Promise<void> {
    const until = performance.now() + BOOT_MS
    while (performance.now() < until) {
      const answer = await callGuest(this.folder, host, { do: 'ping' }, { timeoutMs: 2000 }).catch(() => undefined)
      if (answer?.code === 0) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    const console_ = await readFile(join(this.folder, `${host.name}.console`), 'utf8').catch(() => '')
    throw new LabError(`${host.name} did not come up within ${BOOT_MS / 1000} s; the end of its console:\n${console_.split('\n').slice(-40).join('\n')}`)
  }
}
