/**
 * Faults under a host's disks. Each data disk of a guest is a dm-linear over the raw device, so that a fault is a reload of one table
 * and healing another one, while Vsky's volume group goes on standing on it.
 */
import type { Lab } from './lab.js'
import { LabError, command } from './command.js'
import { namespaceOf } from './network.js'

export type DiskFault =
  | { readonly kind: 'fail'; readonly direction: 'both' | 'read' | 'write' }
  | { readonly kind: 'slow'; readonly ms: number }
  | { readonly kind: 'removed' }

interface FaultState {
  images: Record<string, string[]>
  faults: Record<string, string>
}

export class Faults {
  readonly #lab: Lab
  readonly #state: FaultState
  readonly #save: () => Promise<void>
  constructor(lab: Lab, state: FaultState, save: () => Promise<void>) {
    this.#lab = lab
    this.#state = state
    this.#save = save
  }

  /** `disk` is its number on that host, from 1. */
  async set(host: string, disk: number, fault: DiskFault): Promise<void> {
    await this.#apply(host, disk, fault)
    this.#state.faults[`${host}:${disk}`] = JSON.stringify(fault)
    await this.#save()
  }

  async heal(host: string, disk: number): Promise<void> {
    await this.#apply(host, disk, undefined)
    this.#state.faults = Object.fromEntries(Object.entries(this.#state.faults).filter(([key]) => key !== `${host}:${disk}`))
    await this.#save()
  }

  /** After power-on: a bad disk is still bad, and disks added later are there again. */
  async restore(host: string): Promise<void> {
    for (const [key, text] of Object.entries(this.#state.faults)) {
      const [name = '', disk = ''] = key.split(':')
      if (name === host) await this.#apply(host, Number(disk), JSON.parse(text) as DiskFault)
    }
  }

  /** Plugs in another disk. Gives its device in the guest. */
  async add(host: string, bytes: bigint): Promise<string> {
    const { image, index } = await this.#lab.addImage(host, bytes)
    await mconsole(this.#lab, host, `config ubd${letter(index)}=${image}`)
    await this.#lab.must(host, ['dmsetup', 'create', `disk${index}`, '--table', `0 ${bytes / 512n} linear /dev/ubd${letter(index)} 0`])
    return `/dev/mapper/disk${index}`
  }

  async #apply(host: string, disk: number, fault: DiskFault | undefined): Promise<void> {
    const images = this.#state.images[host]
    if (!images || disk < 1 || disk >= images.length) throw new LabError(`${host} has no disk ${disk}: it has ${images ? images.length - 1 : 0}`)
    const sectors = (await this.#lab.must(host, ['cat', `/sys/block/ubd${letter(disk)}/size`])).trim()
    const table = tableOf(fault, sectors, `/dev/ubd${letter(disk)}`)
    const script = `${fault?.kind === 'slow' ? 'modprobe dm-delay; ' : fault?.kind === 'fail' ? 'modprobe dm-flakey; ' : ''}dmsetup suspend --noflush --nolockfs disk${disk} && dmsetup load disk${disk} --table '${table}' && dmsetup resume disk${disk}`
    await this.#lab.must(host, ['bash', '-c', script])
  }
}

function letter(index: number): string {
  return String.fromCharCode('a'.charCodeAt(0) + index)
}

/** dm-flakey with an up interval of 0 is always down; without a feature it fails reads and writes, with one it fails only that. */
function tableOf(fault: DiskFault | undefined, sectors: string, device: string): string {
  if (!fault) return `0 ${sectors} linear ${device} 0`
  if (fault.kind === 'slow') return `0 ${sectors} delay ${device} 0 ${fault.ms}`
  if (fault.kind === 'removed' || fault.direction === 'both') return `0 ${sectors} error`
  return `0 ${sectors} flakey ${device} 0 0 1 1 ${fault.direction === 'write' ? 'error_writes' : 'error_reads'}`
}

async function mconsole(lab: Lab, host: string, text: string): Promise<void> {
  // Inside the name space: the reply goes to an abstract socket, which belongs to one.
  await command('ip', ['netns', 'exec', namespaceOf(lab.name), 'uml_mconsole', `${lab.folder}/umid/${host}/mconsole`, text])
}
