/** What a kernel shows of itself in /sys, /proc and /dev: read by the product's own code. */
import type { BlockDevice } from './block.js'
import { DmDevice } from './dm.js'
import { errno } from './files.js'
import type { Entry, Files, Mount } from './files.js'
import { ScsiDisk } from './iscsi.js'
import type { Initiator } from './iscsi.js'
import type { Kernel } from './kernel.js'
import { LoopDevice } from './loop.js'

const file = (text: string | Uint8Array): Entry => ({ kind: 'file', text: typeof text === 'string' ? `${text}\n` : text })

export function mountKernel(files: Files, kernel: Kernel, initiator: Initiator, bootId: string): void {
  const block = blockTree(kernel)
  files.mounts.set('/sys/block', block)
  files.mounts.set('/sys/class/block', block)
  files.mounts.set('/sys/dev/block', {
    look([devno = '', ...rest]) {
      const device = kernel.find(devno)
      return device && (rest.length === 0 ? { kind: 'link', to: `/sys/block/${device.kernel}` } : attribute(device, rest.join('/')))
    },
    list: () => undefined,
    async write([devno = '', ...rest], text) { await block.write?.([kernel.find(devno)?.kernel ?? '', ...rest], text) },
  })
  files.mounts.set('/sys/class/iscsi_session', sessionsTree(initiator))
  files.mounts.set('/sys/devices/iscsi', devicesTree(initiator))
  files.mounts.set('/sys/class/scsi_host', {
    look: () => undefined, list: () => undefined,
    async write([host = '', name], text) {
      const session = [...initiator.sessions.values()].find((each) => `host${each.hostNumber}` === host)
      if (!session || name !== 'scan') throw errno('ENOENT', `${host}/${name ?? ''}`)
      session.scan(Number(text.split(' ')[2]))
    },
  })
  files.mounts.set('/sys/module', { look: () => file('100'), list: () => undefined, write: async () => undefined })
  files.mounts.set('/proc', {
    look([first = '', ...rest]) {
      const path = [first, ...rest].join('/')
      return path === 'sys/kernel/random/boot_id' ? file(bootId) : path === 'mounts' || path === 'self/mountinfo' ? file('') : undefined
    },
    list: () => undefined,
  })
}

/** Device nodes: symbolic links and plain files of /dev are the host's. */
export function nodeOf(kernel: Kernel, path: string): Entry | undefined {
  const device = kernel.devices.get(kernel.nodes.get(path) ?? '')
  if (!device) return undefined
  const [major = 0, minor = 0] = device.devno.split(':').map(Number)
  return { kind: 'block', rdev: ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12) }
}

function blockTree(kernel: Kernel): Mount {
  return {
    look([name = '', ...rest]) {
      const device = kernel.devices.get(name)
      return device && attribute(device, rest.join('/'))
    },
    list([name, ...rest]) {
      if (name === undefined) return [...kernel.devices.keys()].map((each) => [each, 'directory'] as const)
      const device = kernel.devices.get(name)
      if (!device) return undefined
      if (rest.length === 0) return []
      return rest[0] === 'holders' ? [...device.holders].filter((holder) => !holder.startsWith('target')).map((each) => [each, 'directory'] as const) : undefined
    },
    async write([name = '', ...rest], text) {
      const device = kernel.devices.get(name)
      if (!(device instanceof ScsiDisk)) throw errno('ENOENT', name)
      if (rest.join('/') === 'device/delete') kernel.after(5, () => { device.remove() })
      if (rest.join('/') === 'device/state' && text === 'running') device.offline = false
    },
  }
}

function attribute(device: BlockDevice, path: string): Entry | undefined {
  const { counts } = device
  switch (path) {
    case 'size': return file(String(device.slots * 8))
    case 'ro': return file('0')
    case 'stat': return file([counts.reads, 0, 0, 0, counts.writes, 0, counts.written, 0, counts.reading + counts.writing, 0, 0].join(' '))
    case 'inflight': return file(`${counts.reading} ${counts.writing}`)
    case 'queue/max_sectors_kb': return file('512')
  }
  if (device instanceof DmDevice) {
    if (path === 'dm/name') return file(device.name)
    if (path === 'dm/uuid') return file(device.uuid)
    if (path === 'dm/suspended') return file(device.suspended ? '1' : '0')
  }
  if (device instanceof LoopDevice && path === 'loop/backing_file') return file(device.path)
  if (device instanceof ScsiDisk) {
    if (path === 'device/vpd_pg80') return file(new Uint8Array([0, 0x80, 0, 32, ...Buffer.from(device.serial, 'latin1')]))
    if (path === 'device/wwid') return file(`naa.6001405${device.serial.slice(0, 25)}`)
    if (path === 'device/state') return file(device.offline ? 'offline' : device.session.deviceState)
    if (path === 'device/ioerr_cnt') return file(`0x${device.ioErrors.toString(16)}`)
  }
  return undefined
}

function sessionsTree(initiator: Initiator): Mount {
  return {
    look([name = '', what]) {
      const session = initiator.sessions.get(name.replace('session', ''))
      if (!session) return undefined
      if (what === 'targetname') return file(session.target)
      if (what === 'state') return file(session.shown)
      return what === 'device' ? { kind: 'link', to: `/sys/devices/iscsi/host${session.hostNumber}/session${session.sid}` } : undefined
    },
    list: (path) => (path.length > 0 ? undefined : [...initiator.sessions.keys()].map((sid) => [`session${sid}`, 'directory'] as const)),
  }
}

/** host1/session1/target1:0:0/1:0:0:LUN/block/sda */
function devicesTree(initiator: Initiator): Mount {
  return {
    look: () => undefined,
    list([, name = '', target, lun, ...rest]) {
      const session = initiator.sessions.get(name.replace('session', ''))
      if (!session) return undefined
      if (target === undefined) return []
      if (lun === undefined) return [...session.disks.keys()].map((each) => [`${session.hostNumber}:0:0:${each}`, 'directory'] as const)
      const disk = session.disks.get(Number(lun.split(':')[3]))
      return rest[0] === 'block' && disk ? [[disk.kernel, 'directory']] : undefined
    },
  }
}
