import { expect } from 'chai'
import { createFlush } from '../../../../agent/head/flush.js'
import type { Flush } from '../../../../agent/head/flush.js'
import type { Log, RunResult } from '../../../../lib/ports.js'
import type { VolumeSeen } from '../../../../lib/wire/agent.js'
import { TurnedClock } from '../../../support/turned-clock.js'

const silent = (): void => undefined
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log }

function flushing(exit: RunResult['exit'], name = 'vsky-v'): { readonly flush: Flush; readonly ran: readonly string[]; readonly clock: TurnedClock } {
  const ran: string[] = []
  const clock = new TurnedClock()
  const flush = createFlush({
    log, clock, present: () => Promise.resolve([{ name, uuid: '', suspended: false, kernel: 'dm-0' }]),
    run: ({ file, args }) => { ran.push([file, ...args].join(' ')); return Promise.resolve({ exit, stdout: '', stderr: 'Input/output error', durationMs: 1 }) },
  })
  return { flush, ran, clock }
}

async function failure(work: Promise<void>): Promise<string> {
  return work.then(() => '', (thrown: unknown) => (thrown instanceof Error ? thrown.message : ''))
}

describe('a device is written out', () => {
  it('by an fsync, which reaches the disks\' own caches: to empty this kernel\'s cache does not', async () => {
    const { flush, ran } = flushing({ kind: 'code', code: 0 })
    await flush.device('vsky-v')
    expect(ran).to.deep.equal(['sync /dev/mapper/vsky-v'])
  })

  it('or that fails, when a disk refuses or a lost leg holds its writes', async () => {
    expect(await failure(flushing({ kind: 'code', code: 1 }).flush.device('vsky-v'))).to.contain('Input/output error')
    expect(await failure(flushing({ kind: 'timeout' }).flush.device('vsky-v'))).to.contain('wait for a lost leg')
  })

  it('by nothing at all, when it is not there', async () => {
    const { flush, ran } = flushing({ kind: 'code', code: 0 })
    await flush.device('vsky-w')
    expect(ran).to.deep.equal([])
  })
})

describe('a copy', () => {
  const volume = (inSync: number): VolumeSeen => ({
    volume: 'v', name: 'v', attachEpoch: 1, layout: 3, scope: 'whole', state: 'up', device: '', opens: 0, waiting: false, unreachable: [],
    segments: [{ index: 0, generation: 1, inSync, regions: 8, legs: [] }],
  })
  const told = async (exit: RunResult['exit'], inSync: number, copying: boolean): Promise<string> => {
    const { flush, ran } = flushing(exit, 'vsky-v-s0')
    const [seen] = await flush.copies([volume(inSync)], () => copying)
    return `${seen?.segments[0]?.inSync ?? 0}/8, ${ran.length} flushes`
  }

  it('of a volume in use, too, has ended when its disks have written everything out', async () => {
    expect(await told({ kind: 'code', code: 0 }, 8, true)).to.equal('8/8, 1 flushes')
    expect(await told({ kind: 'timeout' }, 8, true)).to.equal('7/8, 1 flushes')
    expect(await told({ kind: 'code', code: 0 }, 5, true)).to.equal('5/8, 0 flushes')
  })

  it('is written out when its disks are flushed again, not before', async () => {
    const order: string[] = []
    const flush = createFlush({
      log, clock: new TurnedClock(), present: () => Promise.resolve([{ name: 'vsky-v-s0', uuid: '', suspended: false, kernel: 'dm-7' }]), beforeCopy: (kernel) => { order.push(`flushed from here on: ${kernel}`); return Promise.resolve() },
      run: ({ file }) => { order.push(file); return Promise.resolve({ exit: { kind: 'code', code: 0 }, stdout: '', stderr: '', durationMs: 1 }) },
    })
    await flush.copies([volume(8)], () => true)
    expect(order).to.deep.equal(['flushed from here on: dm-7', 'sync'])
  })

  it('whose disks refuse is not written out again at once: only after a second, or for the next layout', async () => {
    const { flush, ran, clock } = flushing({ kind: 'code', code: 1 }, 'vsky-v-s0')
    const look = async (layout: number): Promise<string> => {
      const [seen] = await flush.copies([{ ...volume(8), layout }], () => true)
      return `${seen?.segments[0]?.inSync ?? 0}/8, ${ran.length} flushes`
    }
    expect(await look(3)).to.equal('7/8, 1 flushes')
    expect(await look(3)).to.equal('7/8, 1 flushes')
    expect(await look(4)).to.equal('7/8, 2 flushes')
    await clock.turn(1000)
    expect(await look(3)).to.equal('7/8, 3 flushes')
  })

  it('that there is none is written out by nobody', async () => {
    expect(await told({ kind: 'code', code: 0 }, 8, false)).to.equal('8/8, 0 flushes')
  })
})
