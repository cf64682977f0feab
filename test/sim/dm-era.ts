/**
 * dm-era: before the first write of an era to a block, that it is written is written down (on its metadata device, flushed), and only then
 * the write goes on. Source: Linux drivers/md/dm-era-target.c. What it keeps is one value at the metadata device's first slot.
 */
import { ask, nothing } from './block.js'
import type { Bio, BlockDevice, Content } from './block.js'
import { DmError } from './dm.js'
import type { Target, TargetContext } from './dm.js'

/** What is on the metadata device. By block: the last era in which it was written. */
export interface EraMemory {
  readonly kind: 'era'
  readonly era: number
  readonly written: ReadonlyMap<number, number>
  /** What a metadata snapshot shows. */
  readonly snapshot: ReadonlyMap<number, number> | undefined
}

export function isEra(content: Content | undefined): content is EraMemory {
  return typeof content === 'object'
}

export async function era({ kernel, stir }: TargetContext, meta: BlockDevice, origin: BlockDevice, blockSectors: number): Promise<Target> {
  const touch = (): void => { kernel.timeline.touch() }
  const blockSlots = blockSectors / 8
  const { outcome, data } = await ask(meta, { op: 'read', slot: 0, count: 1, data: nothing }, touch)
  const found = data.get(0) ?? 0
  if (outcome !== 'ok' || !(isEra(found) || found === 0)) throw new DmError('Error opening metadata: Input/output error')
  let memory: EraMemory = isEra(found) ? { ...found, snapshot: undefined } : { kind: 'era', era: 0, written: new Map(), snapshot: undefined }
  let broken = false
  let deferred: Bio[] = []
  let busy: Promise<unknown> = Promise.resolve()
  let working = 0
  let closed = false

  /** In the worker, one thing after the other: commits what `change` makes of the memory. */
  function commit(change: (now: EraMemory) => EraMemory): Promise<boolean> {
    working += 1
    const mine = busy.then(async () => {
      memory = change(memory)
      const wrote = await ask(meta, { op: 'write', slot: 0, count: 1, data: new Map<number, Content>([[0, memory]]) }, touch)
      const flushed = wrote.outcome === 'ok' ? await ask(meta, { op: 'flush', slot: 0, count: 0, data: nothing }, touch) : wrote
      if (flushed.outcome !== 'ok') broken = true
      return flushed.outcome === 'ok'
    }).finally(() => {
      working -= 1
      kernel.after(0, stir)
    })
    busy = mine.catch(() => undefined)
    return mine
  }
  const rollOver = (now: EraMemory): EraMemory => ({ ...now, era: now.era + 1 })

  function remember(): void {
    void commit((now) => {
      const all = deferred.map((bio) => Math.floor(bio.slot / blockSlots))
      return { ...now, written: new Map([...now.written, ...all.map((block): [number, number] => [block, now.era])]) }
    }).then((ok) => {
      // Blocks that could not be written down count as marked in core all the same: a second write of them passes.
      const done = deferred.filter((bio) => memory.written.get(Math.floor(bio.slot / blockSlots)) === memory.era)
      deferred = deferred.filter((bio) => !done.includes(bio))
      if (closed) return
      for (const bio of done) {
        if (ok) origin.submit(bio)
        else bio.done('io', nothing)
      }
      if (deferred.length > 0) remember()
    })
  }

  const done = async (ok: Promise<boolean>): Promise<void> => { if (!await ok) throw new DmError('Input/output error') }
  await done(commit(rollOver))
  return {
    devices: [meta, origin],
    table: `era ${meta.devno} ${origin.devno} ${blockSectors}`,
    status: () => (broken ? 'era Error' : `era 8 9/1024 ${memory.era} ${memory.snapshot ? 13 : '-'}`),
    submit(bio) {
      if (bio.op !== 'write' || memory.written.get(Math.floor(bio.slot / blockSlots)) === memory.era) {
        origin.submit(bio)
        return
      }
      deferred.push(bio)
      if (deferred.length === 1) remember()
    },
    presuspend: () => undefined,
    idle: () => working === 0,
    resume: () => undefined,
    async message([what = '']) {
      switch (what) {
        case 'checkpoint': return done(commit(rollOver))
        case 'take_metadata_snap':
          if (memory.snapshot) throw new DmError('metadata snapshot already exists')
          return done(commit((now) => ({ ...rollOver(now), snapshot: now.written })))
        case 'drop_metadata_snap':
          if (!memory.snapshot) throw new DmError('no metadata snapshot')
          return done(commit((now) => ({ ...now, snapshot: undefined })))
        default: throw new DmError(`unsupported message '${what}'`)
      }
    },
    end: () => commit((now) => now),
    close() { closed = true },
  }
}
