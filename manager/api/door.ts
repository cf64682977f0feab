/**
 * The API's door: who may call, what is well formed, and the method behind each name. The table below is checked by the compiler
 * against the registry, so a method can't be forgotten.
 */
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiMethod, ApiName, ApiParams, ApiResult, ApiRole } from '../../lib/api/methods.js'
import { Fault, faults, messageOf } from '../../lib/faults.js'
import type { CallContext, RpcHandler } from '../../lib/rpc/server.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { stateUnavailable } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { DbError } from '../store/db.js'
import { EpochLost, staleEpoch } from '../store/store.js'
import { diskAdd, diskList, diskRemove, diskShow } from './disks.js'
import { eventList } from './events.js'
import { diskEvacuate, diskEvacuationPlan, diskFail, diskUse, hostDrain, hostDrainPlan, hostFail, hostUse } from './duties.js'
import { explain } from './explain.js'
import { hostHeartbeat, hostList, hostRegister, hostReport, hostShow } from './hosts.js'
import { jobCancel, jobList } from './jobs.js'
import { managerHandOver, managerStatus } from './managers.js'
import { settingList, settingSet } from './settings.js'
import { status } from './status.js'
import { volumeAttach, volumeCreate, volumeDelete, volumeDetach, volumeList, volumeShow } from './volumes.js'

type Handlers = { readonly [N in ApiName]: (cluster: Cluster, params: ApiParams<N>, signal: AbortSignal) => Promise<ApiResult<N>> }

const handlers: Handlers = {
  hostList, hostShow, diskAdd, diskList, diskShow, diskRemove, volumeCreate, volumeList, volumeShow, volumeAttach, volumeDetach, volumeDelete,
  diskEvacuationPlan, diskEvacuate, diskFail, diskUse, hostDrainPlan, hostDrain, hostFail, hostUse, jobList, jobCancel, settingList, settingSet, status, explain,
  eventList, managerStatus, managerHandOver, hostRegister, hostHeartbeat, hostReport,
}

const byName: ReadonlyMap<string, ApiName> = new Map((Object.keys(apiMethods) as ApiName[]).map((key) => [apiMethods[key].name, key]))

/** What each certificate's role may do. An agent's certificate opens only the agent's own calls. */
const rights: Readonly<Record<string, readonly ApiRole[]>> = {
  admin: ['viewer', 'operator', 'admin'], operator: ['viewer', 'operator'], viewer: ['viewer'], agent: ['agent'],
}

/** Of the active manager. */
export function createHandler(cluster: Cluster): RpcHandler {
  return createDoor((key, context, params) => call(cluster, key, context, params))
}

/** What a manager says that is not the active one: what it knows of who is, and to everything else the fault `not active`. */
export interface Standby {
  status(): ApiResult<'managerStatus'>
  notActive(): Fault
}

export function createStandbyHandler(standby: Standby): RpcHandler {
  return createDoor(async (key, context, params) => {
    admit(key, context, params)
    if (key === 'managerStatus') return apiMethods.managerStatus.result.format(standby.status())
    throw standby.notActive()
  })
}

function createDoor(act: (key: ApiName, context: CallContext, params: readonly XmlValue[]) => Promise<XmlValue>): RpcHandler {
  return async (context, name, params) => {
    if (name.startsWith('system.')) return introspect(name, params)
    const key = byName.get(name)
    if (!key) throw new Fault('unknown method', `there is no method ${JSON.stringify(name.slice(0, 100))}`)
    return act(key, context, params)
  }
}

/** What is asked, if it is well formed and this caller may ask it. */
function admit<N extends ApiName>(key: N, context: CallContext, params: readonly XmlValue[]): ApiParams<N> {
  const method = apiMethods[key] as unknown as ApiMethod<ApiParams<N>, ApiResult<N>>
  const { commonName = '', role = '' } = context.peer
  if (!(Object.hasOwn(rights, role) ? rights[role] ?? [] : []).includes(method.role)) {
    throw new Fault('denied', `${method.name} needs the role ${method.role}; the certificate of ${JSON.stringify(commonName)} has ${JSON.stringify(role)}`)
  }
  if (params.length > 1) throw new Fault('invalid request', `${method.name} takes one struct, not ${params.length} parameters`)
  const given = method.params.parse(params[0] ?? {}, '')
  if (method.role === 'agent' && (given as { readonly name?: string }).name !== commonName) {
    throw new Fault('denied', `the certificate of ${JSON.stringify(commonName)} can't speak for ${JSON.stringify((given as { readonly name?: string }).name)}`)
  }
  return given
}

async function call<N extends ApiName>(cluster: Cluster, key: N, context: CallContext, params: readonly XmlValue[]): Promise<XmlValue> {
  const method = apiMethods[key] as unknown as ApiMethod<ApiParams<N>, ApiResult<N>>
  const { commonName = '' } = context.peer
  const given = admit(key, context, params)
  const standing = cluster.gate.standing()
  if ((method.mutates && standing !== 'active') || (standing === 'frozen' && key !== 'managerStatus' && key !== 'hostHeartbeat')) throw stateUnavailable(cluster)
  try {
    return method.result.format(await handlers[key](cluster, given, context.signal))
  } catch (thrown) {
    if (thrown instanceof EpochLost) throw staleEpoch(thrown)
    if (thrown instanceof DbError && (thrown.kind === 'unavailable' || cluster.gate.standing() !== 'active')) throw stateUnavailable(cluster)
    if (!(thrown instanceof Fault)) cluster.log.error('a call failed', { method: method.name, request: context.requestId, error: messageOf(thrown) })
    else if (method.mutates) cluster.log.info('a call was refused', { method: method.name, by: commonName, fault: thrown.fault, text: thrown.message })
    throw thrown
  }
}

/** system.listMethods, methodHelp and methodSignature, from the registry. */
function introspect(name: string, params: readonly XmlValue[]): XmlValue {
  const all = ['system.listMethods', 'system.methodHelp', 'system.methodSignature']
  if (name === 'system.listMethods') return [...byName.keys(), ...all].sort()
  if (!all.includes(name)) throw new Fault('unknown method', `there is no method ${JSON.stringify(name.slice(0, 100))}`)
  const [about] = params
  const key = typeof about === 'string' ? byName.get(about) : undefined
  if (!key) throw new Fault('unknown method', `${name} takes the name of a method of the vsky. family`)
  const method: ApiMethod<never, never> = apiMethods[key] as never
  if (name === 'system.methodSignature') return [[method.result.type, method.params.type]]
  return helpOf(method)
}

function helpOf(method: ApiMethod<never, never>): string {
  const { fields = {} } = method.params as { readonly fields?: Readonly<Record<string, { readonly describe: string }>> }
  const members = Object.entries(fields).map(([member, shape]) => `  ${member}: ${shape.describe}`)
  const failures = method.faults.map((fault) => `  ${faults[fault].code} ${fault}: ${faults[fault].correction}`)
  return [
    `${method.help}.`, `Role: ${method.role}.${method.mutates ? ' Idempotent by its request id.' : ''}`,
    members.length === 0 ? 'Takes nothing.' : `Takes one struct:\n${members.join('\n')}`, `Gives ${method.result.describe}.`,
    ...(failures.length === 0 ? [] : [`Faults:\n${failures.join('\n')}`]),
  ].join('\n')
}
