/**
 * A lost database, made anew from what the hosts tell: the notes on the extents (plan/leg-note.ts) and the layouts that heads remember. Pure.
 *
 * The law: a leg is called good only when it surely has every write that was acknowledged. Notes may be late, so a note that says "good" proves it
 * only together with others:
 *
 * - While a head holds a volume, what it was last told decides: it writes to these legs, and was told before the first write without one
 *   that is gone. Where notes of the same attachment have a higher generation, they are newer than that order. All of its good legs must have been
 *   found: had it been shut out, the notes of the next attachment would be on one of them.
 * - When it let go, a good leg of each segment had the last generation noted first (run/detach.ts): so of the last attachment only the highest
 *   generation counts, and a leg with a lower one missed something. A note names its peers, and as long as one of them has not been seen it may be
 *   the one that went on: then nothing counts.
 * - Where the notes say that a head holds the volume and that head answers and knows nothing of it, it let go and the notes are late, or it was shut
 *   out: legs may differ in what was under way, so one is the source and the others are copied.
 * - Where that head does not answer, nothing is known to be good, unless a person says that the host is lost.
 *
 * And all hosts must have answered, or be lost for good: a leg that became good while a server of another one was away is not named by that one's
 * note, so who is not asked may have what counts (test/property/rebuild.test.ts shows it). What the notes name and nobody listed is a second guard.
 */
import type { Observation, Recollection } from '../../lib/wire/agent.js'
import type { ClusterRows, DiskRow, ExtentRow, HostRow, SegmentRow, VolumeRow } from '../state/rows.js'
import { parseNote, PEER_ID } from './leg-note.js'
import type { LegNote } from './leg-note.js'

export interface HostTold {
  /** host:port at which it was asked. */
  readonly address: string
  readonly seen: Observation
  readonly recalled: Recollection
}

export interface Unsure {
  /** The volume's name, or what was found. */
  readonly about: string
  readonly why: string
}

/** CHAP credentials of its hosts are left empty: they can't be found again. */
export interface Rebuilt extends ClusterRows {
  /** What a person should know before it is written. */
  readonly unsure: readonly Unsure[]
}

interface Leg {
  readonly host: string
  readonly bootId: string
  readonly note: LegNote
  readonly seen: Observation['extents'][number]
}

type Remembered = Recollection['volumes'][number] & { readonly host: string; readonly up: boolean; readonly bootId: string }

export interface RebuildFacts {
  readonly told: readonly HostTold[]
  /** Hosts that were asked, did not answer, and of which nobody said that they are lost. */
  readonly silent?: readonly string[]
  /** Names of hosts that a person says will not come back. */
  readonly lost?: ReadonlySet<string>
  readonly nowMs: number
}

export function planRebuild({ told, silent = [], lost = new Set(), nowMs }: RebuildFacts): Rebuilt {
  const unsure: Unsure[] = silent.map((host) => ({ about: `host ${host}`, why: 'it did not answer, and may have the newest copy of anything: no leg at all is known to be good until it does, or is said to be lost' }))
  const hosts = [...told].sort((a, b) => (a.seen.host < b.seen.host ? -1 : 1))
  const legs = new Map<string, Leg[]>()
  for (const { seen } of hosts) {
    for (const extent of seen.extents) {
      const note = parseNote(extent.note ?? '')
      if (note) legs.set(extent.volume, [...legs.get(extent.volume) ?? [], { host: seen.host, bootId: seen.bootId, note, seen: extent }])
      else unsure.push({ about: `extent ${extent.extent} on ${seen.host}`, why: 'it carries no note: it is left alone, and its room is not given out' })
    }
  }
  const remembered = hosts.flatMap(({ seen, recalled }) => recalled.volumes.map((volume): Remembered => ({
    ...volume, host: seen.host, bootId: seen.bootId, up: seen.volumes.some((each) => each.volume === volume.volume && each.attachEpoch === volume.attachEpoch && each.state === 'up'),
  })))
  const answered = new Set(hosts.map(({ seen }) => seen.host))
  const made = [...legs].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([id, some]) => {
    const volume = rebuildVolume({ id, legs: some, records: remembered.filter((each) => each.volume === id), answered, silent, lost, nowMs })
    unsure.push(...volume.unsure)
    return volume.made ? [volume.made] : []
  })
  for (const { volume, name, host } of remembered.filter((each) => each.scope === 'whole' && !legs.has(each.volume))) unsure.push({ about: name, why: `${host} holds it (${volume}), and no leg of it was found: it is not rebuilt` })
  const extents = withLuns(made.flatMap((each) => each.extents))
  return {
    epoch: Math.max(0, ...hosts.map(({ seen }) => seen.epoch)),
    hosts: hosts.map(hostRow), disks: hosts.flatMap(({ seen }) => seen.disks.map((disk) => diskRow(seen.host, disk, extents))),
    volumes: withNames(made.map((each) => each.volume), unsure), segments: made.flatMap((each) => each.segments), extents, unsure,
  }
}

