/**
 * dm-mirror with handle_errors, by the letter of Linux 6.1 drivers/md/dm-raid1.c, dm-region-hash.c and dm-log.c: a write that a leg did
 * not take is held until a table is loaded; a region out of sync is written to the default leg alone; a copy reads from the default leg;
 * when nothing is out of sync any more all legs count as well again, whatever is held.
 */
import { SLOT_SECTORS, nothing } from './block.js'
import type { Bio, BlockDevice } from './block.js'
import { DmError } from './dm.js'
import type { Target, TargetContext } from './dm.js'

export interface MirrorLog {
  /** As the table says it: `core 2 1024 nosync`. */
  readonly words: string
  readonly device: BlockDevice | undefined
  /** By region: true is clean. */
  readonly clean: (region: number) => boolean
}

export interface MirrorLeg { readonly device: BlockDevice; readonly start: number }

interface Leg extends MirrorLeg {
  errors: number
  readonly kinds: Set<'D' | 'S' | 'R'>
}

/** Regions copied at once (dm-raid1.c MAX_RECOVERY). */
const COPIES = 1

export function mirror({ kernel, event, stir, noflush }: TargetContext, sectors: number, regionSectors: number, log: MirrorLog, places: readonly MirrorLeg[]): Target {
  if (places.length < 2 || places.length > 9) throw new DmError(`Invalid argument: ${places.length} legs`)
  const legs: Leg[] = places.map((place) => ({ ...place, errors: 0, kinds: new Set() }))
  const [first] = legs
  if (!first) throw new DmError('Invalid argument: no legs')
  const regionSlots = regionSectors / SLOT_SECTORS
  const slots = Math.ceil(sectors / SLOT_SECTORS)
  const regions = Math.ceil(slots / regionSlots)
  const clean = Array.from({ length: regions }, (_, region) => log.clean(region))
  let inSyncCount = clean.filter(Boolean).length
  let search = 0
  let chosen = first
  let inSync = log.words.endsWith(' nosync')
  let legFailure = false
  let suspending = true
  let closed = false
  const recovering = new Map<number, 'quiescing' | 'copying'>()
  const pending = new Map<number, number>()
  const delayed = new Map<number, Bio[]>()
  let [reads, writes, failures, holds]: [Bio[], Bio[], Bio[], Bio[]] = [[], [], [], []]
  let woken = false

  const regionOf = (bio: Bio): number => Math.floor(bio.slot / regionSlots)
  const valid = (): Leg | undefined => legs.find((leg) => leg.errors === 0)
  const readable = (): Leg | undefined => (chosen.errors === 0 ? chosen : valid())

  function wake(): void {
    if (woken || closed) return
    woken = true
    kernel.after(0.05, () => {
      woken = false
      if (!closed) work()
    })
  }

  function failLeg(leg: Leg, kind: 'D' | 'S' | 'R'): void {
    legFailure = true
    leg.errors += 1
    if (leg.kinds.has(kind)) return
    leg.kinds.add(kind)
    if (leg === chosen && inSync) chosen = valid() ?? chosen
    kernel.after(0, event)
  }

  function setSync(region: number, good: boolean): void {
    recovering.delete(region)
    if (good !== clean[region]) inSyncCount += good ? 1 : -1
    clean[region] = good
    for (const bio of delayed.get(region)?.splice(0) ?? []) writes.push(bio)
    delayed.delete(region)
    wake()
  }

  function ended(bio: Bio): void {
    if (bio.op === 'flush') return
    const left = (pending.get(regionOf(bio)) ?? 1) - 1
    if (left > 0) pending.set(regionOf(bio), left)
    else {
      pending.delete(regionOf(bio))
      wake()
    }
  }

  function toLegs(bio: Bio, to: readonly Leg[], done: (failed: readonly Leg[]) => void): void {
    let left = to.length
    const failed: Leg[] = []
    for (const leg of to) {
      leg.device.submit({
        ...bio, slot: bio.op === 'flush' ? 0 : bio.slot + leg.start / SLOT_SECTORS,
        done(outcome) {
          if (outcome !== 'ok') failed.push(leg)
          left -= 1
          if (left === 0 && !closed) done(failed)
        },
      })
    }
  }

  /** do_recovery(): the next region that is out of sync, when its writes have ended. */
  function copyOn(): void {
    while (!suspending && recovering.size < COPIES && search < regions) {
      const region = clean.findIndex((good, at) => at >= search && !good && !recovering.has(at))
      search = region < 0 ? regions : region + 1
      if (region >= 0) recovering.set(region, 'quiescing')
    }
    for (const [region, state] of recovering) {
      if (state !== 'quiescing' || (pending.get(region) ?? 0) > 0) continue
      recovering.set(region, 'copying')
      const slot = region * regionSlots
      copyRegion(region, slot, Math.min(regionSlots, slots - slot))
    }
    if (inSync || inSyncCount < regions) return
    event()
    inSync = true
    legFailure = false
    for (const leg of legs) {
      leg.errors = 0
      leg.kinds.clear()
    }
  }

  function copyRegion(region: number, slot: number, count: number): void {
    const source = chosen
    source.device.submit({
      op: 'read', slot: slot + source.start / SLOT_SECTORS, count, data: nothing,
      done(outcome, data) {
        if (closed) return
        if (outcome !== 'ok') {
          failLeg(source, 'S')
          setSync(region, false)
          return
        }
        toLegs({ op: 'write', slot, count, data, done: () => undefined }, legs.filter((leg) => leg !== source), (failed) => {
          for (const leg of failed) failLeg(leg, 'S')
          setSync(region, failed.length === 0)
        })
      },
    })
  }

  function readFrom(leg: Leg, bio: Bio): void {
    leg.device.submit({ ...bio, slot: bio.slot + leg.start / SLOT_SECTORS, done(outcome, data) {
      if (closed) return
      if (outcome === 'ok') {
        bio.done('ok', data)
        return
      }
      failLeg(leg, 'R')
      if (chosen.errors === 0 || (clean[regionOf(bio)] === true && readable())) {
        reads.push(bio)
        wake()
      } else bio.done('io', nothing)
    } })
  }

  function write(bio: Bio): void {
    toLegs(bio, legs, (failed) => {
      ended(bio)
      if (failed.length === 0) bio.done('ok', nothing)
      else {
        for (const leg of failed) failLeg(leg, 'D')
        failures.push(bio)
      }
      wake()
    })
  }

  function hold(bio: Bio): void {
    if (!suspending) holds.push(bio)
    else bio.done(noflush() ? 'requeue' : 'io', nothing)
  }

  /** do_mirror() */
  function work(): void {
    copyOn()
    const [toRead, toWrite] = [reads, writes]
    reads = []
    writes = []
    for (const bio of toRead) {
      const leg = clean[regionOf(bio)] === true ? readable() : chosen.errors === 0 ? chosen : undefined
      if (leg) readFrom(leg, bio)
      else bio.done('io', nothing)
    }
    for (const bio of toWrite) {
      const region = regionOf(bio)
      if (bio.op === 'flush') write(bio)
      else if (recovering.has(region)) delayed.set(region, [...delayed.get(region) ?? [], bio])
      else if (clean[region] === true) {
        pending.set(region, (pending.get(region) ?? 0) + 1)
        write(bio)
      } else if (legFailure) failures.push(bio)
      else {
        pending.set(region, (pending.get(region) ?? 0) + 1)
        chosen.device.submit({ ...bio, slot: bio.slot + chosen.start / SLOT_SECTORS, done(outcome) {
          if (closed) return
          ended(bio)
          bio.done(outcome, nothing)
          stir()
        } })
      }
    }
    const failed = failures
    failures = []
    for (const bio of failed) {
      inSync = false
      if (bio.op !== 'flush' && clean[regionOf(bio)] === true) {
        clean[regionOf(bio)] = false
        inSyncCount -= 1
      }
      if (valid()) hold(bio)
      else bio.done('io', nothing)
    }
    stir()
  }

  return {
    devices: [...legs.map((leg) => leg.device), ...log.device ? [log.device] : []],
    table: `mirror ${log.words} ${legs.length} ${legs.map((leg) => `${leg.device.devno} ${leg.start}`).join(' ')} 1 handle_errors`,
    status: () => `mirror ${legs.length} ${legs.map((leg) => leg.device.devno).join(' ')} ${inSyncCount}/${regions} 1 ${legs.map(letter).join('')} ${log.device ? `3 disk ${log.device.devno} A` : '1 core'}`,
    submit(bio) {
      const last = bio.op === 'flush' ? regionOf(bio) : Math.floor((bio.slot + bio.count - 1) / regionSlots)
      if (last !== regionOf(bio)) throw new Error('a request across two regions of a mirror')
      if (bio.op !== 'read') writes.push(bio)
      else if (clean[regionOf(bio)] === true) {
        const leg = readable()
        if (leg) readFrom(leg, bio)
        else bio.done('io', nothing)
        return
      } else reads.push(bio)
      wake()
    },
    presuspend() {
      suspending = true
      const held = holds
      holds = []
      for (const bio of held) hold(bio)
      for (const [region, state] of recovering) if (state === 'quiescing') setSync(region, false)
      wake()
    },
    idle: () => recovering.size === 0,
    copyingTo: () => (recovering.size > 0 ? legs.filter((leg) => leg !== chosen).map((leg) => leg.device) : []),
    resume() {
      suspending = false
      wake()
    },
    message: () => Promise.reject(new DmError('a mirror takes no messages')),
    close() { closed = true },
  }
}

function letter({ errors, kinds }: Leg): string {
  if (errors === 0) return 'A'
  return (['D', 'S', 'R'] as const).find((kind) => kinds.has(kind)) ?? 'U'
}
