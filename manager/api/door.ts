/**
 * The API's door: who may call, what is well formed, and the method behind each name. The table below is checked by the compiler
 * against the registry, so a method can't be forgotten.
 */
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiMethod, ApiName, ApiParams, ApiResult, ApiRole } from '../../lib/api/methods.js'
import { apiNameOf, isQuestion, isSystemName, systemMethods } from '../../lib/api/system.js'
import { Fault, messageOf } from '../../lib/faults.js'
import type { CallContext, RpcHandler, RpcServerOptions } from '../../lib/rpc/server.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { stateUnavailable } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { DbError } from '../store/db.js'
import { EpochLost, staleEpoch } from '../store/store.js'
import { diskAdd, diskList, diskRemove, diskShow } from './disks.js'
import { eventList, leaseShow } from './events.js'
import { diskEvacuate, diskEvacuationPlan, diskFail, diskUse, hostDrain, hostDrainPlan, hostFail, hostUse } from './duties.js'
import { explain } from './explain.js'
import { hostHeartbeat, hostList, hostRegister, hostReport, hostShow } from './hosts.js'
import { jobCancel, jobList, jobShow } from './jobs.js'
import { legList, segmentList } from './legs.js'
import { managerHandOver, managerStatus } from './managers.js'
import { settingList, settingSet } from './settings.js'
import { status } from './status.js'
import { systemCall } from './system.js'
import { volumeAttach, volumeCreate, volumeDelete, volumeDetach, volumeList, volumeShow } from './volumes.js'

type Handlers = { readonly [N in ApiName]: (cluster: Cluster, params: ApiParams<N>, signal: AbortSignal) => Promise<ApiResult<N>> }

const handlers: Handlers = {
  hostList, hostShow, diskAdd, diskList, diskShow, diskRemove, volumeCreate, volumeList, volumeShow, volumeAttach, volumeDetach, volumeDelete,
  diskEvacuationPlan, diskEvacuate, diskFail, diskUse, hostDrainPlan, hostDrain, hostFail, hostUse, jobList, jobCancel, settingList, settingSet, status, explain,
  eventList, managerStatus, managerHandOver, leaseShow, segmentList, legList, jobShow, hostRegister, hostHeartbeat, hostReport,
}

/** What each certificate's role may do. An agent's certificate opens only the agent's own calls. */
const rights: Readonly<Record<string, readonly ApiRole[]>> = {
  admin: ['viewer', 'operator', 'admin'], operator: ['viewer', 'operator'], viewer: ['viewer'], agent: ['agent'],
}

const MIB = 1024 * 1024

/** How the manager's methods are served: XML-RPC, and JSON under /api/v1/. Only agents have much to tell. */
export function apiDoor(handle: RpcHandler): Pick<RpcServerOptions, 'handle' | 'json' | 'maxBodyBytes'> {
  return {
    handle,
    json: { prefix: '/api/v1/', reads: isQuestion, positions: (name) => (isSystemName(name) ? systemMethods[name].positions : undefined) },
    maxBodyBytes: ({ role }) => (role === 'agent' ? 8 * MIB : MIB),
  }
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
  const handle: RpcHandler = async (context, name, params) => {
    if (isSystemName(name)) {
      if (rightsOf(context).length === 0) throw new Fault('denied', `${name} needs a certificate with a role`)
      return systemCall(name, context, params, handle)
    }
    const key = apiNameOf(name)
    if (!key) throw new Fault('unknown method', `there is no method ${JSON.stringify(name.slice(0, 100))}`)
    return act(key, context, params)
  }
  return handle
}

function rightsOf({ peer: { role = '' } }: CallContext): readonly ApiRole[] {
  return (Object.hasOwn(rights, role) ? rights[role] : undefined) ?? []
}

/** What is asked, if it is well formed and this caller may ask it. */
function admit<N extends ApiName>(key: N, context: CallContext, params: readonly XmlValue[]): ApiParams<N> {
  const method = apiMethods[key] as unknown as ApiMethod<ApiParams<N>, ApiResult<N>>
  const { commonName = '', role = '' } = context.peer
  if (!rightsOf(context).includes(method.role)) {
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
