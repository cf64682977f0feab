/** One boot of one host's kernel: its block devices by name, number and path, and the end of all of it when power is lost. */
import type { Dice } from '../../tools/thrash/dice.js'
import type { BlockDevice } from './block.js'
import type { Cancel, Timeline } from './clock.js'

export class Kernel {
  dead = false
  readonly timeline: Timeline
  readonly dice: Dice
  /** By the kernel's name. */
  readonly devices = new Map<string, BlockDevice>()
  /** /dev/… → name. */
  readonly nodes = new Map<string, string>()
  /** dmesg. */
  readonly log: string[] = []
  readonly #bootedAt: number
  #minors = 0

  constructor(timeline: Timeline, dice: Dice) {
    this.timeline = timeline
    this.dice = dice
    this.#bootedAt = timeline.now
  }

  after(ms: number, act: () => void): Cancel {
    return this.timeline.after(ms, () => { if (!this.dead) act() })
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, () => {
        this.timeline.touch()
        resolve()
      })
    })
  }

  nextMinor(): number {
    return this.#minors += 1
  }

  say(text: string): void {
    this.log.push(`[${((this.timeline.now - this.#bootedAt) / 1000).toFixed(6).padStart(12)}] ${text}`)
    if (this.log.length > 500) this.log.splice(0, 100)
  }

  add(device: BlockDevice, ...nodes: readonly string[]): void {
    this.devices.set(device.kernel, device)
    for (const node of [`/dev/${device.kernel}`, ...nodes]) this.nodes.set(node, device.kernel)
  }

  remove(device: BlockDevice): void {
    this.devices.delete(device.kernel)
    for (const [node, name] of this.nodes) if (name === device.kernel) this.nodes.delete(node)
  }

  /** By path or `major:minor`. */
  find(reference: string): BlockDevice | undefined {
    if (/^\d+:\d+$/.test(reference)) return [...this.devices.values()].find((each) => each.devno === reference)
    return this.devices.get(this.nodes.get(reference) ?? '')
  }
}
