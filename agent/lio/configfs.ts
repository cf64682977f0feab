/**
 * The door to the kernel's iSCSI target (LIO): its configuration tree, by plain file calls, some milliseconds each. Only our own target
 * and our own group of backstores are read or written; all others are told as foreign.
 */
import { mkdir, readFile, readdir, readlink, rmdir, symlink, unlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Fault, messageOf } from '../../lib/faults.js'
import { isErrno } from '../../lib/host/files.js'
import type { Clock, Run } from '../../lib/ports.js'
import type { Chap, ForeignSeen } from '../../lib/wire/agent.js'
import type { TargetStep, TargetTree } from './target.js'

const ROOT = '/sys/kernel/config/target'
/** Our group of backstores: a number that nobody else is likely to take (targetcli counts from 0). */
const GROUP = 'iblock_7717'

/**
 * How long commands on a LUN may take to end once nobody can send it more, ms. The kernel waits for them when it removes a LUN or ends a
 * session, without limit and with the whole tree locked, so that must not even begin while a disk does not answer.
 */
const DRAIN_MS = 5000

export interface LioOptions {
  readonly run: Run
  readonly clock: Clock
  /** The only target of this server. */
  readonly target: string
  readonly addresses: readonly string[]
}

export interface Lio {
  /** Loads the modules and makes the target and its portals. May be called again. */
  open(): Promise<void>
  read(): Promise<TargetTree>
  /** Initiators whose ACL has other credentials than these. */
  outdated(chapOf: (initiator: string) => Chap | undefined): Promise<ReadonlySet<string>>
  /** `chapOf` gives the credentials for an ACL that is new or outdated. Throws `agent failed` naming the step. */
  apply(steps: readonly TargetStep[], chapOf: (initiator: string) => Chap | undefined): Promise<void>
  foreign(): Promise<readonly ForeignSeen[]>
  /** Whether an initiator has a session now. */
  hasSession(initiator: string): Promise<boolean>
}

