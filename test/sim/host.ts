/** A host: power, disks, files, a kernel for each boot, and its agent, which is the product's own, put together as agent/main.ts does. */
import { createAgentHandler } from '../../agent/core/door.js'
import { epochFile, openEpochs } from '../../agent/core/epoch.js'
import { createJournal } from '../../agent/core/journal.js'
import { createRegistration } from '../../agent/core/registration.js'
import { createHeadRole } from '../../agent/head/role.js'
import { createStorageRole } from '../../agent/storage/role.js'
import type { HostRole } from '../../lib/model.js'
import { createDice } from '../../tools/thrash/dice.js'
import type { Dice } from '../../tools/thrash/dice.js'
import { HostClock, processClock } from './clock.js'
import type { Disk } from './disk.js'
import { Dm } from './dmsetup.js'
import { Files } from './files.js'
import { answer, diesAt, enter, leave, never } from './inside.js'
import type { Process } from './inside.js'
import { Initiator } from './iscsi.js'
import type { DataNetwork } from './iscsi.js'
import { Kernel } from './kernel.js'
import { Lio } from './lio.js'
import { Lvm } from './lvm.js'
import type { Network } from './network.js'
import { Programs, effectOf } from './programs.js'
import type { Transcript } from './record.js'
import { mountKernel, nodeOf } from './sysfs.js'

export interface Boot {
  readonly id: string
  readonly kernel: Kernel
  readonly dm: Dm
  readonly lvm: Lvm
  readonly lio: Lio
  readonly initiator: Initiator
  readonly programs: Programs
}

export interface HostOptions {
  readonly name: string
  readonly roles: readonly HostRole[]
  readonly zone: string
  readonly address: string
  readonly seed: number
  readonly number: number
  readonly network: Network
  readonly data: DataNetwork
  readonly transcript: Transcript
  readonly disks: readonly Disk[]
}

const AGENT_START_MS = 300
const BOOT_MS = 4000

export class Host {
  readonly options: HostOptions
  readonly name: string
  readonly files = new Files()
  readonly clock: HostClock
  readonly disks: readonly Disk[]
  boot: Boot | undefined
  agent: Process | undefined
  /** A service manager starts an agent again that has ended. */
  supervised = true
  readonly #dice: Dice
  #boots = 0
  #starts = 0

  constructor(options: HostOptions) {
    this.options = options
    this.name = options.name
    this.disks = options.disks
    this.clock = new HostClock(options.network.timeline)
    this.#dice = createDice(options.seed, 7, options.number)
  }

  get up(): boolean { return this.boot !== undefined }

