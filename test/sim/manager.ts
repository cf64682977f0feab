/** The manager: the product's own, on a database that outlives it. Several may run at once; only the newest is called by anybody. */
import { createAccess } from '../../manager/access/access.js'
import { createHandler } from '../../manager/api/door.js'
import { createAgents } from '../../manager/run/agents.js'
import type { LeaseGate, Managers } from '../../manager/run/gate.js'
import { startCluster } from '../../manager/run/loop.js'
import { migrate } from '../../manager/store/schema.js'
import { takeOver } from '../../manager/store/store.js'
import type { Random } from '../../lib/ports.js'
import { createDice } from '../../tools/thrash/dice.js'
import { HostClock, processClock } from './clock.js'
import { Store } from './db.js'
import { Files } from './files.js'
import { enter } from './inside.js'
import type { Process } from './inside.js'
import type { Network } from './network.js'
import type { Transcript } from './record.js'

export interface ManagerOptions {
  readonly seed: number
  readonly network: Network
  readonly transcript: Transcript
  readonly store: Store
  readonly extentBytes: bigint
}

const START_MS = 400

export class Manager {
  readonly #options: ManagerOptions
  readonly clock: HostClock
  readonly #files = new Files()
  #starts = 0
  readonly running = new Set<Process>()
  newest: Process | undefined

  constructor(options: ManagerOptions) {
    this.#options = options
    this.clock = new HostClock(options.network.timeline)
  }

  /** kill -9. */
  kill(process = this.newest): void {
    if (!process) return
    process.alive = false
    this.#options.store.forsake(process)
    this.running.delete(process)
    this.#options.transcript.say('mgr', 'killed')
    if (process === this.newest) {
      this.newest = undefined
      this.#options.network.endpoints.delete('mgr:8881')
    }
  }

  /** One that runs already goes on: it has to find out by itself that it is over. */
  start(): void {
    const { network, transcript, seed } = this.#options
    this.#starts += 1
    const process: Process = {
      name: 'mgr', alive: true, timeline: network.timeline, files: this.#files, run: () => Promise.reject(new Error('a manager runs no programs')),
      call: (request) => network.call({ host: 'mgr', role: 'manager' }, process, request), usedIn: () => false, blank: () => Promise.resolve(false), listens: () => Promise.resolve(false),
      onStep: (what) => network.onStep(process, what),
    }
    this.newest = process
    this.running.add(process)
    network.timeline.touch()
    enter(process, () => {
      this.#serve(process, seededRandom(seed, this.#starts)).catch((thrown: unknown) => {
        if (process.alive) transcript.violate('no program error', `mgr: ${thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown)}`)
      })
    })
  }

  async #serve(process: Process, random: Random): Promise<void> {
    const { network, transcript, store: database, extentBytes } = this.#options
    const clock = processClock(network.timeline, this.clock, () => process.alive)
    const log = transcript.log('mgr')
    await clock.sleep(START_MS)
    const db = database.open(process)
    await migrate(db)
    const store = await takeOver(db, 'mgr', { clock, random })
    const agents = createAgents({ tls: { ca: '', cert: '', key: '' }, epoch: store.epoch, random, gate })
    const running = await startCluster({
      name: 'mgr', version: '0', store, agents, clock, random, log: log.child({ epoch: store.epoch }), extentBytes, gate, managers: onlyOne,
      onEpochLost: () => {
        transcript.say('mgr', `the manager of epoch ${store.epoch} finds that it is over`)
        this.kill(process)
      },
    })
    await store.change((tx) => tx.event({ kind: 'manager active', about: 'manager', name: 'mgr', text: `epoch ${store.epoch}` }))
    transcript.say('mgr', `active, epoch ${store.epoch}`)
    if (process === this.newest) network.endpoints.set('mgr:8881', { host: 'mgr', process, handle: createHandler(running.cluster, createAccess({ ...running.cluster, db: running.cluster.store.read, random: { hex: () => '00', unit: () => 0 } })) })
    running.takeUp()
  }
}

/** Always open: of several managers and their lease test/property/lease-sim.test.ts is the simulation. */
const gate: LeaseGate = { standing: () => 'active', open: () => Promise.resolve() }
const onlyOne: Managers = { list: () => [], lease: () => ({ ageMs: 0, ttlMs: 0, address: '' }), handOver: () => Promise.resolve() }

function seededRandom(seed: number, start: number): Random {
  const dice = createDice(seed, 11, start)
  return {
    hex: (count) => Array.from({ length: 2 * count }, () => dice.between(0, 15).toString(16)).join(''),
    unit: () => dice.next(),
  }
}
