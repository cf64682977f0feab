/**
 * One turn of one host: make it take our epoch, look at it, write down what is there, and put right what differs. It runs when a host
 * registers, comes back, or something about it could not be done before. And the shorter look at a head with attached volumes.
 */
import { agentMethods } from '../../lib/wire/agent.js'
import type { DiskSeen, Observation } from '../../lib/wire/agent.js'
import { Fault, messageOf } from '../../lib/faults.js'
import { compareHost } from '../plan/compare-host.js'
import { headOf } from '../plan/exports.js'
import type { DiskRow, HostRow } from '../state/rows.js'
import { allDisks, findHost, setDiskState, updateDisk } from '../store/hosts.js'
import { loadSettings } from '../store/settings.js'
import { volumesOfAll } from '../store/lists.js'
import { noteReleased, unreleasedBy } from '../store/unreleased.js'
import type { Unreleased } from '../store/unreleased.js'
import { extentsOnHost, volumeById, volumesOnHead } from '../store/volumes.js'
import { keepSeen, online } from './cluster.js'
import type { Cluster } from './cluster.js'
import { pushChosen, pushNotes, wantedOnHost } from './exports.js'
import { isCalm, isJudged, noteSeen } from './up.js'
import type { Next } from './work.js'

/** How often a living host is looked at without a reason, ms: shows cleaning progress and silent loss. */
const LOOK_AGAIN_MS = 30_000
/** The same in a large cluster, ms for each host. */
const LOOK_EACH_MS = 150
/** How often each leg there is, in the whole cluster, is compared with what its server has of it without a reason, ms: that takes a tenth of it. */
const COMPARE_LEG_MS = 0.7
/** How often a head with attached volumes is looked at, ms. */
const WATCH_MS = 1000
/** The same when nothing is being copied and nothing waits: events tell the rest, ms. And so much more for each volume there: to tell of it takes the head's time, and ours. */
const CALM_MS = 4000
const CALM_EACH_MS = 20
/** And no head more often than lets a thousand volumes be told of in a second, by all heads together. */
const CALM_ALL_MS = 1
/** How often the turns of all volumes of a head begin without a reason, ms: nothing depends on it. */
const LOOK_OVER_MS = 600_000

/** `kicked`: for a reason. */
export async function hostTurn(cluster: Cluster, name: string, kicked: boolean): Promise<Next> {
  const host = await findHost(cluster.store.read, name)
  if (!host || !online(cluster, name)) return 'idle' // its next heartbeat starts the turn again
  const fresh = !isFenced(cluster, host)
  const unreleased = await unreleasedBy(cluster.store.read, name) // before it is looked at: what is noted meanwhile it may have got since
  const seen = await look(cluster, host)
  await recordDisks(cluster, host, seen)
  await recordReleased(cluster, name, unreleased, seen)
  const since = cluster.clock.monoMs() - (cluster.compared.get(name) ?? Number.NEGATIVE_INFINITY)
  const hosts = cluster.seen.size
  const right = (!kicked && !fresh && since < COMPARE_LEG_MS * seen.extents.length * hosts) || await putRight(cluster, host, seen, unreleased)
  cluster.work.kick('tombstones', name)
  const there = new Map(seen.volumes.map((volume) => [volume.volume, volume]))
  for (const volume of await volumesOnHead(cluster.store.read, name)) {
    if (fresh || !isJudged(cluster, volume, there.get(volume.id))) cluster.work.kick('volume', volume.id)
  }
  return right ? Math.max(LOOK_AGAIN_MS, LOOK_EACH_MS * hosts) : 2000
}

/** True when it held all that it should. */
async function putRight(cluster: Cluster, host: HostRow, seen: Observation, unreleased: readonly Unreleased[]): Promise<boolean> {
  cluster.compared.set(host.name, cluster.clock.monoMs()) // before: what fails meanwhile takes it away
  try {
    const { ensure, detach, foreign } = compareHost(await wanted(cluster, host, seen, unreleased), seen)
    cluster.foreign.set(host.name, foreign)
    if (ensure.length + detach.length + foreign.length > 0) cluster.compared.delete(host.name)
    if (ensure.length > 0) {
      const differing = new Set(ensure.map((extent) => extent.extent))
      const sent = await pushChosen(cluster, host, ({ extents }) => extents.filter((extent) => differing.has(extent.extent)))
      cluster.log.info('a storage server was put right', { host: host.name, extents: String(sent) })
    }
    for (const volume of detach) await takeAway(cluster, host, volume)
    return ensure.length === 0
  } catch (thrown) {
    cluster.compared.delete(host.name)
    throw thrown
  }
}

/** Of an attachment that is over. Something there may still hold its device open: it can reach no leg any more, so nothing else waits for it. */
async function takeAway(cluster: Cluster, host: HostRow, volume: { readonly volume: string; readonly attachEpoch: number }): Promise<void> {
  try {
    // Whoever holds it now writes without it, and the servers' notes may be from before: they are brought up before it forgets.
    if (await volumeById(cluster.store.read, volume.volume) && (await pushNotes(cluster, volume.volume)).length > 0) return
    await cluster.agents.call(host, agentMethods.detachVolume, { ...volume, lost: true })
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.fault === 'stale epoch') throw thrown
    cluster.log.warn('what is left of a volume could not be taken away', { host: host.name, volume: volume.volume, error: thrown.message })
  }
}

/** A new incarnation, or a manager that is new to it, is fenced first: older managers' calls have ended when it answers. */
async function look(cluster: Cluster, host: HostRow): Promise<Observation> {
  const seen = isFenced(cluster, host)
    ? await cluster.agents.call(host, agentMethods.observe, {})
    : await cluster.agents.call(host, agentMethods.fence, {})
  cluster.fenced.set(host.name, host.incarnation)
  keepSeen(cluster, host.name, seen)
  return seen
}

