/** Loop devices: a small file as a block device. Two things are kept in such files: a copy's log, in bytes, and a copy of what dm-era keeps. */
import { newCounts, nothing } from './block.js'
import type { Bio, BlockDevice, Content } from './block.js'
import type { Kernel } from './kernel.js'

export interface SmallFile {
  bytes: Uint8Array
  /** What `dd` copied from a device. */
  content: Content
}

const MAGIC = 0x4d695272

export class LoopDevice implements BlockDevice {
  readonly kernel: string
  readonly devno: string
  readonly slots = 1024
  readonly holders = new Set<string>()
  readonly counts = newCounts()
  opens = 0
  readonly path: string
  readonly #file: SmallFile
  readonly #kernel: Kernel

  constructor(kernel: Kernel, path: string, file: SmallFile) {
    this.#kernel = kernel
    this.path = path
    this.#file = file
    for (let number = 0; ; number += 1) {
      if (kernel.devices.has(`loop${number}`)) continue
      this.kernel = `loop${number}`
      this.devno = `7:${number}`
      break
    }
  }

  submit(bio: Bio): void {
    this.#kernel.after(0.1, () => {
      if (bio.op === 'write' && bio.slot === 0) this.#file.content = bio.data.get(0) ?? 0
      bio.done('ok', bio.op === 'read' && bio.slot === 0 && this.#file.content !== 0 ? new Map([[0, this.#file.content]]) : nothing)
    })
  }

  /** As dm-log.c disk_resume() reads it: which regions are clean. A log that is none has no clean region. */
  cleanRegions(regions: number): (region: number) => boolean {
    const { bytes } = this.#file
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (bytes.length < 1024 || view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== 2) return () => false
    const covered = Number(view.getBigUint64(8, true))
    return (region) => region < covered && region < regions && ((bytes[1024 + (region >> 3)] ?? 0) >> (region & 7) & 1) === 1
  }
}
