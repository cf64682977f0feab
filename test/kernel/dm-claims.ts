/** What the product counts on of device-mapper: linear, mirror, multipath, era. Each is proved of a real kernel and of the played one. */
import { expect } from 'chai'
import { readBlocks, readEra } from '../../agent/dm/era.js'
import { readQueueFailed, readStatus } from '../../agent/dm/status.js'
import { formatChanges, formatConcatenation, formatQueue, formatSegment, readChanges, readConcatenation, readQueue, readSegment } from '../../agent/dm/table.js'
import { createCopyLogs } from '../../agent/head/copy-logs.js'
import { sectors } from '../../lib/units.js'
import type { Answer, Claim, Rig } from './bench.js'
import { SECTORS } from './bench.js'

const length = sectors(SECTORS)
/** Blocks of a region of 512 KiB. */
const REGION = 128

interface Mirror { readonly m: string; readonly a: string; readonly b: string }

async function mirrorOf(rig: Rig, copy: 'none' | 'all' = 'none'): Promise<Mirror> {
  const [a, b] = [await rig.leg('a', 0), await rig.leg('b', 1)]
  return { m: await rig.make('m', formatSegment({ length, legs: [a, b], copy })), a, b }
}

async function letters(rig: Rig, short = 'm'): Promise<string> {
  return readStatus(await rig.status(short))?.legs.map((leg) => leg.health).join('') ?? ''
}

const alone = (leg: string): string => formatSegment({ length, legs: [leg], copy: 'none' })

async function tableOf(rig: Rig, short: string): Promise<readonly string[]> {
  return (await rig.dm.state()).find((each) => each.name === rig.name(short))?.table ?? []
}

/** A queue on leg a, which has failed, and a write that waits in it. */
async function waitingIn(rig: Rig): Promise<{ readonly a: string; readonly q: string; readonly write: Promise<Answer> }> {
  const a = await rig.leg('a', 0)
  const q = await rig.make('q', formatQueue({ device: a, length }))
  await rig.breakLeg('a', 0)
  const write = rig.io(q, 'write', 2, 8)
  expect(await rig.soon(write)).to.equal('waits')
  return { a, q, write }
}