  powerOn(): void {
    if (this.boot) return
    const { network, data, transcript, number, seed } = this.options
    this.#boots += 1
    const kernel = new Kernel(network.timeline, createDice(seed, 8, number, this.#boots))
    const dm = new Dm(kernel)
    const lvm = new Lvm(kernel, dm, () => this.disks)
    const lio = new Lio(kernel)
    const initiator = new Initiator(kernel, this.name, data, this.files)
    const programs = new Programs({ kernel, files: this.files, dm, lvm, lio, initiator })
    const id = `boot-${this.name}-${this.#boots}`
    this.files.powerLoss(() => this.#dice.chance(0.5))
    mountKernel(this.files, kernel, initiator, id)
    this.files.nodes = (path) => nodeOf(kernel, path)
    this.files.mounts.set('/sys/kernel/config/target', lio)
    for (const disk of this.disks) {
      disk.holders.clear()
      disk.opens = 0
      kernel.add(disk)
    }
    this.boot = { id, kernel, dm, lvm, lio, initiator, programs }
    transcript.say(this.name, `power on (boot ${this.#boots})`)
    kernel.after(this.#boots === 1 ? 10 : BOOT_MS, () => { this.startAgent() })
  }

  /** `keeps`: its disks' caches outlive it. */
  powerOff(keeps: boolean): ReturnType<Disk['powerLoss']>[] {
    const { boot } = this
    if (!boot) return []
    this.killAgent()
    boot.kernel.dead = true
    this.boot = undefined
    for (const session of boot.lio.sessions.values()) session.alive = false
    this.options.transcript.say(this.name, `power off${keeps ? '' : ', and what its disks had in their caches'}`)
    return this.disks.map((disk) => disk.powerLoss(keeps))
  }

  killAgent(): void {
    if (this.agent) this.agent.alive = false
    this.agent = undefined
  }

  /** kill -9, and the service manager starts it again. */
  restartAgent(afterMs: number): void {
    this.killAgent()
    this.options.transcript.say(this.name, 'agent killed')
    this.boot?.kernel.after(afterMs, () => { this.startAgent() })
  }

  startAgent(): void {
    const { boot } = this
    if (!boot || this.agent) return
    const { network, transcript, address } = this.options
    this.#starts += 1
    const process: Process = {
      name: this.name, alive: true, timeline: network.timeline, files: this.files,
      run: (request) => {
        const effect = effectOf(request)
        if (effect === undefined) return answer(process, leave(() => boot.programs.run(request)))
        if (diesAt(process, `before ${effect}`)) return never()
        const ended = leave(() => boot.programs.run(request))
        return process.onStep(`during ${effect}`) ? never() : answer(process, ended, `after ${effect}`)
      },
      call: (request) => network.call({ host: this.name, role: 'agent' }, process, request),
      onStep: (what) => network.onStep(process, what),
      usedIn: (path, from, bytes) => {
        const disk = this.disks.find((each) => `/dev/${each.kernel}` === path)
        return disk !== undefined && (disk.vg !== undefined || !disk.used(Math.floor(from / 4096), Math.ceil((from + bytes) / 4096)).next().done)
      },
      listens: (target) => answer(process, leave(async () => {
        await boot.kernel.sleep(5)
        const { data } = this.options
        const server = data.server(target)
        return server?.lio !== undefined && data.passes(this.name, server.name) && data.passes(server.name, this.name)
      })),
      blank: (path) => answer(process, leave(async () => {
        await boot.kernel.sleep(20)
        const [, , vg = '', name = ''] = path.split('/')
        const disk = this.disks.find((each) => each.vg?.name === vg)
        const volume = disk?.vg?.volumes.get(name)
        if (!disk || !volume || disk.faults.dead) throw new Error(`${path}: Input/output error`)
        return volume.extents.every((extent) => disk.used(extent * 1024, (extent + 1) * 1024).next().done === true)
      })),
    }
    this.agent = process
    network.timeline.touch()
    enter(process, () => {
      this.#serve(process, boot, address).catch((thrown: unknown) => {
        if (process.alive) transcript.violate('no program error', `${this.name}: the agent could not start: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`)
      })
    })
  }

  async #serve(process: Process, boot: Boot, address: string): Promise<void> {
    const { name, options: { roles, zone, network, transcript, number, seed } } = this
    const clock = processClock(network.timeline, this.clock, () => process.alive)
    const log = transcript.log(name)
    const stateDir = '/var/lib/vsky'
    await process.files.mkdir(stateDir, true)
    await clock.sleep(AGENT_START_MS)
    const lockPath = `${stateDir}/agent.lock`
    const lock = process.files.look(lockPath)
    const sameBoot = lock?.kind === 'file' && String(lock.text) === boot.id
    await process.files.write(lockPath, boot.id)
    const epochs = await openEpochs(epochFile(stateDir))
    const journal = createJournal(stateDir, { clock, log })
    const dice = createDice(seed, 9, number, this.#starts)
    const incarnation = Array.from({ length: 16 }, () => dice.between(0, 15).toString(16)).join('')
    const initiator = `iqn.2026-11.io.vsky:host.${name}`
    const run = process.run.bind(process)
    const dataAddresses = [dataAddress(number)]
    const shared = { stateDir, udev: false, run, log, clock }
    const storage = roles.includes('storage') ? await createStorageRole({ ...shared, host: name, initiator, dataAddresses, lvmTypes: [] }) : undefined
    let changes = 0
    const registration = createRegistration({
      managers: ['https://mgr:8881'], tls: { ca: '', cert: '', key: '' }, changed: () => changes, clock, log,
      self: { name, roles: [...roles], zone, address, dataAddresses, initiator, version: '0', bootId: boot.id, incarnation, disks: [] },
    })
    const head = roles.includes('head')
      ? await createHeadRole({ ...shared, onEvent: (volumes) => { registration.report(volumes) }, localDevice: (extent) => storage?.localDevice(extent) ?? Promise.resolve(undefined) })
      : undefined
    await storage?.start(sameBoot)
    await head?.start()
    network.endpoints.set(address, {
      host: name, process, handle: createAgentHandler({ host: name, bootId: boot.id, incarnation, epochs, journal, storage, head, clock, log, onChange: () => { changes += 1 }, onManager: (url) => { registration.follow(url) } }),
    })
    await registration.keep(new AbortController().signal)
  }
}

export function dataAddress(number: number): string {
  return `10.77.${Math.floor(number / 250)}.${number % 250 + 1}`
}