function hostRow({ address, seen, recalled }: HostTold): HostRow {
  return {
    name: seen.host, roles: recalled.roles, zone: recalled.zone, address, dataAddresses: recalled.dataAddresses, initiator: recalled.initiator, version: recalled.version, bootId: seen.bootId,
    incarnation: seen.incarnation, chapUser: seen.host, chapPassword: recalled.secret ?? '', duty: 'use',
  }
}

function diskRow(host: string, disk: Observation['disks'][number], extents: readonly ExtentRow[]): DiskRow {
  const mine = extents.filter((extent) => extent.disk === disk.disk)
  return {
    id: disk.disk, host, device: disk.device === '' ? `/dev/missing-${disk.disk}` : disk.device, state: disk.state, problem: disk.problem, bytes: disk.bytes, cleanBytes: disk.cleanBytes, force: false,
    usedBytes: mine.reduce((sum, each) => sum + each.bytes, 0n), extents: mine.length, duty: 'use', readErrors: 0,
  }
}

interface VolumeFound {
  readonly id: string
  readonly legs: readonly Leg[]
  readonly records: readonly Remembered[]
  readonly answered: ReadonlySet<string>
  readonly silent: readonly string[]
  readonly lost: ReadonlySet<string>
  readonly nowMs: number
}

interface VolumeMade {
  readonly volume: VolumeRow
  readonly segments: readonly SegmentRow[]
  readonly extents: readonly ExtentRow[]
}

