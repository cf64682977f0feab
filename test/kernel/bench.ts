/**
 * What a claim about the kernel stands on: one host with two empty disks, its programs and files as the product's modules reach them, and
 * requests of one block. There are two: a real host of the lab (real.ts), and the played kernel of the simulation (played.ts). What is
 * claimed of one holds for the other, or the simulation proves nothing.
 */
import { createDmsetup } from '../../agent/dm/dmsetup.js'
import type { Dmsetup } from '../../agent/dm/dmsetup.js'
import type { Clock, Log, Run } from '../../lib/ports.js'

export type Op = 'read' | 'write' | 'flush'

export interface Answer {
  readonly outcome: 'ok' | 'error'
  /** What a read found: the number that was written to the block, 0 for zeros. */
  readonly content: number
}

export interface Bench {
  readonly run: Run
  readonly clock: Clock
  readonly log: Log
  /** Paths of two disks of at least 96 MiB. What is on them may be overwritten. */
  readonly disks: readonly [string, string]
  /** The host is its own storage server and its own head. */
  readonly host: string
  readonly address: string
  /** The line of a linear device, so that everything that comes to it fails, flushes as well. */
  broken(linear: string): string
  /** One block of 4 KiB, past every cache. */
  io(device: string, op: Op, block: number, content?: number): Promise<Answer>
  /** Lets nothing pass between initiator and target, until it is called with false. */
  cut(on: boolean): Promise<void>
}

export interface Claim {
  readonly name: string
  readonly check: (rig: Rig) => Promise<void>
}

/** Sectors of a device of a claim: 16 MiB, 32 regions. */
export const SECTORS = 32768n
/** Where they begin on the disk, sectors. */
const START = 8192n

/** A bench with devices that are taken away when the claim is proved, or isn't. */
export class Rig {
  readonly bench: Bench
  readonly dm: Dmsetup
  readonly #made: string[] = []
  readonly #named: string[] = []
  readonly #after: (() => Promise<unknown>)[] = []

  constructor(bench: Bench) {
    this.bench = bench
    this.dm = createDmsetup({ run: bench.run, waiting: bench.run, holding: bench.run, udev: false })
  }

  name(short: string): string { return `vc-${short}` }
  path(short: string): string { return `/dev/mapper/vc-${short}` }

  async make(short: string, ...table: readonly string[]): Promise<string> {
    await this.dm.create([{ name: this.name(short), uuid: `CLAIM-${short}`, table }])
    this.#made.push(short)
    return this.path(short)
  }

  #plain(disk: 0 | 1): string { return `0 ${SECTORS} linear ${this.bench.disks[disk]} ${START}` }

  /** One that goes by a name of the product's. */
  async makeNamed(name: string, uuid: string, ...table: readonly string[]): Promise<string> {
    await this.dm.create([{ name, uuid, table }])
    this.#named.push(name)
    return `/dev/mapper/${name}`
  }

  /** A leg: a part of a disk that can be made to fail and to work again. It holds zeros. */
  async leg(short: string, disk: 0 | 1): Promise<string> {
    const path = await this.make(short, this.#plain(disk))
    await this.program('blkdiscard', ['-z', path])
    return path
  }

  /** A program that must end well; gives what it said. */
  async program(file: string, args: readonly string[]): Promise<string> {
    const { exit, stdout, stderr } = await this.bench.run({ file, args, timeoutMs: 30_000 })
    if (exit.kind !== 'code' || exit.code !== 0) throw new Error(`${file} ${args.join(' ')}: ${exit.kind}: ${stderr}`)
    return stdout
  }

  breakLeg(short: string, disk: 0 | 1): Promise<void> { return this.dm.reload(this.name(short), [this.bench.broken(this.#plain(disk))]) }
  mendLeg(short: string, disk: 0 | 1): Promise<void> { return this.dm.reload(this.name(short), [this.#plain(disk)]) }

  /** The first line of its status. */
  async status(short: string): Promise<string> {
    return (await this.dm.status([this.name(short)])).get(this.name(short))?.[0] ?? ''
  }

  async events(short: string): Promise<number> {
    return (await this.dm.counters()).get(this.name(short)) ?? -1
  }

  /** Number of a device, `254:3`. */
  async devno(short: string): Promise<string> {
    return (await this.dm.state()).find((each) => each.name === this.name(short))?.devno ?? ''
  }

  io(device: string, op: Op, block: number, content = 0): Promise<Answer> {
    return this.bench.io(device, op, block, content)
  }

  /** A request that must succeed; gives what was read. */
  async must(device: string, op: Op, block: number, content = 0): Promise<number> {
    const answer = await this.io(device, op, block, content)
    if (answer.outcome !== 'ok') throw new Error(`${op} of block ${block} of ${device} ended with an error`)
    return answer.content
  }

  read(device: string, block: number): Promise<number> { return this.must(device, 'read', block) }

  /** How a request stands after a while. */
  async soon(request: Promise<Answer>, ms = 1500): Promise<'ok' | 'error' | 'waits'> {
    return Promise.race([request.then(({ outcome }) => outcome), this.bench.clock.sleep(ms).then(() => 'waits' as const)])
  }

  /** Asks until `good` says so. */
  async until<T>(claim: string, ask: () => Promise<T>, good: (value: T) => boolean, ms = 20_000): Promise<T> {
    const end = this.bench.clock.monoMs() + ms
    for (;;) {
      const value = await ask()
      if (good(value)) return value
      if (this.bench.clock.monoMs() > end) throw new Error(`within ${ms / 1000} s never: ${claim}; last: ${JSON.stringify(value)}`)
      await this.bench.clock.sleep(50)
    }
  }

  /** Done before the devices go. */
  after(act: () => Promise<unknown>): void { this.#after.push(act) }

  /** It has been taken away by the claim itself. */
  gone(short: string): void { this.#made.splice(this.#made.indexOf(short), 1) }

  async end(): Promise<void> {
    for (const act of this.#after.reverse()) await act().catch(() => undefined)
    for (const name of [...this.#named.reverse(), ...this.#made.reverse().map((short) => this.name(short))]) {
      if ((await this.dm.remove([name])).kind === 'removed') continue
      // Something still waits in it: a claim that did not hold.
      if (/ multipath /.test((await this.dm.status([name])).get(name)?.[0] ?? '')) await this.dm.message(name, 'fail_if_no_path').catch(() => undefined)
      else await this.dm.fail(name, SECTORS).catch(() => undefined)
      await this.until(`${name} can be removed`, () => this.dm.remove([name]), ({ kind }) => kind === 'removed', 5000).catch(() => undefined)
    }
  }
}

export interface Proof {
  readonly name: string
  /** Empty: it holds. */
  readonly error: string
  readonly ms: number
}

export async function prove(bench: Bench, claim: Claim): Promise<Proof> {
  const rig = new Rig(bench)
  const began = bench.clock.monoMs()
  let error = ''
  try {
    await claim.check(rig)
  } catch (thrown) {
    error = thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)
  }
  try {
    await rig.end()
  } catch (thrown) {
    error ||= `it could not be tidied up: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`
  }
  return { name: claim.name, error, ms: Math.round(bench.clock.monoMs() - began) }
}
