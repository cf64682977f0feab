/** Faults done to a lab: each gives what heals it, or nothing where nothing is left to heal. */
import type { Lab } from '../lab/lab.js'
import { LabError } from '../lab/lab.js'
import type { Cut } from '../lab/network.js'
import { MANAGER } from './faults.js'
import type { Fault } from './faults.js'
import { wait } from './volume.js'
import type { ThrashedVolume } from './volume.js'

export type Heal = () => Promise<void>

/** What a guest had sent when its plug was pulled is heard by then. */
const LAST_WORDS_MS = 300
/** How long a move may be refused: what it needs may be on its way back. */
const MOVE_MS = 90_000

export class Hand {
  readonly #lab: Lab
  readonly #volumes: readonly ThrashedVolume[]
  readonly #told: (text: string) => void
  #cuts: readonly Cut[] = []

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
      case 'move': await this.#move(fault); return undefined
      case 'forced-move': return this.#forcedMove(fault.host, fault.to, fault.by)
    }
  }

  /** The lab ends all cuts at once, so those that stay are made again. */
  async #cut(cut: Cut): Promise<Heal> {
    await this.#lab.cut(cut)
    this.#cuts = [...this.#cuts, cut]
    return async () => {
      this.#cuts = this.#cuts.filter((each) => each !== cut)
      await this.#lab.heal()
      for (const each of this.#cuts) await this.#lab.cut(each)
    }
  }

  async #disk(host: string, disk: number, fault: Parameters<Lab['faults']['set']>[2]): Promise<Heal> {
    await this.#lab.faults.set(host, disk, fault)
    return () => this.#lab.faults.heal(host, disk)
  }

  async #powerOff(host: string): Promise<Heal> {
    await this.#lab.powerOff(host)
    await wait(LAST_WORDS_MS)
    for (const volume of this.#volumes) if (volume.head === host) volume.abandon()
    return () => this.#lab.powerOn(host)
  }

  async #move({ volume: name, to, kill, killAfterMs }: Extract<Fault, { kind: 'move' }>): Promise<void> {
    const volume = this.#volumes.find((each) => each.name === name)
    if (!volume) throw new LabError(`there is no volume ${name}`)
    await volume.stop()
    const killed = kill === '' ? Promise.resolve() : wait(killAfterMs).then(() => this.#lab.service(kill, 'kill9'))
    await Promise.all([killed, (async () => {
      await insist(this.#lab, ['volume', 'detach', name], this.#told)
      await insist(this.#lab, ['volume', 'attach', name, '--host', to], this.#told)
    })()])
    volume.head = to
    await volume.start()
  }

  async #forcedMove(host: string, to: string, by: 'attach' | 'host-fail'): Promise<Heal> {
    const powerOn = await this.#powerOff(host)
    if (by === 'host-fail') await insist(this.#lab, ['host', 'fail', host], this.#told)
    for (const volume of this.#volumes.filter((each) => each.head === host)) {
      await insist(this.#lab, ['volume', 'attach', volume.name, '--host', to, ...(by === 'attach' ? ['--force-from-dead-host'] : [])], this.#told)
      volume.head = to
      await volume.start()
    }
    return powerOn
  }
}

/** A command that must be done in the end. `told` hears of every refusal: the product may have to try again, but not in silence. */
export async function insist(lab: Lab, args: readonly string[], told: (text: string) => void): Promise<void> {
  const until = performance.now() + MOVE_MS
  for (;;) {
    const result = await lab.vsky(args)
    if (result.code === 0) return
    told(`vsky ${args.join(' ')} ended with ${result.code}: ${result.stderr.trim().split('\n')[0] ?? ''}`)
    if (performance.now() > until) throw new LabError(`vsky ${args.join(' ')} still ends with ${result.code} after ${MOVE_MS / 1000} s: ${result.stderr.trim()}`)
    await wait(1000)
  }
}

/** The ways of a forced move that this lab's `vsky` knows. */
export async function forcedMovesOf(lab: Lab): Promise<readonly ('attach' | 'host-fail')[]> {
  const [attach, host] = await Promise.all([lab.vsky(['volume', 'attach', '--help']), lab.vsky(['host', '--help'])])
  return [...(attach.stdout.includes('--force-from-dead-host') ? ['attach' as const] : []), ...(/^ +fail\b/m.test(host.stdout) ? ['host-fail' as const] : [])]
}
