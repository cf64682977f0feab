/** Answers the `system.` family: from the registry alone, and many calls in one. */
import { apiMethods } from '../../lib/api/methods.js'
import { MULTICALL_MAX, allMethodNames, helpOf, signaturesOf, systemMethods } from '../../lib/api/system.js'
import type { SystemName } from '../../lib/api/system.js'
import { Fault, faults } from '../../lib/faults.js'
import { WireFault } from '../../lib/rpc/server.js'
import type { CallContext, RpcHandler } from '../../lib/rpc/server.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'

/** `call` carries out one call of a multicall: with all its own checks, as if it had come alone. */
export async function systemCall(name: SystemName, context: CallContext, params: readonly XmlValue[], call: RpcHandler): Promise<XmlValue> {
  const { positions } = systemMethods[name]
  if (params.length > positions.length) throw new Fault('invalid request', `${name} takes ${positions.length} parameters, not ${params.length}`)
  if (name === 'system.listMethods') return allMethodNames
  const [about] = params
  if (name === 'system.multicall') return multicall(context, about, call)
  if (typeof about !== 'string') throw new Fault('bad parameter', `${name} takes the name of a method`)
  const answer = name === 'system.methodHelp' ? helpOf(about) : signaturesOf(about)
  if (answer === undefined) throw new Fault('unknown method', `there is no method ${JSON.stringify(about.slice(0, 100))}`)
  return answer
}

/** One after the other: a later call may build on an earlier one. Those not begun when the caller is gone or the time is over are not begun. */
async function multicall(context: CallContext, calls: XmlValue | undefined, call: RpcHandler): Promise<XmlValue> {
  if (!Array.isArray(calls)) throw new Fault('bad parameter', 'system.multicall takes an array of calls')
  if (calls.length > MULTICALL_MAX) throw new Fault('bad parameter', `${calls.length} calls are more than ${MULTICALL_MAX}`)
  const answers: XmlValue[] = []
  for (const each of calls as readonly XmlValue[]) {
    if (context.signal.aborted) throw new Fault('timed out', `the calls from number ${answers.length + 1} on were not begun`)
    answers.push(await one(context, each, call))
  }
  return answers
}

async function one(context: CallContext, given: XmlValue, call: RpcHandler): Promise<XmlValue> {
  try {
    const { methodName, params } = partsOf(given)
    if (methodName === 'system.multicall') throw new Fault('invalid request', 'a multicall can\'t be part of another')
    if (methodName === apiMethods.managerBackupPiece.name) throw new Fault('invalid request', 'pieces of a backup are too long to be asked for together')
    return [await call(context, methodName, params)]
  } catch (thrown) {
    if (thrown instanceof Fault || thrown instanceof WireFault) return { faultCode: thrown.code, faultString: thrown.message }
    return { faultCode: faults['internal error'].code, faultString: `internal error, log id ${context.requestId}` } // the door has logged it
  }
}

function partsOf(given: XmlValue): { readonly methodName: string; readonly params: readonly XmlValue[] } {
  const isStruct = typeof given === 'object' && given !== null && !Array.isArray(given) && !(given instanceof Date) && !(given instanceof Uint8Array)
  if (!isStruct) throw new Fault('bad parameter', 'each call of a multicall is a struct {methodName, params}')
  const { methodName, params = [] } = given as Readonly<Record<string, XmlValue | undefined>>
  if (typeof methodName !== 'string') throw new Fault('bad parameter', 'methodName: expected the name of a method')
  if (!Array.isArray(params)) throw new Fault('bad parameter', 'params: expected an array')
  return { methodName, params: params as readonly XmlValue[] }
}
