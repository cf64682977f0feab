import { expect } from 'chai'
import { diskFail } from '../../../../manager/api/duties.js'
import { volumeAttach, volumeCreate, volumeDelete, volumeDetach } from '../../../../manager/api/volumes.js'
import { dropRole } from '../../../../manager/store/classic.js'
import { Site } from '../../../support/site.js'

const DETACH = 'agent.volume.detach'

describe('what a head had not let go when it was shut out', () => {
  const { signal } = new AbortController()
  const person = { caller: { role: 'admin', who: 'somebody' } } as const
  let site: Site
  beforeEach(async () => {
    site = await Site.start({ heads: 2, servers: 3 })
    await volumeCreate(site.cluster, { name: 'vol', bytes: 8n * 1024n ** 3n, redundancy: 2, request: 'create' }, signal)
  })
  afterEach(() => site.stop())

  const noted = (): Promise<readonly unknown[]> => site.cluster.store.read.all('select head from unreleased')
  const copier = (): string => [...site.hosts.values()].find((host) => host.volumes.size > 0)?.name ?? ''

  async function deleteWhileCopied(): Promise<string> {
    const [disk = ''] = (await site.cluster.store.read.all('select disk from extents limit 1')).map((row) => String(row.disk))
    await diskFail(site.cluster, { disk, request: 'fail' }, signal)
    await site.settle()
    const head = copier()
    site.refusals.set(`${head} ${DETACH}`, { fault: 'agent failed', text: 'its writes wait for a lost leg' })
    const deleted = volumeDelete(site.cluster, { volume: 'vol', request: 'delete' }, signal)
    await site.advance(10_000)
    await deleted
    return head
  }

  it('is taken from it as soon as it can, though the volume it copied is not there any more', async () => {
    const head = await deleteWhileCopied()
    expect(site.host(head).volumes.size).to.equal(1)
    site.refusals.delete(`${head} ${DETACH}`)
    await site.advance(40_000)
    expect(site.host(head).volumes.size).to.equal(0)
  })

  it('is told as foreign by nobody, also after a manager\'s restart', async () => {
    const head = await deleteWhileCopied()
    await site.restart()
    await site.advance(2000)
    expect(site.host(head).volumes.size).to.equal(1)
    expect(site.cluster.foreign.get(head)).to.deep.equal([])
    site.refusals.delete(`${head} ${DETACH}`)
    await site.advance(40_000)
    expect(site.host(head).volumes.size).to.equal(0)
  })

  it('is taken from one that was silent while its volume was moved and deleted', async () => {
    await volumeAttach(site.cluster, { volume: 'vol', host: 'hd1', request: 'attach' }, signal, person)
    await site.silence('hd1')
    const moved = volumeAttach(site.cluster, { volume: 'vol', host: 'hd2', fromDeadHost: true, request: 'move' }, signal, person)
    await site.advance(4000)
    await moved
    await site.endCopies()
    await volumeDetach(site.cluster, { volume: 'vol', request: 'detach' }, signal, person)
    await volumeDelete(site.cluster, { volume: 'vol', request: 'delete' }, signal)
    expect(site.host('hd1').volumes.size).to.equal(1)
    await site.back('hd1')
    expect(site.host('hd1').volumes.size).to.equal(0)
  })

  it('is forgotten when it is no head any more', async () => {
    const head = await deleteWhileCopied()
    await site.cluster.store.change((tx) => dropRole(tx, { name: head, roles: ['head'] }, 'head'))
    expect(await noted()).to.deep.equal([])
  })

  it('is forgotten when it tells that it has it no more', async () => {
    const head = await deleteWhileCopied()
    expect(await noted()).to.deep.equal([{ head }])
    site.refusals.delete(`${head} ${DETACH}`)
    await site.advance(80_000)
    expect(await noted()).to.deep.equal([])
  })
})
