/** Hosts: listing them, and what their agents say of themselves. */
import { PAGE_MAX } from '../../lib/api/lists.js'
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { must } from '../../lib/assert.js'
import { Fault } from '../../lib/faults.js'
import { commonProtocol } from '../../lib/wire/protocol.js'
import { HEARTBEAT_MS } from '../health/presence.js'
import { noteIn } from '../run/audit.js'
import { online, stateUnavailable } from '../run/cluster.js'
import type { Cluster } from '../run/cluster.js'
import { noteSeen } from '../run/up.js'
import { newChapSecret } from '../state/chap.js'
import type { HostRow } from '../state/rows.js'
import type { Reader } from '../store/db.js'
import type { ChangeTx } from '../store/store.js'
import { extentsOnHost, setDoubt, volumeById } from '../store/volumes.js'
import { addDisk, allDisks, allHosts, findHost, putHost } from '../store/hosts.js'
import type { Asked } from './caller.js'
import { refuseOtherKey } from './joining.js'
import { showHosts } from './show.js'

export async function hostList(cluster: Cluster, { limit = PAGE_MAX, after = '', prefix = '', role, state, duty }: ApiParams<'hostList'>): Promise<ApiResult<'hostList'>> {
  const fits = (host: HostRow): boolean => host.name > after && host.name.startsWith(prefix) && (role === undefined || host.roles.includes(role))
    && (state === undefined || online(cluster, host.name) === (state === 'online')) && (duty === undefined || host.duty === duty)
  return showHosts(cluster, (await allHosts(cluster.store.read)).filter(fits).slice(0, limit))
}

export async function hostShow(cluster: Cluster, { host }: ApiParams<'hostShow'>): Promise<ApiResult<'hostShow'>> {
  const [view] = await showHosts(cluster, [await knownHost(cluster.store.read, host)])
  return must(view, 'a host that is known is shown')
}

export async function knownHost(db: Reader, name: string): Promise<HostRow> {
  const host = await findHost(db, name)
  if (!host) throw new Fault('unknown host', `there is no host ${JSON.stringify(name)}`)
  return host
}

export async function hostRegister(cluster: Cluster, params: ApiParams<'hostRegister'>, _signal?: AbortSignal, asked?: Pick<Asked, 'caller'>): Promise<ApiResult<'hostRegister'>> {
  if (asked) await refuseOtherKey(cluster, asked.caller)
  const protocol = commonProtocol(`the agent of ${params.name} (release ${params.version})`, params.protocols)
  const known = await findHost(cluster.store.read, params.name)
  const host: Omit<HostRow, 'duty'> = {
    name: params.name, roles: params.roles, zone: params.zone, address: params.address, dataAddresses: params.dataAddresses, initiator: params.initiator,
    version: params.version, bootId: params.bootId, incarnation: params.incarnation,
    // 16 characters are the most that every initiator and target takes.
    chapUser: known?.chapUser ?? params.name, chapPassword: known?.chapPassword ?? newChapSecret(cluster.random),
  }
  const added = await cluster.store.change(async (tx) => {
    await putHost(tx, host)
    if (!known) await tx.event({ kind: 'host added', about: 'host', name: host.name, text: `${host.roles.join(' and ')} at ${host.address}${host.zone === '' ? '' : `, zone ${host.zone}`}` })
    else if (known.bootId !== host.bootId) await tx.event({ kind: 'host booted', about: 'host', name: host.name, text: 'the host was started anew' })
    else if (known.incarnation !== host.incarnation) await tx.event({ kind: 'agent restarted', about: 'host', name: host.name, text: 'the agent was started anew, the host was not' })
    if (known && known.bootId !== host.bootId && host.roles.includes('storage')) await doubtLegs(cluster, tx, host.name)
    const disks = new Set((await allDisks(tx, host.name)).map((disk) => disk.device))
    const fresh = host.roles.includes('storage') ? params.disks.filter((device) => !disks.has(device)) : []
    const ids = fresh.map((device) => ({ id: cluster.random.hex(16), device }))
    for (const { id, device } of ids) await addDisk(tx, { id, host: host.name, device, force: false })
    if (!known || ids.length > 0 || saidOf(known) !== saidOf(host)) await noteIn(tx, cluster.call, 'ok')
    return ids
  })
  if (cluster.call) cluster.call.noted = 'spared' // an agent that ends again and again must not fill the audit log: the events tell of that
  cluster.presence.heard(host.name, cluster.clock.monoMs())
  for (const { id } of added) cluster.work.kick('disk', id)
  cluster.work.kick('host', host.name)
  cluster.work.kick('head', host.name)
  return { epoch: cluster.store.epoch, heartbeatMs: HEARTBEAT_MS, protocol }
}

