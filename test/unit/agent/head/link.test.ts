import { expect } from 'chai'
import { mkdir, mkdtemp, readdir, readlink, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeLinks, refuseForeignLinks, removeLinks } from '../../../../agent/head/link.js'

const volume = 'a'.repeat(32)

describe('the names of a volume on its head', () => {
  let dev: string
  beforeEach(async () => { dev = await mkdtemp(join(tmpdir(), 'vsky-test-')) })
  afterEach(() => rm(dev, { recursive: true }))

  it('are one, and two more where a classic client knows it, all of one device; they go together', async () => {
    await makeLinks({ volume, name: 'plain' }, dev)
    expect(await readdir(dev)).to.deep.equal(['vsky'])
    await makeLinks({ volume, name: 'plain', classic: 'lvol-0000004a' }, dev)
    await makeLinks({ volume, name: 'plain', classic: 'lvol-0000004a' }, dev)
    expect(await readdir(join(dev, 'vas'))).to.have.members(['plain', 'lvol-0000004a'])
    expect(await readlink(join(dev, 'vas/lvol-0000004a'))).to.equal(await readlink(join(dev, 'vsky/plain')))
    await symlink('/dev/null', join(dev, 'vas/strange'))
    await removeLinks(volume, dev)
    expect([await readdir(join(dev, 'vsky')), await readdir(join(dev, 'vas'))]).to.deep.equal([[], ['strange']])
  })

  it('are not taken from something else', async () => {
    await mkdir(join(dev, 'vas'))
    await symlink('/dev/null', join(dev, 'vas/lvol-0000004a'))
    const thrown = await refuseForeignLinks({ volume, name: 'plain', classic: 'lvol-0000004a' }, dev).catch((reason: unknown) => reason)
    expect(thrown).to.include({ fault: 'foreign object' })
    expect(String(thrown)).to.contain('vas/lvol-0000004a is there already (/dev/null)')
    // Of a volume that is up already nothing is refused for it.
    await refuseForeignLinks({ volume, name: 'plain' }, dev)
    await makeLinks({ volume, name: 'plain', classic: 'lvol-0000004a' }, dev)
    expect([await readlink(join(dev, 'vas/lvol-0000004a')), await readdir(join(dev, 'vsky'))]).to.deep.equal(['/dev/null', ['plain']])
  })
})
