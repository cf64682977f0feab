/** The manager can die: two of them on one database, and everything that can befall the active one. `npm run lab:managers` does it for longer. */
import { expect } from 'chai'
import { rotate, wish } from '../../../tools/failover/rotation.js'
import { ask } from '../../../tools/lab/ask.js'
import { startWriter } from '../../../tools/lab/trial.js'
import { attach, create, detach, eventually, remove, useLab } from '../cluster.js'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('two managers on one database, on real kernels', () => {
  const lab = useLab('t-managers', wish)

  afterEach(async () => {
    for (const volume of await ask(lab(), 'volumeList', {})) {
      if (volume.state === 'attached') await detach(lab(), volume.name)
      await remove(lab(), volume.name)
    }
  })

  it('killed, paused, cut off, without power, handing over: the other one serves, all is done once, nobody\'s writes wait', async function rotation() {
    this.timeout(480_000)
    const report = await rotate(lab(), ['killed', 'paused for 20 s', 'cut off from the database', 'cut off from all', 'without power', 'handing over'], (text) => { console.log(`      ${text}`) })
    expect(report.violations).to.deep.equal([])
    expect(report.outcomes.filter((each) => !each.failedOver && each.trouble !== 'killed'), 'another epoch serves').to.deep.equal([])
    expect(report.volumes).to.be.greaterThan(0)
    expect(report.longestWriteMs, 'no write waits for a manager').to.be.lessThan(5000)
  })

  it('the database is away for a while: calls are told to come back, writes go on, and the same epoch serves again', async () => {
    await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd1')
    const before = await ask(lab(), 'managerStatus', {})
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    await lab().cut({ from: 'db1', plane: 'control', oneWay: false })
    await pause(15_000)
    const told = await lab().vsky(['volume', 'create', 'w', '--size', '64MiB', '--timeout', '3', '--json'])
    expect([told.code === 0, told.stderr], 'nothing is done that can\'t be kept').to.satisfy(([done, text]: [boolean, string]) => !done && /state unavailable|not active/.test(text))
    await lab().heal()
    const after = await eventually('one is active again', () => ask(lab(), 'managerStatus', {}), ({ state }) => state === 'active')
    expect([after.name, after.epoch]).to.deep.equal([before.holder, before.epoch])
    await lab().waitRegistered()
    const written = await writer.stop()
    expect([written.error, written.longestMs < 5000]).to.deep.equal(['', true])
  })

  it('clocks jump by an hour, forward and back, on every host: nothing changes', async () => {
    await create(lab(), 'v', '64MiB', 2)
    await attach(lab(), 'v', 'hd1')
    const before = await ask(lab(), 'managerStatus', {})
    const seen = (await ask(lab(), 'eventList', { newest: true, limit: 1 }))[0]?.seq ?? 0
    const writer = await startWriter(lab(), 'hd1', '/dev/vsky/v')
    for (const jump of ['1 hour', '-2 hours', '1 hour']) {
      for (const host of lab().hosts) await lab().must(host.name, ['date', '-s', jump])
      await pause(4000)
    }
    const after = await ask(lab(), 'managerStatus', {})
    expect([after.name, after.state, after.epoch, after.hostsOnline]).to.deep.equal([before.name, 'active', before.epoch, before.hosts])
    expect((await ask(lab(), 'eventList', { after: seen })).map((event) => event.kind)).to.deep.equal([])
    const written = await writer.stop()
    expect([written.error, written.longestMs < 5000]).to.deep.equal(['', true])
  })
})
