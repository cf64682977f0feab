/**
 * What the manager writes on each extent, as a tag of its logical volume, so that the database can be rebuilt from the storage servers
 * (plan/rebuild.ts reads it). Agents keep it and never look into it. Pure.
 *
 * Grammar, fields parted by colons, in characters that LVM takes in a tag (lvm(8): A-Z a-z 0-9 _ + . - / = ! : & #, at most 1024):
 *
 *     1 : NAME : BYTES : REDUNDANCY : SEGMENTS : FIRST : LENGTH : SLOT : LUN : ATTACH : GENERATION : STATE : HOLDER : BOOT : PEERS
 *
 * NAME, BYTES, REDUNDANCY, SEGMENTS (their count) and ATTACH (the attach epoch) are the volume's; FIRST and LENGTH in bytes and GENERATION the
 * segment's. STATE is what the database says of this leg. HOLDER is the head that may be writing, empty when it has let go; BOOT is the server's boot
 * as of which that is said, only while somebody holds it. PEERS are the other legs that are as good as this one, each `ID8=HOST`, parted by `+`.
 */
import { namePattern } from '../../lib/model.js'
import type { ExtentRow, SegmentRow, VolumeRow } from '../state/rows.js'

/** `new`: nothing was ever copied to it, so it is as empty as it was made. `doubt`: its server was started anew while the volume was in use. */
export const noteStates = ['good', 'new', 'old', 'doubt'] as const
export type NoteState = (typeof noteStates)[number]

export interface LegNote {
  readonly name: string
  readonly bytes: bigint
  readonly redundancy: number
  readonly segments: number
  readonly offset: bigint
  readonly length: bigint
  readonly slot: number
  readonly lun: number
  readonly attachEpoch: number
  readonly generation: number
  readonly state: NoteState
  readonly holder: string
  readonly boot: string
  readonly peers: readonly { readonly extent: string; readonly host: string }[]
}

/** How much of a peer's id stands in a note, characters. */
export const PEER_ID = 8

export function noteOf(volume: VolumeRow, segment: SegmentRow, extent: ExtentRow, around: { readonly segments: number; readonly legs: readonly ExtentRow[]; readonly bootId: string }): LegNote {
  const holder = volume.phase === 'detached' || volume.phase === 'creating' ? '' : volume.head
  return {
    name: volume.name, bytes: volume.bytes, redundancy: volume.redundancy, segments: around.segments, offset: segment.offset, length: segment.bytes, slot: extent.slot, lun: extent.lun,
    attachEpoch: volume.attachEpoch, generation: segment.generation, state: stateOf(extent), holder, boot: holder === '' ? '' : around.bootId,
    // Before anybody has written all legs are as good as each other, the new ones too.
    peers: around.legs.filter((leg) => leg.id !== extent.id && leg.segment === segment.index && leg.state !== 'dropping' && (leg.leg === 'insync' || (leg.leg === 'allocated' && volume.attachEpoch === 0))).map((leg) => ({ extent: leg.id.slice(0, PEER_ID), host: leg.host })),
  }
}

function stateOf({ leg, doubt }: ExtentRow): NoteState {
  if (leg === 'allocated') return 'new'
  return leg === 'insync' ? (doubt ? 'doubt' : 'good') : 'old'
}

export function formatNote(note: LegNote): string {
  return [
    1, note.name, note.bytes, note.redundancy, note.segments, note.offset, note.length, note.slot, note.lun, note.attachEpoch, note.generation, note.state, note.holder, note.boot,
    [...note.peers].map(({ extent, host }) => `${extent}=${host}`).sort().join('+'),
  ].join(':')
}

/** Undefined for anything else: a note that can't be read says nothing. */
export function parseNote(text: string): LegNote | undefined {
  const fields = text.split(':')
  const [version, name = '', bytes = '', redundancy = '', segments = '', offset = '', length = '', slot = '', lun = '', attach = '', generation = '', state = '', holder = '', boot = '', peers = ''] = fields
  const known = noteStates.find((each) => each === state)
  if (version !== '1' || fields.length !== 15 || !known || !namePattern.test(name)) return undefined
  if (![bytes, redundancy, segments, offset, length, slot, lun, attach, generation].every((each) => /^\d{1,15}$/.test(each))) return undefined
  if ((holder !== '' && !namePattern.test(holder)) || !/^[0-9A-Za-z-]{0,64}$/.test(boot)) return undefined
  const others = peers.split('+').filter((each) => each !== '').map((each) => /^([0-9a-f]{8})=(.+)$/.exec(each))
  if (others.some((each) => !namePattern.test(each?.[2] ?? ''))) return undefined
  return {
    name, bytes: BigInt(bytes), redundancy: Number(redundancy), segments: Number(segments), offset: BigInt(offset), length: BigInt(length), slot: Number(slot), lun: Number(lun),
    attachEpoch: Number(attach), generation: Number(generation), state: known, holder, boot, peers: others.map((each) => ({ extent: each?.[1] ?? '', host: each?.[2] ?? '' })),
  }
}
