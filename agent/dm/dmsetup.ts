/** The door to dmsetup. A process start costs far more than what it does, so devices go in batches. */
import { Fault } from '../../lib/faults.js'
import { failureText } from '../../lib/host/failure-text.js'
import type { Run, RunResult } from '../../lib/ports.js'
import { formatConcise } from './table.js'
import { readInfo, readNamed } from './status.js'
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

export interface Dmsetup {
  create(devices: readonly NewDevice[]): Promise<void>
  /** Puts a new table under a device in use: held and new I/O goes on with the new one, nothing fails. */
  reload(name: string, table: readonly string[]): Promise<void>
  /** Gives `busy` when the first that is in use stopped it; those before it are gone. Absent devices are no error. */
  remove(names: readonly string[]): Promise<'removed' | 'busy'>
  /** All device-mapper devices of this host. */
  info(): Promise<readonly DeviceInfo[]>
  /** All devices with table and status. */
  state(): Promise<readonly DeviceState[]>
}

const TIMEOUT_MS = 20_000
/** Devices in one command line: far below the kernel's limit of 128 KiB for one argument. */
const BATCH = 64

export function createDmsetup({ run, udev }: { readonly run: Run; readonly udev: boolean }): Dmsetup {
  const env: Readonly<Record<string, string>> = udev ? {} : { DM_DISABLE_UDEV: '1' } // without it, and without udev, no device nodes appear
  const call = async (args: readonly string[]): Promise<RunResult & { readonly request: Parameters<Run>[0] }> => {
    const request = { file: 'dmsetup', args, env, timeoutMs: TIMEOUT_MS, maxOutputBytes: 64 * 1024 * 1024 }
    return { ...await run(request), request }
  }
  const must = async (args: readonly string[]): Promise<string> => {
    const result = await call(args)
    if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', failureText(result.request, result))
    return result.stdout
  }
  const info = async (): Promise<readonly DeviceInfo[]> => readInfo(await must(['info', '-c', '--noheadings', '--separator', '|', '-o', 'name,uuid,open,suspended']))
  return {
    async create(devices) {
      for (let at = 0; at < devices.length; at += BATCH) await must(['create', '--concise', formatConcise(devices.slice(at, at + BATCH))])
    },
    async reload(name, table) {
      await must(['load', name, '--table', table.join('\n')])
      await must(['resume', '--noflush', '--nolockfs', name]) // a flush here would fail every held write
    },
    async remove(names) {
      for (const name of names) {
        const result = await call(['remove', name])
        if (result.exit.kind === 'code' && result.exit.code === 0) continue
        if (/resource busy|is in use|still in use/i.test(result.stderr)) return 'busy'
        if (/No such device|not found/i.test(result.stderr)) continue
        throw new Fault('agent failed', failureText(result.request, result))
      }
      return 'removed'
    },
    info,
    async state() {
      const [infos, tables, statuses] = await Promise.all([info(), must(['table']), must(['status', '--noflush'])])
      const [tableOf, statusOf] = [readNamed(tables), readNamed(statuses)]
      return infos.map((each) => ({ ...each, table: tableOf.get(each.name) ?? [], status: statusOf.get(each.name) ?? [] }))
    },
  }
}
