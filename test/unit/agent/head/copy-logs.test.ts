import { expect } from 'chai'
import { nameOf } from '../../../../agent/dm/table.js'
import { copyUnder } from '../../../../agent/head/copy-logs.js'

const volume = 'f'.repeat(32)

describe('the file under a loop device', () => {
  it('is known as ours by its name, wherever the kernel says that it is', () => {
    for (const part of ['s0', 's12-low', 'past', 'meta'] as const) {
      const name = `${nameOf(volume, part)}.812.3`
      expect(copyUnder(`/run/vsky/copies/${name}\n`)).to.equal(name)
      expect(copyUnder(`/copies/${name}\n`), 'the mount below which an agent\'s former life saw it is gone').to.equal(name)
      expect(copyUnder(`/${name} (deleted)\n`)).to.equal(name)
    }
  })

  it('is somebody else\'s with any other name', () => {
    for (const path of ['', '/run/vsky/copies/disk.img', '/srv/vsky-disk.1.1', `/srv/${nameOf(volume, 's0')}`, `/srv/${nameOf(volume, 's0')}.1.1.bak`, `/srv/my-${nameOf(volume, 's0')}.1.1`, `/${nameOf(volume, 's0')}.1.1/x`]) {
      expect(copyUnder(path), path).to.equal(undefined)
    }
  })
})
