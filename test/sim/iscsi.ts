/**
 * open-iscsi on a head: sessions, their LUNs as disks, and what becomes of commands when a connection is lost. Timers as in the node
 * record that the product writes (agent/iscsi/node-record.ts): a silent server is noticed after some 3 s, and given up one second later;
 * iscsid goes on trying to log in for ever.
 */
import { counted, newCounts, nothing } from './block.js'
import type { Bio, BlockDevice } from './block.js'
import type { Cancel } from './clock.js'
import type { Files } from './files.js'
import type { Kernel } from './kernel.js'
import type { Lio, ServerSession } from './lio.js'
import type { Ended } from './programs.js'

const SILENT_MS = 3000
const REPLACEMENT_MS = 1000
const RETRY_MS = 1000
/** SCSI command timer and error handling: then the disk is offline, until somebody says that it runs, or the session is logged in to again. */
const COMMAND_MS = 11_000
/** Of its attempts to log in again this share breaks in the one moment that iscsid does not get over: it goes on trying, and never succeeds (open-iscsi issue 387). */
const ASTRAY = 0.02

/** The way from a head to a storage server. */
export interface DataNetwork {
  server(target: string): { readonly name: string; readonly lio: Lio | undefined } | undefined
  /** Whether packets pass, one way. */
  passes(from: string, to: string): boolean
  delayMs(): number
}

export class Initiator {
  readonly sessions = new Map<string, IscsiSession>()
  readonly kernel: Kernel
  readonly host: string
  readonly network: DataNetwork
  readonly #files: Files
  #count = 0
  #disks = 0

  constructor(kernel: Kernel, host: string, network: DataNetwork, files: Files) {
    this.kernel = kernel
    this.host = host
    this.network = network
    this.#files = files
  }

  nextDisk(): string {
    let number = this.#disks
    this.#disks += 1
    let name = ''
    do {
      name = String.fromCharCode(97 + number % 26) + name
      number = Math.floor(number / 26) - 1
    } while (number >= 0)
    return `sd${name}`
  }

  async iscsiadm(args: readonly string[]): Promise<Ended> {
    const value = (name: string): string => args[args.indexOf(name) + 1] ?? ''
    if (args.includes('--login')) return this.#login(value('-T'), value('-p'))
    const session = this.sessions.get(value('-r'))
    if (!session) return { code: 21, out: '', err: 'iscsiadm: No session found.' }
    await this.kernel.sleep(session.state === 'LOGGED_IN' ? 20 : 1000)
    session.end()
    this.sessions.delete(session.sid)
    return { code: 0, out: '', err: '' }
  }

  async #login(target: string, portal: string): Promise<Ended> {
    const address = portal.slice(0, portal.lastIndexOf(':'))
    const record = this.#files.look(`/etc/iscsi/nodes/${target}/${address},3260,1/default`)
    if (record?.kind !== 'file') return { code: 21, out: '', err: 'iscsiadm: No records found' }
    const setting = (name: string): string => new RegExp(`^${name.replaceAll('.', '\\.')} = (.*)$`, 'm').exec(String(record.text))?.[1] ?? ''
    const session = new IscsiSession(this, String(this.#count += 1), target, { user: setting('node.session.auth.username'), password: setting('node.session.auth.password') })
    const failed = await session.connect()
    if (failed !== '') {
      await this.kernel.sleep(failed === 'timeout' ? 5000 : 30)
      return { code: failed === 'timeout' ? 8 : 24, out: '', err: `iscsiadm: Could not login to [${target}]: ${failed}` }
    }
    this.sessions.set(session.sid, session)
    return { code: 0, out: '', err: '' }
  }

  /** Who can't be reached now, or can again: what the network's state means for the sessions. */
  look(): void {
    for (const session of this.sessions.values()) session.look()
  }
}

interface Command { readonly lun: number; readonly bio: Bio; sent: number; done: boolean; readonly cancel: Cancel }

export class IscsiSession {
  state: 'LOGGED_IN' | 'FAILED' = 'LOGGED_IN'
  readonly sid: string
  readonly target: string
  readonly disks = new Map<number, ScsiDisk>()
  readonly initiator: Initiator
  readonly #chap: { readonly user: string; readonly password: string }
  readonly #open = new Set<Command>()
  #server: ServerSession | undefined
  #life = 0
  #givenUp = false
  #ended = false
  #silent: Cancel | undefined
  /** What a link that is cut just now did not let pass: TCP sends it again, as long as the connection lives. */
  #stuck: (() => void)[] = []

