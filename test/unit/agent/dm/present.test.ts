import { expect } from 'chai'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { devicesPresent } from '../../../../agent/dm/present.js'

describe('the look at device-mapper devices', () => {
  let folder = ''
  beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), 'vsky-sysfs-')) })
  afterEach(async () => { await rm(folder, { recursive: true }) })

  it('finds them with name and uuid, passes over other disks and over one that is just going', async () => {
    for (const [block, name, uuid] of [['dm-0', 'vsky-a', 'VSKY-a-top'], ['dm-12', 'plain', '']] as const) {
      await mkdir(join(folder, block, 'dm'), { recursive: true })
      await writeFile(join(folder, block, 'dm/name'), `${name}\n`)
      await writeFile(join(folder, block, 'dm/uuid'), `${uuid}\n`)
      await writeFile(join(folder, block, 'dm/suspended'), block === 'dm-12' ? '1\n' : '0\n')
    }
    await mkdir(join(folder, 'sda'))
    await mkdir(join(folder, 'dm-7/dm'), { recursive: true })
    expect([...await devicesPresent(folder)].sort((a, b) => a.name.localeCompare(b.name))).to.deep.equal([
      { name: 'plain', uuid: '', suspended: true, kernel: 'dm-12' }, { name: 'vsky-a', uuid: 'VSKY-a-top', suspended: false, kernel: 'dm-0' },
    ])
  })
})
