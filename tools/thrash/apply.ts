/** Faults done to a lab, several at a time: each gives what heals it, or nothing where nothing is left to heal. */
import type { VolumeView } from '../../lib/api/views.js'
import { ask } from '../lab/ask.js'
import type { Lab } from '../lab/lab.js'
import { LabError } from '../lab/lab.js'
import type { Cut } from '../lab/network.js'
import { BLOCK, CHUNK_BLOCKS } from './block.js'
import { createDice } from './dice.js'
import { MANAGER } from './faults.js'
import type { Fault, Step } from './faults.js'
import { wait } from './volume.js'
import type { ThrashedVolume } from './volume.js'

export type Heal = () => Promise<void>

/** A fault that lasts. */
export interface Holding {
  readonly step: Step
  /** Its time is over, and it is healed by then unless it stays. Rejects when it can't be healed. */
  readonly over: Promise<void>
  /** Heals it now, once. */
  readonly end: Heal
}

export function hold(step: Step, heal: Heal): Holding {
  let healed: Promise<void> | undefined
  const end = (): Promise<void> => healed ??= heal()
  const over = wait(step.lastsMs).then(() => (step.stays ? undefined : end()))
  over.catch(() => undefined) // told when the round ends
  return { step, over, end }
}

/** What a guest had sent when its plug was pulled is heard by then. */
const LAST_WORDS_MS = 300
/** How long a move may be refused: what it needs may be on its way back. */
const MOVE_MS = 90_000
const AGAIN_MS = 400
/** By then a host without power counts as silent: before, taking its volumes by force is refused. */
const SILENT_MS = 30_000
const DISK_SECTORS = 100_000
const SECTOR = 512n

export class Hand {
  readonly #lab: Lab
  readonly #volumes: readonly ThrashedVolume[]
  readonly #told: (text: string) => void
  #cuts: readonly Cut[] = []
  /** What is done to one host's power and disks, and to the cuts, happens one at a time. */
  readonly #tails = new Map<string, Promise<unknown>>()
  /** Disks to be healed when their host has power again. */
  readonly #owed = new Map<string, Set<number>>()

  /** `told` hears of commands that were refused and are given again. */
  constructor(lab: Lab, volumes: readonly ThrashedVolume[], told: (text: string) => void) {
    this.#told = told
    this.#lab = lab
    this.#volumes = volumes
  }

  async apply(fault: Fault): Promise<Heal | undefined> {
    const lab = this.#lab
    switch (fault.kind) {
      case 'manager-kill': await lab.service(MANAGER, 'kill9'); return undefined
      case 'agent-kill': await lab.service(fault.host, 'kill9'); return undefined
      case 'manager-cut': return this.#cut({ from: fault.host, plane: 'control', oneWay: false })
      case 'blip': case 'cut': return this.#cut({ from: fault.from, to: fault.to, plane: 'data', oneWay: fault.oneWay })
      case 'storage-power': case 'head-power': return this.#powerOff(fault.host)
      case 'disk-fail': return this.#disk(fault.host, fault.disk, { kind: 'fail', direction: fault.direction })
      case 'disk-slow': return this.#disk(fault.host, fault.disk, { kind: 'slow', ms: fault.ms })
      case 'disk-hang': return this.#disk(fault.host, fault.disk, { kind: 'hang' })
      case 'disk-bad': return this.#disk(fault.host, fault.disk, { kind: 'bad', sectors: await this.#badSectors(fault) })
      case 'move': await this.#move(fault); return undefined
      case 'forced-move': return this.#forcedMove(fault.host, fault.to, fault.by)
    }
  }

