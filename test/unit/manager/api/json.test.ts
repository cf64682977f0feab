import { expect } from 'chai'
import { apiMethods } from '../../../../lib/api/methods.js'
import { MULTICALL_MAX, allMethodNames, apiMethod, apiNames, fieldsOf } from '../../../../lib/api/system.js'
import { Fault, faults } from '../../../../lib/faults.js'
import type { XmlValue } from '../../../../lib/rpc/xmlrpc.js'
import { json } from '../../../support/json.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('the registry on both wires', function () {
  this.timeout(30_000)
  let rig: ManagerRig
  before(async function () {
    this.timeout(30_000)
    rig = await startManager()
  })
  after(async () => { await rig.stop() })

  const xml = async (method: string, ...params: readonly XmlValue[]): Promise<XmlValue> => rig.client('admin').call(method, params)
  const refused = async (method: string, ...params: readonly XmlValue[]): Promise<string> => xml(method, ...params).then(() => 'done', (thrown: unknown) => (thrown instanceof Fault ? thrown.fault : String(thrown)))

  describe('JSON over HTTP', () => {
    it('gives what XML-RPC gives, sizes as decimal strings', async () => {
      for (const name of ['vsky.volume.list', 'vsky.host.list', 'vsky.status', 'system.listMethods', 'vsky.lease.show']) {
        const answer = await json(rig, 'viewer', name, {})
        expect([answer.status, answer.body], name).to.deep.equal([200, JSON.parse(JSON.stringify(await xml(name, ...(name.startsWith('system.') ? [] : [{}]))))])
      }
      expect((await json(rig, 'viewer', 'vsky.volume.show?volume=v1', undefined)).body).to.deep.include({ name: 'v1', bytes: '67108864' })
      expect((await json(rig, 'viewer', 'vsky.volume.list?limit=1&after=v1', undefined)).body).to.have.nested.property('[0].name', 'v2')
    })

    it('makes and deletes a volume, and the same request again is the same call', async () => {
      const made = { name: 'scripted', bytes: '1048576', redundancy: 2, request: 'script-0001' }
      for (let round = 0; round < 2; round += 1) expect(await json(rig, 'operator', 'vsky.volume.create', made)).to.have.nested.property('body.name', 'scripted')
      expect((await json(rig, 'operator', 'vsky.volume.create', { ...made, bytes: '2097152' })).status).to.equal(409)
      expect(await json(rig, 'operator', 'vsky.volume.delete', { volume: 'scripted', request: 'script-0002' })).to.deep.equal({ status: 200, body: {} })
    })

    it('tells a fault as one object, with the status of its class', async () => {
      const { status, body } = await json(rig, 'viewer', 'vsky.volume.show', { volume: 'nope' })
      expect(status).to.equal(404)
      expect(body).to.deep.include({ fault: 'unknown volume', code: 1001, message: 'there is no volume "nope"', correction: faults['unknown volume'].correction }).and.have.property('logId').that.matches(/^[0-9a-f]{16}$/)
      const statuses = await Promise.all([
        json(rig, 'viewer', 'vsky.volume.create', { name: 'x', bytes: '1048576', request: '12345678' }), json(rig, 'viewer', 'vsky.no.such', {}), json(rig, 'viewer', 'vsky.volume.show', { volum: 'v1' }),
        json(rig, 'viewer', 'vsky.volume.show', [] as never), json(rig, 'operator', 'vsky.volume.create', { name: 'v1', bytes: '1048576', request: '12345679' }),
        json(rig, 'operator', 'vsky.volume.create', { name: 'huge', bytes: (2n ** 40n).toString(), redundancy: 3, request: '12345670' }), json(rig, 'operator', 'vsky.volume.create', { name: 'huge', bytes: (2n ** 45n).toString(), request: '12345671' }), json(rig, 'viewer', '../etc/passwd', {}), json(rig, 'viewer', 'vsky.volume.show?volume=a&volume=b', undefined),
      ])
      expect(statuses.map((each) => each.status)).to.deep.equal([403, 404, 400, 400, 409, 507, 400, 404, 400])
    })
  })

  describe('system.', () => {
    it('methodSignature is how every method can be called in fact', async () => {
      const sample: Readonly<Record<string, XmlValue>> = { struct: {}, array: [], string: 'vsky.status' }
      for (const name of allMethodNames) {
        const signatures = await xml('system.methodSignature', name) as readonly (readonly string[])[]
        const key = apiNames.find((each) => apiMethods[each].name === name)
        for (const [gives = '', ...takes] of signatures) {
          if (key && ['agent', 'joiner'].includes(apiMethods[key].role)) continue
          const answer = await xml(name, ...takes.map((type) => sample[type] ?? '')).then((value) => (Array.isArray(value) ? 'array' : typeof value === 'string' ? 'string' : 'struct'), (thrown: unknown) => (thrown as Fault).fault)
          const needs = key !== undefined && fieldsOf(apiMethod(key)).some(([, field]) => field.optional !== true)
          expect([name, takes, answer]).to.deep.equal([name, takes, needs ? 'bad parameter' : gives])
        }
        if (key) expect(signatures.map((each) => each.length), name).to.include(2)
      }
    })

    it('methodHelp tells every parameter and every fault of a method', async () => {
      for (const key of apiNames) {
        const help = await xml('system.methodHelp', apiMethods[key].name) as string
        for (const [member] of fieldsOf(apiMethod(key))) expect(help).to.contain(`  ${member}: `)
        for (const fault of apiMethods[key].faults) expect(help).to.contain(`${faults[fault].code} ${fault}`)
      }
      expect(await refused('system.methodHelp', 'vsky.nothing')).to.equal('unknown method')
      expect(await refused('system.methodHelp', 7)).to.equal('bad parameter')
      expect(await refused('system.listMethods', 7)).to.equal('invalid request')
      expect(await refused('system.shutdown')).to.equal('unknown method')
    })

    it('multicall carries out its calls in order, and one that fails takes none of the others with it', async () => {
      const call = (methodName: string, params: XmlValue): XmlValue => ({ methodName, params: [params] })
      const answers = await xml('system.multicall', [
        call('vsky.volume.create', { name: 'many', bytes: '1048576', redundancy: 1, request: 'multi-0001' }), call('vsky.volume.show', { volume: 'many' }), call('vsky.volume.show', { volume: 'nope' }),
        { methodName: 'system.multicall', params: [[]] }, { methodName: 7 }, 'x', call('vsky.volume.delete', { volume: 'many', request: 'multi-0002' }), call('vsky.volume.show', { volume: 'many' }),
      ]) as readonly unknown[]
      expect(answers.map((each) => (Array.isArray(each) ? 'done' : (each as { faultCode: number }).faultCode))).to.deep.equal(['done', 'done', 1001, -32600, -32602, -32602, 'done', 1001])
      expect((await json(rig, 'viewer', 'system.multicall', { calls: [call('vsky.lease.show', {})] })).body).to.have.nested.property('[0][0].holder', 'mgr1')
    })

    it('multicall has bounds', async () => {
      const many = (count: number): XmlValue => Array.from({ length: count }, () => ({ methodName: 'system.listMethods', params: [] }))
      expect(await xml('system.multicall', many(MULTICALL_MAX))).to.have.length(MULTICALL_MAX)
      expect(await refused('system.multicall', many(MULTICALL_MAX + 1))).to.equal('bad parameter')
      expect(await refused('system.multicall', 'x')).to.equal('bad parameter')
    })
  })
})
