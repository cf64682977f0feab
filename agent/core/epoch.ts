/**
 * The highest manager's epoch that this host has seen. It is on disk before it is acknowledged; lower ones are refused, at the door and
 * again right before each step that can't be taken back. A fence answers only when every older operation has ended.
 */
import { join } from 'node:path'
import { Fault } from '../../lib/faults.js'
import { readIfThere, writeDurably } from '../../lib/host/files.js'
import type { StillMine } from '../roles.js'

export interface Epochs {
  current(): number
  /** Runs an operation of an epoch. Throws `stale epoch` when a newer one has been seen. */
  run<T>(epoch: number, operation: (stillMine: StillMine) => Promise<T>): Promise<T>
  /** Takes the epoch (then `taken` is called) and waits for the end of older operations, at most `ms`; then `timed out`. */
  fence(epoch: number, ms: number, taken?: () => void): Promise<void>
}

export interface EpochStore {
  load(): Promise<number>
  save(epoch: number): Promise<void>
}

export function epochFile(stateDir: string): EpochStore {
  const path = join(stateDir, 'epoch')
  return {
    async load() {
      const text = (await readIfThere(path))?.trim()
      if (text === undefined) return 0
      if (!/^\d{1,15}$/.test(text)) throw new Error(`${path} holds no epoch but ${JSON.stringify(text.slice(0, 40))}: refuse to go on without knowing it`)
      return Number(text)
    },
    save: (epoch) => writeDurably(path, `${epoch}\n`, 0o600),
  }
}

export async function openEpochs(store: EpochStore): Promise<Epochs> {
  let highest = await store.load()
  let saving: Promise<unknown> = Promise.resolve()
  const running = new Map<Promise<unknown>, number>()

  function refuse(epoch: number): void {
    if (epoch < highest) throw new Fault('stale epoch', `epoch ${epoch} is over: this host has seen ${highest}`)
  }

  /** Serialised, so that two newer epochs at once end with the higher one on disk. */
  function raise(epoch: number): Promise<void> {
    const mine = saving.then(async () => {
      refuse(epoch)
      if (epoch === highest) return
      await store.save(epoch)
      highest = epoch
    })
    saving = mine.catch(() => undefined)
    return mine
  }

  return {
    current: () => highest,
    async run(epoch, operation) {
      await raise(epoch)
      const stillMine = (): void => { refuse(epoch) }
      const work = operation(stillMine)
      const watched = work.catch(() => undefined)
      running.set(watched, epoch)
      try {
        return await work
      } finally {
        running.delete(watched)
      }
    },
    async fence(epoch, ms, taken) {
      await raise(epoch)
      taken?.()
      const older = [...running].filter(([, each]) => each < epoch).map(([work]) => work)
      if (older.length === 0) return
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<'late'>((resolve) => { timer = setTimeout(() => { resolve('late') }, ms) })
      const outcome = await Promise.race([Promise.all(older), late])
      clearTimeout(timer)
      if (outcome === 'late') throw new Fault('timed out', `${older.length} operations of an older manager have not ended yet`)
    },
  }
}
