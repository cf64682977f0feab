import { expect } from 'chai'
import { createAgentHandler } from '../../../../agent/core/door.js'
import type { DoorOptions } from '../../../../agent/core/door.js'
import { openEpochs } from '../../../../agent/core/epoch.js'
import type { HeadRole, StorageRole } from '../../../../agent/roles.js'
import { Fault } from '../../../../lib/faults.js'
import type { Clock, Log } from '../../../../lib/ports.js'
import type { RpcHandler } from '../../../../lib/rpc/server.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'
import type { VolumeWanted } from '../../../../lib/wire/agent.js'

const [diskOne, diskTwo, volume] = ['d'.repeat(32), 'e'.repeat(32), 'a'.repeat(32)]
const ban = (initiator: string, epoch = 1): XmlValue => ({ epoch, op: 'op-1', initiator })
const release = (disk: string, epoch = 1): XmlValue => ({ epoch, op: 'op-1', disk })

const settle = async (): Promise<void> => { for (let round = 0; round < 5; round += 1) await new Promise((resolve) => setImmediate(resolve)) }
const clock: Clock = { nowMs: () => 0, monoMs: () => 0, sleep: () => Promise.resolve() }

function storageRole(more: Partial<StorageRole> = {}): StorageRole {
  const none = (): Promise<void> => Promise.resolve()
  return {
    start: none, stop: none, observe: () => Promise.resolve({ disks: [], extents: [], foreign: [] }),
    prepareDisk: ({ disk, device }) => Promise.resolve({ disk, device, state: 'ready', problem: '', bytes: 1n, freeBytes: 1n, cleanBytes: 0n }),
    releaseDisk: none, ensureExtents: () => Promise.resolve({ target: 'iqn.2026-11.io.vsky:storage.st1', addresses: ['10.77.0.21'] }),
    removeExtents: none, banInitiator: none, localDevice: () => Promise.resolve(undefined), ...more,
  }
}

function headRole(more: Partial<HeadRole> = {}): HeadRole {
  const none = (): Promise<void> => Promise.resolve()
  return {
    start: none, stop: none, observe: () => Promise.resolve({ volumes: [], foreign: [{ what: 'dm device', name: 'x', why: 'nobody knows it' }] }),
    attachVolume: () => Promise.reject(new Error('not in this test')), mendVolume: () => Promise.resolve({ bytes: 0n, why: '' }), detachVolume: none, ...more,
  }
}

interface Door {
  /** The fault's name and text, or the answer. */
  readonly call: (method: string, params?: XmlValue, role?: string) => Promise<{ readonly fault?: string; readonly said?: string; readonly answer?: XmlValue }>
  readonly notes: string[]
  readonly errors: string[]
  readonly changes: () => number
}

async function door(more: Partial<DoorOptions> = {}, epoch = 0): Promise<Door> {
  const notes: string[] = []
  const errors: string[] = []
  let changes = 0
  const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (message) => { errors.push(message) }, child: () => log }
  const handle: RpcHandler = createAgentHandler({
    host: 'st1', bootId: 'boot', incarnation: 'start', clock, log, storage: storageRole(), head: undefined,
    epochs: await openEpochs({ load: () => Promise.resolve(epoch), save: () => Promise.resolve() }),
    journal: { note: (entry) => { notes.push(`${entry.epoch} ${entry.op} ${entry.method} ${entry.outcome}`) }, flush: () => Promise.resolve() },
    onChange: () => { changes += 1 }, ...more,
  })
  return {
    notes, errors, changes: () => changes,
    async call(method, params = {}, role = 'manager') {
      const peer = { address: '10.78.0.11', commonName: 'mgr1', ...(role === '' ? {} : { role }) }
      try {
        return { answer: await handle({ peer, path: '/RPC2', requestId: 'f00d', signal: new AbortController().signal, classic: false }, method, [params]) }
      } catch (thrown) {
        return thrown instanceof Fault ? { fault: thrown.fault, said: thrown.message } : { fault: 'none of ours', said: String(thrown) }
      }
    },
  }
}

