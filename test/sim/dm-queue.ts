/**
 * dm-multipath with one path and `queue_if_no_path`: an error below fails the path, and everything waits until somebody reinstates it or
 * says that nothing is to wait. Source: Linux drivers/md/dm-mpath.c. A place that can't be read is told as it is (blk_path_error()).
 */
import type { Bio, BlockDevice } from './block.js'
import { DmError } from './dm.js'
import type { Target, TargetContext } from './dm.js'

export function queue({ kernel, event, stir, noflush }: TargetContext, device: BlockDevice, waitsFirst: boolean): Target {
  let waits = waitsFirst
  let active = true
  let stopping = false
  let closed = false
  let waiting: Bio[] = []

  function map(bio: Bio): void {
    if (!active) {
      if (stopping && noflush()) bio.done('requeue', new Map())
      else if (waits && !stopping) waiting.push(bio)
      else bio.done('io', new Map())
      return
    }
    device.submit({ ...bio, done(outcome, data) {
      if (closed) return
      if (outcome !== 'io') {
        bio.done(outcome, data)
        return
      }
      if (active) {
        active = false
        kernel.after(0, event)
      }
      map(bio)
    } })
  }

  function again(): void {
    const all = waiting
    waiting = []
    for (const bio of all) map(bio)
    stir()
  }

  return {
    devices: [device],
    get table() { return `multipath ${waits ? '3 queue_if_no_path' : '2'} queue_mode bio 0 1 1 round-robin 0 1 1 ${device.devno} 1` },
    submit: map,
    status: () => `multipath 2 ${waiting.length} 0 0 0 1 1 ${active ? 'A' : 'E'} 0 1 0 ${device.devno} ${active ? 'A 0' : 'F 1'}`,
    presuspend() {
      stopping = true
      again()
    },
    idle: () => waiting.length === 0,
    resume() { stopping = false },
    async message(words) {
      const [what, path] = words
      if (what === 'queue_if_no_path') waits = true
      else if (what === 'fail_if_no_path') {
        waits = false
        kernel.after(0.1, again)
      } else if (what === 'reinstate_path') {
        if (kernel.find(path ?? '') !== device) throw new DmError('Invalid argument')
        if (active) return
        active = true
        event()
        kernel.after(0.1, again)
      } else throw new DmError('Unrecognised multipath message received')
    },
    close() { closed = true },
  }
}
