import { expect } from 'chai'
import { createDmsetup } from '../../../../agent/dm/dmsetup.js'
import { createChanges } from '../../../../agent/head/changes.js'
import type { Changes } from '../../../../agent/head/changes.js'
import type { Clock, Log, RunResult } from '../../../../lib/ports.js'
import type { VolumeWanted } from '../../../../lib/wire/agent.js'

const id = 'f'.repeat(32)
const never = new Promise<never>(() => undefined)
const clock: Clock = { nowMs: () => 0, monoMs: () => 0, sleep: () => never }
const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent }
const order = (layout: number, settled: number): VolumeWanted => ({
  volume: id, name: 'v', attachEpoch: 1, layout, scope: 'whole', bytes: 512n, waitSeconds: 5, chap: { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' }, segments: [], changes: { settled },
})
function remembering(...orders: readonly VolumeWanted[]): Changes {
  const run = (): Promise<RunResult> => never
  const slow = createDmsetup({ run, waiting: run, holding: run, udev: false })
  const changes = createChanges({ dm: slow, slow, run, flush: { device: () => never }, logs: { scratch: () => never, sweep: () => never }, clock, log: silent })
  for (const each of orders) changes.note(each)
  return changes
}

describe('what a head remembers of changes', () => {
  it('counts from its first era on when the order began it anew', () => {
    expect(remembering(order(4, 0)).seen(id)).to.deep.equal({ settled: 1, broken: false })
    expect(remembering(order(4, 0), order(5, 9)).seen(id)).to.deep.equal({ settled: 9, broken: false })
  })

  it('is told as broken before it may be given up, and is given up only when a later order shows that nobody relies on it', () => {
    const changes = remembering(order(4, 7))
    expect([changes.spoil(id), changes.seen(id)]).to.deep.equal([false, { settled: 0, broken: true }])
    changes.note(order(5, 0))
    expect(changes.spoil(id)).to.equal(true)
  })

  it('is relied on after the order that began it anew, and after the same order once more', () => {
    const changes = remembering(order(4, 0), order(4, 0))
    expect(changes.spoil(id)).to.equal(false)
    changes.note(order(5, 0))
    expect(changes.spoil(id)).to.equal(true)
  })

  it('is left alone by checkpoints while the volume is taken down, so that nothing of ours has it open', async () => {
    const changes = remembering(order(4, 0))
    const goOn = await changes.pause(id)
    expect(changes.seen(id)).to.deep.equal({ settled: 1, broken: false })
    goOn()
    await changes.pause('another')
  })
})
