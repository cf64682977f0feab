import { expect } from 'chai'
import { apiMethods } from '../../../../lib/api/methods.js'
import { createLog } from '../../../../lib/host/log.js'
import { createRpcClient } from '../../../../lib/rpc/client.js'
import type { RpcClient } from '../../../../lib/rpc/client.js'
import { startRpcServer } from '../../../../lib/rpc/server.js'
import type { RpcServer } from '../../../../lib/rpc/server.js'
import { callLiving, ManagerSilent } from '../../../../tools/cli/living.js'

describe('a call to one of several managers', () => {
  let server: RpcServer
  let client: RpcClient
  /** Ends the work of the call that is under way. */
  let end: () => void
  let paused: boolean
  let looks: number
  const never = new Promise<never>(() => undefined)

  beforeEach(async () => {
    paused = false
    looks = 0
    const work = new Promise<string>((resolve) => { end = () => { resolve('done') } })
    server = await startRpcServer({
      host: '127.0.0.1', port: 0, log: createLog({ name: 'test', level: 'silent' }), closeGraceMs: 0,
      handle: (_, name) => {
        if (name !== apiMethods.managerStatus.name) return work
        looks += 1
        if (looks === 3) end()
        return paused ? never : Promise.resolve({})
      },
    })
    client = createRpcClient({ url: server.url })
  })
  afterEach(async () => {
    client.close()
    await server.close()
  })

  it('lasts as long as its work, while the manager answers how it is', async () => {
    expect(await callLiving(client, 'work', [], { timeoutMs: 20_000, everyMs: 10 })).to.equal('done')
    expect(looks).to.equal(3)
  })

  it('is given up when the manager says nothing any more, as one that is paused: the next may be asked', async () => {
    paused = true
    const thrown: unknown = await callLiving(client, 'work', [], { timeoutMs: 20_000, everyMs: 10, answerMs: 100 }).catch((error: unknown) => error)
    expect(thrown).to.be.instanceOf(ManagerSilent)
    expect(thrown).to.include({ sent: true, kind: 'timeout' })
    expect(looks).to.equal(1)
  })

  it('that is answered at once is not looked after', async () => {
    end()
    expect(await callLiving(client, 'work', [], { timeoutMs: 20_000 })).to.equal('done')
    expect(looks).to.equal(0)
  })
})