export function createLio({ run, clock, target, addresses }: LioOptions): Lio {
  const tpg = join(ROOT, 'iscsi', target, 'tpgt_1')
  const store = (extent: string): string => join(ROOT, 'core', GROUP, extent)
  const acl = (initiator: string): string => join(tpg, 'acls', initiator)

  async function open(): Promise<void> {
    if (!await exists(ROOT)) {
      const result = await run({ file: 'modprobe', args: ['-a', 'target_core_mod', 'target_core_iblock', 'iscsi_target_mod'], timeoutMs: 30_000 })
      if (result.exit.kind !== 'code' || result.exit.code !== 0) throw new Fault('agent failed', `Cannot load the kernel's iSCSI target: ${result.stderr.trim()}`)
    }
    await mkdir('/var/target/pr', { recursive: true }) // where the target keeps persistent reservations
    await make(join(ROOT, 'core', GROUP))
    for (const name of await backstores()) if (!await isEnabled(store(name))) await removeDirectory(store(name)) // whoever began it died half-way
    await make(join(ROOT, 'iscsi'))
    await make(join(ROOT, 'iscsi', target))
    await make(tpg)
    await put(join(tpg, 'attrib/authentication'), '1')
    await put(join(tpg, 'attrib/generate_node_acls'), '0')
    await put(join(tpg, 'attrib/cache_dynamic_acls'), '0')
    await put(join(tpg, 'attrib/demo_mode_write_protect'), '1')
    await put(join(tpg, 'attrib/default_cmdsn_depth'), '128')
    for (const address of addresses) await make(join(tpg, 'np', `${address.includes(':') ? `[${address}]` : address}:3260`))
    await put(join(tpg, 'enable'), '1')
  }

  async function backstores(): Promise<readonly string[]> {
    return (await list(join(ROOT, 'core', GROUP))).filter((name) => /^[0-9a-f]{32}$/.test(name))
  }

  async function read(): Promise<TargetTree> {
    const luns = new Map<number, string>()
    for (const lun of await list(join(tpg, 'lun'))) {
      const number = /^lun_(\d+)$/.exec(lun)?.[1]
      if (number === undefined) continue
      luns.set(Number(number), await linkIn(join(tpg, 'lun', lun)) ?? '')
    }
    const acls = new Map<string, ReadonlySet<number>>()
    for (const initiator of await list(join(tpg, 'acls'))) {
      const mapped = new Set<number>()
      for (const lun of await list(acl(initiator))) {
        const number = /^lun_(\d+)$/.exec(lun)?.[1]
        // Without a link it leads nowhere: whoever made it died half-way, or took it away. It is made whole when it is wished for, and else goes with its ACL.
        if (number !== undefined && await linkIn(join(acl(initiator), lun)) !== undefined) mapped.add(Number(number))
      }
      acls.set(initiator, mapped)
    }
    return { backstores: new Set(await backstores()), luns, acls }
  }

  /** Waits until no command is under way on a LUN that nobody can reach any more. */
  async function drained(lun: number): Promise<void> {
    const extent = await linkIn(join(tpg, 'lun', `lun_${lun}`)).catch(() => undefined)
    if (extent === undefined) return
    const until = clock.monoMs() + DRAIN_MS
    for (;;) {
      const inFlight = await inFlightOn(store(extent))
      if (inFlight === 0) return
      if (clock.monoMs() > until) throw new Fault('agent failed', `${inFlight} requests on extent ${extent} do not end: its disk does not answer`)
      await clock.sleep(50)
    }
  }

  /** `unmapped`: what the steps before took from each initiator. */
  async function step(each: TargetStep, unmapped: Map<string, number[]>, chapOf: (initiator: string) => Chap | undefined): Promise<void> {
    switch (each.do) {
      case 'unmap':
        unmapped.set(each.initiator, [...unmapped.get(each.initiator) ?? [], each.lun])
        return removeLinked(join(acl(each.initiator), `lun_${each.lun}`))
      case 'remove acl':
        for (const lun of unmapped.get(each.initiator) ?? []) await drained(lun)
        for (const half of (await list(acl(each.initiator))).filter((name) => name.startsWith('lun_'))) await removeLinked(join(acl(each.initiator), half))
        return removeDirectory(acl(each.initiator))
      case 'remove lun':
        await drained(each.lun)
        return removeLinked(join(tpg, 'lun', `lun_${each.lun}`))
      case 'remove backstore': return removeDirectory(store(each.extent))
      case 'add backstore':
        await make(store(each.extent))
        try {
          await put(join(store(each.extent), 'control'), `udev_path=${each.device}`)
          await put(join(store(each.extent), 'wwn/vpd_unit_serial'), each.extent)
          await put(join(store(each.extent), 'enable'), '1')
        } catch (thrown) {
          await removeDirectory(store(each.extent))
          throw thrown
        }
        return
      case 'add lun': {
        const lun = join(tpg, 'lun', `lun_${each.lun}`)
        await make(lun)
        if (await linkIn(lun) === undefined) await symlink(store(each.extent), join(lun, 'extent'))
        return
      }
      case 'add acl': {
        const chap = chapOf(each.initiator)
        if (!chap) throw new Fault('agent failed', `no CHAP credentials for ${each.initiator}`)
        await make(acl(each.initiator))
        await put(join(acl(each.initiator), 'auth/userid'), chap.user)
        await put(join(acl(each.initiator), 'auth/password'), chap.password)
        return
      }
      case 'map': {
        const lun = join(acl(each.initiator), `lun_${each.lun}`)
        await make(lun)
        if (await linkIn(lun) === undefined) await symlink(join(tpg, 'lun', `lun_${each.lun}`), join(lun, 'lun'))
        await put(join(lun, 'write_protect'), '0')
      }
    }
  }

  return {
    open, read,
    async outdated(chapOf) {
      const there = async (initiator: string, name: string): Promise<string> => (await readFile(join(acl(initiator), 'auth', name), 'utf8')).trim()
      const found = new Set<string>()
      for (const initiator of await list(join(tpg, 'acls'))) {
        const chap = chapOf(initiator)
        if (chap && (await there(initiator, 'userid') !== chap.user || await there(initiator, 'password') !== chap.password)) found.add(initiator)
      }
      return found
    },
    async apply(steps, chapOf) {
      const unmapped = new Map<string, number[]>()
      for (const each of steps) {
        try {
          await step(each, unmapped, chapOf)
        } catch (thrown) {
          throw thrown instanceof Fault ? thrown : new Fault('agent failed', `Cannot change the exports (${JSON.stringify(each)}): ${messageOf(thrown)}`, { cause: thrown })
        }
      }
    },
    async foreign() {
      const targets = (await list(join(ROOT, 'iscsi'))).filter((name) => name.startsWith('iqn.') && name !== target)
      const groups = (await list(join(ROOT, 'core'))).filter((name) => name !== GROUP && name !== 'alua')
      const stores = (await Promise.all(groups.map(async (group) => (await list(join(ROOT, 'core', group))).filter((name) => name !== 'hba_info' && name !== 'hba_mode').map((name) => `${group}/${name}`)))).flat()
      return [
        ...targets.map((name) => ({ what: 'iSCSI target', name, why: 'not made by Vsky' })),
        ...stores.map((name) => ({ what: 'backstore', name, why: 'not made by Vsky' })),
      ]
    },
    async hasSession(initiator) {
      const info = await readFile(join(acl(initiator), 'info'), 'utf8').catch(() => '')
      return info !== '' && !info.startsWith('No active iSCSI Session')
    },
  }
}

