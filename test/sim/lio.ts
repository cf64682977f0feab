/**
 * The kernel's iSCSI target (LIO) behind its configuration tree: backstores, LUNs, ACLs with their mapped LUNs, and the sessions that they
 * let in. Removing an ACL ends its session at once; removing a LUN waits for every command on it (core_tpg_remove_lun).
 */
import { nothing } from './block.js'
import type { Bio, Outcome } from './block.js'
import { errno } from './files.js'
import type { Entry, Mount } from './files.js'
import type { Kernel } from './kernel.js'

interface Backstore { path: string; serial: string; enabled: boolean }
interface Lun { extent: string | undefined; under: number; idle: (() => void)[] }
interface Acl { readonly auth: Map<string, string>; readonly mapped: Map<number, { lun: number | undefined; protect: string }> }

export interface ServerSession { readonly initiator: string; alive: boolean; onEnd: () => void }

export class Lio implements Mount {
  loaded = false
  readonly stores = new Map<string, Backstore>()
  readonly luns = new Map<number, Lun>()
  readonly acls = new Map<string, Acl>()
  readonly sessions = new Map<string, ServerSession>()
  readonly #attributes = new Map<string, string>()
  readonly #portals = new Set<string>()
  /** Commands under way, by initiator. */
  readonly #under = new Map<string, number>()
  readonly #kernel: Kernel
  #target = ''
  #group = false
  #tpg = false

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  get listening(): boolean { return this.#attributes.get('enable') === '1' && this.#portals.size > 0 && !this.#kernel.dead }

  /** A login: the session, or why not. A new one takes the place of an older one of the same initiator. */
  login(target: string, initiator: string, user: string, password: string): ServerSession | string {
    const acl = this.acls.get(initiator)
    if (!this.listening || target !== this.#target) return 'target not found'
    if (!acl || acl.auth.get('userid') !== user || acl.auth.get('password') !== password) return 'authorization failure'
    this.#end(initiator)
    if ((this.#under.get(initiator) ?? 0) > 0) return 'commands of its last session are under way' // the kernel waits for them, the initiator not for it
    const session: ServerSession = { initiator, alive: true, onEnd: () => undefined }
    this.sessions.set(initiator, session)
    return session
  }

  #end(initiator: string): void {
    const session = this.sessions.get(initiator)
    if (!session) return
    this.sessions.delete(initiator)
    session.alive = false
    session.onEnd()
  }

  /** Who a LUN says it is, to this session. */
  identify(session: ServerSession, lun: number): { readonly serial: string; readonly slots: number } | undefined {
    const store = this.#storeFor(session, lun)
    const device = store && this.#kernel.find(store.path)
    return device ? { serial: store.serial, slots: device.slots } : undefined
  }

  #storeFor(session: ServerSession, lun: number): Backstore | undefined {
    if (!session.alive) return undefined
    const mapped = this.acls.get(session.initiator)?.mapped.get(lun)?.lun
    return this.stores.get(this.luns.get(mapped ?? -1)?.extent ?? '')
  }

  /** One command. */
  submit(session: ServerSession, lun: number, bio: Bio): void {
    const store = this.#storeFor(session, lun)
    const place = this.luns.get(this.acls.get(session.initiator)?.mapped.get(lun)?.lun ?? -1)
    const device = store && this.#kernel.find(store.path)
    if (!device || !place) {
      bio.done('io', nothing)
      return
    }
    place.under += 1
    this.#under.set(session.initiator, (this.#under.get(session.initiator) ?? 0) + 1)
    device.submit({ ...bio, done: (outcome: Outcome, data) => {
      if (this.#kernel.dead) return
      place.under -= 1
      this.#under.set(session.initiator, (this.#under.get(session.initiator) ?? 1) - 1)
      if (place.under === 0) for (const each of place.idle.splice(0)) each()
      bio.done(outcome, data)
    } })
  }

  // The tree. Paths are below /sys/kernel/config/target.

  list(path: readonly string[]): readonly (readonly [string, 'directory' | 'file' | 'link'])[] | undefined {
    if (!this.loaded || path.length > (path[3] === 'acls' ? 6 : path[0] === 'core' ? 3 : 5)) return undefined
    const directories = (names: Iterable<string>): readonly (readonly [string, 'directory'])[] => [...names].map((name) => [name, 'directory'] as const)
    const [top, second, third, fourth, fifth, sixth] = path
    if (top === undefined) return directories(['core', ...this.#target === '' ? [] : ['iscsi']])
    if (top === 'core') {
      if (second === undefined) return directories(['alua', ...this.#group ? ['iblock_7717'] : []])
      if (second !== 'iblock_7717' || !this.#group) return undefined
      if (third === undefined) return [...directories(this.stores.keys()), ['hba_info', 'file']]
      return this.stores.has(third) ? [['enable', 'file'], ['control', 'file'], ['wwn', 'directory']] : undefined
    }
    if (second === undefined) return directories([...this.#target === '' ? [] : [this.#target], 'discovery_auth'])
    if (second !== this.#target) return undefined
    if (third === undefined) return directories(this.#tpg ? ['tpgt_1'] : [])
    if (third !== 'tpgt_1' || !this.#tpg) return undefined
    switch (fourth) {
      case undefined: return directories(['acls', 'attrib', 'lun', 'np'])
      case 'np': return fifth === undefined ? directories(this.#portals) : undefined
      case 'lun': {
        if (fifth === undefined) return directories([...this.luns.keys()].map((lun) => `lun_${lun}`))
        const lun = this.luns.get(numberOf(fifth))
        return lun && (lun.extent === undefined ? [] : [['extent', 'link']])
      }
      case 'acls': {
        if (fifth === undefined) return directories(this.acls.keys())
        const acl = this.acls.get(fifth)
        if (!acl) return undefined
        if (sixth === undefined) return [...directories([...acl.mapped.keys()].map((lun) => `lun_${lun}`)), ['auth', 'directory'], ['info', 'file']]
        const mapped = acl.mapped.get(numberOf(sixth))
        return mapped && [['write_protect', 'file'], ...mapped.lun === undefined ? [] : [['lun', 'link'] as const]]
      }
      default: return undefined
    }
  }

  look(path: readonly string[]): Entry | undefined {
    if (path[0] === 'core' && path[1] === 'iblock_7717' && path.length === 2 && this.#group) return { kind: 'directory' }
    if (path[0] === 'core' && path[3] === 'info') {
      const store = this.stores.get(path[2] ?? '')
      return store && { kind: 'file', text: `Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 248\n        iBlock device: ${this.#kernel.find(store.path)?.kernel ?? ''}  UDEV PATH: ${store.path}  readonly: 0\n` }
    }
    if (path[0] === 'core' && path[3] === 'enable') {
      const store = this.stores.get(path[2] ?? '')
      return store && { kind: 'file', text: store.enabled ? '1\n' : '0\n' }
    }
    if (path[3] === 'np' && path[4] !== undefined && this.#portals.has(path[4])) return { kind: 'directory' }
    if (path[3] === 'lun' && path[5] === 'extent') {
      const extent = this.luns.get(numberOf(path[4] ?? ''))?.extent
      return extent === undefined ? undefined : { kind: 'link', to: `../../../../../core/iblock_7717/${extent}` }
    }
    if (path[3] === 'acls' && path[5] === 'info' && this.acls.has(path[4] ?? '')) return { kind: 'file', text: this.sessions.has(path[4] ?? '') ? 'InitiatorName: …' : 'No active iSCSI Session for Initiator Endpoint' }
    if (path[3] === 'acls' && path[5] === 'auth' && path[6] !== undefined) {
      const acl = this.acls.get(path[4] ?? '')
      return acl && { kind: 'file', text: `${acl.auth.get(path[6]) ?? ''}\n` }
    }
    if (path[3] === 'acls' && path[6] === 'lun') {
      const mapped = this.acls.get(path[4] ?? '')?.mapped.get(numberOf(path[5] ?? ''))
      return mapped?.lun === undefined ? undefined : { kind: 'link', to: `../../../lun/lun_${mapped.lun}` }
    }
    return undefined
  }

  async mkdir(path: readonly string[]): Promise<void> {
    const [top, second = '', third = '', fourth, fifth = '', sixth] = path
    await this.#kernel.sleep(0.3)
    if (top === 'core') {
      if (path.length === 2) this.#group = true
      else this.stores.set(third, { path: '', serial: '', enabled: false })
    } else if (path.length === 1) return
    else if (path.length === 2) this.#target = second
    else if (path.length === 3) this.#tpg = true
    else if (fourth === 'np') this.#portals.add(fifth)
    else if (fourth === 'lun') this.luns.set(numberOf(fifth), { extent: undefined, under: 0, idle: [] })
    else if (fourth === 'acls' && sixth === undefined) this.acls.set(fifth, { auth: new Map(), mapped: new Map() })
    else if (fourth === 'acls' && sixth !== undefined) this.acls.get(fifth)?.mapped.set(numberOf(sixth), { lun: undefined, protect: '1' })
    else throw errno('EPERM', path.join('/'))
  }

  async write(path: readonly string[], text: string): Promise<void> {
    const name = path.at(-1) ?? ''
    await this.#kernel.sleep(0.3)
    if (path[0] === 'core') {
      const store = this.stores.get(path[2] ?? '')
      if (!store) throw errno('ENOENT', path.join('/'))
      if (name === 'control') store.path = text.replace('udev_path=', '')
      else if (name === 'vpd_unit_serial') store.serial = text
      else if (name === 'enable') {
        const device = this.#kernel.find(store.path)
        if (!device) throw errno('ENODEV', path.join('/'))
        if (device.holders.size > 0) throw errno('EBUSY', path.join('/'))
        device.holders.add(`target ${path[2] ?? ''}`)
        store.enabled = true
      }
      return
    }
    if (path[3] === 'acls') {
      const acl = this.acls.get(path[4] ?? '')
      if (!acl) throw errno('ENOENT', path.join('/'))
      if (path[5] === 'auth') acl.auth.set(name, text)
      else {
        const mapped = acl.mapped.get(numberOf(path[5] ?? ''))
        if (mapped) mapped.protect = text
      }
      return
    }
    this.#attributes.set(name, text)
  }

  async symlink(to: string, path: readonly string[]): Promise<void> {
    await this.#kernel.sleep(0.3)
    if (path[3] === 'lun') {
      const lun = this.luns.get(numberOf(path[4] ?? ''))
      if (lun) lun.extent = to.slice(to.lastIndexOf('/') + 1)
    } else {
      const mapped = this.acls.get(path[4] ?? '')?.mapped.get(numberOf(path[5] ?? ''))
      if (mapped) mapped.lun = numberOf(to.slice(to.lastIndexOf('/') + 1))
    }
  }

  async unlink(path: readonly string[]): Promise<void> {
    await this.#kernel.sleep(0.3)
    if (path[3] === 'lun') {
      const lun = this.luns.get(numberOf(path[4] ?? ''))
      if (!lun) throw errno('ENOENT', path.join('/'))
      lun.extent = undefined
      for (const acl of this.acls.values()) for (const mapped of acl.mapped.values()) if (mapped.lun === numberOf(path[4] ?? '')) mapped.lun = undefined
      if (lun.under > 0) {
        await new Promise<void>((resolve) => {
          lun.idle.push(() => {
            this.#kernel.timeline.touch()
            resolve()
          })
        })
      }
    } else {
      const mapped = this.acls.get(path[4] ?? '')?.mapped.get(numberOf(path[5] ?? ''))
      if (mapped) mapped.lun = undefined
    }
  }

  async rmdir(path: readonly string[]): Promise<void> {
    await this.#kernel.sleep(0.3)
    const [top, , third = '', fourth, fifth = '', sixth] = path
    if (top === 'core') {
      const store = this.stores.get(third)
      if (!store) throw errno('ENOENT', path.join('/'))
      if ([...this.luns.values()].some((lun) => lun.extent === third)) throw errno('EBUSY', path.join('/'))
      this.#kernel.find(store.path)?.holders.delete(`target ${third}`)
      this.stores.delete(third)
    } else if (fourth === 'lun') this.luns.delete(numberOf(fifth))
    else if (fourth === 'acls' && sixth !== undefined) this.acls.get(fifth)?.mapped.delete(numberOf(sixth))
    else if (fourth === 'acls') {
      this.#end(fifth)
      this.acls.delete(fifth)
    }
  }
}

function numberOf(name: string): number {
  return Number(name.replace('lun_', ''))
}
