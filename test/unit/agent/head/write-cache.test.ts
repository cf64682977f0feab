import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createWriteCaches } from '../../../../agent/head/write-cache.js'
import type { Log } from '../../../../lib/ports.js'

const silent = (): void => undefined
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log }

describe('a disk that is being copied to', () => {
  let sys = ''
  beforeEach(async () => { sys = await mkdtemp(join(tmpdir(), 'vsky-sys-')) })
  afterEach(() => rm(sys, { recursive: true }))

  async function disk(name: string, { cache = 'write back', scsi = cache, uuid = '', slaves = [] }: { cache?: string; scsi?: string | undefined; uuid?: string; slaves?: readonly string[] }): Promise<void> {
    const at = join(sys, 'block', name)
    await mkdir(join(at, 'queue'), { recursive: true })
    await writeFile(join(at, 'queue/write_cache'), `${cache}\n`)
    if (name.startsWith('sd')) {
      await mkdir(join(at, 'device/scsi_disk/0:0:0:1'), { recursive: true })
      await writeFile(join(at, 'device/scsi_disk/0:0:0:1/cache_type'), `${scsi}\n`)
    }
    if (!name.startsWith('dm-')) return
    await mkdir(join(at, 'slaves'))
    await mkdir(join(at, 'dm'))
    await writeFile(join(at, 'dm/uuid'), `${uuid}\n`)
    for (const slave of slaves) await symlink(join('../..', slave), join(at, 'slaves', slave))
  }
  const cacheOf = async (name: string): Promise<string> => (await readFile(join(sys, 'block', name, 'queue/write_cache'), 'utf8')).trim()
  const caches = (): ReturnType<typeof createWriteCaches> => createWriteCaches({ log, sys, resolve: (device) => Promise.resolve(device) })

  it('is taken for one without a cache, and for what it is when it counts', async () => {
    await disk('sda', {})
    await caches().bypass('sda')
    expect(await cacheOf('sda')).to.equal('write through')
    await caches().restore('sda')
    expect(await cacheOf('sda')).to.equal('write back')
  })

  it('that has no cache stays so', async () => {
    await disk('sda', { cache: 'write through', scsi: 'write through' })
    await caches().restore('sda')
    expect(await cacheOf('sda')).to.equal('write through')
  })

  it('that is a logical volume of this host has the cache of the disk below it', async () => {
    await disk('vdb', {})
    await disk('dm-1', { uuid: 'LVM-x', slaves: ['vdb'] })
    await caches().bypass('dm-1')
    expect([await cacheOf('dm-1'), await cacheOf('vdb')]).to.deep.equal(['write through', 'write back'])
    await caches().restore('dm-1')
    expect(await cacheOf('dm-1')).to.equal('write back')
  })

  it('is left alone where nobody can tell whether it has one, or where it has gone', async () => {
    await disk('loop0', {})
    await caches().bypass('loop0')
    await caches().bypass('sdz')
    await caches().bypass('')
    expect(await cacheOf('loop0')).to.equal('write back')
  })

  it('is found below the mirror that was filled, however deep, and nothing else is touched', async () => {
    const uuid = `VSKY-${'a'.repeat(32)}-s0`
    for (const name of ['sda', 'sdb', 'sdc']) await disk(name, { cache: 'write through', scsi: 'write back' })
    await disk('dm-2', { uuid: `${uuid}-low`, slaves: ['sdb'], cache: 'write through' })
    await disk('dm-3', { uuid, slaves: ['dm-2', 'sda'] })
    await caches().restoreBelow('dm-3')
    expect(await Promise.all(['sda', 'sdb', 'sdc', 'dm-2'].map(cacheOf))).to.deep.equal(['write back', 'write back', 'write through', 'write through'])
  })
})
