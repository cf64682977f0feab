import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type { Lio } from '../../../../agent/lio/configfs.js'
import type { StorageRole } from '../../../../agent/roles.js'
import type { Pools } from '../../../../agent/storage/pools.js'
import { openRecord } from '../../../../agent/storage/record.js'
import type { StorageRecord } from '../../../../agent/storage/record.js'
import { storageRole } from '../../../../agent/storage/role.js'
import { systemClock } from '../../../../lib/host/clock.js'
import type { Log } from '../../../../lib/ports.js'
import type { ExtentWanted } from '../../../../lib/wire/agent.js'

const silent = (): void => undefined
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log }
const [disk, extent, hd1, hd2] = ['d'.repeat(32), 'e'.repeat(32), 'iqn.2026-11.io.vsky:host.hd1', 'iqn.2026-11.io.vsky:host.hd2']
const letting = (...initiators: readonly string[]): readonly ExtentWanted[] => [{ extent, disk, volume: 'a'.repeat(32), segment: 0, generation: 1, bytes: 4194304n, lun: 1, initiators }]
const mine = (): void => undefined
const at = (order: number, epoch = 5): { epoch: number; order: number } => ({ epoch, order })

describe('a head that was shut out', () => {
  let dir = ''
  let record: StorageRecord
  let role: StorageRole
  /** What an order to make extents waits for before it lets anybody in. */
  let space: Promise<void>
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-storage-'))
    space = Promise.resolve()
    record = await openRecord(dir)
    await record.change((draft) => { draft.disks.set(disk, '/dev/sdb') })
    const pools: Partial<Pools> = { ensure: () => space }
    const lio: Partial<Lio> = {
      read: () => Promise.resolve({ backstores: new Set<string>(), luns: new Map(), acls: new Map() }), outdated: () => Promise.resolve(new Set<string>()), apply: () => Promise.resolve(), hasSession: () => Promise.resolve(false),
    }
    role = storageRole({ initiator: 'i', target: 't', addresses: [], record, pools: pools as Pools, lio: lio as Lio, log, clock: systemClock })
  })
  afterEach(() => rm(dir, { recursive: true }))
  const failure = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', String)
  const admitted = (): readonly string[] => record.extents().flatMap((each) => each.initiators)

  it('is not let in again by an order from before that waited for space meanwhile', async () => {
    await role.ensureExtents(letting(hd1), [], mine, at(1))
    let open = (): void => undefined
    space = new Promise((resolve) => { open = resolve })
    const older = failure(role.ensureExtents(letting(hd1), [], mine, at(2)))
    await role.banInitiator(hd1, mine, at(3))
    open()
    expect(await older).to.contain(`${hd1} was shut out by a later order`)
    expect(admitted()).to.deep.equal([])
  })

  it('nor by one from before that comes late, also to an extent that is not there yet', async () => {
    await role.banInitiator(hd1, mine, at(3))
    expect(await failure(role.ensureExtents(letting(hd1), [], mine, at(2)))).to.contain('was shut out by a later order')
    expect(admitted()).to.deep.equal([])
  })

  it('is let in by an order that was made afterwards, and another head by any', async () => {
    await role.banInitiator(hd1, mine, at(3))
    await role.ensureExtents(letting(hd2), [], mine, at(2))
    expect(admitted()).to.deep.equal([hd2])
    await role.ensureExtents(letting(hd1), [], mine, at(4))
    expect(admitted()).to.deep.equal([hd1])
  })

  it('stays out of an extent from which a later order has removed it, whatever comes late', async () => {
    await role.ensureExtents(letting(hd1), [], mine, at(1))
    await role.ensureExtents(letting(), [], mine, at(4))
    expect(await failure(role.ensureExtents(letting(hd1), [], mine, at(3)))).to.contain(`a later order for extent ${extent} was carried out before this one`)
    expect(admitted()).to.deep.equal([])
  })

  it('the numbers of a newer manager begin anew, and count as later', async () => {
    await role.banInitiator(hd1, mine, at(9, 5))
    await role.ensureExtents(letting(hd1), [], mine, at(1, 6))
    expect(admitted()).to.deep.equal([hd1])
  })

  it('an order of a manager that does not number them is carried out as it comes', async () => {
    await role.banInitiator(hd1, mine, at(9))
    await role.ensureExtents(letting(hd1), [], mine)
    expect(admitted()).to.deep.equal([hd1])
  })
})
