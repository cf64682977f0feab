/** A virtual machine: it has a volume's device open, reads and writes several blocks at once, never two writes to one block at a time. */
import type { Dice } from '../../tools/thrash/dice.js'
import { nothing } from './block.js'
import type { Content } from './block.js'
import type { DmDevice } from './dm.js'
import type { History } from './history.js'
import type { Boot, Host } from './host.js'
import type { Transcript } from './record.js'

export interface GuestOptions {
  readonly volume: string
  readonly id: string
  readonly host: Host
  readonly slots: readonly number[]
  readonly history: History
  readonly dice: Dice
  readonly transcript: Transcript
  readonly depth: number
  /** Mean time between two requests, ms. */
  readonly thinkMs: number
  /** Told of each write that was acknowledged. */
  readonly onAck: (guest: Guest, slot: number, version: number) => void
  readonly onFlush: (guest: Guest, began: number) => void
}

export class Guest {
  readonly options: GuestOptions
  /** It has been shut out: what it still reads is its own affair. What it is told as written is not. */
  shutOut = false
  stopped = false
  done = 0
  #boot: Boot | undefined
  #device: DmDevice | undefined
  readonly #writing = new Map<number, number>()
  #underWay = 0

  constructor(options: GuestOptions) {
    this.options = options
    this.#tick()
  }

  get idle(): boolean { return this.#underWay === 0 }
  get running(): boolean { return this.#device !== undefined }

  /** It asks for nothing more, and closes its device when all has ended. */
  stop(): void {
    this.stopped = true
    this.#close()
  }

  /** It was to stop, and is not to any more. */
  goOn(): void {
    this.stopped = false
  }

  #close(): void {
    if (!this.stopped || this.#underWay > 0 || !this.#device) return
    this.#device.opens -= 1
    this.#device = undefined
  }

  /** Its host has no power any more. */
  #crash(): void {
    const now = this.#now()
    for (const [slot, version] of this.#writing) this.options.history.lost(slot, version, now)
    this.#writing.clear()
    this.#underWay = 0
    this.#device = undefined
    this.#boot = undefined
  }

  #now(): number { return this.options.host.options.network.timeline.now }

  #tick(): void {
    const { host, dice, thinkMs, volume, id } = this.options
    host.options.network.timeline.after(thinkMs * (0.3 + 1.4 * dice.next()), () => {
      if (this.#boot && this.#boot !== host.boot) this.#crash()
      if (this.stopped) {
        this.#close()
        if (this.#underWay === 0) return
      } else if (!this.#device && host.boot) {
        const link = host.files.look(`/dev/vsky/${volume}`)
        const device = link?.kind === 'link' ? host.boot.dm.devices.get(`vsky-${id}`) : undefined
        if (device) {
          this.#boot = host.boot
          this.#device = device
          device.opens += 1
        }
      } else if (this.#device && this.#underWay < this.options.depth) this.#ask(this.#device)
      this.#tick()
    })
  }

  #ask(device: DmDevice): void {
    const { dice, slots, history, transcript, volume, host } = this.options
    const slot = dice.pick(slots)
    const [boot, began] = [this.#boot, this.#now()]
    const alive = (): boolean => this.#boot === boot && boot === host.boot && boot !== undefined
    const kind = dice.next()
    this.#underWay += 1
    const ended = (): void => {
      this.#underWay -= 1
      this.done += 1
      this.#close()
    }
    if (kind < 0.04) {
      device.submit({ op: 'flush', slot: 0, count: 0, data: nothing, done: (outcome) => {
        if (!alive()) return
        ended()
        if (outcome === 'ok') this.options.onFlush(this, began)
      } })
    } else if (kind < 0.6 && !this.#writing.has(slot)) {
      const version = history.begin(slot, began)
      this.#writing.set(slot, version)
      device.submit({ op: 'write', slot, count: 1, data: new Map<number, Content>([[0, version]]), done: (outcome) => {
        if (!alive()) return
        this.#writing.delete(slot)
        ended()
        if (outcome === 'ok') {
          history.acked(slot, version, this.#now())
          this.options.onAck(this, slot, version)
        } else history.lost(slot, version, this.#now())
      } })
    } else {
      device.submit({ op: 'read', slot, count: 1, data: nothing, done: (outcome, data) => {
        if (!alive()) return
        ended()
        if (outcome !== 'ok' || this.shutOut) return
        const wrong = history.read(slot, data.get(0) ?? 0, began, this.#now())
        if (wrong !== undefined) transcript.violate('what is read is what was written', `volume ${volume} on ${host.name}: ${wrong}`)
      } })
    }
  }
}
