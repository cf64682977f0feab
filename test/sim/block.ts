/**
 * Block devices of the world. The unit is a slot of 4 KiB; what it holds is a number (0: zeros) or something larger that is written as
 * one (what dm-era remembers). A request reaches a device, and its end comes back; in between is time.
 */

export const SLOT_SECTORS = 8
export const SLOT_BYTES = 4096

/** Never changed once it was written. */
export type Content = number | { readonly kind: 'era' }

/** By slot from the request's first; what is absent is zero. */
export type Data = ReadonlyMap<number, Content>

/** `io`: a path or a disk failed. `media`: this place of the disk can't be read. `requeue`: only between a target and its device. */
export type Outcome = 'ok' | 'io' | 'media' | 'requeue'

export interface Bio {
  readonly op: 'read' | 'write' | 'flush'
  /** First slot and count; a flush has none. */
  readonly slot: number
  readonly count: number
  /** What is written. */
  readonly data: Data
  readonly done: (outcome: Outcome, data: Data) => void
}

export const nothing: Data = new Map()

export interface BlockDevice {
  /** The kernel's name: sda, dm-3, loop0. */
  readonly kernel: string
  readonly devno: string
  readonly slots: number
  /** Devices, and a target's backstores, that stand on it. */
  readonly holders: Set<string>
  /** Programs and guests that have it open. */
  opens: number
  readonly counts: Counts
  submit(bio: Bio): void
}

export interface Counts {
  reads: number
  writes: number
  written: number
  reading: number
  writing: number
}

export const newCounts = (): Counts => ({ reads: 0, writes: 0, written: 0, reading: 0, writing: 0 })

/** The same request, counted as /sys/block/…/stat and inflight count. */
export function counted(device: BlockDevice, bio: Bio): Bio {
  const { counts } = device
  if (bio.op === 'read') counts.reading += 1
  else counts.writing += 1
  return {
    ...bio,
    done(outcome, data) {
      if (bio.op === 'read') counts.reading -= 1
      else counts.writing -= 1
      if (outcome === 'ok') {
        if (bio.op === 'read') counts.reads += 1
        else counts.writes += 1
        if (bio.op === 'write') counts.written += bio.count * SLOT_SECTORS
      }
      bio.done(outcome, data)
    },
  }
}

/** A part of a request, told as data from its own first slot. */
export function cut(data: Data, from: number, count: number): Data {
  if (data.size === 0) return data
  const part = new Map<number, Content>()
  for (const [at, content] of data) if (at >= from && at < from + count) part.set(at - from, content)
  return part
}

/** Pieces of a request for several devices, ended as one: the worst outcome counts. */
export function submitAll(bio: Bio, pieces: readonly { readonly device: Pick<BlockDevice, 'submit'>; readonly slot: number; readonly count: number; readonly from: number }[]): void {
  let left = pieces.length
  let worst: Outcome = 'ok'
  const data = new Map<number, Content>()
  if (left === 0) bio.done('ok', nothing)
  for (const { device, slot, count, from } of pieces) {
    device.submit({
      op: bio.op, slot, count, data: cut(bio.data, from, count),
      done(outcome, got) {
        if (outcome !== 'ok' && worst !== 'io') worst = outcome
        for (const [at, content] of got) data.set(at + from, content)
        left -= 1
        if (left === 0) bio.done(worst, worst === 'ok' ? data : nothing)
      },
    })
  }
}

/** Asks a device and waits. */
export function ask(device: Pick<BlockDevice, 'submit'>, bio: Omit<Bio, 'done'>, touch: () => void): Promise<{ readonly outcome: Outcome; readonly data: Data }> {
  return new Promise((resolve) => {
    device.submit({ ...bio, done(outcome, data) {
      touch()
      resolve({ outcome, data })
    } })
  })
}