function isFenced(cluster: Cluster, host: HostRow): boolean {
  return cluster.fenced.get(host.name) === host.incarnation
}

async function wanted(cluster: Cluster, host: HostRow, seen: Observation, unreleased: readonly Unreleased[]): Promise<Parameters<typeof compareHost>[0]> {
  const db = cluster.store.read
  const [{ extents }, disks, all, volumes] = await Promise.all([wantedOnHost(cluster, host.name), allDisks(db, host.name), extentsOnHost(db, host.name), volumesOfAll(db, seen.volumes.map((volume) => volume.volume))])
  const dropping = all.filter((extent) => extent.state === 'dropping')
  return {
    planned: new Set(all.filter((extent) => extent.state === 'planned').map((extent) => extent.id)),
    disks, extents, dropping: dropping.map((extent) => ({ extent: extent.id, disk: extent.disk })),
    volumes: new Map([
      ...unreleased.map(({ volume, attachEpoch }) => [volume, { attachEpoch, attachedHere: false }] as const),
      ...volumes.map((volume) => [volume.id, { attachEpoch: volume.attachEpoch, attachedHere: headOf(volume) === host.name && volume.phase !== 'fencing' }] as const),
    ]),
  }
}

/** It was shut out from these before it had let them go, and tells that it has them no more. */
async function recordReleased(cluster: Cluster, name: string, unreleased: readonly Unreleased[], seen: Observation): Promise<void> {
  const released = unreleased.filter((each) => !seen.volumes.some(({ volume, attachEpoch }) => volume === each.volume && attachEpoch <= each.attachEpoch))
  if (released.length === 0) return
  await cluster.store.change(async (tx) => {
    for (const each of released) await noteReleased(tx, name, each)
  })
}

async function recordDisks(cluster: Cluster, host: HostRow, seen: Observation): Promise<void> {
  const rows = await allDisks(cluster.store.read, host.name)
  const changed = rows.flatMap((row): readonly { readonly row: DiskRow; readonly disk: DiskSeen | undefined }[] => {
    if (row.state === 'preparing' || row.state === 'removing') return []
    const disk = seen.disks.find((each) => each.disk === row.id)
    if (!disk) return row.state === 'missing' ? [] : [{ row, disk: undefined }]
    const same = row.state === disk.state && row.device === (disk.device || row.device) && row.bytes === disk.bytes && row.cleanBytes === disk.cleanBytes && row.problem === disk.problem
    return same ? [] : [{ row, disk }]
  })
  if (changed.length === 0) return
  await cluster.store.change(async (tx) => {
    for (const { row, disk } of changed) {
      if (disk) await updateDisk(tx, row.id, { device: disk.device || row.device, state: disk.state, problem: disk.problem, bytes: disk.bytes === 0n ? row.bytes : disk.bytes, cleanBytes: disk.cleanBytes })
      else await setDiskState(tx, row.id, 'missing', 'the agent does not see it')
      const state = disk?.state ?? 'missing'
      if (state !== row.state) {
        cluster.work.kick('repair', 'cluster')
        await tx.event({ kind: `disk ${state}`, about: 'disk', name: `${row.host}:${row.device}`, text: disk?.problem === '' || !disk ? `was ${row.state}` : disk.problem })
      }
    }
  })
}

/** What the copies on one head may take together: its share of the cluster's. The least there is while copies are paused. */
async function copyRate(cluster: Cluster, head: string): Promise<bigint> {
  const settings = await loadSettings(cluster.store.read)
  if (settings.of('resync.paused') === 1) return 1n
  const copying = new Set([head, ...[...cluster.seen.values()].filter((seen) => seen.volumes.some((volume) => volume.segments.some((segment) => segment.inSync < segment.regions))).map((seen) => seen.host)])
  return BigInt(settings.of('resync.rate')) * 1024n * 1024n / BigInt(copying.size)
}

/** A head with volumes up: looked at every second, or less often when nothing goes on there, and at once when its agent says that something changed. */
export async function headTurn(cluster: Cluster, name: string): Promise<Next> {
  const volumes = (await volumesOnHead(cluster.store.read, name)).filter((volume) => volume.phase === 'attached' || volume.phase === 'detached')
  const host = await findHost(cluster.store.read, name)
  if (volumes.length === 0 || !host || !online(cluster, name)) return 'idle'
  try {
    const seen = await cluster.agents.call(host, agentMethods.observe, { copyRate: await copyRate(cluster, name) }, { timeoutMs: 10_000 })
    keepSeen(cluster, name, seen)
    noteSeen(cluster, name, seen.bootId, seen.volumes)
  } catch (thrown) {
    cluster.log.debug('a head could not be looked at', { host: name, error: messageOf(thrown) })
    return WATCH_MS
  }
  const seen = new Map(cluster.seen.get(name)?.volumes.map((volume) => [volume.volume, volume]))
  const anyway = (cluster.lookedOver.get(name) ?? Number.NEGATIVE_INFINITY) + LOOK_OVER_MS <= cluster.clock.monoMs()
  if (anyway) cluster.lookedOver.set(name, cluster.clock.monoMs())
  for (const volume of volumes) {
    if (anyway || !isJudged(cluster, volume, seen.get(volume.id))) cluster.work.kick('volume', volume.id)
  }
  if (![...seen.values()].every(isCalm)) return WATCH_MS
  const all = [...cluster.seen.values()].reduce((sum, each) => sum + each.volumes.length, 0)
  return Math.max(CALM_MS + volumes.length * CALM_EACH_MS, all * CALM_ALL_MS)
}