async function exists(path: string): Promise<boolean> {
  return readdir(path).then(() => true, () => false)
}

async function make(path: string): Promise<void> {
  await mkdir(path).catch((thrown: unknown) => { if (!isErrno(thrown, 'EEXIST')) throw thrown })
}

async function put(path: string, text: string): Promise<void> {
  await writeFile(path, text, { flag: 'w' }).catch((thrown: unknown) => { throw new Error(`${path}: ${messageOf(thrown)}`, { cause: thrown }) })
}

async function list(path: string): Promise<readonly string[]> {
  return (await readdir(path, { withFileTypes: true }).catch((thrown: unknown) => { if (isErrno(thrown, 'ENOENT')) return []; throw thrown })).filter((each) => each.isDirectory()).map((each) => each.name)
}

/** Where the first symbolic link in a directory points, by its last name. */
async function linkIn(path: string): Promise<string | undefined> {
  const link = (await readdir(path, { withFileTypes: true })).find((each) => each.isSymbolicLink())
  return link && basename(await readlink(join(path, link.name)))
}

/** Source: Linux drivers/target/target_core_configfs.c, target_dev_enable_show(): 1 once it has its device. What serial number it has is written before. */
async function isEnabled(backstore: string): Promise<boolean> {
  return (await readFile(join(backstore, 'enable'), 'utf8')).trim() === '1'
}

/** Requests under way on the device of a backstore; 0 when that can't be told. */
async function inFlightOn(backstore: string): Promise<number> {
  try {
    // `udev_path` beside it is empty unless somebody has filled it. Source: Linux target_core_iblock.c iblock_show_configfs_dev_params().
    const [, device = ''] = /iBlock device: (\S+)/.exec(await readFile(join(backstore, 'info'), 'utf8')) ?? []
    const counts = await readFile(join('/sys/class/block', device, 'inflight'), 'utf8')
    return counts.trim().split(/\s+/).reduce((sum, each) => sum + Number(each), 0)
  } catch {
    return 0
  }
}

async function removeLinked(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch((thrown: unknown) => { if (isErrno(thrown, 'ENOENT')) return []; throw thrown })
  for (const entry of entries) if (entry.isSymbolicLink()) await unlink(join(path, entry.name))
  await removeDirectory(path)
}

async function removeDirectory(path: string): Promise<void> {
  await rmdir(path).catch((thrown: unknown) => { if (!isErrno(thrown, 'ENOENT')) throw thrown })
}