function rebuildVolume(found: VolumeFound): { readonly made: VolumeMade | undefined; readonly unsure: readonly Unsure[] } {
  const { id, records, answered, lost, nowMs } = found
  const attachEpoch = Math.max(...found.legs.map((leg) => leg.note.attachEpoch), ...records.map((record) => record.attachEpoch))
  // The newest note describes the volume; all describe it alike, for neither size nor name ever change.
  const { note } = [...found.legs].sort((a, b) => b.note.attachEpoch - a.note.attachEpoch)[0] ?? { note: undefined }
  if (!note) return { made: undefined, unsure: [] }
  const unsure: Unsure[] = []
  const doubt = (why: string): void => { unsure.push({ about: note.name, why }) }
  const leaveOut = (why: string): { readonly made: undefined; readonly unsure: readonly Unsure[] } => ({ made: undefined, unsure: [...unsure, { about: note.name, why: `${why}: it is left as it is, and not rebuilt` }] })
  const alive = found.legs.filter((leg) => leg.seen.leaving !== true)
  if (alive.length < found.legs.length) doubt(`${found.legs.length - alive.length} of its extents were being removed; if it was being deleted, delete it again`)
  const whole = wholeOf(id, note, alive)
  if (typeof whole === 'string') return leaveOut(whole)

  const record = records.find((each) => each.scope === 'whole' && each.attachEpoch === attachEpoch)
  const holders = [...new Set(found.legs.filter((leg) => leg.note.attachEpoch === attachEpoch && leg.note.holder !== '').map((leg) => leg.note.holder))].sort()
  const silent = record ? [] : holders.filter((holder) => !answered.has(holder))
  const unknownHolders = silent.filter((holder) => !lost.has(holder))
  if (unknownHolders.length > 0) doubt(`${unknownHolders.join(', ')} may hold it and did not answer: none of its legs is known to be good`)
  else if (silent.length > 0) doubt(`${silent.join(', ')} held it and is lost: of legs that may differ one is taken as the truth`)
  else if (!record && holders.length > 0) doubt(`${holders.join(', ')} held it and knows nothing of it any more: of legs that may differ one is taken as the truth`)

  const blind = unknownHolders.length > 0 || found.silent.length > 0
  const inUse = record !== undefined || holders.length > 0
  const segments: SegmentRow[] = []
  const extents: ExtentRow[] = []
  for (const { index, offset, length } of whole) {
    const all = found.legs.filter((leg) => leg.seen.segment === index)
    const told = record?.segments.find((each) => each.index === index)
    const current = all.filter((leg) => leg.note.attachEpoch === attachEpoch)
    const noted = Math.max(-1, ...current.map((leg) => leg.note.generation))
    const say = (why: string): void => { doubt(`segment ${index}: ${why}`) }
    const candidates = blind ? [] : goodLegs({ all, current, told, noted, attachEpoch, lost, say })
    const away = told ? unseenGood(told, all, lost) : []
    if (away.length > 0) return leaveOut(`segment ${index}: ${record?.host ?? ''} uses a leg on ${away.join(', ')}, which was not found: since then another head may have written to it`)
    const good = judged(candidates, { inUse, oneSource: !record && holders.length > 0 })
    if (good.size === 0 && !blind) say('no leg is known to be good')
    segments.push({ volume: id, index, offset, bytes: length, generation: Math.max(noted, told?.generation ?? 0, ...all.map((leg) => leg.note.generation)) + 1 })
    for (const leg of all.filter((each) => each.seen.leaving !== true)) extents.push(extentRow(id, leg, good.has(leg), nowMs))
  }
  const volume: VolumeRow = {
    id, name: note.name, bytes: note.bytes, redundancy: note.redundancy, phase: record ? 'attached' : 'detached', head: record?.host ?? '', attachEpoch,
    // A boot that never was: whoever takes it up sees that its head went down without letting go.
    attachBoot: record ? (record.up ? record.bootId : 'before the rebuild') : '', device: '', problem: '', createdAt: nowMs,
    layout: Math.max(0, ...records.map((each) => each.layout)) + 1, copyHead: '', copyBoot: '', nextHead: '', remembers: record?.remembers ?? false, settled: 0, sinceBirth: false,
  }
  return { made: { volume, segments, extents }, unsure }
}

/** Its segments in order, or why they don't make the volume. */
function wholeOf(id: string, { bytes, segments: count }: LegNote, legs: readonly Leg[]): readonly { readonly index: number; readonly offset: bigint; readonly length: bigint }[] | string {
  const segments: { index: number; offset: bigint; length: bigint }[] = []
  let at = 0n
  for (let index = 0; index < count; index += 1) {
    const mine = legs.filter((leg) => leg.seen.segment === index).map((leg) => leg.note)
    const [first] = mine
    if (!first) return `no leg of segment ${index} was found (volume ${id})`
    if (mine.some((note) => note.offset !== first.offset || note.length !== first.length) || first.offset !== at) return `its notes contradict each other about segment ${index} (volume ${id})`
    segments.push({ index, offset: at, length: first.length })
    at += first.length
  }
  return at === bytes ? segments : `its segments have ${at} bytes together, not ${bytes} (volume ${id})`
}

/** Servers of good legs that its head uses, where these were not found. */
function unseenGood(told: Remembered['segments'][number], all: readonly Leg[], lost: ReadonlySet<string>): readonly string[] {
  return [...new Set(told.legs.filter((leg) => leg.state === 'insync' && !lost.has(leg.host) && !all.some((each) => each.seen.extent === leg.extent)).map((leg) => leg.host))].sort()
}

interface Question {
  /** All of the segment, and those that the last attachment knew. */
  readonly all: readonly Leg[]
  readonly current: readonly Leg[]
  readonly told: Remembered['segments'][number] | undefined
  /** Highest generation in the notes of the last attachment. */
  readonly noted: number
  readonly attachEpoch: number
  readonly lost: ReadonlySet<string>
  readonly say: (why: string) => void
}

