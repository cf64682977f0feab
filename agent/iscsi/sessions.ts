/**
 * The door to iSCSI on a head: sessions to our storage servers, and the LUNs behind them. iscsiadm is started only to log in and out;
 * everything else is read from and written to sysfs. A LUN is used only after its serial number and size were checked.
 */
import { mkdir, open, readFile, readdir, realpath, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Fault } from '../../lib/faults.js'
import { failureText } from '../../lib/host/failure-text.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import type { Chap, ForeignSeen } from '../../lib/wire/agent.js'
import { nodeRecord, recordPath } from './node-record.js'

const SESSIONS = '/sys/class/iscsi_session'
const OURS = 'iqn.2026-11.io.vsky:storage.'
const LOGIN_MS = 12_000
const READY_MS = 8000
const SCANS = 4
/** SCSI command and error handling timers of a LUN, seconds: a hung disk is given up after some 11 s (kernel defaults: minutes). */
const COMMAND_S = '3'
const EH_S = '2'

export interface LunWanted {
  readonly target: string
  readonly addresses: readonly string[]
  readonly lun: number
  readonly extent: string
  readonly bytes: bigint
}

export interface Sessions {
  /** The block device of a LUN: logs in where needed, scans for this LUN only, proves its identity. Throws `wrong device` or `agent failed`. */
  device(wanted: LunWanted, chap: Chap): Promise<string>
  /** Takes the devices of these extents away, and logs out of targets without any. Never waits for a dead server for long. */
  release(extents: ReadonlySet<string>): Promise<void>
  /** Extent of a SCSI disk (`8:16`), if it is one of ours. */
  extentOf(devno: string): Promise<string | undefined>
  foreign(): Promise<readonly ForeignSeen[]>
}

interface Session {
  readonly target: string
  readonly state: string
  readonly host: string
  readonly path: string
}

export function createSessions({ run, clock, log }: { readonly run: Run; readonly clock: Clock; readonly log: Log }): Sessions {
  const tails = new Map<string, Promise<unknown>>()
  /** Logins, scans and logouts of one target happen one at a time. */
  const perTarget = <T>(target: string, work: () => Promise<T>): Promise<T> => {
    const mine = (tails.get(target) ?? Promise.resolve()).then(work, work)
    tails.set(target, mine.catch(() => undefined))
    return mine
  }

  async function login(target: string, addresses: readonly string[], chap: Chap): Promise<Session> {
    let last = 'no address is known'
    for (const address of addresses) {
      const path = recordPath(target, address)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      const file = await open(path, 'w', 0o600)
      await file.writeFile(nodeRecord({ target, address, chap })).finally(() => file.close())
      const request = { file: 'iscsiadm', args: ['-m', 'node', '-T', target, '-p', `${address}:3260`, '--login'], timeoutMs: LOGIN_MS }
      const result = await run(request)
      const session = await waitFor(async () => (await sessions()).find((each) => each.target === target), result.exit.kind === 'code' && result.exit.code === 0 ? 2000 : 0)
      if (session) return session
      last = failureText(request, result)
    }
    throw new Fault('agent failed', `Cannot log in to ${target}: ${last}`)
  }

  async function waitFor<T>(look: () => Promise<T | undefined>, ms: number): Promise<T | undefined> {
    const until = clock.monoMs() + ms
    for (;;) {
      const found = await look()
      if (found !== undefined || clock.monoMs() >= until) return found
      await clock.sleep(20)
    }
  }

  async function loggedIn(wanted: LunWanted, chap: Chap): Promise<Session> {
    const there = (await sessions()).find((each) => each.target === wanted.target)
    if (!there) return login(wanted.target, wanted.addresses, chap)
    if (there.state === 'LOGGED_IN') return there
    const back = await waitFor(async () => (await sessions()).find((each) => each.target === wanted.target && each.state === 'LOGGED_IN'), READY_MS)
    if (!back) throw new Fault('agent failed', `the session with ${wanted.target} is ${there.state}`)
    return back
  }

  async function diskOf(session: Session, lun: number): Promise<string | undefined> {
    const at = join(session.path, `target${session.host.slice(4)}:0:0`, `${session.host.slice(4)}:0:0:${lun}`, 'block')
    return (await readdir(at).catch(() => []))[0]
  }

  async function find(wanted: LunWanted, chap: Chap): Promise<string> {
    const session = await loggedIn(wanted, chap)
    const scan = (): Promise<void> => writeFile(`/sys/class/scsi_host/${session.host}/scan`, `0 0 ${wanted.lun}`)
    let disk = await diskOf(session, wanted.lun)
    if (disk !== undefined && await serialOf(disk) !== wanted.extent) {
      await writeFile(`/sys/block/${disk}/device/delete`, '1') // an older use of this LUN number: the kernel keeps what it once read of it
      disk = undefined
    }
    const fresh = disk === undefined
    for (let attempt = 1; disk === undefined && attempt <= SCANS; attempt += 1) {
      await scan()
      disk = await waitFor(() => diskOf(session, wanted.lun), READY_MS)
      // The kernel asks for the serial number once, while it scans; a target that is busy or has just changed its LUNs may not answer.
      if (disk !== undefined && attempt < SCANS && await serialOf(disk) === undefined) {
        await writeFile(`/sys/block/${disk}/device/delete`, '1')
        disk = undefined
      }
    }
    if (disk === undefined) throw new Fault('agent failed', `LUN ${wanted.lun} of ${wanted.target} does not appear`)
    const wrong = await problemOf(disk, wanted)
    if (wrong !== undefined) {
      if (fresh) await writeFile(`/sys/block/${disk}/device/delete`, '1').catch(() => undefined)
      throw new Fault('wrong device', `LUN ${wanted.lun} of ${wanted.target}: ${wrong}`)
    }
    await writeFile(`/sys/block/${disk}/device/timeout`, COMMAND_S).catch(() => undefined)
    await writeFile(`/sys/block/${disk}/device/eh_timeout`, EH_S).catch(() => undefined)
    return `/dev/${disk}`
  }

  async function forget(session: Session): Promise<void> {
    if ((await luns(session)).length > 0) return
    const result = await run({ file: 'iscsiadm', args: ['-m', 'node', '-T', session.target, '--logout'], timeoutMs: LOGIN_MS })
    if (result.exit.kind !== 'code' || result.exit.code !== 0) log.warn('a session did not log out', { target: session.target, error: result.stderr.trim().slice(0, 300) })
    if (!(await sessions()).some((each) => each.target === session.target)) await rm(`/etc/iscsi/nodes/${session.target}`, { recursive: true, force: true })
  }

  return {
    device: (wanted, chap) => perTarget(wanted.target, () => find(wanted, chap)),
    async release(extents) {
      const all = (await sessions()).filter((session) => session.target.startsWith(OURS))
      await Promise.all(all.map((session) => perTarget(session.target, async () => {
        for (const disk of await luns(session)) {
          const serial = await serialOf(disk)
          if (serial !== undefined && extents.has(serial)) await writeFile(`/sys/block/${disk}/device/delete`, '1').catch(() => undefined)
        }
        await forget(session)
      })))
    },
    async extentOf(devno) {
      const name = basename(await realpath(`/sys/dev/block/${devno}`).catch(() => ''))
      const mapped = await readFile(`/sys/block/${name}/dm/name`, 'utf8').catch(() => undefined)
      return mapped === undefined ? serialOf(name) : /^vsky_[0-9a-f]{32}-([0-9a-f]{32})$/.exec(mapped.trim())?.[1]
    },
    async foreign() {
      return (await sessions()).filter((session) => !session.target.startsWith(OURS)).map((session) => ({ what: 'iSCSI session', name: session.target, why: 'not made by Vsky' }))
    },
  }
}

