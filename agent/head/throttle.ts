/**
 * How fast this head's copies go. The kernel has one knob for all mirrors of a host: the share of time, in percent, in which copies may
 * have requests under way (dm_mirror's raid1_resync_throttle). It is turned after every look, so that copies keep to the rate that is
 * allowed and give way to guests.
 */
import { readFile, writeFile } from 'node:fs/promises'
import type { Clock, Log } from '../../lib/ports.js'
import { messageOf } from '../../lib/faults.js'

const KNOB = '/sys/module/dm_mirror/parameters/raid1_resync_throttle'
/**
 * While guests are at work. A copy's requests take as long as the network and the disks make them, so the percentage is, nearly, the share
 * of its full rate: half of it leaves guests half of what the copy would take. (Over local disks in memory 5 halved a guest's longest
 * waits, and 100 cost it a third of its rate; over iSCSI 5 made a copy of 64 MiB take 26 s.)
 */
const BUSY_PERCENT = 50

/** The next setting, 1 to 100. `rate`: bytes per second, measured since the last one; `allowed`: undefined when there is no limit. */
export function nextThrottle({ percent, rate, allowed, busy }: { readonly percent: number; readonly rate: number; readonly allowed: number | undefined; readonly busy: boolean }): number {
  const most = busy ? BUSY_PERCENT : 100
  if (allowed === undefined) return most
  const wanted = rate > allowed ? Math.floor(percent * Math.max(0.1, allowed / rate)) : Math.ceil(percent * 1.3)
  return Math.max(1, Math.min(most, wanted))
}

export interface Throttle {
  /** `copied`: bytes that copies under way have done, undefined when there is none; `tops`: kernel names (dm-3) of the guests' devices. */
  look(copied: bigint | undefined, tops: readonly string[], allowed: bigint | undefined): Promise<void>
}

export function createThrottle({ clock, log }: { readonly clock: Clock; readonly log: Log }): Throttle {
  let before: { readonly copied: bigint; readonly requests: number; readonly atMs: number } | undefined
  let percent = 100
  return {
    async look(copied, tops, allowed) {
      if (copied === undefined) {
        before = undefined
        return
      }
      const [requests, now] = [await requestsOf(tops), clock.monoMs()]
      if (before) {
        const seconds = Math.max(0.05, (now - before.atMs) / 1000)
        const rate = copied > before.copied ? Number(copied - before.copied) / seconds : 0
        const next = nextThrottle({ percent, rate, allowed: allowed === undefined ? undefined : Number(allowed), busy: requests !== before.requests })
        if (next !== percent) await writeFile(KNOB, String(next)).catch((thrown: unknown) => { log.warn('the copies\' rate could not be set', { error: messageOf(thrown) }) })
        percent = next
      }
      before = { copied, requests, atMs: now }
    },
  }
}

/** Reads and writes that guests have had done so far (fields 1 and 5 of a block device's stat). */
async function requestsOf(devices: readonly string[]): Promise<number> {
  const counts = await Promise.all(devices.map(async (device) => {
    const fields = (await readFile(`/sys/block/${device}/stat`, 'utf8').catch(() => '')).trim().split(/\s+/)
    return Number(fields[0] ?? 0) + Number(fields[4] ?? 0)
  }))
  return counts.reduce((sum, each) => sum + each, 0)
}
