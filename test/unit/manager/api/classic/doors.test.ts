import { expect } from 'chai'
import { Fault } from '../../../../../lib/faults.js'
import { apiMethods } from '../../../../../lib/api/methods.js'
import { createClassicHandler, classicMethodNames } from '../../../../../manager/api/classic/door.js'
import { createAccess } from '../../../../../manager/access/access.js'
import { createHandler } from '../../../../../manager/api/door.js'
import type { CallContext } from '../../../../../lib/rpc/server.js'
import { Site } from '../../../../support/site.js'

const context = (role?: string): CallContext => ({
  peer: { address: '127.0.0.1', ...(role === undefined ? {} : { commonName: 'someone', role }) }, path: '/', requestId: '0', signal: new AbortController().signal, classic: role === undefined,
})

describe('the two doors', () => {
  let site: Site
  before(async () => { site = await Site.start() })
  after(() => site.stop())

  it('have no method in common: behind mutual TLS nobody, not even an admin, finds a classic one', async () => {
    const handle = createHandler(site.cluster, createAccess({ db: site.cluster.store.read, ...site.cluster }))
    for (const name of classicMethodNames) {
      const thrown = await handle(context('admin'), name, [{ ver: 5 }]).catch((reason: unknown) => reason)
      expect(thrown, name).to.be.instanceOf(Fault).and.include({ fault: 'unknown method' })
    }
  })

  it('have no method in common: of ours none is answered without a certificate', async () => {
    const handle = createClassicHandler(site.cluster, { stepGb: 10 })
    for (const { name } of Object.values(apiMethods)) {
      const thrown = await handle(context(), name, [{ ver: 5 }]).catch((reason: unknown) => reason)
      expect(thrown, name).to.include({ code: 1 })
    }
  })

  it('tell the help and the signature of each classic method', async () => {
    const handle = createClassicHandler(site.cluster, { stepGb: 10 })
    expect(classicMethodNames).to.have.length(20)
    for (const name of classicMethodNames) {
      expect(await handle(context(), 'system.methodHelp', [name]), name).to.be.a('string').and.not.equal('')
      const [[result]] = await handle(context(), 'system.methodSignature', [name]) as [[string]]
      const answer = await handle(context(), name, [{ ver: 5 }]).catch(() => undefined)
      if (answer !== undefined) expect(Array.isArray(answer) ? 'array' : typeof answer === 'number' ? 'int' : 'struct', name).to.equal(result)
    }
  })
})
