/**
 * The program lvm: the commands that agent/lvm and agent/storage send it on its input, on disks of this host. A logical volume is a device
 * over physical extents of one disk; who has it open keeps it from being removed.
 */
import { submitAll } from './block.js'
import type { Bio } from './block.js'
import { PE_SLOTS } from './disk.js'
import type { Disk, LogicalVolume, VolumeGroup } from './disk.js'
import { DmDevice } from './dm.js'
import type { Target } from './dm.js'
import type { Dm } from './dmsetup.js'
import type { Kernel } from './kernel.js'
import type { Ended } from './programs.js'

export class Lvm {
  readonly #kernel: Kernel
  readonly #dm: Dm
  readonly #disks: () => readonly Disk[]
  /** Told of each new logical volume. */
  onCreate: (disk: Disk, volume: LogicalVolume) => void = () => undefined

  constructor(kernel: Kernel, dm: Dm, disks: () => readonly Disk[]) {
    this.#kernel = kernel
    this.#dm = dm
    this.#disks = disks
  }

  async run(input: string): Promise<Ended> {
    let [out, err] = ['', '']
    for (const line of input.split('\n').filter((each) => each !== '')) {
      await this.#kernel.sleep(1 + this.#kernel.dice.next() * 5)
      try {
        out += this.#command(line.split(' '))
      } catch (thrown) {
        err += `  ${thrown instanceof Error ? thrown.message : String(thrown)}\n`
      }
    }
    return { code: 0, out, err }
  }

