/** What a head must remember of each volume to know its own after a restart of the agent: the layout that it was last given. */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readIfThere, sweepTemporaries, syncDirectory, writeDurably } from '../../lib/host/files.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { volumeWanted } from '../../lib/wire/agent.js'
import type { VolumeWanted } from '../../lib/wire/agent.js'

export interface VolumeRecords {
  get(volume: string): VolumeWanted | undefined
  segment(volume: string, index: number): VolumeWanted['segments'][number] | undefined
  all(): readonly VolumeWanted[]
  put(volume: VolumeWanted): Promise<void>
  remove(volume: string): Promise<void>
}

/** Throws when a record can't be read: a head that forgot a volume would call it foreign. */
export async function openVolumeRecords(stateDir: string): Promise<VolumeRecords> {
  const dir = join(stateDir, 'volumes')
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await sweepTemporaries(dir)
  const kept = new Map<string, VolumeWanted>()
  for (const file of (await readdir(dir)).filter((name) => /^[0-9a-f]{32}\.json$/.test(name))) {
    const text = await readIfThere(join(dir, file))
    if (text === undefined) continue
    const volume = volumeWanted.parse(JSON.parse(text) as XmlValue, file)
    kept.set(volume.volume, volume)
  }
  return {
    get: (volume) => kept.get(volume),
    segment: (volume, index) => kept.get(volume)?.segments.find((segment) => segment.index === index),
    all: () => [...kept.values()],
    async put(volume) {
      await writeDurably(join(dir, `${volume.volume}.json`), `${JSON.stringify(volumeWanted.format(volume))}\n`, 0o600)
      kept.set(volume.volume, volume)
    },
    async remove(volume) {
      await rm(join(dir, `${volume}.json`), { force: true })
      await syncDirectory(dir)
      kept.delete(volume)
    },
  }
}
