import { expect } from 'chai'
import { createDmEvents } from '../../../../agent/dm/events.js'
import { createLog } from '../../../../lib/host/log.js'
import type { Clock } from '../../../../lib/ports.js'

const log = createLog({ name: 'test', level: 'silent' })
const clock: Clock = { nowMs: () => 0, monoMs: () => 0, sleep: () => new Promise((resolve) => { setImmediate(resolve) }) }
const settled = async (): Promise<void> => { for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => { setImmediate(resolve) }) }

describe('device-mapper events', () => {
  it('of devices that are watched from the same moment on cost one look at the counters, and are told together', async () => {
    let looks = 0
    const [waits, told]: [string[], (readonly string[])[]] = [[], []]
    const events = createDmEvents({
      clock, log, onEvent: (names) => { told.push(names); return Promise.resolve() },
      dm: {
        counters: () => { looks += 1; return Promise.resolve(new Map([['a', 0], ['b', 3], ['c', 0]])) },
        wait: (name, seen, signal) => new Promise((resolve) => {
          waits.push(`${name} ${seen}`)
          signal.addEventListener('abort', () => { resolve('stopped') })
        }),
      },
    })
    events.watch(['a', 'b', 'c'])
    await settled()
    expect([looks, waits, told]).to.deep.equal([1, ['a 0', 'b 3', 'c 0'], [['a', 'b', 'c']]])
    await events.stop()
  })

  it('are asked for from each moment anew: who comes later learns what is there by then', async () => {
    const there = new Map([['a', 0]])
    const waits: string[] = []
    const events = createDmEvents({
      clock, log, onEvent: () => Promise.resolve(),
      dm: {
        counters: () => Promise.resolve(new Map(there)),
        wait: (name, _, signal) => new Promise((resolve) => {
          waits.push(name)
          signal.addEventListener('abort', () => { resolve('stopped') })
        }),
      },
    })
    events.watch(['a'])
    await settled()
    there.set('b', 0)
    events.watch(['a', 'b'])
    await settled()
    expect(waits).to.deep.equal(['a', 'b'])
    await events.stop()
  })
})
