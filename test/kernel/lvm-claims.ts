/** What the product counts on of LVM: its reports, what it refuses, tags. */
import { expect } from 'chai'
import { createLvm, lvPath, vgName } from '../../agent/lvm/lvm.js'
import type { Lvm } from '../../agent/lvm/lvm.js'
import type { PoolReport } from '../../agent/lvm/report.js'
import type { Claim, Rig } from './bench.js'

const DISK = 'd15c0000000000000000000000000001'
const EXTENT = 'c0ffee0123456789abcdef0123456789'
const OTHER = 'c0ffee0123456789abcdef0123456780'
const group = vgName(DISK)

interface Pool {
  readonly device: string
  readonly ask: (...commands: readonly string[]) => ReturnType<Lvm['batch']>
}

/** A volume group on the first disk, as agent/storage/pools.ts makes it. */
async function poolOf(rig: Rig): Promise<Pool> {
  const { run, clock, disks: [device] } = rig.bench
  const lvm = createLvm({ run, clock, dir: '/run/vsky-claims', udev: false, types: ['ubd:16'] })
  const ask = (...commands: readonly string[]): ReturnType<Lvm['batch']> => lvm.batch(DISK, device, commands)
  rig.after(() => ask(`lvremove -f ${group}/${EXTENT}`, `lvremove -f ${group}/${OTHER}`, `vgremove -f ${group}`, `pvremove -y ${device}`))
  await rig.program('wipefs', ['--all', '--force', '--quiet', device])
  await ask(`pvcreate -ff -y --metadatasize 4M --pvmetadatacopies 1 ${device}`, `vgcreate -s 4M --addtag vsky --addtag vsky.clean=0 ${group} ${device}`)
  return { device, ask }
}

const makes = (name: string, count: number, place: string): string => `lvcreate -y -Zn -Wn -ay -n ${name} -l ${count} --addtag vsky.volume=v1 --addtag vsky.segment=0 ${group} ${place}`
const volumesOf = (pool: PoolReport | undefined): readonly string[] => pool?.volumes.map((each) => each.name).sort() ?? []

export const lvmClaims: readonly Claim[] = [
  {
    name: 'a disk without a volume group is not reported; with one, all of it is one free piece',
    async check(rig) {
      const { ask } = await poolOf(rig)
      const { pool } = await ask()
      expect(pool?.physicalExtents).to.be.greaterThan(10)
      expect([pool?.cleanMark, pool?.volumes]).to.deep.equal([0, []])
      expect(pool?.segments).to.deep.equal([{ start: 0, size: pool?.physicalExtents ?? 0, lv: '' }])
      await ask(`vgremove -f ${group}`)
      expect((await ask()).pool).to.equal(undefined)
    },
  },
  {
    name: 'a logical volume lies where it was put, is active, and is reported with its size and its tags',
    async check(rig) {
      const { ask, device } = await poolOf(rig)
      const { pool } = await ask(makes(EXTENT, 2, `${device}:3-4`), makes(OTHER, 3, `${device}:1-1:6-7`))
      expect(pool?.volumes.map((each) => ({ ...each, tags: [...each.tags].sort() })).sort((a, b) => (a.name < b.name ? -1 : 1))).to.deep.equal([
        { name: OTHER, bytes: 12n * 1024n ** 2n, tags: ['vsky.segment=0', 'vsky.volume=v1'], active: true }, { name: EXTENT, bytes: 8n * 1024n ** 2n, tags: ['vsky.segment=0', 'vsky.volume=v1'], active: true },
      ])
      expect(pool?.segments.filter((each) => each.lv !== '')).to.deep.equal([{ start: 1, size: 1, lv: OTHER }, { start: 3, size: 2, lv: EXTENT }, { start: 6, size: 2, lv: OTHER }])
      const path = lvPath(DISK, EXTENT)
      await rig.must(path, 'write', 1024, 5)
      expect(await rig.read(path, 1024)).to.equal(5)
    },
  },
  {
    name: 'tags are added and taken away in one command',
    async check(rig) {
      const { ask, device } = await poolOf(rig)
      await ask(makes(EXTENT, 1, `${device}:0-0`))
      const { pool } = await ask(`lvchange --deltag vsky.segment=0 --addtag vsky.segment=7 --addtag vsky.leaving ${group}/${EXTENT}`, `vgchange --deltag vsky.clean=0 --addtag vsky.clean=9 ${group}`)
      expect([pool?.cleanMark, [...pool?.volumes[0]?.tags ?? []].sort()]).to.deep.equal([9, ['vsky.leaving', 'vsky.segment=7', 'vsky.volume=v1']])
    },
  },
  {
    name: 'a name that is taken, a place that is taken and a volume that something stands on are refused, with words, and the rest of the batch is done',
    async check(rig) {
      const { ask, device } = await poolOf(rig)
      await ask(makes(EXTENT, 2, `${device}:3-4`))
      const again = await ask(makes(EXTENT, 1, `${device}:8-8`), makes(OTHER, 1, `${device}:4-4`), `vgchange --deltag vsky.clean=0 --addtag vsky.clean=5 ${group}`)
      expect(again.complaint).to.not.equal('')
      expect([volumesOf(again.pool), again.pool?.cleanMark]).to.deep.equal([[EXTENT], 5])
      await rig.make('on', `0 8192 linear ${lvPath(DISK, EXTENT)} 0`)
      const held = await ask(`lvremove -f ${group}/${EXTENT}`)
      expect(held.complaint).to.not.equal('')
      expect(volumesOf(held.pool)).to.deep.equal([EXTENT])
      await rig.dm.remove([rig.name('on')])
      rig.gone('on')
      const gone = await ask(`lvremove -f ${group}/${EXTENT}`)
      expect([gone.complaint, volumesOf(gone.pool)]).to.deep.equal(['', []])
    },
  },
]
