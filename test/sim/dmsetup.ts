/** The program dmsetup: every verb that agent/dm/dmsetup.ts uses, with the words that the real one says. */
import { ask, nothing } from './block.js'
import { DmDevice, DmError, error, linear } from './dm.js'
import type { MakeTarget } from './dm.js'
import { era } from './dm-era.js'
import { mirror } from './dm-mirror.js'
import { queue } from './dm-queue.js'
import type { Kernel } from './kernel.js'
import type { LoopDevice } from './loop.js'
import type { Ended } from './programs.js'

export class Dm {
  readonly devices = new Map<string, DmDevice>()
  readonly #kernel: Kernel

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** Another program's devices (LVM's) are in the same list. */
  add(device: DmDevice): void {
    this.devices.set(device.name, device)
    this.#kernel.add(device, `/dev/mapper/${device.name}`)
  }

  drop(device: DmDevice): void {
    this.devices.delete(device.name)
    this.#kernel.remove(device)
    device.remove()
  }

  readonly make: MakeTarget = async (kind, words, sectors, context) => {
    const kernel = this.#kernel
    const deviceOf = (reference = ''): ReturnType<Kernel['find']> & object => {
      const device = kernel.find(reference)
      if (!device) throw new DmError(`${reference}: No such device or address`)
      return device
    }
    switch (kind) {
      case 'linear': return linear(deviceOf(words[0]), Number(words[1]), sectors)
      case 'error': return error()
      case 'multipath': return queue(context, deviceOf(words.at(-2)), words.includes('queue_if_no_path'))
      case 'era': return era(context, deviceOf(words[0]), deviceOf(words[1]), Number(words[2]))
      case 'mirror': {
        const [type, count, ...rest] = words
        const args = rest.slice(0, Number(count))
        const after = rest.slice(Number(count))
        const region = Number(type === 'disk' ? args[1] : args[0])
        const places = Array.from({ length: Number(after[0]) }, (_, at) => ({ device: deviceOf(after[1 + 2 * at]), start: Number(after[2 + 2 * at]) }))
        if (after.slice(1 + 2 * places.length).join(' ') !== '1 handle_errors') throw new DmError('this world knows mirrors with handle_errors only')
        if (type === 'core') return mirror(context, sectors, region, { words: `core ${words.slice(1, 2 + args.length).join(' ')}`, device: undefined, clean: () => args[1] === 'nosync' }, places)
        const log = deviceOf(args[0]) as LoopDevice
        return mirror(context, sectors, region, { words: `disk 2 ${log.devno} ${region}`, device: log, clean: log.cleanRegions(Math.ceil(sectors / region)) }, places)
      }
      default: throw new DmError(`unknown target type ${kind}`)
    }
  }

  async create(name: string, uuid: string, table: readonly string[]): Promise<void> {
    if (this.devices.has(name)) throw new DmError(`device-mapper: create ioctl on ${name} failed: Device or resource busy`)
    const device = new DmDevice(this.#kernel, name, uuid)
    this.add(device)
    try {
      await device.load(table, this.make)
      await device.resume(true)
    } catch (thrown) {
      this.drop(device)
      throw thrown
    }
  }

  #named(name: string): DmDevice {
    const device = this.devices.get(name)
    if (!device) throw new DmError(`Device ${name} not found\nCommand failed.`)
    return device
  }

  /** Arguments as after `dmsetup`. */
  async run(args: readonly string[], input: string): Promise<Ended> {
    try {
      return { code: 0, out: await this.#verb(args, input), err: '' }
    } catch (thrown) {
      if (!(thrown instanceof DmError)) throw thrown
      return { code: 1, out: '', err: `device-mapper: ${thrown.message}\n` }
    }
  }

  async #verb([verb = '', ...rest]: readonly string[], input: string): Promise<string> {
    const words = rest.filter((word) => !word.startsWith('--'))
    const [name = ''] = words
    switch (verb) {
      case 'create':
        if (rest[0] === '--concise') {
          for (const each of (rest[1] ?? '').split(';')) {
            const [device = '', uuid = '', , , ...table] = each.split(',')
            await this.create(device, uuid, table)
          }
        } else await this.create(name, words[1] ?? '', input.split('\n').filter((line) => line !== ''))
        return ''
      case 'load':
        await this.#named(name).load(input.split('\n').filter((line) => line !== ''), this.make)
        return ''
      case 'suspend':
        await this.#named(name).suspend(rest.includes('--noflush'))
        return ''
      case 'resume':
        await this.#named(name).resume(rest.includes('--noflush'))
        return ''
      case 'remove':
        for (const each of words) await this.#remove(this.#named(each))
        return ''
      case 'message': {
        const target = this.#named(name).live[0]?.target
        if (!target) throw new DmError('no table')
        await target.message(words.slice(2))
        return ''
      }
      case 'wait': return this.#wait(this.#named(name), Number(words[1]))
      case 'status': {
        const there = words.filter((each) => this.devices.has(each))
        if (words.length === 1) this.#named(name)
        return there.map((each) => this.#lines(this.#named(each), words.length === 1 ? '' : `${each}: `, 'status')).join('')
      }
      case 'table': return [...this.devices.values()].map((device) => this.#lines(device, `${device.name}: `, 'table')).join('')
      case 'info': {
        const columns = (rest[rest.indexOf('-o') + 1] ?? '').split(',')
        return [...this.devices.values()].map((device) => `${columns.map((column) => info(device, column)).join('|')}\n`).join('')
      }
      default: throw new DmError(`Unknown command ${verb}`)
    }
  }

  #lines(device: DmDevice, prefix: string, what: 'status' | 'table'): string {
    return device.live.map(({ start, sectors, target }) => `${prefix}${start * 8} ${sectors} ${what === 'table' ? target.table : target.status()}\n`).join('')
  }

  /** Once it can go nobody finds it by its name, but what it stands on is held until its targets have ended (dm_destroy() of dm.c). */
  async #remove(device: DmDevice): Promise<void> {
    if (device.opens > 0 || device.holders.size > 0) throw new DmError(`remove ioctl on ${device.name} failed: Device or resource busy`)
    this.devices.delete(device.name)
    for (const { target } of device.live) await target.end?.()
    this.drop(device)
  }

  #wait(device: DmDevice, counter: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!device.gone && device.events <= counter) return
        device.watchers.delete(look)
        this.#kernel.after(0.5, () => {
          this.#kernel.timeline.touch()
          if (device.gone) reject(new DmError('wait ioctl failed: No such device or address'))
          else resolve('')
        })
      }
      device.watchers.add(look)
      look()
    })
  }

  /** fsync of a device node. */
  async sync(path: string): Promise<boolean> {
    const device = this.#kernel.find(path)
    if (!device) return false
    device.opens += 1
    const { outcome } = await ask(device, { op: 'flush', slot: 0, count: 0, data: nothing }, () => { this.#kernel.timeline.touch() })
    device.opens -= 1
    return outcome === 'ok'
  }
}

function info(device: DmDevice, column: string): string | number {
  switch (column) {
    case 'name': return device.name
    case 'uuid': return device.uuid
    case 'open': return device.opens + device.holders.size
    case 'suspended': return device.suspended ? 'Suspended' : 'Active'
    case 'major': return device.devno.split(':')[0] ?? ''
    case 'minor': return device.devno.split(':')[1] ?? ''
    case 'events': return device.events
    default: return ''
  }
}
