/** Idempotence for every mutating call: the first call records its intent under the request's id; a repeated one joins it. */
import { createHash } from 'node:crypto'
import { Fault } from '../../lib/faults.js'
import { noteIn } from '../run/audit.js'
import type { Cluster } from '../run/cluster.js'
import { findRequest, finishRequestById, openRequest } from '../store/requests.js'
import type { RequestRow } from '../store/requests.js'
import { EpochLost, staleEpoch } from '../store/store.js'
import type { ChangeTx } from '../store/store.js'

/** How long a call waits for its work before it answers `timed out` (the work goes on, and the same call waits again), ms. */
const WAIT_MS = 25_000

export type Intent = { readonly about: string; readonly kick: string } | { readonly about: string; readonly done: true }

export interface Mutation<T> {
  readonly cluster: Cluster
  readonly method: string
  /** All parameters, `request` among them. */
  readonly params: { readonly request: string; readonly wait?: boolean | undefined }
  readonly signal: AbortSignal
  /**
   * Checks and records the intent, in one transaction; gives the id of the object that the work is about, and the turn that does it.
   * Throws a Fault to refuse: then nothing is recorded. `done`: the transaction was all that the caller waits for; the cluster's repair
   * then sees what follows from it.
   */
  readonly intend: (tx: ChangeTx) => Promise<Intent>
  /** Makes the answer when the work is done. */
  readonly answer: (about: string) => Promise<T>
}

export async function mutate<T>({ cluster, method, params, signal, intend, answer }: Mutation<T>): Promise<T> {
  const { wait = true, ...asked } = params // whoever asks again may wait for what was only begun
  const digest = createHash('sha256').update(JSON.stringify(asked, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))).digest('hex')
  const begun = await cluster.store.change(async (tx): Promise<Intent | { readonly about: string }> => {
    const known = await findRequest(tx, params.request)
    if (known) return { about: joined(known, method, digest).about }
    const intent = await intend(tx)
    await openRequest(tx, { id: params.request, method, digest, about: intent.about, nowMs: cluster.clock.nowMs() })
    if ('done' in intent) await finishRequestById(tx, params.request)
    await noteIn(tx, cluster.call, 'done' in intent ? 'ok' : 'accepted', params.request)
    return intent
  }).catch((thrown: unknown) => {
    throw thrown instanceof EpochLost ? staleEpoch(thrown) : thrown
  })
  if (cluster.call) cluster.call.noted ||= 'done' in begun ? 'ok' : 'kick' in begun ? 'accepted' : 'spared'
  if ('kick' in begun) cluster.work.kick(begun.kick, begun.about)
  if ('done' in begun) cluster.work.kick('repair', 'cluster')
  await ended(cluster, params.request, { method, signal, wait })
  return answer(begun.about)
}

function joined(known: RequestRow, method: string, digest: string): RequestRow {
  if (known.method === method && known.digest === digest) return known
  throw new Fault('request reused', `request ${known.id} was used for another call (${known.method})`)
}

interface Manner {
  readonly method: string
  readonly signal: AbortSignal
  readonly wait: boolean
}

async function ended(cluster: Cluster, id: string, { method, signal, wait }: Manner): Promise<void> {
  const until = cluster.clock.monoMs() + WAIT_MS
  for (;;) {
    const changed = wait ? cluster.store.nextChange(Math.max(1, Math.min(1000, until - cluster.clock.monoMs())), signal) : undefined // before the look, so that no change is missed
    const row = await findRequest(cluster.store.read, id)
    if (!row || row.outcome.state === 'done') return
    if (row.outcome.state === 'failed') throw new Fault(row.outcome.fault, row.outcome.message)
    if (!wait) return
    if (cluster.clock.monoMs() >= until || signal.aborted) {
      throw new Fault('timed out', `${method} has not ended within ${WAIT_MS / 1000} s; the work goes on, the same call with request ${id} waits for it`)
    }
    await changed
  }
}
