import { expect } from 'chai'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Log } from '../../../../lib/ports.js'
import { databaseLease } from '../../../../manager/lease/database.js'
import { createKeeper } from '../../../../manager/lease/keeper.js'
import type { Held, Keeper } from '../../../../manager/lease/keeper.js'
import type { LeaseStore } from '../../../../manager/lease/store.js'
import { leaseTimes } from '../../../../manager/lease/timeline.js'
import type { Standing } from '../../../../manager/lease/timeline.js'
import type { Db } from '../../../../manager/store/db.js'
import { migrate } from '../../../../manager/store/schema.js'
import { openSqlite } from '../../../../manager/store/sqlite.js'
import { EpochLost, openStore, takeOver } from '../../../../manager/store/store.js'
import { TurnedClock } from '../../../support/turned-clock.js'

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent }

/** One manager process's worth: its own connection to the file, its own clock, a store that can be cut off. */
interface Seat {
  readonly db: Db
  readonly keeper: Keeper
  /** What happens to a call: it is answered, fails, or is carried out and its answer never comes. */
  way: 'open' | 'fails' | 'no answer' | 'late'
  /** The answer to a taking gets lost. */
  takesBlindly: boolean
  readonly late: (() => void)[]
  held: Held | undefined
  readonly guarded: number[]
  rested: number
}