  #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.#tails.get(key) ?? Promise.resolve()).then(work, work)
    this.#tails.set(key, mine.catch(() => undefined))
    return mine
  }

  /** The lab ends all cuts at once, so those that stay are made again. */
  #cut(cut: Cut): Promise<Heal> {
    return this.#inTurn('cuts', async () => {
      await this.#lab.cut(cut)
      this.#cuts = [...this.#cuts, cut]
      return () => this.#inTurn('cuts', async () => {
        this.#cuts = this.#cuts.filter((each) => each !== cut)
        await this.#lab.heal()
        for (const each of this.#cuts) await this.#lab.cut(each)
      })
    })
  }

  #disk(host: string, disk: number, fault: Parameters<Lab['faults']['set']>[2]): Promise<Heal> {
    return this.#inTurn(host, async () => {
      await this.#lab.faults.set(host, disk, fault)
      return () => this.#inTurn(host, () => (this.#lab.powered(host) ? this.#healDisk(host, disk) : this.#owe(host, disk)))
    })
  }

  #owe(host: string, disk: number): Promise<void> {
    this.#owed.set(host, (this.#owed.get(host) ?? new Set()).add(disk))
    return Promise.resolve()
  }

  /** A disk that was repaired: what was counted on it while it was bad does not count any more. */
  async #healDisk(host: string, disk: number): Promise<void> {
    await this.#lab.faults.heal(host, disk)
    await insist(this.#lab, ['disk', 'use', `${host}:/dev/mapper/disk${disk}`], this.#told)
  }

  /** Places that the writers write and read, on legs of this disk; anywhere on it when there is none. */
  async #badSectors({ host, disk, sectors, dice: number }: Extract<Fault, { kind: 'disk-bad' }>): Promise<readonly number[]> {
    const views = await Promise.all(this.#volumes.map((volume) => volume.show()))
    const places = views.flatMap((view, at) => view.segments.flatMap((segment) => segment.legs.filter((leg) => leg.host === host && leg.device === `/dev/mapper/disk${disk}`)
      .map((leg) => ({ device: `vsky_${leg.disk}-${leg.extent}`, sectors: sectorsWritten(this.#volumes[at]?.chunks ?? [], segment) })))).filter((place) => place.sectors.length > 0)
    // A line each: a leg that has just been placed may have no device yet.
    const tables = places.length === 0 ? '' : await this.#lab.must(host, ['bash', '-c', places.map(({ device }) => `echo "$(dmsetup table ${device} 2>/dev/null | head -1)"`).join('; ')])
    const begins = tables.split('\n').map((line) => Number(line.split(' ')[4]))
    const there = places.flatMap((place, at) => { const begin = begins[at]; return begin === undefined || Number.isNaN(begin) ? [] : [{ begin, sectors: place.sectors }] })
    const dice = createDice(number)
    return [...new Set(Array.from({ length: sectors }, () => {
      if (there.length === 0) return dice.between(1, DISK_SECTORS)
      const { begin, sectors: written } = dice.pick(there)
      return begin + dice.pick(written)
    }))]
  }

  #powerOff(host: string): Promise<Heal> {
    return this.#inTurn(host, async () => {
      await this.#lab.powerOff(host)
      await wait(LAST_WORDS_MS)
      for (const volume of this.#volumes) if (volume.head === host) volume.abandon()
      return () => this.#inTurn(host, () => this.#powerOn(host))
    })
  }

  async #powerOn(host: string): Promise<void> {
    if (this.#lab.powered(host)) return // by the heal of another fault
    await this.#lab.powerOn(host)
    for (const disk of this.#owed.get(host) ?? []) await this.#healDisk(host, disk)
    this.#owed.delete(host)
  }

  async #move({ volume: name, to, kill, killAfterMs, changes }: Extract<Fault, { kind: 'move' }>): Promise<void> {
    const volume = this.#volumes.find((each) => each.name === name)
    if (!volume) throw new LabError(`there is no volume ${name}`)
    await volume.stop()
    const killed = kill === '' ? Promise.resolve() : wait(killAfterMs).then(() => this.#lab.service(kill, 'kill9'))
    await Promise.all([killed, (async () => {
      await insist(this.#lab, ['volume', 'detach', name], this.#told)
      if (changes !== '') await insist(this.#lab, ['setting', 'set', 'volume.changes', changes === 'on' ? '1' : '0', '--volume', name], this.#told)
      await insist(this.#lab, ['volume', 'attach', name, '--host', to], this.#told)
    })()])
    volume.head = to
    await volume.start()
  }

  async #forcedMove(host: string, to: string, by: 'attach' | 'host-fail'): Promise<Heal> {
    const powerOn = await this.#powerOff(host)
    const until = performance.now() + SILENT_MS
    while (performance.now() < until && await ask(this.#lab, 'hostShow', { host }).then((view) => view.state === 'online', () => true)) await wait(150)
    if (by === 'host-fail') await insist(this.#lab, ['host', 'fail', host], this.#told)
    await Promise.all(this.#volumes.filter((each) => each.head === host).map(async (volume) => {
      await insist(this.#lab, ['volume', 'attach', volume.name, '--host', to, ...(by === 'attach' ? ['--force-from-dead-host'] : [])], this.#told)
      volume.head = to
      await volume.start()
    }))
    if (by === 'attach') return powerOn
    return async () => {
      await powerOn()
      await insist(this.#lab, ['host', 'use', host], this.#told)
    }
  }
}

/** Sectors of a segment that belong to chunks of the writer, from the segment's start. */
function sectorsWritten(chunks: readonly number[], { offset, bytes }: Pick<VolumeView['segments'][number], 'offset' | 'bytes'>): readonly number[] {
  const [begin, length] = [Number(offset / SECTOR), Number(bytes / SECTOR)]
  const perBlock = BLOCK / Number(SECTOR)
  return chunks.flatMap((chunk) => Array.from({ length: CHUNK_BLOCKS }, (_, index) => (chunk + index) * perBlock - begin)).filter((sector) => sector >= 0 && sector < length)
}

/** A command that must be done in the end. `told` hears of every refusal: the product may have to try again, but not in silence. */
export async function insist(lab: Lab, args: readonly string[], told: (text: string) => void): Promise<void> {
  const until = performance.now() + MOVE_MS
  for (;;) {
    const result = await lab.vsky(args)
    if (result.code === 0) return
    told(`vsky ${args.join(' ')} ended with ${result.code}: ${result.stderr.trim().split('\n')[0] ?? ''}`)
    if (performance.now() > until) throw new LabError(`vsky ${args.join(' ')} still ends with ${result.code} after ${MOVE_MS / 1000} s: ${result.stderr.trim()}`)
    await wait(AGAIN_MS)
  }
}

/** The ways of a forced move that this lab's `vsky` knows. */
export async function forcedMovesOf(lab: Lab): Promise<readonly ('attach' | 'host-fail')[]> {
  const [attach, host] = await Promise.all([lab.vsky(['volume', 'attach', '--help']), lab.vsky(['host', '--help'])])
  return [...(attach.stdout.includes('--force-from-dead-host') ? ['attach' as const] : []), ...(/^ +fail\b/m.test(host.stdout) ? ['host-fail' as const] : [])]
}
