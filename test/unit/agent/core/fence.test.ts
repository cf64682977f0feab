import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { epochFile, openEpochs } from '../../../../agent/core/epoch.js'
import type { EpochStore } from '../../../../agent/core/epoch.js'
import { Fault } from '../../../../lib/faults.js'

interface Gate {
  readonly opened: Promise<void>
  open(): void
}

function gate(): Gate {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { opened, open: () => { open() } }
}

const settle = async (): Promise<void> => { for (let round = 0; round < 5; round += 1) await new Promise((resolve) => setImmediate(resolve)) }

/** A disk whose writes end when the test says so. */
function slowStore(start: number): EpochStore & { readonly writes: { readonly epoch: number; readonly done: Gate }[] } {
  const writes: { readonly epoch: number; readonly done: Gate }[] = []
  return {
    writes,
    load: () => Promise.resolve(start),
    save(epoch) {
      const done = gate()
      writes.push({ epoch, done })
      return done.opened
    },
  }
}

function quickStore(start = 0): EpochStore {
  return { load: () => Promise.resolve(start), save: () => Promise.resolve() }
}

async function faultOf(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'none', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))
}

describe('a fence', () => {
  it('is acknowledged only when its epoch is on disk', async () => {
    const store = slowStore(3)
    const epochs = await openEpochs(store)
    let acknowledged = false
    const fence = epochs.fence(4, 1000).then(() => { acknowledged = true })
    await settle()
    expect({ acknowledged, current: epochs.current(), writing: store.writes.map((each) => each.epoch) }).to.deep.equal({ acknowledged: false, current: 3, writing: [4] })
    store.writes[0]?.done.open()
    await fence
    expect({ acknowledged, current: epochs.current() }).to.deep.equal({ acknowledged: true, current: 4 })
  })

  it('of an older manager is refused', async () => {
    const epochs = await openEpochs(quickStore(5))
    expect(await faultOf(epochs.fence(4, 1000))).to.equal('stale epoch')
    expect(epochs.current()).to.equal(5)
  })

  it('says so when an older operation does not end in its time', async () => {
    const epochs = await openEpochs(quickStore())
    const held = gate()
    const operation = epochs.run(1, () => held.opened)
    await settle()
    expect(await faultOf(epochs.fence(2, 20))).to.equal('timed out')
    expect(epochs.current(), 'the older manager stays shut out all the same').to.equal(2)
    held.open()
    await operation
    expect(await faultOf(epochs.fence(2, 20))).to.equal('none')
  })

  it('does not wait for operations of its own epoch', async () => {
    const epochs = await openEpochs(quickStore())
    const held = gate()
    const operation = epochs.run(2, () => held.opened)
    await settle()
    expect(await faultOf(epochs.fence(2, 20))).to.equal('none')
    held.open()
    await operation
  })

  it('is not failed by an older operation that fails', async () => {
    const epochs = await openEpochs(quickStore())
    const held = gate()
    const operation = faultOf(epochs.run(1, async () => { await held.opened; throw new Fault('agent failed', 'it did not work') }))
    await settle()
    const fence = faultOf(epochs.fence(2, 5000))
    held.open()
    expect(await Promise.all([operation, fence])).to.deep.equal(['agent failed', 'none'])
  })

  it('waits for an operation that came in before it and whose own epoch was still being saved', async () => {
    const store = slowStore(0)
    const epochs = await openEpochs(store)
    const order: string[] = []
    const held = gate()
    const operation = epochs.run(1, async () => { order.push('begun'); await held.opened; order.push('ended') })
    const fence = epochs.fence(2, 5000).then(() => order.push('fenced'))
    for (let write = 0; write < 2; write += 1) {
      await settle()
      store.writes[write]?.done.open()
    }
    await settle()
    expect(order).to.deep.equal(['begun'])
    held.open()
    await Promise.all([operation, fence])
    expect(order).to.deep.equal(['begun', 'ended', 'fenced'])
  })
})

describe('an epoch that could not be saved', () => {
  it('lets no operation begin, and a later one is not held up by it', async () => {
    let broken = true
    const epochs = await openEpochs({ load: () => Promise.resolve(1), save: () => (broken ? Promise.reject(new Error('the disk is full')) : Promise.resolve()) })
    let begun = 0
    const operation = async (): Promise<void> => { begun += 1; return Promise.resolve() }
    expect(await faultOf(epochs.run(2, operation))).to.contain('the disk is full')
    expect([begun, epochs.current()]).to.deep.equal([0, 1])
    broken = false
    await epochs.run(3, operation)
    expect([begun, epochs.current()]).to.deep.equal([1, 3])
  })
})

describe('an operation', () => {
  it('is still its manager\'s until a newer epoch is on disk', async () => {
    const store = slowStore(1)
    const epochs = await openEpochs(store)
    const [first, second] = [gate(), gate()]
    const operation = epochs.run(1, async (stillMine) => {
      await first.opened
      stillMine()
      await second.opened
      stillMine()
    })
    const newer = epochs.run(2, () => Promise.resolve())
    await settle()
    first.open()
    await settle()
    store.writes[0]?.done.open()
    await newer
    second.open()
    expect(await faultOf(operation)).to.equal('stale epoch')
  })

  it('of the epoch that is known already writes nothing to disk', async () => {
    const store = slowStore(4)
    const epochs = await openEpochs(store)
    expect(await epochs.run(4, () => Promise.resolve('done'))).to.equal('done')
    expect(store.writes).to.deep.equal([])
  })
})

describe('the file of the epoch', () => {
  let folder = ''
  beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), 'vsky-epoch-')) })
  afterEach(() => rm(folder, { recursive: true }))

  it('that is not there means that no manager was ever heard of', async () => {
    expect(await epochFile(folder).load()).to.equal(0)
  })

  it('gives back after a restart what was saved', async () => {
    await (await openEpochs(epochFile(folder))).run(41, () => Promise.resolve())
    expect(await readFile(join(folder, 'epoch'), 'utf8')).to.equal('41\n')
    const restarted = await openEpochs(epochFile(folder))
    expect(restarted.current()).to.equal(41)
    expect(await faultOf(restarted.fence(40, 1000))).to.equal('stale epoch')
  })

  it('that holds anything else keeps the agent from starting', async () => {
    for (const text of ['', 'x', '-1', '1.5', '1 2', '1234567890123456']) {
      await writeFile(join(folder, 'epoch'), text)
      expect(await openEpochs(epochFile(folder)).then(() => 'opened', (thrown: unknown) => String(thrown)), JSON.stringify(text)).to.contain('holds no epoch')
    }
  })
})