describe('two keepers on one SQLite file', function () {
  this.timeout(60_000) // real writes, on a disk that may be busy
  let dir: string
  let clock: TurnedClock
  let busy = 0
  const seats: Seat[] = []
  const aborts: AbortController[] = []

  async function seat(name: string, at: TurnedClock = clock, ttlMs = 6000): Promise<Seat> {
    const db = await openSqlite(join(dir, 'db'))
    await migrate(db)
    const real = databaseLease(db, () => at.nowMs())
    const through = async <T>(call: () => Promise<T>): Promise<T> => {
      if (mine.way === 'fails') throw new Error('the store is away')
      busy += 1
      const answer = await call().finally(() => { busy -= 1 })
      if (mine.way === 'no answer') return new Promise<T>(() => undefined)
      if (mine.way === 'late') await new Promise<void>((resolve) => { mine.late.push(resolve) })
      return answer
    }
    const store: LeaseStore = {
      read: () => through(() => real.read()), take: (seen, record) => through(() => real.take(seen, record)).then((taken) => (mine.takesBlindly ? new Promise<boolean>(() => undefined) : taken)), beat: (term) => through(() => real.beat(term)),
      release: (term, next) => through(() => real.release(term, next)), close: () => real.close(),
    }
    let dice = 0
    const keeper = createKeeper({
      store, times: leaseTimes(ttlMs), self: { name, address: `https://${name}:1` }, lock: { place: () => Promise.resolve(''), release: () => Promise.resolve() }, clock: at, log: silent,
      random: { hex: () => `${name}-${dice += 1}`, unit: () => 0.5 }, watchdog: { guard: (until) => { mine.guarded.push(until) }, rest: () => { mine.rested += 1 } },
    })
    const mine: Seat = { db, keeper, way: 'open', takesBlindly: false, late: [], held: undefined, guarded: [], rested: 0 }
    seats.push(mine)
    return mine
  }

  function contend(who: Seat): void {
    const abort = new AbortController()
    aborts.push(abort)
    who.keeper.acquire(abort.signal).then((held) => { who.held = held }, () => undefined)
  }

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-lease-'))
    clock = new TurnedClock({ busy: () => busy > 0 })
  })
  afterEach(async () => {
    for (const abort of aborts.splice(0)) abort.abort()
    for (const each of seats) each.way = 'open'
    const released = Promise.all(seats.flatMap((each) => each.held?.release('') ?? []))
    await clock.turn(5000)
    await released
    await clock.settle()
    for (const each of seats.splice(0)) await each.db.close()
    await rm(dir, { recursive: true })
  })

  it('take turns: one has it and renews it, the other waits as long as it does', async () => {
    const [one, two] = [await seat('one'), await seat('two')]
    contend(one)
    await clock.turn(100)
    contend(two)
    await clock.turn(60_000)
    expect([one.held?.epoch, one.held?.standing(), two.held]).to.deep.equal([1, 'active', undefined])
    expect(two.keeper.seen().record).to.include({ holder: 'one', address: 'https://one:1', epoch: 1 })
    expect(two.keeper.seen().ageMs).to.be.lessThan(3000)
  })

  it('are never both at work when one is cut off, by clocks one per cent fast and slow, and the first is over when it comes back', async () => {
    const [one, two] = [await seat('one', clock.beside(0.99)), await seat('two', clock.beside(1.01))]
    contend(one)
    await clock.turn(100)
    contend(two)
    await clock.turn(5000)
    one.way = 'fails'
    const standings: string[] = []
    for (let ms = 0; ms < 12_000; ms += 100) {
      await clock.turn(100)
      const both = `${one.held?.standing() ?? 'none'}, ${two.held ? 'the other begins' : 'nobody'}`
      if (standings.at(-1) !== both) standings.push(both)
    }
    expect(standings).to.deep.equal(['active, nobody', 'soft-stopped, nobody', 'frozen, nobody', 'frozen, the other begins'])
    let lost: EpochLost | undefined
    void one.held?.lost.then((why) => { lost = why })
    one.way = 'open'
    await clock.turn(2000)
    expect(lost).to.be.instanceOf(EpochLost)
    expect(two.held?.epoch).to.equal(2)
  })

  it('go on under the same epoch after a store that was away for a minute, and wake what waited', async () => {
    const one = await seat('one')
    contend(one)
    await clock.turn(1000)
    const told: Standing[] = []
    one.held?.onStanding((standing) => { told.push(standing) })
    one.way = 'fails'
    await clock.turn(10_000)
    let opened = false
    void one.held?.open('effect').then(() => { opened = true })
    await clock.turn(50_000)
    expect([opened, one.held?.standing()]).to.deep.equal([false, 'frozen'])
    expect(one.rested, 'the watchdog knows that it is frozen').to.be.greaterThan(0)
    one.way = 'open'
    await clock.turn(1000)
    expect([opened, one.held?.standing(), one.held?.epoch]).to.deep.equal([true, 'active', 1])
    expect(told).to.deep.equal(['soft-stopped', 'frozen', 'active'])
  })

  it('leave it to who had it when the store was away from both and is back', async () => {
    const [one, two] = [await seat('one'), await seat('two')]
    contend(one)
    await clock.turn(100)
    contend(two)
    await clock.turn(5000)
    for (const each of [one, two]) each.way = 'fails'
    await clock.turn(60_000)
    two.way = 'open' // a moment earlier
    await clock.turn(3000)
    one.way = 'open'
    await clock.turn(20_000)
    expect([one.held?.standing(), one.held?.epoch, two.held]).to.deep.equal(['active', 1, undefined])
  })

  it('bear one renewal whose answer is lost without a pause', async () => {
    const one = await seat('one')
    contend(one)
    await clock.turn(1900)
    one.way = 'no answer'
    await clock.turn(200)
    one.way = 'open'
    await clock.turn(1000)
    expect([one.held?.standing(), one.keeper.seen().ageMs < 1000]).to.deep.equal(['active', true])
  })

  it('count an answer that comes late from when it was asked for', async () => {
    const one = await seat('one')
    contend(one)
    await clock.turn(1900)
    one.way = 'late'
    await clock.turn(200) // a renewal was sent at 2000
    one.way = 'no answer'
    await clock.turn(3000)
    expect(one.held?.standing()).to.equal('frozen')
    for (const answer of one.late.splice(0)) answer()
    await clock.settle()
    expect([one.held?.standing(), Math.round(one.keeper.seen().ageMs / 100)]).to.deep.equal(['active', 31])
    expect(one.guarded.at(-1)).to.be.closeTo(clock.monoMs() - 3100 + 4800, 150)
  })

  it('do not care for the time of day', async () => {
    const [one, two] = [await seat('one'), await seat('two', clock.beside(1))]
    contend(one)
    await clock.turn(100)
    contend(two)
    for (const step of [3_600_000, -7_200_000, 3_600_000]) {
      clock.stepWall(step)
      await clock.turn(5000)
    }
    expect([one.held?.standing(), one.held?.epoch, two.held]).to.deep.equal(['active', 1, undefined])
  })

  it('hand over in a moment, to the one that is named', async () => {
    const [one, two, three] = [await seat('one'), await seat('two'), await seat('three')]
    contend(one)
    await clock.turn(100)
    contend(two)
    contend(three)
    await clock.turn(5000)
    const released = one.held?.release('three')
    await clock.turn(1000)
    expect(await released).to.equal(true)
    expect([one.held?.standing(), two.held, three.held?.epoch]).to.deep.equal(['frozen', undefined, 2])
    contend(one)
    await clock.turn(20_000)
    expect(one.keeper.seen().record?.holder).to.equal('three')
  })

  it('take what was given up from one that is not there any more, though it was meant for him', async () => {
    const [one, two] = [await seat('one'), await seat('two')]
    contend(one)
    await clock.turn(100)
    contend(two)
    await clock.turn(1000)
    void one.held?.release('three')
    await clock.turn(4000)
    expect(two.held?.epoch).to.equal(2)
  })

  it('know a taking whose answer was lost for their own', async () => {
    const one = await seat('one')
    one.takesBlindly = true
    contend(one)
    await clock.turn(1000)
    expect([one.held, (await one.db.get('select epoch from lease'))?.epoch]).to.deep.equal([undefined, 1])
    await clock.turn(2500)
    expect([one.held?.epoch, one.held?.standing()]).to.deep.equal([1, 'active'])
  })

  it('prove the epoch in the same database: what the first wrote after the second took over is refused', async () => {
    const [one, two] = [await seat('one'), await seat('two')]
    contend(one)
    await clock.turn(100)
    contend(two)
    await clock.turn(1000)
    if (!one.held) throw new Error('one has nothing')
    const store = openStore(one.db, one.held, { clock })
    const event = { kind: 'k', about: 'manager', name: 'n', text: 't' } as const
    await store.change((tx) => tx.event(event))
    one.way = 'fails'
    await clock.turn(15_000)
    expect(two.held?.epoch).to.equal(2)
    expect(await store.change((tx) => tx.event(event)).then(() => undefined, (thrown: unknown) => thrown)).to.be.instanceOf(EpochLost)
  })

  it('do not take a released mark of before for that of an older release that took over since', async () => {
    const [one, two] = [await seat('one'), await seat('two')]
    contend(one)
    await clock.turn(100)
    void one.held?.release('')
    await clock.turn(1000)
    await takeOver(one.db, 'old', { clock, random: { hex: () => 'old', unit: () => 0 } }) // as a release does that knows nothing of it
    contend(two)
    await clock.turn(6000)
    expect(two.held).to.equal(undefined)
    await clock.turn(1000)
    expect(two.held?.epoch).to.equal(3)
  })
})
