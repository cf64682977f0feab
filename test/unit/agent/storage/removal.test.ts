import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { storageRole } from '../../../../agent/storage/role.js'
import { openRecord } from '../../../../agent/storage/record.js'
import type { Lio } from '../../../../agent/lio/configfs.js'
import type { Pools } from '../../../../agent/storage/pools.js'
import type { StorageRole } from '../../../../agent/roles.js'
import { systemClock } from '../../../../lib/host/clock.js'
import type { Log } from '../../../../lib/ports.js'
import type { ExtentWanted } from '../../../../lib/wire/agent.js'

const silent = (): void => undefined
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log }
const [disk, extent, other] = ['d'.repeat(32), 'e'.repeat(32), 'f'.repeat(32)]
const wanted = (id: string): ExtentWanted => ({ extent: id, disk, volume: 'a'.repeat(32), segment: 0, generation: 1, bytes: 4194304n, lun: id === extent ? 1 : 2, initiators: [] })
const mine = (): void => undefined

describe('an extent whose removal was ordered', () => {
  let dir = ''
  let made: string[] = []
  /** What an order to make extents waits for before it makes them: clean space, for a minute at most. */
  let clean: Promise<void> = Promise.resolve()
  let role: StorageRole
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'vsky-storage-'))
    made = []
    clean = Promise.resolve()
    const record = await openRecord(dir)
    await record.change((draft) => { draft.disks.set(disk, '/dev/sdb') })
    const pools: Partial<Pools> = {
      async ensure(_, extents, stillWanted) { await clean; stillWanted(); made.push(...extents.map((each) => each.extent)) },
      remove(_, extents) { made = made.filter((each) => !extents.includes(each)); return Promise.resolve() },
    }
    const lio: Partial<Lio> = { read: () => Promise.resolve({ backstores: new Set<string>(), luns: new Map(), acls: new Map() }), outdated: () => Promise.resolve(new Set<string>()), apply: () => Promise.resolve() }
    role = storageRole({ initiator: 'i', target: 't', addresses: [], record, pools: pools as Pools, lio: lio as Lio, log, clock: systemClock })
  })
  afterEach(() => rm(dir, { recursive: true }))
  const failure = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', String)

  it('is not made again by an order from before that was still waiting', async () => {
    let open = (): void => undefined
    clean = new Promise((resolve) => { open = resolve })
    const older = failure(role.ensureExtents([wanted(extent)], [], mine))
    await role.removeExtents([{ extent, disk }], mine)
    open()
    expect(await older).to.contain(`extent ${extent} was removed by a later order`)
    expect(made).to.deep.equal([])
  })

  it('nor by one that comes late, and others are made as ever', async () => {
    await role.removeExtents([{ extent, disk }], mine)
    expect(await failure(role.ensureExtents([wanted(extent)], [], mine))).to.contain('was removed by a later order')
    await role.ensureExtents([wanted(other)], [], mine)
    expect(made).to.deep.equal([other])
  })
})
