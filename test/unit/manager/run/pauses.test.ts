import { expect } from 'chai'
import type { Clock, Log, LogFields } from '../../../../lib/ports.js'
import { createWork } from '../../../../manager/run/work.js'
import type { Turn, Work } from '../../../../manager/run/work.js'

interface FakeClock extends Clock {
  /** Lets time pass, sleeper by sleeper, with everything that follows from each. */
  pass(ms: number): Promise<void>
}

const settle = async (): Promise<void> => { for (let round = 0; round < 10; round += 1) await new Promise((resolve) => setImmediate(resolve)) }

function fakeClock(): FakeClock {
  let now = 0
  const sleepers = new Set<{ readonly at: number; readonly wake: () => void }>()
  return {
    nowMs: () => now,
    monoMs: () => now,
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      const sleeper = { at: now + ms, wake: resolve }
      sleepers.add(sleeper)
      signal?.addEventListener('abort', () => {
        sleepers.delete(sleeper)
        reject(signal.reason as Error)
      }, { once: true })
    }),
    async pass(ms) {
      const until = now + ms
      await settle()
      for (;;) {
        const [next] = [...sleepers].filter((each) => each.at <= until).sort((a, b) => a.at - b.at)
        if (!next) break
        now = next.at
        sleepers.delete(next)
        next.wake()
        await settle()
      }
      now = until
    },
  }
}

interface Rig {
  readonly clock: FakeClock
  readonly work: Work
  /** When each turn began, ms. */
  readonly began: number[]
  readonly warned: LogFields[]
}

function rig(turn: Turn): Rig {
  const clock = fakeClock()
  const began: number[] = []
  const warned: LogFields[] = []
  const log: Log = { debug: () => undefined, info: () => undefined, error: () => undefined, warn: (_, fields) => { warned.push(fields ?? {}) }, child: () => log }
  const work = createWork({
    volume(id, attempt, kicked) {
      began.push(clock.nowMs())
      return turn(id, attempt, kicked)
    },
  }, { clock, log, onEpochLost: () => undefined })
  return { clock, work, began, warned }
}

describe('the pause after a turn', () => {
  it('is until the next kick when there is nothing to do', async () => {
    const { clock, work, began } = rig(() => Promise.resolve('idle'))
    work.kick('volume', 'a')
    await clock.pass(100_000)
    expect([began, work.busy()]).to.deep.equal([[0], 0])
    work.kick('volume', 'a')
    await clock.pass(1)
    expect(began).to.deep.equal([0, 100_000])
  })

  it('is as long as the turn said', async () => {
    let turns = 0
    const { clock, work, began } = rig(() => { turns += 1; return Promise.resolve(turns < 3 ? 1500 : 'idle') })
    work.kick('volume', 'a')
    await clock.pass(10_000)
    expect(began).to.deep.equal([0, 1500, 3000])
  })

  it('is ended by a kick', async () => {
    let turns = 0
    const { clock, work, began } = rig(() => { turns += 1; return Promise.resolve(turns < 2 ? 5000 : 'idle') })
    work.kick('volume', 'a')
    await clock.pass(700)
    work.kick('volume', 'a')
    await clock.pass(10_000)
    expect(began).to.deep.equal([0, 700])
  })

  it('grows with every failure to eight seconds and no further, and each failure is told', async () => {
    const { clock, work, began, warned } = rig(() => Promise.reject(new Error('still broken')))
    work.kick('volume', 'a')
    await clock.pass(32_000)
    expect(began).to.deep.equal([0, 250, 750, 1750, 3750, 7750, 15_750, 23_750, 31_750])
    expect(warned[0]).to.deep.equal({ kind: 'volume', id: 'a', attempt: 1, error: 'still broken', pauseMs: 250 })
    const stopped = work.stop()
    await clock.pass(8000)
    await stopped
  })

  it('is short again after a success', async () => {
    let turns = 0
    const { clock, work, began } = rig(() => {
      turns += 1
      return [1, 2, 4].includes(turns) ? Promise.reject(new Error('no')) : Promise.resolve(turns < 5 ? 1000 : 'idle')
    })
    work.kick('volume', 'a')
    await clock.pass(10_000)
    expect(began).to.deep.equal([0, 250, 750, 1750, 2000])
  })

  it('after a failure is at least 200 ms, however often it is kicked', async () => {
    const { clock, work, began } = rig((_, attempt) => (attempt < 3 ? Promise.reject(new Error('no')) : Promise.resolve('idle')))
    for (let ms = 0; ms < 2000; ms += 10) {
      if (ms < 400) work.kick('volume', 'a')
      await clock.pass(10)
    }
    expect(began.slice(1).every((at, index) => at - (began[index] ?? 0) >= 200)).to.equal(true)
    expect(began.slice(0, 3)).to.deep.equal([0, 200, 400])
  })

  it('is ended by stop, after which nothing begins', async () => {
    const { clock, work, began } = rig(() => Promise.resolve(60_000))
    work.kick('volume', 'a')
    work.kick('volume', 'b')
    await settle()
    await work.stop()
    await clock.pass(120_000)
    expect([began, work.busy()]).to.deep.equal([[0, 0], 0])
  })
})

describe('turns by key', () => {
  it('of different keys run side by side: a turn that hangs holds up its own key only', async () => {
    const done: string[] = []
    let free: (() => void) | undefined
    const { clock, work } = rig(async (id) => {
      if (id === 'slow') await new Promise<void>((resolve) => { free = resolve })
      done.push(id)
      return 'idle'
    })
    for (const id of ['slow', 'a', 'b']) work.kick('volume', id)
    await clock.pass(1)
    expect([done, work.busy()]).to.deep.equal([['a', 'b'], 1])
    free?.()
    await clock.pass(1)
    expect([done, work.busy()]).to.deep.equal([['a', 'b', 'slow'], 0])
  })

  it('of one id but of two kinds are two keys', async () => {
    const kinds: string[] = []
    const turn = (kind: string): Turn => () => { kinds.push(kind); return Promise.resolve('idle') }
    const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => log }
    const work = createWork({ host: turn('host'), disk: turn('disk') }, { clock: fakeClock(), log, onEpochLost: () => undefined })
    work.kick('host', 'x')
    work.kick('disk', 'x')
    work.kick('unknown', 'x')
    await settle()
    expect([kinds, work.busy()]).to.deep.equal([['host', 'disk'], 0])
  })

  it('that throw before they give a promise are failures like others', async () => {
    const { clock, work, began } = rig((_, attempt) => {
      if (attempt === 0) throw new Error('at once')
      return Promise.resolve('idle')
    })
    work.kick('volume', 'a')
    await clock.pass(1000)
    expect(began).to.deep.equal([0, 250])
  })
})