export const dmClaims: readonly Claim[] = [
  {
    name: 'a mirror that was told that its legs are equal says so at once, and its table is read as it was written',
    async check(rig) {
      const { a, b } = await mirrorOf(rig)
      expect(await rig.status('m')).to.match(/^0 32768 mirror 2 \d+:\d+ \d+:\d+ 32\/32 1 AA 1 core\s*$/)
      const [devA, devB] = [await rig.devno('a'), await rig.devno('b')]
      expect(readSegment((await tableOf(rig, 'm'))[0] ?? '')).to.deep.equal({ length, legs: [devA, devB], copy: 'none' })
      expect([a, b].every((path) => path.startsWith('/dev/mapper/'))).to.equal(true)
    },
  },
  {
    name: 'a write reaches every leg of a mirror',
    async check(rig) {
      const { m, a, b } = await mirrorOf(rig)
      await rig.must(m, 'write', 2, 7)
      expect([await rig.read(m, 2), await rig.read(a, 2), await rig.read(b, 2)]).to.deep.equal([7, 7, 7])
    },
  },
  {
    name: 'a write that a leg did not take waits, an event tells, the leg\'s letter is D; reads go on; with a table without that leg the write is done',
    async check(rig) {
      const { m, a, b } = await mirrorOf(rig)
      await rig.must(m, 'write', 1, 5)
      const told = rig.dm.wait(rig.name('m'), await rig.events('m'), new AbortController().signal)
      await rig.breakLeg('b', 1)
      const write = rig.io(m, 'write', 2, 8)
      expect(await rig.soon(write)).to.equal('waits')
      expect(await told).to.equal('event')
      expect(await letters(rig)).to.equal('AD')
      expect(await rig.read(m, 1)).to.equal(5)
      await rig.dm.reload(rig.name('m'), [alone(a)])
      expect((await write).outcome).to.equal('ok')
      expect(await rig.read(a, 2)).to.equal(8)
      await rig.mendLeg('b', 1)
      expect(await rig.read(b, 2)).to.equal(0)
    },
  },
  {
    name: 'the first leg does not take a write: the write waits, and reads are answered by the other one',
    async check(rig) {
      const { m, b } = await mirrorOf(rig)
      await rig.must(m, 'write', 1, 5)
      await rig.breakLeg('a', 0)
      const write = rig.io(m, 'write', 2, 8)
      expect(await rig.soon(write)).to.equal('waits')
      expect(await letters(rig)).to.equal('DA')
      expect(await rig.read(m, 1)).to.equal(5)
      await rig.dm.reload(rig.name('m'), [alone(b)])
      expect((await write).outcome).to.equal('ok')
      expect(await rig.read(b, 2)).to.equal(8)
    },
  },
  {
    name: 'a suspend that flushes ends held writes with an error',
    async check(rig) {
      const { m } = await mirrorOf(rig)
      await rig.breakLeg('b', 1)
      const write = rig.io(m, 'write', 2, 8)
      expect(await rig.soon(write)).to.equal('waits')
      await rig.dm.fail(rig.name('m'), SECTORS)
      expect((await write).outcome).to.equal('error')
    },
  },
  {
    name: 'a read that the first leg failed is answered by another one, and nobody waits; the letter is R until the table is loaded again',
    async check(rig) {
      const { m, a, b } = await mirrorOf(rig)
      await rig.must(m, 'write', 1, 5)
      const before = await rig.events('m')
      await rig.breakLeg('a', 0)
      expect(await rig.read(m, 1)).to.equal(5)
      expect(await letters(rig)).to.equal('RA')
      expect(await rig.events('m')).to.be.greaterThan(before)
      await rig.mendLeg('a', 0)
      await rig.must(m, 'write', 2, 9) // it is written on, only not read
      expect([await rig.read(a, 2), await letters(rig)]).to.deep.equal([9, 'RA'])
      await rig.dm.reload(rig.name('m'), [formatSegment({ length, legs: [a, b], copy: 'none' })])
      expect(await letters(rig)).to.equal('AA')
    },
  },
  {
    name: 'no leg takes a write: it ends with an error at once',
    async check(rig) {
      const { m } = await mirrorOf(rig)
      await rig.breakLeg('a', 0)
      await rig.breakLeg('b', 1)
      expect(await rig.soon(rig.io(m, 'write', 2, 8), 10_000)).to.equal('error')
      expect(await letters(rig)).to.equal('DD')
    },
  },
  {
    name: 'a flush that a leg did not take waits, and an event tells; after the next write that all legs take every leg is shown as alive, and the flush waits all the same',
    async check(rig) {
      const { m, a } = await mirrorOf(rig)
      const before = await rig.events('m')
      await rig.breakLeg('b', 1)
      const flush = rig.io(m, 'flush', 0)
      expect(await rig.soon(flush)).to.equal('waits')
      expect([await letters(rig), await rig.events('m') > before]).to.deep.equal(['AD', true])
      await rig.mendLeg('b', 1)
      await rig.must(m, 'write', 1, 4)
      expect([await rig.soon(flush, 500), await letters(rig)]).to.deep.equal(['waits', 'AA'])
      await rig.dm.reload(rig.name('m'), [alone(a)])
      expect((await flush).outcome).to.equal('ok')
    },
  },
  {
    name: 'a copy takes every region from the first leg, and an event tells its end',
    async check(rig) {
      const [a, b] = [await rig.leg('a', 0), await rig.leg('b', 1)]
      await rig.must(a, 'write', 3 * REGION, 10)
      await rig.must(b, 'write', 3 * REGION, 20)
      await rig.must(b, 'write', 8 * REGION, 30)
      await rig.make('m', formatSegment({ length, legs: [a, b], copy: 'all' }))
      const line = await rig.until('all regions are equal', () => rig.status('m'), (text) => text.includes(' 32/32 '))
      expect(line).to.match(/^0 32768 mirror 2 \d+:\d+ \d+:\d+ 32\/32 1 AA 1 core\s*$/)
      expect([await rig.read(b, 3 * REGION), await rig.read(b, 8 * REGION)]).to.deep.equal([10, 0])
      expect(await rig.events('m')).to.be.greaterThan(0)
      expect(readSegment((await tableOf(rig, 'm'))[0] ?? '')?.copy).to.equal('all')
    },
  },
  {
    name: 'a copy that its target does not take stops: the letter is S, a write waits, and with a table without that leg it is done',
    async check(rig) {
      const [a, b] = [await rig.leg('a', 0), await rig.leg('b', 1)]
      await rig.breakLeg('b', 1)
      const m = await rig.make('m', formatSegment({ length, legs: [a, b], copy: 'all' }))
      await rig.until('its target has failed', () => letters(rig), (text) => text === 'AS')
      const write = rig.io(m, 'write', 2, 8)
      expect(await rig.soon(write)).to.equal('waits')
      await rig.dm.reload(rig.name('m'), [alone(a)])
      expect((await write).outcome).to.equal('ok')
    },
  },
  {
    name: 'a copy whose source can\'t be read stops: the letter is S, and what was not copied can\'t be read, not even from the other leg',
    async check(rig) {
      const [a, b] = [await rig.leg('a', 0), await rig.leg('b', 1)]
      await rig.breakLeg('a', 0)
      const m = await rig.make('m', formatSegment({ length, legs: [a, b], copy: 'all' }))
      await rig.until('its source has failed', () => letters(rig), (text) => text.startsWith('S'))
      expect((await rig.io(m, 'read', 2)).outcome).to.equal('error')
      expect(readStatus(await rig.status('m'))?.inSync).to.equal(0)
    },
  },
  {
    name: 'a log that says which regions differ: these are copied and no others',
    async check(rig) {
      const [a, b] = [await rig.leg('a', 0), await rig.leg('b', 1)]
      for (const region of [2, 8]) await rig.must(a, 'write', region * REGION, 10)
      const logs = createCopyLogs({ run: rig.bench.run, log: rig.bench.log })
      const log = await logs.make(`vsky-${'c'.repeat(32)}-s0`, SECTORS)
      rig.after(async () => {
        log.done()
        await rig.dm.remove([rig.name('m')])
        rig.gone('m')
        await logs.sweep()
      })
      await log.write([{ begin: 2048n, end: 3072n }]) // region 2 alone
      await rig.make('m', formatSegment({ length, legs: [a, b], copy: 'changed' }, log.device))
      const line = await rig.until('all regions count as equal', () => rig.status('m'), (text) => text.includes(' 32/32 '))
      expect(line).to.match(/ 1 AA 3 disk \d+:\d+ A\s*$/)
      expect([await rig.read(b, 2 * REGION), await rig.read(b, 8 * REGION)]).to.deep.equal([10, 0])
      expect(readSegment((await tableOf(rig, 'm'))[0] ?? '')?.copy).to.equal('changed')
    },
  },
  {
    name: 'a concatenation leads each block to its place, and its table is read as it was written',
    async check(rig) {
      const [a, b] = [await rig.leg('a', 0), await rig.leg('b', 1)]
      const parts = [{ device: a, length }, { device: b, length }]
      const body = await rig.make('body', ...formatConcatenation(parts))
      await rig.must(body, 'write', 4096 + 3, 6)
      expect([await rig.read(b, 3), await rig.read(a, 3)]).to.deep.equal([6, 0])
      expect(readConcatenation(await tableOf(rig, 'body'))?.map((part) => part.length)).to.deep.equal([length, length])
    },
  },
  {
    name: 'what comes to a suspended device waits until it is resumed',
    async check(rig) {
      const a = await rig.leg('a', 0)
      await rig.dm.suspend(rig.name('a'))
      const [write, read] = [rig.io(a, 'write', 1, 4), rig.io(a, 'read', 2)]
      expect([await rig.soon(write), await rig.soon(read, 100)]).to.deep.equal(['waits', 'waits'])
      expect((await rig.dm.state()).find((each) => each.name === rig.name('a'))?.suspended).to.equal(true)
      await rig.dm.resume(rig.name('a'))
      expect([(await write).outcome, (await read).outcome, await rig.read(a, 1)]).to.deep.equal(['ok', 'ok', 4])
    },
  },
  {
    name: 'a device that another one stands on is busy, one that is not there is absent, and those before it are gone',
    async check(rig) {
      await mirrorOf(rig)
      expect(await rig.dm.remove([rig.name('a')])).to.deep.equal({ kind: 'stopped', by: 'busy' })
      expect((await rig.dm.state()).find((each) => each.name === rig.name('a'))?.opens).to.equal(1)
      expect(await rig.dm.remove([rig.name('m'), rig.name('nobody'), rig.name('a')])).to.deep.equal({ kind: 'stopped', by: 'absent' })
      const left = (await rig.dm.state()).map((each) => each.name)
      expect([left.includes(rig.name('m')), left.includes(rig.name('a'))]).to.deep.equal([false, true])
      rig.gone('m')
      expect([...(await rig.dm.status([rig.name('a'), rig.name('m')])).keys()]).to.deep.equal([rig.name('a')])
    },
  },
  {
    name: 'who waits for an event of a device that goes is woken',
    async check(rig) {
      await rig.leg('a', 0)
      const waiting = rig.dm.wait(rig.name('a'), await rig.events('a'), new AbortController().signal)
      await rig.bench.clock.sleep(500)
      await rig.dm.remove([rig.name('a')])
      rig.gone('a')
      expect(await waiting).to.be.oneOf(['gone', 'event']) // some kernels say the one, some the other: whoever is woken looks
    },
  },
  {
    name: 'an error below a queue fails its path, and everything waits; when the path is reinstated it goes on',
    async check(rig) {
      const a = await rig.leg('a', 0)
      const q = await rig.make('q', formatQueue({ device: a, length }))
      const path = await rig.devno('a')
      expect(readQueue((await tableOf(rig, 'q'))[0] ?? '')).to.deep.equal({ device: path, length, waits: true })
      await rig.must(q, 'write', 1, 3)
      const before = await rig.events('q')
      await rig.breakLeg('a', 0)
      const [write, read] = [rig.io(q, 'write', 2, 8), rig.io(q, 'read', 1)]
      expect([await rig.soon(write), await rig.soon(read, 100)]).to.deep.equal(['waits', 'waits'])
      expect([readQueueFailed(await rig.status('q')), await rig.events('q') > before]).to.deep.equal([true, true])
      await rig.mendLeg('a', 0)
      await rig.dm.message(rig.name('q'), `reinstate_path ${path}`)
      expect([(await write).outcome, await read, await rig.read(a, 2)]).to.deep.equal(['ok', { outcome: 'ok', content: 3 }, 8])
      expect(readQueueFailed(await rig.status('q'))).to.equal(false)
    },
  },
  {
    name: 'a queue that is told not to wait answers with errors, and waits again when it is told to',
    async check(rig) {
      const { q, write } = await waitingIn(rig)
      await rig.dm.message(rig.name('q'), 'fail_if_no_path')
      expect((await write).outcome).to.equal('error')
      expect(readQueue((await tableOf(rig, 'q'))[0] ?? '')?.waits).to.equal(false)
      await rig.dm.message(rig.name('q'), 'queue_if_no_path')
      const second = rig.io(q, 'write', 2, 8)
      expect(await rig.soon(second)).to.equal('waits')
      await rig.mendLeg('a', 0)
      await rig.dm.message(rig.name('q'), `reinstate_path ${await rig.devno('a')}`)
      expect((await second).outcome).to.equal('ok')
    },
  },
  {
    name: 'what waits in a queue goes on when its table is loaded again',
    async check(rig) {
      const { a, write } = await waitingIn(rig)
      await rig.mendLeg('a', 0)
      await rig.dm.reload(rig.name('q'), [formatQueue({ device: a, length })])
      expect([(await write).outcome, await rig.read(a, 2)]).to.deep.equal(['ok', 8])
    },
  },
  {
    name: 'era remembers which blocks were written since a checkpoint, also when it was removed and made again',
    async check(rig) {
      const { changes, era, listed } = await remembering(rig)
      const table = (await tableOf(rig, 'e'))[0] ?? ''
      expect([readChanges(table)?.block, readChanges(table)?.length]).to.deep.equal([8192n, length])
      await rig.must(changes, 'write', 0, 1)
      await rig.must(changes, 'write', 2048, 1)
      await rig.dm.message(rig.name('e'), 'checkpoint')
      const since = await era()
      await rig.must(changes, 'write', 3072 + 5, 1)
      await rig.must(changes, 'read', 1024)
      expect(await listed(since)).to.deep.equal([3])
      expect(await listed(1)).to.deep.equal([0, 2, 3])
      await rig.dm.remove([rig.name('e')])
      rig.gone('e')
      await rig.make('e', formatChanges({ device: rig.path('a'), length, meta: rig.path('b'), block: 8192n }))
      expect(await era()).to.be.greaterThan(since)
      expect(await listed(since)).to.deep.equal([3])
    },
  },
  {
    name: 'era has one metadata snapshot at a time, and its status says whether there is one',
    async check(rig) {
      await remembering(rig)
      expect(await rig.status('e')).to.match(/^0 32768 era 8 \d+\/\d+ \d+ -\s*$/)
      await rig.dm.message(rig.name('e'), 'take_metadata_snap')
      expect(await rig.status('e')).to.match(/^0 32768 era 8 \d+\/\d+ \d+ \d+\s*$/)
      expect(await rig.dm.message(rig.name('e'), 'take_metadata_snap').then(() => 'taken', () => 'refused')).to.equal('refused')
      await rig.dm.message(rig.name('e'), 'drop_metadata_snap')
      expect(await rig.dm.message(rig.name('e'), 'drop_metadata_snap').then(() => 'dropped', () => 'refused')).to.equal('refused')
    },
  },
]

/** An era device over leg a that keeps its memory on leg b; the list of blocks since an era. */
async function remembering(rig: Rig): Promise<{ readonly changes: string; readonly era: () => Promise<number>; readonly listed: (since: number) => Promise<readonly number[]> }> {
  const [a, b] = [await rig.leg('a', 0), await rig.leg('b', 1)] // a new memory begins with zeros
  const changes = await rig.make('e', formatChanges({ device: a, length, meta: b, block: 8192n }))
  return {
    changes,
    async era() {
      const found = readEra(await rig.status('e'))
      if (typeof found !== 'number') throw new Error(`no era: ${await rig.status('e')}`)
      return found
    },
    async listed(since) {
      await rig.dm.message(rig.name('e'), 'take_metadata_snap')
      try {
        return readBlocks(await rig.program('era_invalidate', ['--metadata-snapshot', '--written-since', String(since), b])).flatMap(({ begin, end }) => Array.from({ length: Number(end - begin) }, (_, at) => Number(begin) + at))
      } finally {
        await rig.dm.message(rig.name('e'), 'drop_metadata_snap')
      }
    },
  }
}
