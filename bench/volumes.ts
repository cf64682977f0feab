/** Volumes for benchmarks in the lab: where their legs lie, their LUNs without anything above, and how fast they were copied. */
import type { EventView, VolumeView } from '../lib/api/views.js'
import type { Lab } from '../tools/lab/lab.js'

const MIB = 1024 ** 2

export interface VolumeWish {
  readonly legs: number
  readonly head: string
  readonly mebibytes: number
  /** Servers that must have a leg of it each. */
  readonly on?: readonly string[]
  /** False: nobody remembers what is written. */
  readonly remembers?: boolean
}

/** A volume that is attached. Placement chooses servers by their room: what lies elsewhere than wished is kept until another one lies well. */
export async function makeVolume(lab: Lab, name: string, { legs, head, mebibytes, on = [], remembers = true }: VolumeWish): Promise<VolumeView> {
  const misfits: string[] = []
  try {
    for (let attempt = 0; attempt < 8; attempt += 1) {
      const called = attempt === 0 ? name : `${name}-${attempt}`
      const { segments } = await lab.json<VolumeView>(['volume', 'create', called, '--size', `${mebibytes}MiB`, '--redundancy', String(legs)])
      if (on.every((host) => segments.every((segment) => segment.legs.some((leg) => leg.host === host)))) {
        if (!remembers) await lab.json(['setting', 'set', 'volume.changes', '0', '--volume', called])
        return await lab.json<VolumeView>(['volume', 'attach', called, '--host', head])
      }
      misfits.push(called)
    }
    throw new Error(`no volume of ${legs} legs got one on each of ${on.join(', ')}`)
  } finally {
    for (const each of misfits) await lab.json(['volume', 'delete', each])
  }
}

/** The SCSI disk that a leg's LUN is on a head; '' when there is none. */
export async function scsiDiskOf(lab: Lab, head: string, extent: string): Promise<string> {
  return (await lab.must(head, ['bash', '-c', `for d in /sys/block/sd*; do tail -c +5 $d/device/vpd_pg80 | grep -q ${extent} && echo /dev/\${d##*/}; done; true`])).trim()
}

/** The SCSI disk of a volume of one leg, its device-mapper devices taken away. An agent or a manager that is at work would put them back. */
export async function bareLun(lab: Lab, { id, head, segments }: VolumeView): Promise<string> {
  await lab.must(head, ['bash', '-c', `dmsetup remove vsky-${id} vsky-${id}-body vsky-${id}-s0`])
  return scsiDiskOf(lab, head, segments[0]?.legs[0]?.extent ?? '?')
}

/** Writes all of a device: what was never written needs no copy. */
export async function fill(lab: Lab, host: string, device: string, mebibytes: number): Promise<void> {
  await lab.must(host, ['dd', 'if=/dev/urandom', `of=${device}`, 'bs=1M', `count=${mebibytes}`, 'oflag=direct', 'status=none'], { timeoutMs: 120_000 })
}

/** Sequence number of the last event there is. */
export async function lastEvent(lab: Lab): Promise<number> {
  return (await lab.json<readonly EventView[]>(['event', 'list', '--limit', '1'])).at(-1)?.seq ?? 0
}

/** MiB/s of each copy of a segment of these bytes that was begun and ended after an event; what layouts took is in it. */
export async function copyRates(lab: Lab, volume: string, after: number, segmentBytes: bigint): Promise<readonly number[]> {
  const events = (await lab.json<readonly EventView[]>(['event', 'list', '--after', String(after), '--limit', '200'])).filter((event) => event.name === volume)
  return events.filter((event) => event.kind === 'copy begins').flatMap((begin) => {
    const segment = /segment \d+/.exec(begin.text)?.[0] ?? ''
    const end = events.find((event) => event.kind === 'leg in sync' && event.seq > begin.seq && event.text.startsWith(`${segment}:`))
    return end === undefined ? [] : [Number(segmentBytes) / MIB / ((end.atMs - begin.atMs) / 1000)]
  })
}
