/** The agent's door: the manager's calls, decoded once, checked against the epoch, one at a time per object, handed to the roles. */
import { Fault, messageOf } from '../../lib/faults.js'
import type { Clock, Log } from '../../lib/ports.js'
import type { CallContext, RpcHandler } from '../../lib/rpc/server.js'
import type { Method } from '../../lib/rpc/shape.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { agentMethods } from '../../lib/wire/agent.js'
import type { Observation, Recollection } from '../../lib/wire/agent.js'
import type { HeadRole, StillMine, StorageRole } from '../roles.js'
import type { MadeAt } from '../storage/newer.js'
import type { Epochs } from './epoch.js'
import type { Journal } from './journal.js'

export interface DoorOptions {
  readonly host: string
  readonly bootId: string
  readonly incarnation: string
  readonly epochs: Epochs
  readonly journal: Journal
  readonly storage: StorageRole | undefined
  readonly head: HeadRole | undefined
  /** Who this host is, for a manager that knows nothing. */
  readonly self?: Pick<Recollection, 'zone' | 'dataAddresses' | 'initiator' | 'version'>
  readonly clock: Clock
  readonly log: Log
  /** Called after anything that may change what an observation shows. */
  readonly onChange: () => void
  /** A manager has taken over, and says where it is. */
  readonly onManager?: (url: string) => void
}

const FENCE_WAIT_MS = 60_000
const OBJECTS_WAITING_MAX = 64

type Operation = (params: XmlValue, signal: CallContext['signal']) => Promise<XmlValue>

