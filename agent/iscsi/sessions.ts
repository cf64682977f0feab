/**
 * The door to iSCSI on a head: sessions to our storage servers, and the LUNs behind them. iscsiadm is started only to log in and out;
 * everything else is read from and written to sysfs. A LUN is used only after its serial number and size were checked.
 */
import { mkdir, open, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault, messageOf } from '../../lib/faults.js'
import { isErrno } from '../../lib/host/files.js'
import { failureText } from '../../lib/host/failure-text.js'
import type { Clock, Log, Run } from '../../lib/ports.js'
import type { Chap, ForeignSeen } from '../../lib/wire/agent.js'
import { createAstray } from './astray.js'
import { isListening } from '../../lib/host/reach.js'
import { NODES, nodeRecord, recordPath, secretLine } from './node-record.js'
import { diskAt, disksOf, isHeld, isPresent, problemOf, serialOf, sessions } from './sysfs.js'
import type { Session } from './sysfs.js'

const OURS = 'iqn.2026-11.io.vsky:storage.'
const LOGIN_MS = 12_000
const READY_MS = 8000
/** Between two scans for a LUN that did not say who it is, the first time; a little longer each time, ms. */
const SCAN_AGAIN_MS = 100
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
  /**
   * The block device of a LUN: logs in where needed, scans for this LUN only, proves its identity. Throws `wrong device` or
   * `agent failed`; a disk that failed the proof is gone again, unless something holds it.
   */
  device(wanted: LunWanted, chap: Chap): Promise<string>
  /**
   * Of a disk in use that the kernel has given up: where its session will not come back by itself it is ended, with all its disks, and made anew.
   * Gives this LUN's new disk then. Throws as `device` does.
   */
  renewed(wanted: LunWanted, chap: Chap): Promise<string | undefined>
  /**
   * Takes away every disk of our targets that nothing is built on and `isWanted` does not claim, then logs out of targets that have
   * none left. Looks at what is there, not at what was: it also finds what a killed agent left. `isWanted` is asked again for each
   * disk right before its removal. Never fails; waits for a dead server for some 6 s at most.
   */
  prune(isWanted: (extent: string) => boolean): Promise<void>
  /** Takes away what is written down about targets of ours to which there is no session. */
  sweepRecords(): Promise<void>
  /** Sessions to other people's targets. They are never touched. */
  foreign(): Promise<readonly ForeignSeen[]>
}