/** What an agent says of its host that is to be known of for long: not which start of it this is. */
function saidOf({ roles, zone, address, dataAddresses, initiator }: Omit<HostRow, 'duty'>): string {
  return JSON.stringify([roles, zone, address, dataAddresses, initiator])
}

/** Heartbeats stay in memory, and are listened to also while the database can't be reached: a host is not silent because of that. One from an incarnation that the database doesn't have is answered "register again". */
export async function hostHeartbeat(cluster: Cluster, params: ApiParams<'hostHeartbeat'>, _signal?: AbortSignal, asked?: Pick<Asked, 'caller'>): Promise<ApiResult<'hostHeartbeat'>> {
  if (cluster.gate.standing() !== 'active') {
    if (cluster.presence.lastHeard(params.name) !== undefined) cluster.presence.stirs(params.name, cluster.clock.monoMs())
    throw stateUnavailable(cluster)
  }
  if (asked) await refuseOtherKey(cluster, asked.caller)
  const host = await findHost(cluster.store.read, params.name)
  const known = host?.incarnation === params.incarnation && host.bootId === params.bootId
  if (known) {
    cluster.presence.heard(params.name, cluster.clock.monoMs())
    if (cluster.fenced.get(params.name) !== params.incarnation) cluster.work.kick('host', params.name)
    const before = changes.get(cluster)?.get(params.name)
    if (before !== params.changed) {
      const marks = changes.get(cluster) ?? new Map<string, number>()
      changes.set(cluster, marks.set(params.name, params.changed))
      if (before !== undefined) cluster.work.kick('head', params.name)
    }
  }
  return { known, epoch: cluster.store.epoch }
}

/** What an agent tells of volumes on its own host the moment that something happens to them; the look at the host comes up to 4 s later. */
export async function hostReport(cluster: Cluster, { name, bootId, incarnation, volumes }: ApiParams<'hostReport'>, _signal?: AbortSignal, asked?: Pick<Asked, 'caller'>): Promise<ApiResult<'hostReport'>> {
  if (asked) await refuseOtherKey(cluster, asked.caller)
  const host = await findHost(cluster.store.read, name)
  if (host?.incarnation !== incarnation || host.bootId !== bootId) return {}
  noteSeen(cluster, name, bootId, volumes)
  for (const volume of volumes) cluster.work.kick('volume', volume.volume)
  return {}
}

/**
 * A storage server that was started anew may have lost what its disks' caches held: writes that were acknowledged and not yet flushed.
 * What that means for a volume in use depends on its head (run/volume-turn.ts); a detached volume was flushed when it was detached, and of its legs only
 * those that are being copied to were written since.
 */
async function doubtLegs(cluster: Cluster, tx: ChangeTx, host: string): Promise<void> {
  const heardMs = cluster.presence.lastHeard(host) ?? 0
  for (const extent of await extentsOnHost(tx, host)) {
    if ((extent.leg !== 'insync' && extent.leg !== 'syncing') || extent.state !== 'ready') continue
    const volume = await volumeById(tx, extent.volume)
    if (!volume || (volume.phase === 'detached' && (volume.copyHead === '' || extent.leg === 'insync')) || volume.phase === 'creating') continue
    await setDoubt(tx, extent.id, volume.settled === 0 ? 0 : cluster.settled.before(volume.id, volume.attachEpoch, volume.attachBoot, heardMs))
    cluster.work.kick('volume', volume.id)
  }
}

const changes = new WeakMap<Cluster, Map<string, number>>()