export function createAgentHandler(options: DoorOptions): RpcHandler {
  const { epochs, journal, clock, log } = options
  const tails = new Map<string, { work: Promise<unknown>; waiting: number }>()

  /**
   * A second order about the same object waits for the first; so many may wait that none could ever be served are refused. One whose
   * caller has given up meanwhile is not begun: the manager looks again and says what it wants then.
   */
  async function perObject<T>(key: string, signal: CallContext['signal'], work: () => Promise<T>): Promise<T> {
    const line = tails.get(key) ?? { work: Promise.resolve(), waiting: 0 }
    if (line.waiting >= OBJECTS_WAITING_MAX) throw new Fault('agent failed', `${line.waiting} orders about ${key} are waiting already`)
    line.waiting += 1
    const turn = async (): Promise<T> => {
      if (signal.aborted) throw new Fault('timed out', `an order about ${key} was not begun: nobody waits for it any more`)
      return work()
    }
    const mine = line.work.then(turn, turn)
    line.work = mine.catch(() => undefined)
    tails.set(key, line)
    try {
      return await mine
    } finally {
      line.waiting -= 1
      if (line.waiting === 0) tails.delete(key)
    }
  }

  async function observe(copyRate?: bigint): Promise<Observation> {
    const [storage, head] = await Promise.all([options.storage?.observe(), options.head?.observe(copyRate)])
    return {
      host: options.host, bootId: options.bootId, incarnation: options.incarnation, epoch: epochs.current(), disks: storage?.disks ?? [], extents: storage?.extents ?? [],
      volumes: head?.volumes ?? [], foreign: [...storage?.foreign ?? [], ...head?.foreign ?? []],
    }
  }

  function recall(): Recollection {
    const { zone = '', dataAddresses = [], initiator = '', version = '' } = options.self ?? {}
    const volumes = options.head?.recall?.() ?? []
    const newest = [...volumes].sort((a, b) => b.attachEpoch - a.attachEpoch)[0]
    return {
      ...(newest ? { secret: newest.chap.password } : {}),
      name: options.host, roles: [...options.storage ? ['storage'] as const : [], ...options.head ? ['head'] as const : []], zone, dataAddresses, initiator, version,
      volumes: volumes.map(({ volume, name, attachEpoch, layout, scope, bytes, changes, segments }) => ({ volume, name, attachEpoch, layout, scope, bytes, remembers: changes !== undefined, segments })),
    }
  }

  /** An order: under its epoch, in its object's line, noted in the journal. `arrived`: before it waits in that line. */
  function order<P extends { readonly epoch: number; readonly op: string }, R>(
    method: Method<P, R>, key: (params: P) => string, act: (params: P, stillMine: StillMine) => Promise<R>, arrived: (params: P) => void = () => undefined,
  ): readonly [string, Operation] {
    return [method.name, async (value, signal) => {
      const params = method.params.parse(value, '')
      const started = clock.monoMs()
      const note = (outcome: string): void => { journal.note({ epoch: params.epoch, op: params.op, method: method.name, outcome, ms: Math.round(clock.monoMs() - started) }) }
      try {
        const result = await epochs.run(params.epoch, async (stillMine) => {
          arrived(params)
          return perObject(key(params), signal, () => {
            stillMine() // it may have waited in line while a newer manager came
            return act(params, stillMine)
          })
        })
        note('done')
        options.onChange()
        return method.result.format(result)
      } catch (thrown) {
        note(thrown instanceof Fault ? thrown.fault : 'internal error')
        throw thrown
      }
    }]
  }

  const storage = (): StorageRole => {
    if (!options.storage) throw new Fault('wrong role', `${options.host} is not a storage server`)
    return options.storage
  }
  const head = (): HeadRole => {
    if (!options.head) throw new Fault('wrong role', `${options.host} is not a head server`)
    return options.head
  }
  const m = agentMethods
  const operations = new Map<string, Operation>([
    [m.observe.name, async (value) => m.observe.result.format(await observe(m.observe.params.parse(value, '').copyRate))],
    [m.start.name, () => Promise.resolve(m.start.result.format({ bootId: options.bootId }))],
    [m.recall.name, () => Promise.resolve(m.recall.result.format(recall()))],
    [m.fence.name, async (value) => {
      const { epoch, op, manager } = m.fence.params.parse(value, '')
      await epochs.fence(epoch, FENCE_WAIT_MS, () => { if (manager !== undefined) options.onManager?.(manager) })
      journal.note({ epoch, op, method: m.fence.name, outcome: 'done', ms: 0 })
      return m.fence.result.format(await observe())
    }],
    order(m.prepareDisk, ({ disk }) => `disk ${disk}`, (params, stillMine) => storage().prepareDisk(params, stillMine)),
    order(m.releaseDisk, ({ disk }) => `disk ${disk}`, async ({ disk }, stillMine) => { await storage().releaseDisk(disk, stillMine); return {} }),
    order(m.ensureExtents, () => 'extents', (params, stillMine) => storage().ensureExtents(params.extents, params.chap, stillMine, madeAt(params))),
    // Overwriting takes minutes, and what is wanted elsewhere meanwhile must not wait for it; the role keeps the two apart.
    order(m.removeExtents, ({ extents }) => `removal of ${extents.map((each) => each.extent).sort()[0] ?? 'nothing'}`, async ({ extents }, stillMine) => { await storage().removeExtents(extents, stillMine); return {} }),
    order(m.banInitiator, ({ initiator }) => `initiator ${initiator}`, async (params, stillMine) => { await storage().banInitiator(params.initiator, stillMine, madeAt(params)); return { bootId: options.bootId } }),
    order(m.attachVolume, ({ volume }) => `volume ${volume.volume}`, ({ volume }, stillMine) => head().attachVolume(volume, stillMine), ({ volume }) => { head().heed?.(volume) }),
    order(m.mendVolume, ({ volume }) => `volume ${volume}`, (params, stillMine) => head().mendVolume(params, stillMine)),
    order(m.detachVolume, ({ volume }) => `volume ${volume}`, async (params, stillMine) => { await head().detachVolume(params, stillMine); return {} }),
  ])

  return async (context, name, params) => {
    if (context.peer.role !== 'manager') throw new Fault('denied', `only a manager may call an agent, not ${JSON.stringify(context.peer.role ?? 'nobody')}`)
    const operation = operations.get(name)
    if (!operation) throw new Fault('unknown method', `an agent has no method ${JSON.stringify(name.slice(0, 100))}`)
    try {
      return await operation(params[0] ?? {}, context.signal)
    } catch (thrown) {
      if (thrown instanceof Fault) {
        log.info('an order was refused', { method: name, fault: thrown.fault, text: thrown.message })
        throw thrown
      }
      log.error('an order failed', { method: name, request: context.requestId, error: messageOf(thrown) })
      throw new Fault('agent failed', `${name} failed on ${options.host}: ${messageOf(thrown)} (log id ${context.requestId})`, { cause: thrown })
    }
  }
}

/** Undefined for an order of a manager that does not number them. */
function madeAt({ epoch, order }: { readonly epoch: number; readonly order?: number | undefined }): MadeAt | undefined {
  return order === undefined ? undefined : { epoch, order }
}
