import { expect } from 'chai'
import { volumeAttach, volumeCreate, volumeDetach } from '../../../../manager/api/volumes.js'
import { failureOf } from '../../../support/engines.js'
import { Site } from '../../../support/site.js'

describe('an attachment that fails', () => {
  const { signal } = new AbortController()
  const person = { caller: { role: 'admin', who: 'somebody' } } as const
  let site: Site
  beforeEach(async () => {
    site = await Site.start({ heads: 1, servers: 2 })
    await volumeCreate(site.cluster, { name: 'vol', bytes: 8n * 1024n ** 3n, redundancy: 2, request: 'create' }, signal)
  })
  afterEach(() => site.stop())

  const events = async (): Promise<readonly unknown[]> => (await site.cluster.store.read.all(`select kind from events where about = 'volume' order by seq`)).map((row) => row['kind'])

  it('is undone, and the events do not call that a detachment of what was never attached', async () => {
    site.refusals.set('hd1 agent.volume.attach', { fault: 'agent failed', text: 'its device is in use' })
    const attached = failureOf(volumeAttach(site.cluster, { volume: 'vol', host: 'hd1', request: 'attach-1' }, signal, person))
    await site.advance(10_000)
    expect(await attached).to.include({ fault: 'agent failed' })
    expect(await events()).to.deep.equal(['volume created', 'attachment undone'])

    site.refusals.clear()
    await volumeAttach(site.cluster, { volume: 'vol', host: 'hd1', request: 'attach-2' }, signal, person)
    await volumeDetach(site.cluster, { volume: 'vol', request: 'detach' }, signal, person)
    expect(await events()).to.deep.equal(['volume created', 'attachment undone', 'volume attached', 'volume detached'])
  })
})
