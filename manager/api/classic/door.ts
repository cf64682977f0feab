/**
 * The door for clients of the original API, version 5: unencrypted, and open to whoever reaches its address, as it always was. So it has a
 * listener of its own, which is closed unless the configuration opens it; nothing of it can be reached through the other door.
 */
import type { Log } from '../../../lib/ports.js'
import { messageOf } from '../../../lib/faults.js'
import { WireFault, startRpcServer } from '../../../lib/rpc/server.js'
import type { RpcHandler, RpcServer } from '../../../lib/rpc/server.js'
import type { XmlValue } from '../../../lib/rpc/xmlrpc.js'
import type { Cluster } from '../../run/cluster.js'
import { DbError } from '../../store/db.js'
import { EpochLost, staleEpoch } from '../../store/store.js'
import { makeCall } from '../audited.js'
import { classicFault, errnoName, noCall, refusal } from './faults.js'
import { numberAll } from './ids.js'
import { listEvents, listHeadServers, listPhysicalDisks, listStorageServers } from './inventory.js'
import { notifyBadBlocks, notifyFailure, shutdownAll } from './notify.js'
import { membersOf, versionOf } from './params.js'
import type { Members } from './params.js'
import { deleteHeadServer, deletePhysicalDisk, deleteStorageServer, registerHeadServer, registerPhysicalDisk, registerStorageServer } from './register.js'
import { listLogicalVolumes, showLogicalVolume } from './shows.js'
import { attachLogicalVolume, createLogicalVolume, createSnapshot, deleteLogicalVolume, detachLogicalVolume } from './volumes.js'
import type { ClassicRules } from './volumes.js'
import { API_VERSION } from './words.js'

type ClassicMethod = (cluster: Cluster, members: Members, signal: AbortSignal, rules: ClassicRules) => Promise<XmlValue>

/** What each gives, and whether it changes anything, in its line. */
const methods: Readonly<Record<string, { readonly run: ClassicMethod; readonly result: 'int' | 'array' | 'struct'; readonly changes: boolean; readonly help: string }>> = {
  createLogicalVolume: { run: createLogicalVolume, result: 'int', changes: true, help: '{lvolname, capacity (GB), redundancy?} makes a volume and gives its lvolid' },
  createSnapshot: { run: createSnapshot, result: 'int', changes: true, help: 'not supported yet: fault 95' },
  deleteLogicalVolume: { run: deleteLogicalVolume, result: 'int', changes: true, help: '{lvolid | lvolname} deletes a volume that is not attached' },
  attachLogicalVolume: { run: attachLogicalVolume, result: 'int', changes: true, help: '{lvolid | lvolname, hsvrid} attaches a volume to a head server' },
  detachLogicalVolume: { run: detachLogicalVolume, result: 'int', changes: true, help: '{lvolid | lvolname} detaches a volume' },
  listLogicalVolumes: { run: listLogicalVolumes, result: 'array', changes: false, help: '{lvolid?, lvolname?} lists volumes' },
  showLogicalVolume: { run: showLogicalVolume, result: 'struct', changes: false, help: '{lvolid | lvolname} shows the tree of a volume' },
  listHeadServers: { run: listHeadServers, result: 'array', changes: false, help: '{hsvrid?} lists head servers' },
  listStorageServers: { run: listStorageServers, result: 'array', changes: false, help: '{ssvrid?} lists storage servers' },
  listPhysicalDisks: { run: listPhysicalDisks, result: 'array', changes: false, help: '{ssvrid?} lists the disks of one storage server, or all' },
  listEvents: { run: listEvents, result: 'array', changes: false, help: 'gives an empty list, as in version 3.0' },
  registerHeadServer: { run: registerHeadServer, result: 'int', changes: true, help: '{ip_data} gives the hsvrid of the head server whose agent has these addresses' },
  registerStorageServer: { run: registerStorageServer, result: 'int', changes: true, help: '{ip_data} gives the ssvrid of the storage server whose agent has these addresses' },
  registerPhysicalDisk: { run: registerPhysicalDisk, result: 'int', changes: true, help: '{ssvrid, local_path, capacity (sectors, a decimal string)} gives an empty disk to the cluster' },
  deletePhysicalDisk: { run: deletePhysicalDisk, result: 'int', changes: true, help: '{pdskid} forgets a disk that is OFFLINE or FAULTY' },
  deleteHeadServer: { run: deleteHeadServer, result: 'int', changes: true, help: '{hsvrid} forgets a head server that is OFFLINE' },
  deleteStorageServer: { run: deleteStorageServer, result: 'int', changes: true, help: '{ssvrid} forgets a storage server that is OFFLINE, and its disks' },
  notifyFailure: { run: notifyFailure, result: 'int', changes: true, help: '{target: 1 to 4, targetid} tells that a head server, storage server, disk or extent has failed' },
  notifyBadBlocks: { run: notifyBadBlocks, result: 'int', changes: true, help: '{pdskid, blocks (of 1025 MiB)} tells of bad blocks of a disk' },
  shutdownAll: { run: shutdownAll, result: 'int', changes: true, help: 'tells that all hosts are going to be shut down; refused while a volume is attached' },
}

