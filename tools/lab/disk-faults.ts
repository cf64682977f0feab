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
  | { readonly kind: 'hang' }
  /** These sectors can't be read until they are written. */
  | { readonly kind: 'bad'; readonly sectors: readonly number[] }
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
    await this.#lab.must(host, ['bash', '-c', faultScript(disk, sectors, fault)])
  }
}

function letter(index: number): string {
  return String.fromCharCode('a'.charCodeAt(0) + index)
}

/**
 * The commands that put a fault under diskN, or heal it. The table is loaded before the device is suspended: one that the kernel
 * refuses leaves the disk as it was, not hanging.
 */
export function faultScript(disk: number, sectors: string, fault: DiskFault | undefined): string {
  const name = `disk${disk}`
  const device = `/dev/ubd${letter(disk)}`
  if (fault?.kind === 'hang') return `dmsetup suspend --noflush --nolockfs ${name}`
  const dead = `${name}-dead`
  const usesDead = fault?.kind === 'fail' && fault.direction === 'read'
  return [
    ...(usesDead ? [`{ [ -e /dev/mapper/${dead} ] || dmsetup create ${dead} --table '0 ${sectors} error'; }`] : []),
    `dmsetup load ${name} --table '${tableOf(fault, sectors, device, `/dev/mapper/${dead}`)}'`,
    `dmsetup suspend --noflush --nolockfs ${name}`,
    `dmsetup resume ${name}`,
    ...(fault?.kind === 'bad' ? [...fault.sectors.map((sector) => `dmsetup message ${name} 0 addbadblock ${sector}`), `dmsetup message ${name} 0 enable`] : []),
    ...(usesDead ? [] : [`{ [ ! -e /dev/mapper/${dead} ] || dmsetup remove ${dead}; }`]),
  ].join(' && ')
}

/**
 * dm-flakey with an up interval of 0 is always down. It knows no `error_reads` in kernel 6.1, so reads alone are failed by dm-delay,
 * which takes one device for reads (a dead one) and another for writes.
 */
function tableOf(fault: Exclude<DiskFault, { kind: 'hang' }> | undefined, sectors: string, device: string, dead: string): string {
  if (!fault) return `0 ${sectors} linear ${device} 0`
  if (fault.kind === 'bad') return `0 ${sectors} dust ${device} 0 512`
  if (fault.kind === 'slow') return `0 ${sectors} delay ${device} 0 ${fault.ms}`
  if (fault.kind === 'removed' || fault.direction === 'both') return `0 ${sectors} error`
  if (fault.direction === 'read') return `0 ${sectors} delay ${dead} 0 0 ${device} 0 0`
  return `0 ${sectors} flakey ${device} 0 0 1 1 error_writes`
}

async function mconsole(lab: Lab, host: string, text: string): Promise<void> {
  // Inside the name space: the reply goes to an abstract socket, which belongs to one.
  await command('ip', ['netns', 'exec', namespaceOf(lab.name), 'uml_mconsole', `${lab.folder}/umid/${host}/mconsole`, text])
}
