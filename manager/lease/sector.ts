/**
 * The lease's record as one sector, in the manner of a delta lease: the first 512 bytes hold it all, so that it is one sector on every disk.
 *
 *     0  8 bytes   "VSKYLEAS"                     16  4 bytes   length of the record
 *     8  4 bytes   version, 1                     32  32 bytes  SHA-256 of bytes 0 to 20 and of the record
 *    12  4 bytes   bytes of the sector written    64  …         the record: JSON, UTF-8; zeros after it
 *
 * Numbers are big-endian. A sector of zeros: nobody has ever held it. Anything else is foreign and is never overwritten.
 */
import { createHash } from 'node:crypto'
import { LeaseStoreError } from './store.js'
import type { LeaseRecord } from './timeline.js'

export const SECTOR_BYTES = 4096
const MAGIC = Buffer.from('VSKYLEAS')
const VERSION = 1
const AT = 64
const ROOM = 512 - AT

function digest(head: Buffer, text: Buffer): Buffer {
  return createHash('sha256').update(head.subarray(0, 20)).update(text).digest()
}

/** Always `bytes` long: 512 or 4096. The holder's address is left out when all does not fit. Throws RangeError when it still doesn't. */
export function encodeSector(record: LeaseRecord, bytes: number): Buffer {
  const all = Buffer.from(JSON.stringify(record))
  const text = all.length <= ROOM ? all : Buffer.from(JSON.stringify({ ...record, address: '' }))
  if (text.length > ROOM) throw new RangeError(`the record of a lease takes ${text.length} bytes, there are ${ROOM}`)
  const sector = Buffer.alloc(bytes)
  MAGIC.copy(sector)
  sector.writeUInt32BE(VERSION, 8)
  sector.writeUInt32BE(bytes, 12)
  sector.writeUInt32BE(text.length, 16)
  text.copy(sector, AT)
  digest(sector, text).copy(sector, 32)
  return sector
}

/** Undefined: never held. Throws LeaseStoreError for anything that no manager of this release wrote whole. */
export function decodeSector(sector: Buffer, path: string): LeaseRecord | undefined {
  const head = sector.subarray(0, 512)
  if (head.every((byte) => byte === 0)) return undefined
  if (!head.subarray(0, 8).equals(MAGIC)) throw new LeaseStoreError(`lease device ${path} carries foreign data: give one whose first ${SECTOR_BYTES} bytes are zeros`)
  const [version, length] = [head.readUInt32BE(8), head.readUInt32BE(16)]
  if (version !== VERSION) throw new LeaseStoreError(`lease device ${path} has version ${version} of the lease, this program knows ${VERSION}`)
  if (length > ROOM) throw new LeaseStoreError(`lease device ${path} carries a damaged lease: a length of ${length}`)
  const text = head.subarray(AT, AT + length)
  if (!digest(head, text).equals(head.subarray(32, 64))) throw new LeaseStoreError(`lease device ${path} carries a damaged lease: its checksum is wrong`)
  return parse(text.toString(), path)
}

const numbers = ['epoch', 'beat', 'ttlMs'] as const
const texts = ['holder', 'incarnation', 'next', 'place', 'address'] as const

function parse(json: string, path: string): LeaseRecord {
  const found = JSON.parse(json) as Readonly<Record<string, unknown>>
  const good = numbers.every((key) => Number.isSafeInteger(found[key])) && texts.every((key) => typeof found[key] === 'string') && typeof found.released === 'boolean'
  if (!good) throw new LeaseStoreError(`lease device ${path} carries a lease that this program can't read`)
  return found as unknown as LeaseRecord
}