export const classicMethodNames: readonly string[] = Object.keys(methods)

export function createClassicHandler(cluster: Cluster, rules: ClassicRules): RpcHandler {
  return async (context, name, params) => {
    if (name.startsWith('system.')) return introspect(name, params)
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined
    if (!method) throw noCall('Exception', `method "${name.slice(0, 100)}" is not supported`)
    const { peer, requestId } = context
    const call = method.changes ? makeCall(context, 'classic', name, params) : undefined
    try {
      const members = membersOf(name, params)
      if (versionOf(members) !== API_VERSION) throw refusal('EPROTO', `ver must be ${API_VERSION}`)
      await numberAll(cluster)
      const result = await method.run(call ? { ...cluster, call } : cluster, members, context.signal, rules)
      if (call) await cluster.audit.answered(call)
      if (call) cluster.log.info('a classic call', { method: name, peer: peer.address })
      return result
    } catch (thrown) {
      if (thrown instanceof EpochLost) throw staleEpoch(thrown)
      if (call && !(thrown instanceof DbError)) await cluster.audit.answered(call, thrown instanceof WireFault ? errnoName(thrown.code) : 'internal error')
      if (call && thrown instanceof WireFault) cluster.log.info('a classic call was refused', { method: name, peer: peer.address, fault: String(thrown.code), text: thrown.message })
      else if (!(thrown instanceof WireFault)) cluster.log.error('a classic call failed', { method: name, request: requestId, error: messageOf(thrown) })
      throw thrown
    }
  }
}

const introspection = ['system.listMethods', 'system.methodHelp', 'system.methodSignature']

/** The original named these three alone, and so do we; help and signature are there for all. */
function introspect(name: string, [about]: readonly XmlValue[]): XmlValue {
  if (!introspection.includes(name)) throw noCall('Exception', `method "${name.slice(0, 100)}" is not supported`)
  if (name === 'system.listMethods') return introspection
  const method = typeof about === 'string' && Object.hasOwn(methods, about) ? methods[about] : undefined
  if (name === 'system.methodHelp') return method?.help ?? ''
  return method ? [[method.result, 'struct']] : 'signatures not supported'
}

/** An attach answers within 280 s or says that it takes longer (wait.ts). */
const DEADLINE_MS = 290_000
/** All clients may be behind one address. */
const CALLS_PER_PEER = 256

/** Opens it. Rejects with the system's error when it can't listen. */
export function startClassicServer(cluster: Cluster, where: { readonly host: string; readonly port: number }, rules: ClassicRules, log: Log): Promise<RpcServer> {
  return startRpcServer({
    ...where, log, classic: true, deadlineMs: DEADLINE_MS, maxCallsPerPeer: CALLS_PER_PEER, maxBodyBytes: 1024 * 1024,
    wireFault: (fault, text) => classicFault(fault, text), handle: createClassicHandler(cluster, rules),
  })
}