async function sessions(): Promise<readonly Session[]> {
  const names = await readdir(SESSIONS).catch(() => [])
  const found = await Promise.all(names.map(async (name): Promise<readonly Session[]> => {
    try {
      const [target, state, path] = await Promise.all([readFile(join(SESSIONS, name, 'targetname'), 'utf8'), readFile(join(SESSIONS, name, 'state'), 'utf8'), realpath(join(SESSIONS, name, 'device'))])
      const host = /\/(host\d+)\//.exec(`${path}/`)?.[1]
      return host === undefined ? [] : [{ target: target.trim(), state: state.trim(), host, path }]
    } catch {
      return [] // it has just ended
    }
  }))
  return found.flat()
}

/** The SCSI disks of a session. */
async function luns(session: Session): Promise<readonly string[]> {
  const target = join(session.path, `target${session.host.slice(4)}:0:0`)
  const entries = await readdir(target).catch(() => [])
  const disks = await Promise.all(entries.filter((entry) => /^\d+:\d+:\d+:\d+$/.test(entry)).map((entry) => readdir(join(target, entry, 'block')).catch(() => [])))
  return disks.flat()
}

/** VPD page 0x80: a header of four bytes, then the unit serial number, which is the extent's id. (The WWN holds only 25 digits of it.) */
async function serialOf(disk: string): Promise<string | undefined> {
  const page = await readFile(`/sys/block/${disk}/device/vpd_pg80`).catch(() => undefined)
  return page && page.subarray(4).toString('latin1').replace(/[\0 ]+$/, '').trim()
}

async function problemOf(disk: string, wanted: LunWanted): Promise<string | undefined> {
  const [serial, wwid, size] = await Promise.all([
    serialOf(disk), readFile(`/sys/block/${disk}/device/wwid`, 'utf8').catch(() => ''), readFile(`/sys/block/${disk}/size`, 'utf8').catch(() => '0'),
  ])
  if (serial !== wanted.extent) return `its serial number is ${serial ?? 'unreadable'}, expected ${wanted.extent}`
  const wwn = `naa.6001405${wanted.extent.slice(0, 25)}`
  if (wwid.trim() !== wwn) return `its WWN is ${wwid.trim() || 'unreadable'}, expected ${wwn}`
  const bytes = BigInt(size.trim()) * 512n
  return bytes === wanted.bytes ? undefined : `it has ${bytes} bytes, expected ${wanted.bytes}`
}
