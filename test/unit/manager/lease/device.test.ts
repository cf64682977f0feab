import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { openDeviceLease } from '../../../../manager/lease/device.js'
import { decodeSector, encodeSector } from '../../../../manager/lease/sector.js'
import { LeaseStoreError } from '../../../../manager/lease/store.js'
import type { LeaseStore } from '../../../../manager/lease/store.js'
import type { LeaseRecord } from '../../../../manager/lease/timeline.js'
import { TurnedClock } from '../../../support/turned-clock.js'

const record: LeaseRecord = { epoch: 1, holder: 'mgr1', incarnation: 'one', beat: 1, ttlMs: 6000, released: false, next: '', place: 'boot 1:2', address: 'https://10.0.0.1:8881' }

describe('a sector of a lease', () => {
  it('gives back the record that it was made of, in its first 512 bytes', () => {
    const words = fc.string({ maxLength: 20 })
    fc.assert(fc.property(fc.record({ epoch: fc.nat(), beat: fc.nat(), ttlMs: fc.nat(), holder: words, incarnation: words, next: words, place: words, address: words, released: fc.boolean() }), fc.constantFrom(512, 4096), (any, bytes) => {
      const sector = encodeSector(any, bytes)
      expect(sector.length).to.equal(bytes)
      expect(decodeSector(Buffer.concat([sector.subarray(0, 512), Buffer.alloc(4096 - 512, 7)]), 'x')).to.deep.equal(any)
    }))
  })

  it('leaves the address out rather than be too long', () => {
    expect(decodeSector(encodeSector({ ...record, address: `https://${'a'.repeat(400)}` }, 512), 'x')).to.deep.equal({ ...record, address: '' })
  })

  it('is of nobody when it is all zeros, and refused when any bit of it was changed', () => {
    expect(decodeSector(Buffer.alloc(512), 'x')).to.equal(undefined)
    const good = encodeSector(record, 512)
    const length = good.readUInt32BE(16)
    fc.assert(fc.property(fc.nat({ max: 64 + length - 1 }).filter((at) => at < 20 || at >= 32), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ flip
      expect(() => decodeSector(bad, 'x')).to.throw(LeaseStoreError)
    }))
  })
})

/** What a lease lies on: an image, or a real block device over one. Undefined where this machine lets nobody make one. */
function loopOver(image: string, sectorBytes: number): string | undefined {
  const made = spawnSync('losetup', ['--find', '--show', '--sector-size', String(sectorBytes), image], { encoding: 'utf8' })
  return made.status === 0 ? made.stdout.trim() : undefined
}

for (const [kind, sectorBytes] of [['a file', 0], ['a disk with sectors of 512 bytes', 512], ['a disk with sectors of 4096 bytes', 4096]] as const) {
  describe(`a lease on ${kind}`, function () {
    this.timeout(30_000) // real writes, on a disk that may be busy
    let dir: string
    let image: string
    let path = ''
    let clock: TurnedClock
    const open2 = (): Promise<LeaseStore> => openDeviceLease(path, { clock, ioMs: 500 })
    const opened: LeaseStore[] = []
    const store = async (): Promise<LeaseStore> => {
      const made = await open2()
      opened.push(made)
      return made
    }
    /** Disk work is real and takes what it takes; time goes on only when all that are under way wait for it, or have ended. */
    async function turned<T>(works: readonly Promise<T>[]): Promise<readonly T[]> {
      let over = 0
      for (const work of works) void work.finally(() => { over += 1 }).catch(() => undefined)
      while (over < works.length) {
        await new Promise((resolve) => setImmediate(resolve))
        if (clock.sleepers > 0 && clock.sleepers + over === works.length) await clock.turn(1000)
      }
      return Promise.all(works)
    }
    const refusal = async (): Promise<string> => open2().then(() => 'taken', (thrown: unknown) => (thrown instanceof LeaseStoreError ? thrown.message : String(thrown)))
    async function resize(bytes: number): Promise<void> {
      await truncate(image, bytes)
      if (sectorBytes > 0) expect(spawnSync('losetup', ['--set-capacity', path]).status).to.equal(0)
    }

    beforeEach(async function () {
      dir = await mkdtemp(join(tmpdir(), 'vsky-device-'))
      image = join(dir, 'lease')
      clock = new TurnedClock()
      await writeFile(image, '')
      await truncate(image, 1024 * 1024)
      const device = sectorBytes > 0 ? loopOver(image, sectorBytes) : image
      if (device === undefined) this.skip()
      path = device
    })
    afterEach(async () => {
      for (const each of opened.splice(0)) await each.close()
      if (path.startsWith('/dev/loop')) spawnSync('losetup', ['--detach', path])
      path = ''
      await rm(dir, { recursive: true })
    })

    it('is taken, renewed, given up and taken by another, each of which sees the other\'s', async () => {
      const [one, two] = [await store(), await store()]
      expect(await one.read()).to.equal(undefined)
      expect((await turned([one.take(undefined, record)]))[0]).to.equal(true)
      expect(await two.read()).to.deep.equal(record)
      expect(await one.beat(record)).to.equal(true)
      expect((await two.read())?.beat).to.equal(2)
      expect(await one.release(record, 'mgr2')).to.equal(true)
      const seen = await two.read()
      expect(seen).to.include({ released: true, next: 'mgr2' })
      const other = { ...record, epoch: 2, holder: 'mgr2', incarnation: 'two', beat: 3 }
      expect((await turned([two.take(seen, other)]))[0]).to.equal(true)
      expect([await one.beat(record), await one.release(record, ''), await two.read()]).to.deep.equal([false, false, other])
    })

    it('goes to one of two that take it at once', async () => {
      const [one, two] = [await store(), await store()]
      const takings = await turned([one.take(undefined, record), two.take(undefined, { ...record, holder: 'mgr2', incarnation: 'two' })])
      expect(takings.filter(Boolean)).to.have.length(1)
      expect((await one.read())?.holder).to.equal(takings[0] === true ? 'mgr1' : 'mgr2')
    })

    it('is not taken by who saw something else before', async () => {
      const one = await store()
      await turned([one.take(undefined, record)])
      expect((await turned([one.take({ ...record, beat: 9 }, { ...record, epoch: 2 })]))[0]).to.equal(false)
    })

    it('is refused in one line on what is too small, foreign or damaged', async () => {
      await resize(4096)
      expect(await refusal()).to.equal(`lease device ${path} is too small: it has 4096 bytes, 1048576 are needed`)
      await resize(1024 * 1024)
      const file = await open(path, 'rs+')
      await file.write('LVM2 001', 0)
      expect(await refusal()).to.equal(`lease device ${path} carries foreign data: give one whose first 4096 bytes are zeros`)
      const damaged = encodeSector(record, 4096)
      damaged[70] = 0
      await file.write(damaged, 0, damaged.length, 0)
      await file.close()
      expect(await refusal()).to.equal(`lease device ${path} carries a damaged lease: its checksum is wrong`)
    })

    if (sectorBytes === 0) {
      it('is refused in one line where nothing is, and where no lease can be', async () => {
        await rm(path)
        expect(await refusal()).to.match(/can't be reached: ENOENT/)
        await mkdir(path)
        expect(await refusal()).to.equal(`lease device ${path} is neither a block device nor a file`)
      })
    }
  })
}
