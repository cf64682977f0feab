/** Making disks equally full: what it would do, and that it is wanted. The rest is done by run/rebalance.ts. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { RebalancePlanView } from '../../lib/api/views.js'
import { Fault } from '../../lib/faults.js'
import { sayLevels } from '../plan/rebalance.js'
import type { Levels } from '../plan/rebalance.js'
import { secondsOf } from '../plan/move.js'
import type { Cluster } from '../run/cluster.js'
import { planRebalance } from '../run/rebalance.js'
import { loadFleet } from '../run/fleet.js'
import { findJob } from '../store/jobs.js'
import { addRebalance, openRebalance } from '../store/rebalance.js'
import { loadSettings } from '../store/settings.js'
import { showJob } from './jobs.js'
import { mutate } from './requests.js'

const MIB = 1024n * 1024n
/** Pairs of disks that are told. */
const PAIRS_MAX = 200

export async function rebalancePlan(cluster: Cluster): Promise<ApiResult<'rebalancePlan'>> {
  const db = cluster.store.read
  const [fleet, settings] = [await loadFleet(db), await loadSettings(db)]
  const { before, after, moves, balanced, complete } = await planRebalance(cluster, db, fleet, settings)
  const label = (id: string): string => `${fleet.disks.get(id)?.host ?? ''}:${fleet.disks.get(id)?.device ?? ''}`
  const pairs = new Map<string, { readonly from: string; readonly to: string; legs: number; bytes: bigint }>()
  const taken = new Map<string, bigint>()
  let bytes = 0n
  for (const { leg, to } of moves) {
    const key = `${leg.disk} ${to}`
    const pair = pairs.get(key) ?? { from: label(leg.disk), to: label(to), legs: 0, bytes: 0n }
    pairs.set(key, pair)
    pair.legs += 1
    pair.bytes += leg.bytes
    bytes += leg.bytes
    taken.set(to, (taken.get(to) ?? 0n) + leg.bytes)
  }
  const most = [...pairs.values()].sort((a, b) => (a.bytes !== b.bytes ? (a.bytes < b.bytes ? 1 : -1) : a.from < b.from || (a.from === b.from && a.to < b.to) ? -1 : 1)).slice(0, PAIRS_MAX)
  return {
    before: levelsView(before), after: levelsView(after), legs: moves.length, bytes, moves: most, pairs: pairs.size, balanced, complete,
    seconds: secondsOf(bytes, taken.values(), BigInt(settings.of('resync.rate')) * MIB),
  }
}

function levelsView(levels: Levels | undefined): RebalancePlanView['before'] {
  const view = (level: Levels['fullest'] | undefined): RebalancePlanView['before']['fullest'] => ({ disk: level?.label ?? '', perMille: Math.max(0, Math.round((level?.fill ?? 0) * 1000)) })
  return { fullest: view(levels?.fullest), emptiest: view(levels?.emptiest) }
}

export async function rebalanceApply(cluster: Cluster, params: ApiParams<'rebalanceApply'>, signal: AbortSignal): Promise<ApiResult<'rebalanceApply'>> {
  const db = cluster.store.read
  const plan = await planRebalance(cluster, db, await loadFleet(db), await loadSettings(db)) // before the transaction: with many disks it takes seconds
  return mutate({
    cluster, method: 'vsky.rebalance.apply', params, signal,
    async intend(tx) {
      const open = await openRebalance(tx)
      if (open) return { about: open.id, done: true }
      const id = cluster.random.hex(16)
      const bytes = plan.moves.reduce((sum, { leg }) => sum + leg.bytes, 0n)
      const note = plan.before ? sayLevels(plan.before) : 'no disk is in use'
      await addRebalance(tx, { id, note, bytes, createdAt: cluster.clock.nowMs() })
      await tx.event({ kind: 'rebalance begins', about: 'manager', name: cluster.name, text: `${plan.moves.length} legs, ${bytes} bytes; ${note}` })
      return { about: id, done: true }
    },
    async answer(id) {
      const job = await findJob(cluster.store.read, id)
      if (!job) throw new Fault('unknown job', `job ${id} is forgotten`)
      return showJob(cluster, job)
    },
  })
}