/** A role's step that ends when the test says so, and what has begun. */
function held(): { readonly begun: string[]; readonly open: Map<string, () => void>; readonly step: (name: string) => Promise<void> } {
  const begun: string[] = []
  const open = new Map<string, () => void>()
  return { begun, open, step: (name) => new Promise((resolve) => { begun.push(name); open.set(name, resolve) }) }
}

describe('the agent\'s door', () => {
  it('is open to managers alone, whatever is asked', async () => {
    const { call, notes } = await door()
    for (const role of ['agent', 'admin', 'Manager', '']) {
      for (const method of ['agent.observe', 'agent.fence', 'agent.initiator.ban', 'system.listMethods']) expect((await call(method, {}, role)).fault, `${method} by ${role}`).to.equal('denied')
    }
    expect(notes).to.deep.equal([])
    expect((await call('agent.observe')).fault).to.equal(undefined)
  })

  it('answers \'wrong role\' to an order for a role that this host does not have', async () => {
    const storage = await door()
    expect(await storage.call('agent.volume.detach', { epoch: 1, op: 'op-1', volume, attachEpoch: 1 })).to.deep.equal({ fault: 'wrong role', said: 'st1 is not a head server' })
    const head = await door({ storage: undefined, head: headRole(), host: 'hd1' })
    for (const [method, params] of [
      ['agent.disk.prepare', { epoch: 1, op: 'op-1', disk: diskOne, device: '/dev/sdb', force: false }], ['agent.disk.release', release(diskOne)],
      ['agent.extent.ensure', { epoch: 1, op: 'op-1', extents: [], chap: [] }], ['agent.extent.remove', { epoch: 1, op: 'op-1', extents: [] }], ['agent.initiator.ban', ban('iqn.h1')],
    ] as const) expect(await head.call(method, params), method).to.deep.equal({ fault: 'wrong role', said: 'hd1 is not a storage server' })
  })

  it('shows what all roles of the host have, under the epoch that it has seen', async () => {
    const both = await door({ head: headRole() }, 9)
    expect((await both.call('agent.observe')).answer).to.deep.equal({
      host: 'st1', bootId: 'boot', incarnation: 'start', epoch: 9, disks: [], extents: [], volumes: [], foreign: [{ what: 'dm device', name: 'x', why: 'nobody knows it' }],
    })
    expect((await both.call('agent.fence', { epoch: 10, op: 'op-1' })).answer).to.include({ epoch: 10 })
  })

  it('goes to a manager that takes over where it says that it is, before older orders have ended, and to none whose epoch is over', async () => {
    const told: string[] = []
    const { step, open } = held()
    const { call } = await door({ onManager: (url) => { told.push(url) }, storage: storageRole({ banInitiator: () => step('ban') }) }, 5)
    const older = call('agent.initiator.ban', ban('iqn.h1', 5))
    const fenced = call('agent.fence', { epoch: 6, op: 'op-2', manager: 'https://mgr2:8881' })
    while (told.length === 0 || !open.has('ban')) await new Promise(setImmediate)
    expect((await call('agent.fence', { epoch: 5, op: 'op-3', manager: 'https://mgr1:8881' })).fault).to.equal('stale epoch')
    expect((await call('agent.fence', { epoch: 7, op: 'op-4', manager: 'mgr3' })).fault).not.to.equal(undefined)
    open.get('ban')?.()
    await Promise.all([older, fenced])
    expect(told).to.deep.equal(['https://mgr2:8881'])
  })

  it('says with an order about who is let in when it was made, where its manager tells', async () => {
    const made: unknown[] = []
    const { call } = await door({ storage: storageRole({
      banInitiator: (_initiator, _mine, at) => { made.push(at); return Promise.resolve() },
      ensureExtents: (_extents, _chap, _mine, at) => { made.push(at); return Promise.resolve({ target: 'iqn.2026-11.io.vsky:storage.st1', addresses: ['10.77.0.21'] }) },
    }) }, 5)
    await call('agent.initiator.ban', { epoch: 5, op: 'op-1', initiator: 'iqn.h1', order: 7 })
    await call('agent.extent.ensure', { epoch: 5, op: 'op-2', order: 8, extents: [], chap: [] })
    await call('agent.initiator.ban', ban('iqn.h1', 5))
    expect(made).to.deep.equal([{ epoch: 5, order: 7 }, { epoch: 5, order: 8 }, undefined])
  })

  it('refuses an order of an older manager before any role hears of it', async () => {
    let heard = 0
    const { call, notes, changes } = await door({ storage: storageRole({ banInitiator: () => { heard += 1; return Promise.resolve() } }) }, 5)
    expect((await call('agent.initiator.ban', ban('iqn.h1', 4))).fault).to.equal('stale epoch')
    expect({ heard, notes, changes: changes() }).to.deep.equal({ heard: 0, notes: ['4 op-1 agent.initiator.ban stale epoch'], changes: 0 })
  })

  it('takes no epoch from an order that it cannot read', async () => {
    const { call } = await door({}, 1)
    expect((await call('agent.disk.release', { epoch: 7, op: 'op-1', disk: 'short' })).said).to.contain('disk: expected an id of 32 hex digits')
    expect((await call('agent.observe')).answer).to.include({ epoch: 1 })
  })

  it('reads an order of a newer release, whose new members it does not know', async () => {
    const { call } = await door()
    expect(await call('agent.initiator.ban', { epoch: 1, op: 'op-1', initiator: 'iqn.h1', hurry: true })).to.deep.equal({ answer: { bootId: 'boot' } })
  })

  it('names a method that it does not have', async () => {
    const { call } = await door()
    expect(await call('agent.reboot')).to.deep.equal({ fault: 'unknown method', said: 'an agent has no method "agent.reboot"' })
  })

  it('notes every order with its epoch, its id and its end', async () => {
    const { call, notes, changes } = await door({ storage: storageRole({ releaseDisk: () => Promise.reject(new Fault('disk in use', 'it is')) }) })
    await call('agent.initiator.ban', ban('iqn.h1', 2))
    await call('agent.disk.release', release(diskOne, 3))
    await call('agent.fence', { epoch: 4, op: 'op-2' })
    expect(notes).to.deep.equal(['2 op-1 agent.initiator.ban done', '3 op-1 agent.disk.release disk in use', '4 op-2 agent.fence done'])
    expect(changes()).to.be.greaterThan(0)
  })

  it('answers a bug of a role as \'agent failed\', with the id under which the log tells it', async () => {
    const { call, notes, errors } = await door({ storage: storageRole({ banInitiator: () => Promise.reject(new TypeError('x is undefined')) }) })
    expect(await call('agent.initiator.ban', ban('iqn.h1'))).to.deep.equal({ fault: 'agent failed', said: 'agent.initiator.ban failed on st1: x is undefined (log id f00d)' })
    expect({ notes, errors }).to.deep.equal({ notes: ['1 op-1 agent.initiator.ban internal error'], errors: ['an order failed'] })
  })
})

