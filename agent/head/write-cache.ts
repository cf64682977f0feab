/**
 * Flushes never reach a disk while it is being copied to: this kernel takes it for one without a cache. Nothing that is on such a leg
 * counts before its copy has ended and was written out, and a flush that failed there could not be got over: when one fails while dm-raid1
 * waits for the writes of a region to end, to copy it, that region's copy is forgotten, and the mirror can never be suspended again
 * (dm_rh_dec() of Linux 6.1, `flush_failure` before `DM_RH_RECOVERING`; seen: only a reboot helps).
 */
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../lib/faults.js'
import { kernelNameOf } from '../../lib/host/block-device.js'
import type { Log } from '../../lib/ports.js'
import { readUuid } from '../dm/table.js'

export interface WriteCaches {
  /** By path, or by number (8:16): from now on a flush ends before it gets there. */
  bypass(device: string): Promise<void>
  /** As the disk itself says; one whose cache nobody can tell of is left alone. */
  restore(device: string): Promise<void>
  /** The same for whatever one of our devices stands on, by the kernel's name (dm-3). */
  restoreBelow(kernel: string): Promise<void>
}

export function createWriteCaches({ log, sys = '/sys', resolve = (device) => kernelNameOf(device).catch(() => '') }: { log: Log; sys?: string; resolve?: (device: string) => Promise<string> }): WriteCaches {
  const read = async (...path: readonly string[]): Promise<string> => (await readFile(join(sys, ...path), 'utf8').catch(() => '')).trim()
  const below = (kernel: string): Promise<readonly string[]> => readdir(join(sys, 'block', kernel, 'slaves')).catch(() => [])

  /** Whether the disk has a cache that can lose something; undefined where that can't be told. */
  async function hasCache(kernel: string): Promise<boolean | undefined> {
    const scsi = await readdir(join(sys, 'block', kernel, 'device/scsi_disk')).catch(() => [])
    if (scsi[0] !== undefined) return (await read('block', kernel, 'device/scsi_disk', scsi[0], 'cache_type')).startsWith('write back')
    if (!kernel.startsWith('dm-')) return undefined
    const caches = await Promise.all((await below(kernel)).map((each) => read('block', each, 'queue/write_cache')))
    return caches.length === 0 ? undefined : caches.includes('write back')
  }

  async function set(kernel: string, wanted: 'write back' | 'write through'): Promise<void> {
    if (kernel === '' || await hasCache(kernel) !== true || await read('block', kernel, 'queue/write_cache') === wanted) return
    await writeFile(join(sys, 'block', kernel, 'queue/write_cache'), wanted).catch((thrown: unknown) => { log.warn('how a disk is flushed could not be set', { disk: kernel, wanted, error: messageOf(thrown) }) })
  }

  async function restoreBelow(kernel: string): Promise<void> {
    await Promise.all((await below(kernel)).map(async (each) => (readUuid(await read('block', each, 'dm/uuid')) ? restoreBelow(each) : set(each, 'write back'))))
  }

  return {
    bypass: async (device) => set(await resolve(device), 'write through'),
    restore: async (device) => set(await resolve(device), 'write back'),
    restoreBelow,
  }
}