export function createSessions({ run, clock, log }: { readonly run: Run; readonly clock: Clock; readonly log: Log }): Sessions {
  const tails = new Map<string, Promise<unknown>>()
  const astray = createAstray(clock)
  /** Logins, scans and logouts of one target happen one at a time. */
  const perTarget = <T>(target: string, work: () => Promise<T>): Promise<T> => {
    const mine = (tails.get(target) ?? Promise.resolve()).then(work, work)
    tails.set(target, mine.catch(() => undefined))
    return mine
  }

  async function waitFor<T>(look: () => Promise<T | undefined>, ms: number): Promise<T | undefined> {
    const until = clock.monoMs() + ms
    for (;;) {
      const found = await look()
      if (found !== undefined || clock.monoMs() >= until) return found
      await clock.sleep(20)
    }
  }

  const sessionTo = async (target: string): Promise<Session | undefined> => (await sessions()).find((each) => each.target === target)

  async function login(target: string, addresses: readonly string[], chap: Chap): Promise<Session> {
    let last = 'no address is known'
    for (const address of addresses) {
      const path = recordPath(target, address)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      const file = await open(path, 'w', 0o600)
      await file.writeFile(nodeRecord({ target, address, chap })).finally(() => file.close())
      const request = { file: 'iscsiadm', args: ['-m', 'node', '-T', target, '-p', `${address}:3260`, '--login'], timeoutMs: LOGIN_MS }
      const result = await run(request)
      const session = await waitFor(() => sessionTo(target), result.exit.kind === 'code' && result.exit.code === 0 ? 2000 : 0)
      if (session) return session
      last = failureText(request, result)
      await rm(dirname(path), { recursive: true, force: true }) // a record is a password: none stays without a session
    }
    throw new Fault('agent failed', `Cannot log in to ${target}: ${last}`)
  }

  async function loggedIn(wanted: LunWanted, chap: Chap): Promise<Session> {
    const there = await sessionTo(wanted.target)
    if (!there) return login(wanted.target, wanted.addresses, chap)
    const isAstray = await hasGoneAstray(there, wanted)
    const held = (await Promise.all((await disksOf(there)).map(isHeld))).includes(true)
    const current = await hasSecret(wanted.target, chap)
    if (!current && held) log.warn('a session goes on with a secret that is no longer good: it will not come back when it is lost', { target: wanted.target })
    if (there.state === 'LOGGED_IN' && (current || held)) return there
    if (held) { // its volumes need it: iscsid logs in again by itself within some seconds
      const back = await waitFor(async () => (await sessions()).find((each) => each.target === wanted.target && each.state === 'LOGGED_IN'), READY_MS)
      if (back) return back
      if (!isAstray) throw new Fault('agent failed', `the session with ${wanted.target} is ${there.state}`)
      tellAstray(there)
    }
    await logout(there) // the server may have another address by now, or another password for us
    return login(wanted.target, wanted.addresses, chap)
  }

  const hasGoneAstray = async (session: Session, wanted: LunWanted): Promise<boolean> => astray.asked(session) && isListening(wanted)

  /** What stands on its disks has long met errors: of what is acknowledged nothing is lost with them, and new ones can take their places. */
  const tellAstray = ({ target, state }: Session): void => { log.warn('a session does not come back by itself though its server is there: it is ended, and made anew', { target, state }) }

  async function renew(wanted: LunWanted, chap: Chap): Promise<string | undefined> {
    const there = await sessionTo(wanted.target)
    if (there && !await hasGoneAstray(there, wanted)) return undefined
    if (there) {
      tellAstray(there)
      await logout(there)
    }
    return find(wanted, chap)
  }

  /** Whether the session to a target was made with this secret, by what is written down of it. */
  async function hasSecret(target: string, chap: Chap): Promise<boolean> {
    const portals = await readdir(join(NODES, target)).catch(() => [])
    const records = await Promise.all(portals.map((portal) => readFile(join(NODES, target, portal, 'default'), 'utf8').catch(() => '')))
    return records.every((text) => text === '' || text.split('\n').includes(secretLine(chap)))
  }

  async function find(wanted: LunWanted, chap: Chap): Promise<string> {
    const session = await loggedIn(wanted, chap)
    const where = `LUN ${wanted.lun} of ${wanted.target}`
    const known = await diskAt(session, wanted.lun)
    if (known !== undefined) {
      if (await isHeld(known)) {
        const wrong = await problemOf(known, wanted)
        if (wrong !== undefined) throw new Fault('wrong device', `${where} is in use on this host as ${known}: ${wrong}`)
        return `/dev/${known}`
      }
      await drop(known) // of an older use: the kernel asks once who a LUN is and believes it for ever, so it has to ask again
    }
    const disk = await scanFor(session, wanted.lun)
    if (disk === undefined) throw new Fault('agent failed', `${where} does not appear`)
    const wrong = await problemOf(disk, wanted)
    if (wrong !== undefined) {
      await drop(disk).catch(() => undefined)
      throw new Fault('wrong device', `${where}: ${wrong}`)
    }
    await writeFile(`/sys/block/${disk}/device/timeout`, COMMAND_S).catch(() => undefined)
    await writeFile(`/sys/block/${disk}/device/eh_timeout`, EH_S).catch(() => undefined)
    return `/dev/${disk}`
  }

  /** A target that is busy or has just changed its LUNs may not answer the one question for the serial number: then it is asked again. */
  async function scanFor(session: Session, lun: number): Promise<string | undefined> {
    const untilMs = clock.monoMs() + READY_MS
    for (let attempt = 1; ; attempt += 1) {
      const last = clock.monoMs() >= untilMs
      await writeFile(`/sys/class/scsi_host/${session.host}/scan`, `0 0 ${lun}`)
      const disk = await waitFor(() => diskAt(session, lun), last ? READY_MS : READY_MS / 4)
      if (last || (disk !== undefined && await serialOf(disk) !== undefined)) return disk
      if (disk !== undefined) await drop(disk)
      await clock.sleep(SCAN_AGAIN_MS * attempt)
    }
  }

  async function drop(disk: string): Promise<void> {
    await writeFile(`/sys/block/${disk}/device/delete`, '1').catch((thrown: unknown) => {
      if (!isErrno(thrown, 'ENOENT')) throw thrown // somebody else took it away in between
    })
    // It goes in the background: until then its name stands where a scan's new disk will be, and tells nothing.
    await waitFor(async () => (await isPresent(disk) ? undefined : true), READY_MS)
  }

  /** Ends exactly this session: two of one target (somebody's second portal) are told apart by number. */
  async function logout(session: Session): Promise<void> {
    const result = await run({ file: 'iscsiadm', args: ['-m', 'session', '-r', session.sid, '--logout'], timeoutMs: LOGIN_MS })
    if (await sessionTo(session.target)) log.warn('a session did not log out', { target: session.target, error: result.stderr.trim().slice(0, 300) })
    else await rm(join(NODES, session.target), { recursive: true, force: true })
  }

  /** A record is a password: where a session ended without us (a power failure) it goes as well. */
  async function sweepRecords(): Promise<void> {
    const targets = (await readdir(NODES).catch(() => [])).filter((name) => name.startsWith(OURS))
    await Promise.all(targets.map((target) => perTarget(target, async () => {
      if (!await sessionTo(target)) await rm(join(NODES, target), { recursive: true, force: true })
    })))
  }

  return {
    device: (wanted, chap) => perTarget(wanted.target, () => find(wanted, chap)),
    renewed: (wanted, chap) => perTarget(wanted.target, () => renew(wanted, chap)),
    async prune(isWanted) {
      const ours = (await sessions()).filter((session) => session.target.startsWith(OURS))
      await Promise.all(ours.map((session) => perTarget(session.target, async () => {
        for (const disk of await disksOf(session)) {
          const serial = await serialOf(disk)
          if (await isHeld(disk) || (serial !== undefined && isWanted(serial))) continue
          await drop(disk).catch((thrown: unknown) => { log.warn('a disk could not be taken away', { disk, target: session.target, error: messageOf(thrown) }) })
        }
        if ((await disksOf(session)).length === 0 && (await sessions()).some((each) => each.sid === session.sid)) await logout(session)
      })))
      await sweepRecords()
    },
    sweepRecords,
    async foreign() {
      return (await sessions()).filter((session) => !session.target.startsWith(OURS)).map((session) => ({ what: 'iSCSI session', name: session.target, why: 'not made by Vsky' }))
    },
  }
}
