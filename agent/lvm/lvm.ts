/**
 * The door to LVM. It runs with a configuration of its own for each disk, in which that one device is accepted and all others are
 * rejected: LVM can't scan, lock or change what isn't ours, and a hung disk holds up nobody else. Several commands go through one
 * process, because in it they cost a tenth of a process each. A process that a disk holds up is waited for as long as a healthy one
 * may take, and then left alone: the kernel lets it end when the disk answers again, and until then that disk has no other.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault } from '../../lib/faults.js'
import { failureText } from '../../lib/host/failure-text.js'
import { writeDurably } from '../../lib/host/files.js'
import type { Clock, Run } from '../../lib/ports.js'
import { poolReportCommand, readPool } from './report.js'
import type { PoolReport } from './report.js'

export interface LvmOptions {
  readonly run: Run
  readonly clock: Clock
  /** Where the configurations go: one folder a disk. */
  readonly dir: string
  readonly udev: boolean
  /** More block device types, as LVM's devices/types takes them: `ubd:16`. */
  readonly types: readonly string[]
}

export interface Lvm {
  /** Runs commands in order on one disk's volume group, then reports it. Throws `agent failed` when LVM can't be run, or the disk does not answer. */
  batch(disk: string, device: string, commands: readonly string[]): Promise<{ readonly pool: PoolReport | undefined; readonly complaint: string }>
}

export function vgName(disk: string): string {
  return `vsky_${disk}`
}

export function lvPath(disk: string, extent: string): string {
  return `/dev/${vgName(disk)}/${extent}`
}

/** A report, ms; it takes some 60. */
const REPORT_MS = 10_000
/** A command more, ms: with thousands of extents on a disk it takes up to 400. */
const COMMAND_MS = 1000
/** LVM is not killed where it can be helped: that could be in the middle of writing its metadata. */
const TIMEOUT_MS = 3_600_000

export function createLvm({ run, clock, dir, udev, types }: LvmOptions): Lvm {
  const written = new Map<string, string>()
  const tails = new Map<string, Promise<unknown>>()
  /** Disk → when it was asked what it has not answered yet, by the monotonic clock. */
  const silent = new Map<string, number>()
  const configure = async (disk: string, device: string): Promise<string> => {
    const folder = join(dir, disk)
    if (written.get(disk) === device) return folder
    await mkdir(join(folder, 'locks'), { recursive: true, mode: 0o700 })
    await writeDurably(join(folder, 'lvm.conf'), lvmConfig({ device, locks: join(folder, 'locks'), udev, types }), 0o600)
    written.set(disk, device)
    return folder
  }
  return {
    batch(disk, device, commands) {
      const ask = async (): ReturnType<Lvm['batch']> => {
        const folder = await configure(disk, device)
        const input = [...commands, poolReportCommand(vgName(disk)), ''].join('\n')
        const request = {
          file: 'lvm', args: [], input, timeoutMs: TIMEOUT_MS,
          env: { LVM_SYSTEM_DIR: folder, LVM_SUPPRESS_FD_WARNINGS: '1', ...(udev ? {} : { DM_DISABLE_UDEV: '1' }) },
        }
        const result = await run(request)
        if (result.exit.kind !== 'code') throw new Fault('agent failed', failureText(request, result))
        return { pool: readPool(result.stdout), complaint: complaintOf(result.stderr) }
      }
      const work = async (): ReturnType<Lvm['batch']> => {
        const since = silent.get(disk)
        if (since !== undefined) throw doesNotAnswer(disk, device, clock.monoMs() - since)
        const began = clock.monoMs()
        const ended = new AbortController()
        const answer = ask().finally(() => {
          ended.abort()
          silent.delete(disk)
        })
        answer.catch(() => undefined)
        const patience = clock.sleep(REPORT_MS + commands.length * COMMAND_MS, ended.signal).then(() => {
          if (ended.signal.aborted) return answer // it came in that very moment
          silent.set(disk, began)
          throw doesNotAnswer(disk, device, clock.monoMs() - began)
        }, () => answer)
        return Promise.race([answer, patience])
      }
      // One at a time per disk: LVM's own lock would make them wait anyway.
      const mine = (tails.get(disk) ?? Promise.resolve()).then(work, work)
      tails.set(disk, mine.catch(() => undefined))
      return mine
    },
  }
}

function doesNotAnswer(disk: string, device: string, ms: number): Fault {
  return new Fault('agent failed', `disk ${disk} at ${device} has not answered for ${Math.round(ms / 1000)} s`)
}

/** What LVM said went wrong, without its regular warnings. */
export function complaintOf(stderr: string): string {
  return stderr.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('WARNING:')).join('; ').slice(0, 1000)
}

/** Pure. `device` is the only one that LVM may see. */
export function lvmConfig({ device, locks, udev, types }: { device: string; locks: string; udev: boolean; types: readonly string[] }): string {
  const only = `["a|^${device.replace(/[.+]/g, '\\\\$&')}$|", "r|.*|"]`
  const pairs = types.map((type) => type.split(':')).map(([name, count = '16']) => `"${name}", ${count}`).join(', ')
  return [
    'devices {', `  filter = ${only}`, `  global_filter = ${only}`, `  scan = ["${dirname(device)}"]`, '  use_devicesfile = 0', '  hints = "none"',
    `  obtain_device_list_from_udev = ${udev ? 1 : 0}`, '  external_device_info_source = "none"', '  multipath_component_detection = 0', '  md_component_detection = 0',
    ...(pairs === '' ? [] : [`  types = [${pairs}]`]), '  issue_discards = 0', '}',
    `activation { udev_sync = ${udev ? 1 : 0} udev_rules = ${udev ? 1 : 0} monitoring = 0 }`,
    'backup { backup = 0 archive = 0 }',
    `global { locking_dir = "${locks}" event_activation = 0 use_lvmlockd = 0 use_lvmpolld = 0 }`, '',
  ].join('\n')
}
