/** What the head's own builder does with a kernel that holds something below it. */
import { expect } from 'chai'
import { formatSegment, nameOf, uuidOf } from '../../agent/dm/table.js'
import { createBuilder } from '../../agent/head/build.js'
import type { Builder } from '../../agent/head/build.js'
import { createChanges } from '../../agent/head/changes.js'
import { createCopyLogs } from '../../agent/head/copy-logs.js'
import { justMade } from '../../agent/head/look.js'
import { createNewest } from '../../agent/head/newest.js'
import type { Newest } from '../../agent/head/newest.js'
import type { HeadStep } from '../../agent/head/plan.js'
import { createStuck } from '../../agent/head/stuck.js'
import type { Stuck } from '../../agent/head/stuck.js'
import { createWriteCaches } from '../../agent/head/write-cache.js'
import { sectors } from '../../lib/units.js'
import type { LegWanted, VolumeWanted } from '../../lib/wire/agent.js'
import type { Claim, Rig } from './bench.js'
import { SECTORS } from './bench.js'

const length = sectors(SECTORS)
const VOLUME = 'f'.repeat(32)
const [a, b, c] = ['a', 'b', 'c'].map((digit) => digit.repeat(32)) as [string, string, string]

/** Extents as a server's own logical volumes are named, so that the head knows them by their devices. */
async function extentOn(rig: Rig, extent: string, table: string): Promise<string> {
  const name = `vsky_${'d'.repeat(32)}-${extent}`
  const path = await rig.makeNamed(name, `CLAIM-${extent}`, table)
  await rig.program('blkdiscard', ['-z', path])
  return path
}

const order = (layout: number, ...good: readonly string[]): VolumeWanted => ({
  volume: VOLUME, name: 'v', attachEpoch: 1, layout, scope: 'whole', bytes: SECTORS * 512n, waitSeconds: 0, chap: { initiator: 'iqn.h', user: 'h', password: 'secretsecret' },
  segments: [{ index: 0, generation: 1, bytes: SECTORS * 512n, copy: 'none', legs: good.map((extent, at): LegWanted => ({ extent, disk: 'd'.repeat(32), host: `st${at}`, target: 'iqn.x', addresses: [], lun: at, bytes: SECTORS * 512n, state: 'insync' })) }],
})
const onto = (...legs: readonly [string, ...string[]]): HeadStep => ({ do: 'reload', part: 's0', table: { kind: 'mirror', mirror: { length, legs, copy: 'none' } } })

interface Stacked {
  /** The device of the segment: a copy from a mirror of legs a and b onto c has ended. */
  readonly segment: string
  readonly builder: Builder
  readonly newest: Newest
  readonly stuck: Stuck
  /** Times that news was told. */
  readonly told: () => number
  readonly devices: ReadonlyMap<string, string>
  readonly pathOf: (extent: string) => string
  /** From now on leg b fails what is written to it, and flushes. */
  readonly breakB: () => Promise<void>
}

async function stacked(rig: Rig): Promise<Stacked> {
  const { bench: { run, clock, log, disks: [first, second] }, dm } = rig
  const tableB = `0 ${SECTORS} linear ${second} 8192`
  const devices = new Map([[a, await extentOn(rig, a, `0 ${SECTORS} linear ${first} 8192`)], [b, await extentOn(rig, b, tableB)], [c, await extentOn(rig, c, `0 ${SECTORS} linear ${first} ${8192n + SECTORS}`)]])
  const pathOf = (extent: string): string => devices.get(extent) ?? ''
  const low = await rig.makeNamed(nameOf(VOLUME, 's0-low'), uuidOf(VOLUME, 's0-low'), formatSegment({ length, legs: [pathOf(a), pathOf(b)], copy: 'none' }))
  const segment = await rig.makeNamed(nameOf(VOLUME, 's0'), uuidOf(VOLUME, 's0'), formatSegment({ length, legs: [low, pathOf(c)], copy: 'all' }))
  await rig.until('the copy has ended', async () => (await dm.status([nameOf(VOLUME, 's0')])).get(nameOf(VOLUME, 's0'))?.[0] ?? '', (line) => line.includes(' 32/32 '))
  const logs = createCopyLogs({ run, log })
  const newest = createNewest()
  let told = 0
  const stuck = createStuck({ log, tell: () => { told += 1; return Promise.resolve() } })
  const changes = createChanges({ dm, slow: dm, run, flush: { device: () => Promise.resolve() }, logs, clock, log })
  return {
    segment, newest, stuck, devices, pathOf, told: () => told, builder: createBuilder({ dm, run, changes, logs, caches: createWriteCaches({ log }), newest, stuck, clock, log }),
    async breakB() { await dm.reload(`vsky_${'d'.repeat(32)}-${b}`, [rig.bench.broken(tableB)]) },
  }
}

export const headClaims: readonly Claim[] = [
  {
    name: 'a segment whose new table waits for a flush that a leg below fails, one that is wanted still, gets on as soon as a newer order arrives that leaves that leg out',
    async check(rig) {
      const { bench: { clock } } = rig
      const { segment, builder, newest, devices, pathOf, breakB } = await stacked(rig)
      await breakB()
      const flush = rig.io(segment, 'flush', 0)
      expect(await rig.soon(flush)).to.equal('waits')
      let built = false
      const work = builder.build(order(2, a, b, c), [onto(a, b, c)], devices, () => undefined).catch(() => undefined).then(() => { built = true })
      await clock.sleep(4000)
      expect(built, 'nobody has said yet that it may go on without the failed leg').to.equal(false)
      newest.heed(order(3, a, c))
      await rig.until('the table is there', () => Promise.resolve(built), (done) => done, 40_000)
      await work
      await builder.build(order(3, a, c), [onto(a, c)], devices, () => undefined).catch(() => undefined) // the links in /dev are no matter here
      expect((await flush).outcome).to.equal('ok')
      await rig.must(segment, 'write', 2, 7)
      expect([await rig.read(pathOf(a), 2), await rig.read(pathOf(c), 2)]).to.deep.equal([7, 7])
    },
  },
  {
    name: 'a leg that fails below a segment whose new table wants it still is told once, as one that can\'t be reached, until there is an order without it',
    async check(rig) {
      const { segment, builder, newest, stuck, told, devices, pathOf, breakB } = await stacked(rig)
      const unreachable = (): readonly string[] => stuck.told([justMade(order(2, a, b, c))]).flatMap((volume) => volume.unreachable.map((leg) => leg.extent))
      await breakB()
      const write = rig.io(segment, 'write', 2, 7)
      expect(await rig.soon(write)).to.equal('waits')
      const work = builder.build(order(2, a, b, c), [onto(a, b, c)], devices, () => undefined).catch(() => undefined)
      await rig.until('the leg is told', () => Promise.resolve(unreachable()), (legs) => legs.length > 0, 20_000)
      expect(unreachable()).to.deep.equal([b])
      await rig.bench.clock.sleep(4000)
      expect([unreachable(), told()], 'it is tried again and again').to.deep.equal([[b], 1])
      newest.heed(order(3, a, c))
      await work
      expect(unreachable()).to.deep.equal([])
      await builder.build(order(3, a, c), [onto(a, c)], devices, () => undefined).catch(() => undefined)
      expect((await write).outcome).to.equal('ok')
      expect([await rig.read(pathOf(a), 2), await rig.read(pathOf(c), 2)]).to.deep.equal([7, 7])
    },
  },
]
