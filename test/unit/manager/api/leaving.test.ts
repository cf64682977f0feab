import { expect } from 'chai'
import type { CallContext, RpcHandler } from '../../../../lib/rpc/server.js'
import { createLeavingHandler } from '../../../../manager/api/door.js'

describe('a manager that is about to give up its lease', () => {
  const context = {} as CallContext // neither of the two looks at it
  const asked = (by: string): RpcHandler => () => Promise.resolve(by)
  const leaving = createLeavingHandler(asked('active'), asked('standby'))

  for (const name of ['vsky.volume.show', 'vsky.volume.list', 'vsky.status', 'vsky.manager.status', 'vsky.event.list', 'system.listMethods']) {
    it(`still answers ${name}`, async () => {
      expect(await leaving(context, name, [])).to.equal('active')
    })
  }

  for (const name of ['vsky.volume.create', 'vsky.volume.detach', 'vsky.manager.handOver', 'vsky.host.heartbeat', 'vsky.host.register', 'vsky.host.join', 'system.multicall', 'vsky.no.such']) {
    it(`begins no ${name} any more`, async () => {
      expect(await leaving(context, name, [])).to.equal('standby')
    })
  }
})
