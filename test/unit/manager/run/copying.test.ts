import { expect } from 'chai'
import { diskFail } from '../../../../manager/api/duties.js'
import { volumeCreate } from '../../../../manager/api/volumes.js'
import { Site } from '../../../support/site.js'

describe('copies of a detached volume', () => {
  it('of one of its segments: the head is told once, not over and over for the segments that it does not have', async () => {
    const site = await Site.start({ heads: 1, servers: 2, disks: 2 })
    const { cluster } = site
    const { signal } = new AbortController()
    await volumeCreate(cluster, { name: 'vol', bytes: 16n * 1024n ** 3n, redundancy: 2, request: 'request-1' }, signal)
    const [disk = ''] = (await cluster.store.read.all(`select disk from extents where segment = 0 and host = 'st1'`)).map((row) => String(row.disk))
    await diskFail(cluster, { disk, request: 'request-2' }, signal)
    await site.settle()
    const orders = (): number => site.calls.get('hd1 agent.volume.attach') ?? 0
    expect(orders()).to.equal(1)
    await site.advance(2000)
    expect(orders()).to.be.at.most(2)
    for (let copied = 0; copied < 3; copied += 1) await site.endCopies() // one segment after the other: they are written to one disk
    expect(await cluster.store.read.get(`select count(*) as bad from extents where leg <> 'insync' and state <> 'dropping'`)).to.deep.equal({ bad: 0 })
    await site.stop()
  })
})
