/**
 * The API's door: who may call, what is well formed, and the method behind each name. The table below is checked by the compiler
 * against the registry, so a method can't be forgotten.
 */
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiMethod, ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { apiMethod, apiNameOf, isQuestion, isSystemName, systemMethods } from '../../lib/api/system.js'
import type { SystemName } from '../../lib/api/system.js'
import { Fault, messageOf } from '../../lib/faults.js'
import type { FaultName } from '../../lib/faults.js'
import type { Signer } from '../../lib/host/pki.js'
import type { CallContext, Peer, RpcHandler, RpcServerOptions } from '../../lib/rpc/server.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import type { Access } from '../access/access.js'
import { stateUnavailable } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { DbError } from '../store/db.js'
import type { Spool } from '../store/spool.js'
import { EpochLost, staleEpoch } from '../store/store.js'
import { auditHead, auditList } from './audit.js'
import { JSON_PREFIX, callOf, makeCall, strangerByKey, wireOf } from './audited.js'
import { managerBackup, managerBackupEnd, managerBackupPiece } from './backups.js'
import { admitted, callerOf, refuseOtherHost } from './caller.js'
import type { Asked, Caller } from './caller.js'
import { tokenCreate, tokenList, tokenRevoke, userCreate, userList, userPassword, userRevoke } from './credentials.js'
import { OtherKey, hostInvite, hostJoin, hostRevoke } from './joining.js'
import { diskAdd, diskList, diskRemove, diskShow } from './disks.js'
import { eventList, leaseShow } from './events.js'
import { diskEvacuate, diskEvacuationPlan, diskFail, diskUse, hostDrain, hostDrainPlan, hostFail, hostUse } from './duties.js'
import { explain } from './explain.js'
import { hostHeartbeat, hostList, hostRegister, hostReport, hostShow } from './hosts.js'
import { jobCancel, jobList, jobShow } from './jobs.js'
import { legList, segmentList } from './legs.js'
import { managerHandOver, managerStatus } from './managers.js'
import { rebalanceApply, rebalancePlan } from './rebalance.js'
import { settingList, settingSet } from './settings.js'
import { status } from './status.js'
import { systemCall } from './system.js'
import { volumeAttach, volumeCreate, volumeDelete, volumeDetach, volumeList, volumeShow } from './volumes.js'

type Handlers = { readonly [N in ApiName]: (cluster: Cluster, params: ApiParams<N>, signal: AbortSignal, asked: Asked) => Promise<ApiResult<N>> }

const handlers: Handlers = {
  hostList, hostShow, hostInvite, hostRevoke, hostJoin, diskAdd, diskList, diskShow, diskRemove, volumeCreate, volumeList, volumeShow, volumeAttach, volumeDetach, volumeDelete,
  diskEvacuationPlan, diskEvacuate, diskFail, diskUse, hostDrainPlan, hostDrain, hostFail, hostUse, jobList, jobCancel, settingList, settingSet, status, explain,
  eventList, managerStatus, managerHandOver, leaseShow, segmentList, legList, jobShow, tokenList, tokenCreate, tokenRevoke, userList, userCreate, userPassword, userRevoke, hostRegister, hostHeartbeat, hostReport,
  auditList, auditHead, managerBackup, managerBackupPiece, managerBackupEnd, rebalancePlan, rebalanceApply,
}

const MIB = 1024 * 1024

/** How the manager's methods are served: XML-RPC, and JSON under /api/v1/. Only agents have much to tell. */
export function apiDoor(handle: RpcHandler, access: Access): Pick<RpcServerOptions, 'handle' | 'json' | 'maxBodyBytes' | 'doorkeeper'> {
  return {
    handle, doorkeeper: access,
    json: { prefix: JSON_PREFIX, reads: isQuestion, positions: (name) => (isSystemName(name) ? systemMethods[name].positions : undefined) },
    maxBodyBytes: ({ role }) => (role === 'agent' ? 8 * MIB : MIB),
  }
}

/** Of the active manager. `access`: that of the door's own doorkeeper, which hears of every change at once. */
export function createHandler(cluster: Cluster, access: Access, authority?: Signer, backups?: Spool): RpcHandler {
  const denied = (context: CallContext, name: SystemName, params: readonly XmlValue[]): Promise<void> => cluster.audit.answered(makeCall(context, wireOf(context.path), name, params), 'denied')
  return createDoor((key, context, params) => call(cluster, { access, authority, backups }, key, context, params), denied)
}

/** What a manager says that is not the active one: what it knows of who is, and to everything else the fault `not active`. */
export interface Standby {
  status(): ApiResult<'managerStatus'>
  notActive(): Fault
}