/** Legs that have every acknowledged write, those in doubt among them. */
function goodLegs({ all, current, told, noted, attachEpoch, lost, say }: Question): readonly Leg[] {
  if (told && told.generation >= noted) return all.filter((leg) => leg.seen.leaving !== true && told.legs.some((each) => each.extent === leg.seen.extent && each.state === 'insync'))
  const never = attachEpoch === 0 // nobody ever wrote to it: what is new is as good as what is good
  const newest = current.filter((leg) => leg.seen.leaving !== true && leg.note.generation === noted && (leg.note.state === 'good' || leg.note.state === 'doubt' || (never && leg.note.state === 'new')))
  if (told) return newest // of what its head was not told yet, nothing was acknowledged
  const missing = newest.flatMap((leg) => leg.note.peers).filter((peer) => !lost.has(peer.host) && !all.some((each) => each.host === peer.host && each.seen.extent.slice(0, PEER_ID) === peer.extent && each.seen.leaving !== true))
  if (missing.length === 0) return newest
  say(`the leg on ${[...new Set(missing.map((peer) => peer.host))].sort().join(', ')} was not found, and may be the one that is good`)
  return []
}

/** In doubt are legs whose server was started anew while somebody held the volume. They count only where no other does, and then one of them. */
function judged(legs: readonly Leg[], { inUse, oneSource }: { readonly inUse: boolean; readonly oneSource: boolean }): ReadonlySet<Leg> {
  const sorted = [...legs].sort((a, b) => a.note.slot - b.note.slot || (a.seen.extent < b.seen.extent ? -1 : 1))
  // Without a boot a note is from before the attachment, or, where no head remembers one, from after its end: then all was flushed.
  const sure = sorted.filter(({ note, bootId }) => note.state !== 'doubt' && (!inUse || note.boot === bootId || (oneSource && note.boot === '')))
  if (sure.length === 0) return new Set(sorted.slice(0, 1))
  return new Set(oneSource ? sure.slice(0, 1) : sure)
}

function extentRow(volume: string, { host, note, seen }: Leg, good: boolean, nowMs: number): ExtentRow {
  return {
    id: seen.extent, disk: seen.disk, host, volume, segment: seen.segment, slot: note.slot, bytes: seen.bytes, lun: seen.lun >= 0 ? seen.lun : note.lun, state: 'ready', leg: good ? 'insync' : 'stale',
    staleSince: good ? 0 : nowMs, retryAt: 0, since: 0, doubt: false, moving: false,
  }
}

/** No two extents of a server with one LUN: a later one gets the lowest that is free. */
function withLuns(extents: readonly ExtentRow[]): readonly ExtentRow[] {
  const taken = new Map<string, Set<number>>()
  const lunsOf = (host: string): Set<number> => {
    const luns = taken.get(host) ?? new Set<number>()
    taken.set(host, luns)
    return luns
  }
  const good = [...extents].sort((a, b) => Number(b.leg === 'insync') - Number(a.leg === 'insync'))
  const lunOf = new Map<string, number>()
  const later: ExtentRow[] = []
  for (const extent of good) {
    if (extent.lun < 1 || lunsOf(extent.host).has(extent.lun)) later.push(extent)
    else lunsOf(extent.host).add(extent.lun)
  }
  for (const extent of later) {
    let lun = 1
    while (lunsOf(extent.host).has(lun)) lun += 1
    lunsOf(extent.host).add(lun)
    lunOf.set(extent.id, lun)
  }
  return extents.map((extent) => ({ ...extent, lun: lunOf.get(extent.id) ?? extent.lun }))
}

/** Two volumes of one name: one was deleted while a server of it was away. The one that nobody uses, or has fewer good legs, gets another name. */
function withNames(volumes: readonly VolumeRow[], unsure: Unsure[]): readonly VolumeRow[] {
  const taken = new Set<string>()
  const inOrder = [...volumes].sort((a, b) => Number(b.phase === 'attached') - Number(a.phase === 'attached') || b.attachEpoch - a.attachEpoch)
  const names = new Map<string, string>()
  for (const volume of inOrder) {
    const name = taken.has(volume.name) ? `${volume.name.slice(0, 44)}.found-${volume.id.slice(0, 12)}` : volume.name
    if (name !== volume.name) unsure.push({ about: volume.name, why: `there are two of this name: volume ${volume.id} is called ${name} from now on` })
    taken.add(name)
    names.set(volume.id, name)
  }
  return volumes.map((volume) => ({ ...volume, name: names.get(volume.id) ?? volume.name }))
}