  constructor(initiator: Initiator, sid: string, target: string, chap: { readonly user: string; readonly password: string }) {
    this.initiator = initiator
    this.sid = sid
    this.target = target
    this.#chap = chap
  }

  get hostNumber(): string { return this.sid }

  /** As the kernel shows it: a session that was given up is free. */
  get shown(): 'LOGGED_IN' | 'FAILED' | 'FREE' { return this.#givenUp && this.state === 'FAILED' ? 'FREE' : this.state }

  /** Of all its disks. */
  get deviceState(): string { return this.#givenUp ? 'transport-offline' : this.state === 'FAILED' ? 'blocked' : 'running' }

  #reachable(): boolean {
    const { network, host } = this.initiator
    const server = network.server(this.target)
    return server?.lio !== undefined && network.passes(host, server.name) && network.passes(server.name, host)
  }

  /** Empty when it is logged in. */
  async connect(): Promise<string> {
    const { network, host, kernel } = this.initiator
    await kernel.sleep(5 + network.delayMs() * 4)
    if (!this.#reachable()) return 'timeout'
    const answer = network.server(this.target)?.lio?.login(this.target, `iqn.2026-11.io.vsky:host.${host}`, this.#chap.user, this.#chap.password)
    if (typeof answer === 'string' || answer === undefined) return answer ?? 'timeout'
    if (this.#ended) return 'ended'
    this.#server = answer
    const life = this.#life += 1
    answer.onEnd = () => { kernel.after(network.delayMs(), () => { if (this.#life === life) this.#lost() }) }
    this.state = 'LOGGED_IN'
    this.#givenUp = false
    for (const disk of this.disks.values()) disk.offline = false
    for (const command of [...this.#open]) this.#send(command)
    return ''
  }

  /** The network has changed: a connection that nothing passes any more is noticed in a while. */
  look(): void {
    if (this.state !== 'LOGGED_IN') return
    for (const again of this.#stuck.splice(0)) again()
    if (this.#reachable()) {
      this.#silent?.()
      this.#silent = undefined
      if (this.#server?.alive !== true) this.#lost() // it was started anew, and knows nothing of this connection
    } else this.#silent ??= this.initiator.kernel.after(SILENT_MS * (0.7 + 0.6 * this.initiator.kernel.dice.next()), () => {
      this.#silent = undefined
      if (!this.#reachable()) this.#lost()
    })
  }

  #lost(): void {
    if (this.state !== 'LOGGED_IN' || this.#ended) return
    this.state = 'FAILED'
    this.#life += 1
    this.#stuck = []
    const { kernel } = this.initiator
    kernel.after(REPLACEMENT_MS, () => {
      if (this.state !== 'FAILED') return
      this.#givenUp = true
      for (const command of [...this.#open]) this.#finish(command, 'io')
    })
    const retry = (): void => {
      if (this.state !== 'FAILED' || this.#ended) return
      if (kernel.dice.chance(ASTRAY)) return
      void this.connect().then((failed) => { if (failed !== '') kernel.after(failed === 'timeout' ? 5000 : RETRY_MS, retry) })
    }
    kernel.after(100, retry)
  }

  /** By a logout: what is open ends with an error. */
  end(): void {
    this.#ended = true
    this.state = 'FAILED'
    this.#givenUp = true
    for (const command of [...this.#open]) this.#finish(command, 'io')
    for (const disk of [...this.disks.values()]) disk.remove()
    const server = this.#server
    const { network, kernel } = this.initiator
    if (server?.alive === true && this.#reachable()) kernel.timeline.after(network.delayMs(), () => {
      const lio = network.server(this.target)?.lio
      if (lio?.sessions.get(server.initiator) === server) {
        lio.sessions.delete(server.initiator)
        server.alive = false
      }
    })
  }

  /** As `echo 0 0 LUN > scan`: a LUN that answers becomes a disk, in a moment. */
  scan(lun: number): void {
    const { kernel, network } = this.initiator
    kernel.after(5 + network.delayMs() * 4, () => {
      if (this.disks.has(lun) || this.state !== 'LOGGED_IN' || !this.#server || !this.#reachable()) return
      const who = network.server(this.target)?.lio?.identify(this.#server, lun)
      if (!who) return
      const disk = new ScsiDisk(this, lun, this.initiator.nextDisk(), who)
      this.disks.set(lun, disk)
      kernel.add(disk)
    })
  }

  command(lun: number, bio: Bio): void {
    const { kernel } = this.initiator
    if (this.#ended || this.#givenUp) {
      kernel.after(0.1, () => { bio.done('io', nothing) })
      return
    }
    const command: Command = { lun, bio, sent: 0, done: false, cancel: kernel.after(COMMAND_MS, () => {
      const disk = this.disks.get(lun)
      if (disk && this.state === 'LOGGED_IN') disk.offline = true
      this.#finish(command, 'io')
    }) }
    this.#open.add(command)
    if (this.state === 'LOGGED_IN') this.#send(command)
  }

  #send(command: Command): void {
    const { network, host, kernel } = this.initiator
    const [life, session, server] = [this.#life, this.#server, network.server(this.target)]
    command.sent += 1
    const { sent } = command
    if (!session || !server) return
    // On the wire: it goes on when the head is dead.
    const there = (): Cancel => kernel.timeline.after(network.delayMs(), () => {
      if (!session.alive || command.sent !== sent || !server.lio) return
      if (!network.passes(host, server.name)) this.#stick(life, there)
      else server.lio.submit(session, command.lun, { ...command.bio, done: (outcome, data) => {
        const back = (): Cancel => kernel.after(network.delayMs(), () => {
          if (this.#life !== life || command.sent !== sent) return
          if (!network.passes(server.name, host)) this.#stick(life, back)
          else this.#finish(command, outcome, data)
        })
        back()
      } })
    })
    there()
  }

  #stick(life: number, again: () => void): void {
    if (this.#life === life) this.#stuck.push(again)
  }

  #finish(command: Command, outcome: 'ok' | 'io' | 'media' | 'requeue', data: ReadonlyMap<number, never> | Parameters<Bio['done']>[1] = nothing): void {
    if (command.done) return
    command.done = true
    command.cancel()
    this.#open.delete(command)
    if (outcome !== 'ok') this.disks.get(command.lun)?.failed(command.bio, outcome)
    command.bio.done(outcome, data)
  }
}

export class ScsiDisk implements BlockDevice {
  readonly kernel: string
  readonly devno: string
  readonly slots: number
  readonly holders = new Set<string>()
  readonly counts = newCounts()
  readonly serial: string
  readonly session: IscsiSession
  readonly lun: number
  opens = 0
  ioErrors = 0
  offline = false
  #gone = false

  constructor(session: IscsiSession, lun: number, name: string, { serial, slots }: { readonly serial: string; readonly slots: number }) {
    this.session = session
    this.lun = lun
    this.kernel = name
    this.serial = serial
    this.slots = slots
    this.devno = `8:${session.initiator.kernel.nextMinor() * 16}`
  }

  submit(bio: Bio): void {
    if (this.#gone || this.offline) bio.done('io', nothing)
    else this.session.command(this.lun, counted(this, bio))
  }

  failed(bio: Bio, outcome: string): void {
    this.ioErrors += 1
    if (outcome === 'media') this.session.initiator.kernel.say(`critical medium error, dev ${this.kernel}, sector ${bio.slot * 8} op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2`)
    else if (bio.op === 'read') this.session.initiator.kernel.say(`I/O error, dev ${this.kernel}, sector ${bio.slot * 8} op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2`)
  }

  remove(): void {
    this.#gone = true
    this.session.disks.delete(this.lun)
    this.session.initiator.kernel.remove(this)
  }
}
