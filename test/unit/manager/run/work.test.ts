import { expect } from 'chai'
import { createPresence, OFFLINE_AFTER_MS } from '../../../../manager/health/presence.js'
import { createWork } from '../../../../manager/run/work.js'
import { createExclusively } from '../../../../manager/run/cluster.js'
import { EpochLost } from '../../../../manager/store/store.js'
import { ConfigError, parseConfig } from '../../../../manager/config.js'
import type { Clock, Log } from '../../../../lib/ports.js'

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent }

/** Sleeps end at once; what was slept is remembered. */
function quickClock(): Clock & { readonly slept: number[] } {
  const slept: number[] = []
  let now = 0
  return { slept, nowMs: () => now, monoMs: () => now, async sleep(ms) { slept.push(ms); now += ms; await new Promise((resolve) => setImmediate(resolve)) } }
}

const settle = async (): Promise<void> => { for (let round = 0; round < 50; round += 1) await new Promise((resolve) => setImmediate(resolve)) }

describe('turns', () => {
  it('of one key never overlap, and a kick meanwhile means once more', async () => {
    let running = 0
    let most = 0
    let turns = 0
    const work = createWork({
      async volume() {
        running += 1
        turns += 1
        most = Math.max(most, running)
        await new Promise((resolve) => setImmediate(resolve))
        running -= 1
        return 'idle'
      },
    }, { clock: quickClock(), log: silent, onEpochLost: () => undefined })
    work.kick('volume', 'a')
    work.kick('volume', 'a')
    work.kick('volume', 'a')
    await settle()
    expect({ most, turns, busy: work.busy() }).to.deep.equal({ most: 1, turns: 2, busy: 0 })
  })

  it('that fail are repeated with growing pauses until they succeed', async () => {
    const clock = quickClock()
    const attempts: number[] = []
    const work = createWork({
      volume(_, attempt) {
        attempts.push(attempt)
        return attempt < 3 ? Promise.reject(new Error('not yet')) : Promise.resolve('idle')
      },
    }, { clock, log: silent, onEpochLost: () => undefined })
    work.kick('volume', 'a')
    await settle()
    expect(attempts).to.deep.equal([0, 1, 2, 3])
    expect(clock.slept.reduce((sum, each) => sum + each, 0)).to.equal(250 + 500 + 1000)
  })

  it('are told whether somebody had a reason, also where the attempt that had it failed', async () => {
    const told: boolean[] = []
    const next = [5, () => { throw new Error('not yet') }, 5, 5, 'idle'] as const
    const work = createWork({
      host(_, __, kicked) {
        const answer = next[told.length] ?? 'idle'
        told.push(kicked)
        if (told.length === 1) work.kick('host', 'a')
        return Promise.resolve(typeof answer === 'function' ? answer() : answer)
      },
    }, { clock: quickClock(), log: silent, onEpochLost: () => undefined })
    work.kick('host', 'a')
    await settle()
    expect(told).to.deep.equal([true, true, true, false, false])
  })

  it('stop for good when the epoch is lost', async () => {
    let lost = 0
    let turns = 0
    const work = createWork({ volume: () => { turns += 1; return Promise.reject(new EpochLost('over')) } }, { clock: quickClock(), log: silent, onEpochLost: () => { lost += 1 } })
    work.kick('volume', 'a')
    await settle()
    expect({ lost, turns }).to.deep.equal({ lost: 1, turns: 1 })
  })

  it('under way are waited for by stop, and none begins after it', async () => {
    let ended = false
    const work = createWork({ volume: async () => { await settle(); ended = true; return 'idle' } }, { clock: quickClock(), log: silent, onEpochLost: () => undefined })
    work.kick('volume', 'a')
    await work.stop()
    expect(ended).to.equal(true)
    work.kick('volume', 'b')
    expect(work.busy()).to.equal(0)
  })
})

describe('work under one mutex', () => {
  it('goes on in order after a failure', async () => {
    const exclusively = createExclusively()
    const order: number[] = []
    const first = exclusively('k', () => Promise.reject(new Error('no'))).catch(() => order.push(1))
    await Promise.all([first, exclusively('k', async () => { order.push(2); await Promise.resolve() })])
    expect(order.sort()).to.deep.equal([1, 2])
  })
})

describe('presence', () => {
  it('is lost after four missed heartbeats, and told once', () => {
    const presence = createPresence()
    presence.heard('st1', 1000)
    expect(presence.changes(1000)).to.deep.equal([{ host: 'st1', online: true }])
    expect(presence.changes(1000 + OFFLINE_AFTER_MS)).to.deep.equal([])
    expect(presence.changes(1001 + OFFLINE_AFTER_MS)).to.deep.equal([{ host: 'st1', online: false }])
    expect(presence.changes(9999 + OFFLINE_AFTER_MS)).to.deep.equal([])
  })

  it('of a known host is presumed when the manager starts, until it has been silent as long as any may', () => {
    const presence = createPresence()
    presence.expect('st1', 1000)
    expect(presence.online('st1', 1000 + OFFLINE_AFTER_MS)).to.equal(true)
    expect(presence.changes(1000)).to.deep.equal([])
    expect(presence.changes(1001 + OFFLINE_AFTER_MS)).to.deep.equal([{ host: 'st1', online: false }])
  })

  it('of a host that was never heard is offline', () => {
    expect(createPresence().online('st1', 0)).to.equal(false)
  })
})

describe('the manager\'s configuration', () => {
  it('is refused with every mistake at once', () => {
    try {
      parseConfig('name = "a b"\nport = 1\nlisten = "0.0.0.0:99999"\nextent_size = "5MiB"\n', 'x.toml')
      expect.fail('it was taken')
    } catch (thrown) {
      expect(thrown).to.be.instanceOf(ConfigError)
      const { message } = thrown as Error
      for (const part of ['port is not a setting', 'name: expected', 'listen: expected', 'extent_size: expected']) expect(message).to.contain(part)
    }
  })

  it('has defaults for all but the name', () => {
    expect(parseConfig('name = "mgr1"', 'x.toml')).to.deep.equal({ name: 'mgr1', host: '0.0.0.0', port: 8881, stateDir: '/var/lib/vsky', tlsDir: '/etc/vsky/tls', extentBytes: 8n * 1024n ** 3n, database: { engine: 'sqlite', path: undefined }, address: '', leaseTtlMs: 6000 })
  })
})