  #disk(vg: string): Disk {
    const disk = this.#disks().find((each) => each.vg?.name === vg && !each.faults.dead)
    if (!disk) throw new Error(`Volume group "${vg}" not found`)
    return disk
  }

  #device(disk: Disk, name: string): DmDevice | undefined {
    return this.#dm.devices.get(mapperName(disk, name))
  }

  #command(words: readonly string[]): string {
    const flag = (name: string): readonly string[] => words.flatMap((word, at) => (word === name ? [words[at + 1] ?? ''] : []))
    const last = words.filter((word) => !word.startsWith('-'))
    switch (words[0]) {
      case 'pvs': return this.#report(words.at(-1)?.replace('vg_name=', '') ?? '')
      case 'pvcreate': return ''
      case 'vgcreate': {
        const [name = '', device = ''] = last.slice(-2)
        const disk = this.#disks().find((each) => `/dev/${each.kernel}` === device && !each.faults.dead)
        if (!disk) throw new Error(`Cannot use ${device}: device not found`)
        disk.vg ??= { name, tags: [...flag('--addtag')], volumes: new Map() } satisfies VolumeGroup
        return ''
      }
      case 'vgremove': {
        const disk = this.#disk(last.at(-1) ?? '')
        if ((disk.vg?.volumes.size ?? 0) > 0) throw new Error('Volume group still has logical volumes')
        disk.vg = undefined
        return ''
      }
      case 'pvremove': return ''
      case 'vgchange': {
        const disk = this.#disk(last.at(-1) ?? '')
        if (words[1] === '-ay') for (const volume of disk.vg?.volumes.values() ?? []) this.#activate(disk, volume)
        else if (disk.vg) disk.vg.tags = [...disk.vg.tags.filter((tag) => !flag('--deltag').includes(tag)), ...flag('--addtag')]
        return ''
      }
      case 'lvcreate': return this.#create(words, flag)
      case 'lvchange': {
        for (const path of last.filter((word) => word.includes('/'))) {
          const [disk, volume] = this.#volume(path)
          if (words[1] === '-ay') this.#activate(disk, volume)
          else volume.tags = [...volume.tags.filter((tag) => !flag('--deltag').includes(tag)), ...flag('--addtag')]
        }
        return ''
      }
      case 'lvremove': {
        for (const path of last.filter((word) => word.includes('/'))) this.#remove(...this.#volume(path))
        return ''
      }
      default: throw new Error(`No such command '${words[0] ?? ''}'`)
    }
  }

  #volume(path: string): readonly [Disk, LogicalVolume] {
    const [vg = '', name = ''] = path.split('/')
    const disk = this.#disk(vg)
    const volume = disk.vg?.volumes.get(name)
    if (!volume) throw new Error(`Failed to find logical volume "${path}"`)
    return [disk, volume]
  }

  #create(words: readonly string[], flag: (name: string) => readonly string[]): string {
    const place = words.at(-1) ?? ''
    const disk = this.#disk(words.at(-2) ?? '')
    const name = flag('-n')[0] ?? ''
    if (disk.faults.readOnly) throw new Error('Failed to write VG')
    if (!disk.vg || disk.vg.volumes.has(name)) throw new Error(`Logical Volume "${name}" already exists`)
    const used = new Set([...disk.vg.volumes.values()].flatMap((volume) => volume.extents))
    const ranges = place.split(':').slice(1).map((range) => range.split('-').map(Number))
    const free = ranges.flatMap(([from = 0, to = 0]) => Array.from({ length: to - from + 1 }, (_, at) => from + at)).filter((extent) => !used.has(extent) && extent < disk.physicalExtents)
    const count = Number(flag('-l')[0])
    if (free.length < count) throw new Error('Insufficient suitable allocatable extents')
    const volume: LogicalVolume = { name, tags: [...flag('--addtag')], extents: free.slice(0, count) }
    disk.vg.volumes.set(name, volume)
    this.onCreate(disk, volume)
    this.#activate(disk, volume)
    return ''
  }

  #activate(disk: Disk, volume: LogicalVolume): void {
    if (this.#device(disk, volume.name)) return
    const device = new DmDevice(this.#kernel, mapperName(disk, volume.name), `LVM-${disk.vg?.name ?? ''}${volume.name}`)
    this.#dm.add(device)
    this.#kernel.nodes.set(`/dev/${disk.vg?.name ?? ''}/${volume.name}`, device.kernel)
    device.live = [{ start: 0, sectors: volume.extents.length * PE_SLOTS * 8, target: stripes(disk, volume) }]
    device.suspended = true
    void device.resume(true)
  }

  #remove(disk: Disk, volume: LogicalVolume): void {
    if (disk.faults.readOnly) throw new Error('Failed to write VG')
    const device = this.#device(disk, volume.name)
    if (device && (device.holders.size > 0 || device.opens > 0)) throw new Error(`Logical volume ${disk.vg?.name ?? ''}/${volume.name} in use.`)
    if (device) this.#dm.drop(device)
    disk.vg?.volumes.delete(volume.name)
  }

  #report(vg: string): string {
    const disk = this.#disks().find((each) => each.vg?.name === vg && !each.faults.dead)
    if (!disk?.vg) return ''
    const owner = new Map([...disk.vg.volumes.values()].flatMap((volume) => volume.extents.map((extent) => [extent, volume] as const)))
    let [out, start] = ['', 0]
    for (let at = 1; at <= disk.physicalExtents; at += 1) {
      if (at < disk.physicalExtents && owner.get(at) === owner.get(start)) continue
      const volume = owner.get(start)
      const fields = {
        VG_NAME: vg, VG_TAGS: disk.vg.tags.join(','), VG_EXTENT_COUNT: disk.physicalExtents, PVSEG_START: start, PVSEG_SIZE: at - start, LV_NAME: volume?.name ?? '',
        LV_SIZE: (volume?.extents.length ?? 0) * PE_SLOTS * 4096, LV_TAGS: volume?.tags.join(',') ?? '', LV_ACTIVE: volume && this.#device(disk, volume.name) ? 'active' : '',
      }
      out += `  ${Object.entries(fields).map(([key, value]) => `LVM2_${key}='${value}'`).join('|')}\n`
      start = at
    }
    return out
  }

  /** Where a logical volume's slot lies on its disk. */
  static place(volume: LogicalVolume, slot: number): number {
    return (volume.extents[Math.floor(slot / PE_SLOTS)] ?? 0) * PE_SLOTS + slot % PE_SLOTS
  }
}

export function mapperName(disk: Disk, volume: string): string {
  return `${disk.vg?.name ?? ''}-${volume}`
}

function stripes(disk: Disk, volume: LogicalVolume): Target {
  return {
    table: 'linear', devices: [disk], status: () => 'linear', presuspend: () => undefined, idle: () => true, resume: () => undefined, close: () => undefined,
    message: () => Promise.reject(new Error('no messages')),
    submit(bio: Bio) {
      if (bio.op === 'flush') {
        disk.submit(bio)
        return
      }
      const pieces = []
      for (let done = 0; done < bio.count;) {
        const slot = bio.slot + done
        const count = Math.min(bio.count - done, PE_SLOTS - (slot % PE_SLOTS))
        if (Math.floor(slot / PE_SLOTS) >= volume.extents.length) throw new Error(`a request past the end of logical volume ${volume.name}`)
        pieces.push({ device: disk, slot: Lvm.place(volume, slot), count, from: done })
        done += count
      }
      submitAll(bio, pieces)
    },
  }
}