describe('two orders', () => {
  it('about one object are carried out one after the other, in the order in which they came', async () => {
    const { begun, open, step } = held()
    let number = 0
    const { call } = await door({ storage: storageRole({ releaseDisk: () => { number += 1; return step(String(number)) } }) })
    const calls = [call('agent.disk.release', release(diskOne)), call('agent.disk.release', release(diskOne))]
    await settle()
    expect(begun).to.deep.equal(['1'])
    open.get('1')?.()
    await settle()
    expect(begun).to.deep.equal(['1', '2'])
    open.get('2')?.()
    expect(await Promise.all(calls)).to.deep.equal([{ answer: {} }, { answer: {} }])
  })

  it('that prepare and release one disk are about one object', async () => {
    const { begun, open, step } = held()
    const { call } = await door({ storage: storageRole({ releaseDisk: () => step('release'), prepareDisk: async ({ disk, device }) => { await step('prepare'); return { disk, device, state: 'ready', problem: '', bytes: 1n, freeBytes: 1n, cleanBytes: 0n } } }) })
    const calls = [call('agent.disk.prepare', { epoch: 1, op: 'op-1', disk: diskOne, device: '/dev/sdb', force: false }), call('agent.disk.release', release(diskOne))]
    await settle()
    expect(begun).to.deep.equal(['prepare'])
    open.get('prepare')?.()
    await settle()
    open.get('release')?.()
    await Promise.all(calls)
    expect(begun).to.deep.equal(['prepare', 'release'])
  })

  it('about two objects do not wait for each other', async () => {
    const { begun, open, step } = held()
    const { call } = await door({ storage: storageRole({ releaseDisk: (disk) => step(disk) }) })
    const calls = [call('agent.disk.release', release(diskOne)), call('agent.disk.release', release(diskTwo))]
    await settle()
    expect(begun).to.deep.equal([diskOne, diskTwo])
    for (const each of open.values()) each()
    await Promise.all(calls)
  })

  it('about one object: the second is carried out though the first failed', async () => {
    let number = 0
    const { call } = await door({ storage: storageRole({ releaseDisk: () => { number += 1; return number === 1 ? Promise.reject(new Fault('disk in use', 'it is')) : Promise.resolve() } }) })
    expect((await Promise.all([call('agent.disk.release', release(diskOne)), call('agent.disk.release', release(diskOne))])).map((each) => each.fault)).to.deep.equal(['disk in use', undefined])
  })

  it('about one object: one that waited is refused when a newer manager came meanwhile', async () => {
    const { begun, open, step } = held()
    const { call } = await door({ storage: storageRole({ releaseDisk: () => step('release'), banInitiator: () => step('ban') }) })
    const [first, waiting] = [call('agent.disk.release', release(diskOne, 1)), call('agent.disk.release', release(diskOne, 1))]
    await settle()
    const newer = call('agent.initiator.ban', ban('iqn.h1', 2))
    await settle()
    open.get('ban')?.()
    await newer
    open.get('release')?.()
    expect([(await first).fault, (await waiting).fault]).to.deep.equal([undefined, 'stale epoch'])
    expect(begun).to.deep.equal(['release', 'ban'])
  })

  it('and many more about one object: the line ends at 64, and is free again when it is done', async () => {
    const open: (() => void)[] = []
    const { call } = await door({ storage: storageRole({ releaseDisk: () => new Promise((resolve) => { open.push(resolve) }) }) })
    const calls = Array.from({ length: 65 }, () => call('agent.disk.release', release(diskOne)))
    expect(await calls[64]).to.deep.equal({ fault: 'agent failed', said: `64 orders about disk ${diskOne} are waiting already` })
    for (let turn = 0; turn < 64; turn += 1) {
      await settle()
      open[turn]?.()
    }
    expect((await Promise.all(calls.slice(0, 64))).every((each) => each.fault === undefined)).to.equal(true)
    const again = call('agent.disk.release', release(diskOne))
    await settle()
    open[64]?.()
    expect((await again).fault).to.equal(undefined)
  })

  it('is asked what it remembers: of a head that is also the secret of the volume that was attached last', async () => {
    const kept = (attachEpoch: number, password: string): VolumeWanted => ({
      volume, name: 'v', attachEpoch, layout: 1, scope: 'whole', bytes: 512n, waitSeconds: 0, chap: { initiator: 'iqn.h', user: 'hd1', password }, segments: [],
    })
    const asked = async (...volumes: readonly VolumeWanted[]): Promise<XmlValue | undefined> => {
      const { answer } = await (await door({ storage: undefined, head: headRole({ recall: () => volumes }) })).call('agent.recall')
      return (answer as Readonly<Record<string, XmlValue>> | undefined)?.['secret']
    }
    expect([await asked(kept(3, 'older'), kept(7, 'newest'), kept(5, 'middle')), await asked()]).to.deep.equal(['newest', undefined])
  })
})
