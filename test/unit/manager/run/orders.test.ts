import { expect } from 'chai'
import { agentMethods } from '../../../../lib/wire/agent.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('orders about who is let in', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  const sent: { readonly host: string; readonly what: string; readonly order: number | undefined }[] = []
  before(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 1 })
    const { agents } = rig.cluster
    const call = agents.call.bind(agents)
    Object.assign(agents, {
      call: (...args: Parameters<typeof call>) => {
        const [host, method, params] = args
        if (method.name === agentMethods.ensureExtents.name || method.name === agentMethods.banInitiator.name) sent.push({ host: host.name, what: method.name, order: (params as { order?: number }).order })
        return call(...args)
      },
    })
  })
  after(() => rig.stop())

  it('are numbered in the order in which they were made, a fence among them: what was made before it is older on each server', async () => {
    await rig.call('volumeDetach', { volume: 'v1' })
    await rig.call('volumeAttach', { volume: 'v1', host: 'hd1' })
    await rig.call('hostFail', { host: 'hd1', force: true })
    await rig.settle()
    expect(sent.filter(({ what }) => what === agentMethods.banInitiator.name).map(({ host }) => host).sort()).to.deep.equal(['st1', 'st2'])
    for (const server of ['st1', 'st2']) {
      const orders = sent.filter(({ host }) => host === server).map(({ order }) => order ?? Number.NaN)
      expect(orders.length).to.be.greaterThan(2)
      expect(orders.every((order, index) => index === 0 || order > (orders[index - 1] ?? 0)), orders.join()).to.equal(true)
    }
  })
})
