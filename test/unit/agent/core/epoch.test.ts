import { expect } from 'chai'
import { openEpochs } from '../../../../agent/core/epoch.js'
import type { EpochStore } from '../../../../agent/core/epoch.js'
import { ConfigError, parseConfig } from '../../../../agent/config.js'
import { parseConfig as parseManagerConfig } from '../../../../manager/config.js'
import { configOf, defaultWish, planHosts, readWish } from '../../../../tools/lab/plan.js'
import { Fault } from '../../../../lib/faults.js'

function memory(start = 0): EpochStore & { saved: number } {
  const store = { saved: start, load: () => Promise.resolve(start), async save(epoch: number) { await Promise.resolve(); store.saved = epoch } }
  return store
}

async function faultOf(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'none', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))
}

describe('the epoch', () => {
  it('is on disk before an operation of it begins', async () => {
    const store = memory()
    const epochs = await openEpochs(store)
    let atStart = 0
    await epochs.run(7, async () => { atStart = store.saved; await Promise.resolve() })
    expect(atStart).to.equal(7)
  })

  it('of an older manager is refused, also after a restart of the agent', async () => {
    const epochs = await openEpochs(memory(5))
    expect(await faultOf(epochs.run(4, () => Promise.resolve()))).to.equal('stale epoch')
    expect(await faultOf(epochs.run(5, () => Promise.resolve()))).to.equal('none')
  })

  it('that passes while an operation is under way stops it at its next irreversible step', async () => {
    const epochs = await openEpochs(memory())
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => { release = resolve })
    const operation = epochs.run(1, async (stillMine) => { await held; stillMine() })
    await epochs.run(2, () => Promise.resolve())
    release()
    expect(await faultOf(operation)).to.equal('stale epoch')
  })

  it('is taken by a fence only when older operations have ended', async () => {
    const epochs = await openEpochs(memory())
    const order: string[] = []
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => { release = resolve })
    const operation = epochs.run(1, async () => { await held; order.push('operation') })
    await new Promise((resolve) => setImmediate(resolve))
    const fence = epochs.fence(2, 5000).then(() => order.push('fence'))
    await new Promise((resolve) => setImmediate(resolve))
    release()
    await Promise.all([operation, fence])
    expect(order).to.deep.equal(['operation', 'fence'])
  })

  it('ends with the highest when several come at once', async () => {
    const store = memory()
    const epochs = await openEpochs(store)
    await Promise.allSettled([3, 9, 4].map((epoch) => epochs.run(epoch, () => Promise.resolve())))
    expect([store.saved, epochs.current()]).to.deep.equal([9, 9])
  })
})

describe('the agent\'s configuration', () => {
  it('is refused with every mistake at once', () => {
    try {
      parseConfig('name = "st 1"\nroles = ["disk"]\ntypo = 1\nlisten = "x"\nudev = "no"\n', 'agent.toml')
      expect.fail('it was taken')
    } catch (thrown) {
      expect(thrown).to.be.instanceOf(ConfigError)
      for (const part of ['typo is not a setting', 'name: expected', 'roles: expected', 'listen: expected', 'managers: expected', 'udev: expected']) expect((thrown as Error).message).to.contain(part)
    }
  })
})

describe('the lab\'s plan', () => {
  const wish = { ...defaultWish, zones: 2, both: 1, dist: '/dist' }
  it('writes configurations that the daemons take', () => {
    const hosts = planHosts(wish)
    for (const host of hosts) {
      const { file, text } = configOf(host, hosts, wish)
      if (host.kind === 'manager') expect(parseManagerConfig(text, file).name).to.equal(host.name)
      else expect(parseConfig(text, file)).to.include({ name: host.name, zone: host.zone, udev: false })
    }
    expect(hosts.map((host) => host.name)).to.deep.equal(['mgr1', 'st1', 'st2', 'st3', 'hd1', 'hd2'])
    expect(hosts.find((host) => host.name === 'st2')).to.include({ zone: 'z2', dataAddress: '10.77.0.22', controlAddress: '10.78.0.22' })
    expect(new Set(hosts.flatMap((host) => [host.dataAddress, host.controlAddress, host.dataLink, host.controlLink])).size).to.equal(hosts.length * 4)
  })

  it('tells every mistake in a wish', () => {
    expect(readWish({ storage: 'x', diskSize: '1', lab: 'A b' }, '/dist').problems).to.have.length(3)
    expect(readWish({}, '/dist').problems).to.deep.equal([])
  })
})
