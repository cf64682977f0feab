/** The door to dmsetup. A process start costs far more than what it does, so devices go in batches. */
import { Fault } from '../../lib/faults.js'
import { failureText } from '../../lib/host/failure-text.js'
import type { Run, RunRequest, RunResult } from '../../lib/ports.js'
import { formatConcise, hasSafeStatus, readUuid } from './table.js'
import { INFO_COLUMNS, readInfo, readNamed } from './status.js'
import type { DeviceInfo } from './status.js'

export interface NewDevice {
  readonly name: string
  readonly uuid: string
  readonly table: readonly string[]
}

export interface DeviceState extends DeviceInfo {
  readonly table: readonly string[]
  readonly status: readonly string[]
}

export type RemoveOutcome = { readonly kind: 'removed' } | { readonly kind: 'stopped'; readonly by: 'busy' | 'absent' }

export interface Dmsetup {
  /** Makes devices in this order, so that a later one may stand on an earlier one. One process for as many as fit into its argument. */
  create(devices: readonly NewDevice[]): Promise<void>
  /** Puts a new table under a device in use: held and new I/O goes on with the new one, nothing fails. */
  reload(name: string, table: readonly string[]): Promise<void>
  /**
   * Removes them in this order with one process. `stopped` names the first that something holds, or that is not there (any more):
   * those before it are gone, those after it were not tried.
   */
  remove(names: readonly string[]): Promise<RemoveOutcome>
  /** Everything that waits in it, and all that comes, gets an error. */
  fail(name: string, sectors: bigint): Promise<void>
  /** A message to the first target of a device. */
  message(name: string, text: string): Promise<void>
  /** All device-mapper devices of this host, with table and open count, and ours with their status, where asking can't hang. */
  state(): Promise<readonly DeviceState[]>
  /** Name → event counter of all devices. */
  counters(): Promise<ReadonlyMap<string, number>>
  /**
   * Asleep in the kernel until a device's event counter has passed `counter`. `gone`: it is no longer there. `stopped`: by the signal, or
   * after an hour.
   */
  wait(name: string, counter: number, signal: AbortSignal): Promise<'event' | 'gone' | 'stopped'>
  /** Name → status lines of these devices; those that are not there are left out. */
  status(names: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>>
  /** Stops a device, and lets it go on with the table that it then has; what comes meanwhile waits. Always both. */
  suspend(name: string): Promise<void>
  resume(name: string): Promise<void>
  /** Puts a table in place for the next resume. */
  load(name: string, table: readonly string[]): Promise<void>
}

const TIMEOUT_MS = 20_000
/**
 * A suspend that is killed while it waits leaves a mirror that no later one, and no removal, ever gets past (seen on kernel 6.1: only a
 * reboot helps), and a multipath that answers errors. So nothing that suspends has a limit that could be reached: what it waits for
 * ends by the timers of iSCSI and SCSI.
 */
const SUSPEND_MS = 24 * 3600 * 1000
const WAIT_MS = 3_600_000
/** Devices whose status one process is asked for: names of 60 characters fit some thousand times into its arguments. */
const STATUS_NAMES = 1000
/** Below the kernel's limit of 128 KiB for one argument (execve(2), MAX_ARG_STRLEN). */
const ARGUMENT_BYTES = 96 * 1024

export interface DmsetupOptions {
  readonly run: Run
  /** A runner of its own: waiting programs must not take the places of working ones. */
  readonly waiting: Run
  /**
   * Another one, for what ends when I/O has ended: a suspend, a removal. With as many places as there may be devices, for each may wait
   * until others of these calls, or of the quick ones, let that I/O go on.
   */
  readonly holding: Run
  readonly udev: boolean
  /** Of what suspends nothing, ms. */
  readonly timeoutMs?: number
}

export function createDmsetup({ run, waiting, holding, udev, timeoutMs: usual = TIMEOUT_MS }: DmsetupOptions): Dmsetup {
  const env: Readonly<Record<string, string>> = udev ? {} : { DM_DISABLE_UDEV: '1' } // without it, and without udev, no device nodes appear
  const call = async (args: readonly string[], { input, by = run, timeoutMs = usual }: { readonly input?: string; readonly by?: Run; readonly timeoutMs?: number } = {}): Promise<RunResult & { readonly request: RunRequest }> => {
    const request = { file: 'dmsetup', args, env, timeoutMs, maxOutputBytes: 64 * 1024 * 1024, ...(input === undefined ? {} : { input }) }
    return { ...await by(request), request }
  }
  const must = async (args: readonly string[], how: Parameters<typeof call>[1] = {}): Promise<string> => {
    const result = await call(args, how)
    if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', failureText(result.request, result))
    return result.stdout
  }
  const untilEnded = { by: holding, timeoutMs: SUSPEND_MS }
  /** One process for all, which says a status of each that is there; with a single name it does not say whose. */
  const status = async (names: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> => {
    const found = new Map<string, readonly string[]>()
    for (let at = 0; at < names.length; at += STATUS_NAMES) {
      const some = names.slice(at, at + STATUS_NAMES)
      const result = await call(['status', '--noflush', ...some])
      if (result.exit.kind !== 'code') throw new Fault('agent failed', failureText(result.request, result))
      const [only] = some
      if (some.length === 1 && only !== undefined) found.set(only, result.exit.code === 0 ? result.stdout.split('\n').filter((line) => line !== '') : [])
      else for (const [name, lines] of readNamed(result.stdout)) found.set(name, lines)
    }
    return found
  }
  const load = async (name: string, table: readonly string[]): Promise<void> => { await must(['load', name], { input: `${table.join('\n')}\n` }) }
  const resume = async (name: string): Promise<void> => { await must(['resume', '--noflush', '--nolockfs', name], untilEnded) } // a flush here would fail every held write
  return {
    status,
    load,
    resume,
    async suspend(name) { await must(['suspend', '--noflush', '--nolockfs', name], untilEnded) },
    async counters() {
      const text = await must(['info', '-c', '--noheadings', '--separator', '|', '-o', 'name,events'])
      return new Map(text.split('\n').map((line) => line.split('|')).filter((fields) => fields.length === 2).map(([name = '', count = '']) => [name.trim(), Number(count)]))
    },
    async wait(name, counter, signal) {
      const { exit } = await waiting({ file: 'dmsetup', args: ['wait', '--noflush', name, String(counter)], env, timeoutMs: WAIT_MS, signal })
      if (exit.kind === 'code') return exit.code === 0 ? 'event' : 'gone'
      return exit.kind === 'timeout' || exit.kind === 'cancelled' ? 'stopped' : 'gone'
    },
    async create(devices) {
      for (const batch of batchesOf(devices)) {
        const [first] = batch
        const concise = formatConcise(batch)
        // One table that is too long for an argument goes by standard input, alone.
        if (first && concise.length > ARGUMENT_BYTES) await must(['create', first.name, '--uuid', first.uuid], { input: `${first.table.join('\n')}\n` })
        else await must(['create', '--concise', concise])
      }
    },
    async reload(name, table) {
      await load(name, table)
      await resume(name)
    },
    async fail(name, sectors) {
      await load(name, [`0 ${sectors} error`])
      await must(['resume', name], untilEnded) // with a flush: that is what makes held writes fail
    },
    async message(name, text) {
      await must(['message', name, '0', ...text.split(' ')])
    },
    async remove(names) {
      if (names.length === 0) return { kind: 'removed' }
      const result = await call(['remove', ...names], untilEnded)
      if (result.exit.kind === 'code' && result.exit.code === 0) return { kind: 'removed' }
      if (/resource busy|is in use|still in use/i.test(result.stderr)) return { kind: 'stopped', by: 'busy' }
      if (/No such device|not found/i.test(result.stderr)) return { kind: 'stopped', by: 'absent' }
      throw new Fault('agent failed', failureText(result.request, result))
    },
    async state() {
      const [text, tables] = await Promise.all([must(['info', '-c', '--noheadings', '--separator', '|', '-o', INFO_COLUMNS]), must(['table'])])
      const [infos, tableOf] = [readInfo(text), readNamed(tables)]
      const statusOf = await status(infos.filter((each) => safeToAsk(each.uuid)).map((each) => each.name))
      return infos.map((each) => ({ ...each, table: tableOf.get(each.name) ?? [], status: statusOf.get(each.name) ?? [] }))
    },
  }
}

/** Whether a device is one of ours whose status is told at once, whatever its legs do. */
export function safeToAsk(uuid: string): boolean {
  const mine = readUuid(uuid)
  return mine !== undefined && hasSafeStatus(mine.part)
}

/** In order, each batch as long as one argument may be. */
export function batchesOf(devices: readonly NewDevice[]): readonly (readonly NewDevice[])[] {
  const batches: NewDevice[][] = []
  let room = 0
  for (const device of devices) {
    const size = formatConcise([device]).length + 1
    const last = batches.at(-1)
    if (last && size <= room) {
      last.push(device)
      room -= size
    } else {
      batches.push([device])
      room = ARGUMENT_BYTES - size
    }
  }
  return batches
}
