/** Questions to a lab's manager from this very process: starting a `vsky` for every look would take the processors from the guests. */
import { setTimeout } from 'node:timers/promises'
import { apiMethods } from '../../lib/api/methods.js'
import type { ApiName, ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import { loadTls } from '../../lib/host/pki.js'
import { createRpcClient, TransportError } from '../../lib/rpc/client.js'
import type { RpcClient } from '../../lib/rpc/client.js'
import type { Lab } from './lab.js'

/** A client of each manager, the one that answered last first. */
const clients = new WeakMap<Lab, Promise<RpcClient[]>>()

async function connect(lab: Lab): Promise<RpcClient[]> {
  const tls = await loadTls(lab.adminTlsDir)
  return lab.managerUrls.map((url) => createRpcClient({ url, tls }))
}

const PAUSE_MS = 100
/** What says nothing of the question: another manager, or the same one later, may answer it. */
const elsewhere: readonly string[] = ['not active', 'state unavailable']

/** One question, asked again while no manager is there that is active, for `timeoutMs` in all. Rejects as the RPC client does. */
export async function ask<N extends ApiName>(lab: Lab, name: N, params: ApiParams<N>, timeoutMs = 10_000): Promise<ApiResult<N>> {
  const known = clients.get(lab) ?? connect(lab)
  clients.set(lab, known)
  const until = performance.now() + timeoutMs
  for (;;) {
    const all = await known
    const left = until - performance.now()
    try {
      const answer = await all[0]?.call(apiMethods[name].name, [params], { timeoutMs: Math.max(left / all.length, PAUSE_MS) })
      return apiMethods[name].result.parse(answer, '') as ApiResult<N>
    } catch (thrown) {
      const again = thrown instanceof TransportError ? thrown.kind !== 'aborted' : thrown instanceof Fault && elsewhere.includes(thrown.fault)
      if (!again || left <= PAUSE_MS) throw thrown
      const first = all.shift()
      if (first) all.push(first)
      await setTimeout(PAUSE_MS)
    }
  }
}

/** What `vsky NOUN VERB [THING] --json` would print, for the questions that are asked over and over; undefined for all others. */
export async function answerOf(lab: Lab, args: readonly string[]): Promise<unknown> {
  const question = questions[args.slice(0, 2).join(' ')]
  if (!question || args.length !== question.words) return undefined
  return JSON.parse(JSON.stringify(await question.ask(lab, args[2] ?? ''), (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))) as unknown
}

interface Question {
  readonly words: number
  readonly ask: (lab: Lab, thing: string) => Promise<unknown>
}

const questions: Readonly<Partial<Record<string, Question>>> = {
  'volume list': { words: 2, ask: (lab) => ask(lab, 'volumeList', {}) }, 'volume show': { words: 3, ask: (lab, volume) => ask(lab, 'volumeShow', { volume }) },
  'host list': { words: 2, ask: (lab) => ask(lab, 'hostList', {}) }, 'host show': { words: 3, ask: (lab, host) => ask(lab, 'hostShow', { host }) },
  'disk list': { words: 2, ask: (lab) => ask(lab, 'diskList', {}) }, 'disk show': { words: 3, ask: (lab, disk) => ask(lab, 'diskShow', { disk }) },
  'status': { words: 1, ask: (lab) => ask(lab, 'status', {}) },
}
