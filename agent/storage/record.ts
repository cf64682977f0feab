/**
 * What a storage server must remember by itself, so that its exports come back with no manager: its disks, and the exports that were
 * wanted. One file, replaced durably before an effect that adds, and before an effect that shuts somebody out.
 */
import { join } from 'node:path'
import { readIfThere, writeDurably } from '../../lib/host/files.js'
import { list, record, text } from '../../lib/rpc/shape.js'
import type { Parsed, Shape } from '../../lib/rpc/shape.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { chap, extentWanted, id } from '../../lib/wire/agent.js'
import type { Chap, ExtentWanted } from '../../lib/wire/agent.js'

const disk = record({ disk: id, device: text() })
const file = record({ disks: list(disk), extents: list(extentWanted), chap: list(chap) })

export interface StorageRecord {
  disks(): readonly Parsed<typeof disk>[]
  deviceOf(disk: string): string | undefined
  extents(): readonly ExtentWanted[]
  chapOf(initiator: string): Chap | undefined
  /** Changes in memory and on disk, one after the other; rejects when the disk does not take it. */
  change(work: (draft: { disks: Map<string, string>; extents: Map<string, ExtentWanted>; chap: Map<string, Chap> }) => void): Promise<void>
}

/** Throws when the file is there and can't be read: a server that forgot its exports would look empty, and must not. */
export async function openRecord(stateDir: string): Promise<StorageRecord> {
  const path = join(stateDir, 'storage.json')
  const found = await readIfThere(path)
  const kept = found === undefined ? { disks: [], extents: [], chap: [] } : parse(file, JSON.parse(found) as XmlValue, path)
  let state = {
    disks: new Map(kept.disks.map((each) => [each.disk, each.device])), extents: new Map(kept.extents.map((each) => [each.extent, each])),
    chap: new Map(kept.chap.map((each) => [each.initiator, each])),
  }
  let tail: Promise<unknown> = Promise.resolve()
  return {
    disks: () => [...state.disks].map(([each, device]) => ({ disk: each, device })),
    deviceOf: (each) => state.disks.get(each),
    extents: () => [...state.extents.values()],
    chapOf: (initiator) => state.chap.get(initiator),
    change(work) {
      const mine = tail.then(async () => {
        const draft = { disks: new Map(state.disks), extents: new Map(state.extents), chap: new Map(state.chap) }
        work(draft)
        await writeDurably(path, `${JSON.stringify(file.format({
          disks: [...draft.disks].map(([each, device]) => ({ disk: each, device })), extents: [...draft.extents.values()], chap: [...draft.chap.values()],
        }))}\n`, 0o600)
        state = draft
      })
      tail = mine.catch(() => undefined)
      return mine
    },
  }
}

function parse<T>(shape: Shape<T>, value: XmlValue, at: string): T {
  return shape.parse(value, at)
}
