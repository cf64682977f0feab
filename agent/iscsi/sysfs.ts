/** What the kernel shows of iSCSI sessions and of the SCSI disks behind them. Reads, but for `takeBack`; no process is started. */
import { access, readFile, readdir, realpath, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isErrno } from '../../lib/host/files.js'

const SESSIONS = '/sys/class/iscsi_session'

export interface Session {
  /** open-iscsi's number of it. */
  readonly sid: string
  readonly target: string
  /** `LOGGED_IN`, `FAILED` (connection lost), `FREE` (given up). */
  readonly state: string
  /** `host7` */
  readonly host: string
  readonly path: string
}

/** All sessions of this host, ours or not. */
export async function sessions(): Promise<readonly Session[]> {
  const names = await readdir(SESSIONS).catch(() => [])
  const found = await Promise.all(names.map(async (name): Promise<readonly Session[]> => {
    try {
      const at = join(SESSIONS, name)
      const [target, state, path] = await Promise.all([readFile(join(at, 'targetname'), 'utf8'), readFile(join(at, 'state'), 'utf8'), realpath(join(at, 'device'))])
      const host = /\/(host\d+)\//.exec(`${path}/`)?.[1]
      return host === undefined ? [] : [{ sid: name.slice('session'.length), target: target.trim(), state: state.trim(), host, path }]
    } catch {
      return [] // it has just ended
    }
  }))
  return found.flat()
}

/** The SCSI disks of a session, by name (`sda`). */
export async function disksOf(session: Session): Promise<readonly string[]> {
  const target = targetPath(session)
  const entries = await readdir(target).catch(() => [])
  const disks = await Promise.all(entries.filter((entry) => /^\d+:\d+:\d+:\d+$/.test(entry)).map((entry) => readdir(join(target, entry, 'block')).catch(() => [])))
  return disks.flat()
}

export async function diskAt(session: Session, lun: number): Promise<string | undefined> {
  const at = join(targetPath(session), `${session.host.slice('host'.length)}:0:0:${lun}`, 'block')
  return (await readdir(at).catch(() => []))[0]
}

function targetPath({ path, host }: Session): string {
  return join(path, `target${host.slice('host'.length)}:0:0`)
}

/** VPD page 0x80: a header of four bytes, then the unit serial number, which is the extent's id. (The WWN holds only 25 digits of it.) */
export async function serialOf(disk: string): Promise<string | undefined> {
  const page = await readFile(`/sys/block/${disk}/device/vpd_pg80`).catch(() => undefined)
  return page && page.subarray(4).toString('latin1').replace(/[\0 ]+$/, '').trim()
}

/** Whether the kernel still knows a disk by this name. */
export async function isPresent(disk: string): Promise<boolean> {
  return access(`/sys/block/${disk}`).then(() => true, () => false)
}

/** Whether another block device (one of ours, or a stranger's) is built on this disk. */
export async function isHeld(disk: string): Promise<boolean> {
  return (await readdir(`/sys/block/${disk}/holders`).catch(() => [])).length > 0
}

/**
 * Whether the kernel opens this disk (`/dev/sdb` or `8:16`) for no new table: its error handling has given it up. Source: Linux
 * drivers/scsi, scsi_device_online().
 */
export async function isGivenUp(device: string): Promise<boolean> {
  return ['offline', 'transport-offline'].includes(await stateOf(device))
}

/** Whether the kernel no longer has this block device (a path, or `8:16`), though a table may hold on to what is left of it: its session was ended. */
export async function isGone(device: string): Promise<boolean> {
  return realpath(device.startsWith('/dev/') ? device : `/sys/dev/block/${device}`).then(() => false, (thrown: unknown) => isErrno(thrown, 'ENOENT'))
}

/** Nothing that is sent to it arrives, and what is built on it is not told by itself when another disk takes its place. */
export async function isLost(device: string): Promise<boolean> {
  return await isGivenUp(device) || isGone(device)
}

/** Asks the kernel to try a disk again that it has put offline, as open-iscsi does after a login. Source: store_state_field(). */
export async function takeBack(device: string): Promise<void> {
  if (await stateOf(device) === 'offline') await writeFile(statePath(device), 'running').catch(() => undefined) // it is tried again with the next order
}

function statePath(device: string): string {
  return `${device.startsWith('/dev/') ? `/sys/block/${basename(device)}` : `/sys/dev/block/${device}`}/device/state`
}

async function stateOf(device: string): Promise<string> {
  return (await readFile(statePath(device), 'utf8').catch(() => '')).trim()
}

/** The extent behind a device number such as `8:16`: a LUN by its serial number, a local leg by its logical volume's name. */
export async function extentOf(devno: string): Promise<string | undefined> {
  const name = basename(await realpath(`/sys/dev/block/${devno}`).catch(() => ''))
  const mapped = await readFile(`/sys/block/${name}/dm/name`, 'utf8').catch(() => undefined)
  return mapped === undefined ? serialOf(name) : /^vsky_[0-9a-f]{32}-([0-9a-f]{32})$/.exec(mapped.trim())?.[1]
}

/** What is wrong with a disk that should be this extent of exactly this size; undefined when nothing is. */
export async function problemOf(disk: string, wanted: { readonly extent: string; readonly bytes: bigint }): Promise<string | undefined> {
  const [serial, wwid, size] = await Promise.all([
    serialOf(disk), readFile(`/sys/block/${disk}/device/wwid`, 'utf8').catch(() => ''), readFile(`/sys/block/${disk}/size`, 'utf8').catch(() => '0'),
  ])
  if (serial !== wanted.extent) return `its serial number is ${serial ?? 'unreadable'}, expected ${wanted.extent}`
  const wwn = `naa.6001405${wanted.extent.slice(0, 25)}`
  if (wwid.trim() !== wwn) return `its WWN is ${wwid.trim() || 'unreadable'}, expected ${wwn}`
  const bytes = BigInt(size.trim()) * 512n
  return bytes === wanted.bytes ? undefined : `it has ${bytes} bytes, expected ${wanted.bytes}`
}