export function createStandbyHandler(standby: Standby): RpcHandler {
  return createDoor(async (key, context, params) => {
    admit(key, context.peer, params)
    if (key === 'managerStatus') return apiMethods.managerStatus.result.format(standby.status())
    throw standby.notActive()
  })
}

/** For a manager that is about to give up its lease, and still has it: what it is asked it answers, and begins nothing any more. */
export function createLeavingHandler(active: RpcHandler, standby: RpcHandler): RpcHandler {
  return (context, name, params) => (isQuestion(name) ? active : standby)(context, name, params)
}

/** `denied`: told of calls of the system family by who has no role at all. */
function createDoor(
  act: (key: ApiName, context: CallContext, params: readonly XmlValue[]) => Promise<XmlValue>, denied?: (context: CallContext, name: SystemName, params: readonly XmlValue[]) => Promise<void>,
): RpcHandler {
  const handle: RpcHandler = async (context, name, params) => {
    if (isSystemName(name)) {
      if (!callerOf(context.peer)) {
        await denied?.(context, name, params)
        throw new Fault('denied', `${name} needs a certificate, a token or a user with a role`)
      }
      return systemCall(name, context, params, handle)
    }
    const key = apiNameOf(name)
    if (!key) throw new Fault('unknown method', `there is no method ${JSON.stringify(name.slice(0, 100))}`)
    return act(key, context, params)
  }
  return handle
}

/** Who asks what, if it is well formed and this caller may ask it. */
function admit<N extends ApiName>(key: N, peer: Peer, params: readonly XmlValue[]): { readonly caller: Caller; readonly given: ApiParams<N> } {
  const method = apiMethods[key] as unknown as ApiMethod<ApiParams<N>, ApiResult<N>>
  const caller = admitted(peer, method)
  if (params.length > 1) throw new Fault('invalid request', `${method.name} takes one struct, not ${params.length} parameters`)
  const given = method.params.parse(params[0] ?? {}, '')
  refuseOtherHost(caller, method, given as Parameters<typeof refuseOtherHost>[2])
  return { caller, given }
}

/** Whether a call of it has an entry in the audit log, however it ends; a denied one has, whatever it is. */
function isAudited(key: ApiName): boolean {
  return apiMethods[key].mutates || key === 'hostRegister' || key === 'hostJoin'
}

/** With its entry in the audit log, if it has one: in its own change, or else before it is answered. */
async function call<N extends ApiName>(cluster: Cluster, own: Omit<Asked, 'caller'>, key: N, context: CallContext, params: readonly XmlValue[]): Promise<XmlValue> {
  const noted = isAudited(key) ? callOf(context, wireOf(context.path), apiMethod(key), params) : undefined
  try {
    return await carryOut(noted ? { ...cluster, call: noted } : cluster, own, key, context, params)
  } catch (thrown) {
    const fault = thrown instanceof Fault ? thrown.fault : 'internal error'
    if (thrown instanceof OtherKey) cluster.audit.stranger(strangerByKey(context, apiMethods[key].name, thrown)) // an agent knocks again and again
    else if (!unnoted.includes(fault) && (noted ?? fault === 'denied')) await cluster.audit.answered(noted ?? callOf(context, wireOf(context.path), apiMethod(key), params), fault)
    throw thrown
  }
}

/** What can't be written down at the moment, and what has not ended. */
const unnoted: readonly FaultName[] = ['state unavailable', 'not active', 'timed out']

async function carryOut<N extends ApiName>(cluster: Cluster, own: Omit<Asked, 'caller'>, key: N, context: CallContext, params: readonly XmlValue[]): Promise<XmlValue> {
  const method = apiMethods[key] as unknown as ApiMethod<ApiParams<N>, ApiResult<N>>
  const { caller, given } = admit(key, context.peer, params)
  const standing = cluster.gate.standing()
  if ((method.mutates && standing !== 'active') || (standing === 'frozen' && key !== 'managerStatus' && key !== 'hostHeartbeat')) throw stateUnavailable(cluster)
  try {
    const answer = method.result.format(await handlers[key](cluster, given, context.signal, { caller, ...own }))
    if (cluster.call) await cluster.audit.answered(cluster.call)
    return answer
  } catch (thrown) {
    if (thrown instanceof EpochLost) throw staleEpoch(thrown)
    if (thrown instanceof DbError && (thrown.kind === 'unavailable' || cluster.gate.standing() !== 'active')) throw stateUnavailable(cluster)
    if (!(thrown instanceof Fault)) cluster.log.error('a call failed', { method: method.name, request: context.requestId, error: messageOf(thrown) })
    else if (method.mutates) cluster.log.info('a call was refused', { method: method.name, by: caller.who, fault: thrown.fault, text: thrown.message })
    throw thrown
  }
}
