/**
 * A manager as it is, on a database in memory, with agents that only remember what they were told: for tests of its API from outside.
 * Time stands still unless it is moved; hosts are heard unless they were silenced.
 */
import { must } from '../../lib/assert.js'
import { Fault } from '../../lib/faults.js'
import type { FaultName } from '../../lib/faults.js'
import { createLog } from '../../lib/host/log.js'
import type { Clock, Random } from '../../lib/ports.js'
import { targetName } from '../../lib/wire/agent.js'
import type { Observation, VolumeSeen, VolumeWanted } from '../../lib/wire/agent.js'
import { hostRegister } from '../../manager/api/hosts.js'
import { AgentSilent } from '../../manager/run/agents.js'
import type { Agents } from '../../manager/run/agents.js'
import type { Cluster } from '../../manager/run/cluster.js'
import { onlyOne } from './manager.js'
import { startCluster } from '../../manager/run/loop.js'
import type { RunningCluster } from '../../manager/run/loop.js'
import type { HostRow } from '../../manager/state/rows.js'
import type { Db } from '../../manager/store/db.js'
import { migrate } from '../../manager/store/schema.js'
import { openSqlite } from '../../manager/store/sqlite.js'
import { takeOver } from '../../manager/store/store.js'

export interface SiteOptions {
  readonly heads?: number
  readonly servers?: number
  /** Of each storage server. */
  readonly disks?: number
  readonly diskGib?: number
  readonly extentGib?: number
}

const GIB = 1024n ** 3n
const START_MS = Date.UTC(2026, 10, 21, 3, 4, 5)

/** Moves only by `advance`, which ends the sleeps that it passes, in order. */
class HandClock implements Clock {
  now = 0
  readonly #sleepers = new Set<{ readonly at: number; readonly wake: () => void }>()
  nowMs(): number { return START_MS + this.now }
  monoMs(): number { return this.now }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => { this.#sleepers.delete(sleeper); reject(signal?.reason) }
      const sleeper = { at: this.now + ms, wake: (): void => { signal?.removeEventListener('abort', abort); this.#sleepers.delete(sleeper); resolve() } }
      if (signal?.aborted) abort()
      else {
        signal?.addEventListener('abort', abort, { once: true })
        this.#sleepers.add(sleeper)
      }
    })
  }
  moveTo(now: number): void {
    this.now = now
    for (const sleeper of [...this.#sleepers].filter(({ at }) => at <= now).sort((a, b) => a.at - b.at)) sleeper.wake()
  }
}

interface StandIn {
  readonly name: string
  readonly storage: boolean
  readonly addresses: readonly string[]
  boot: number
  start: number
  silent: boolean
  readonly disks: Map<string, string>
  readonly extents: Map<string, Observation['extents'][number]>
  readonly volumes: Map<string, VolumeSeen>
}

export class Site {
  readonly clock = new HandClock()
  readonly hosts = new Map<string, StandIn>()
  /** `host method` → what its agent answers instead. */
  readonly refusals = new Map<string, { readonly fault: FaultName; readonly text: string }>()
  /** `host method` → how often it was called. */
  readonly calls = new Map<string, number>()
  readonly #gates = new Map<string, { readonly open: Promise<void>; readonly release: () => void }>()
  readonly #options: Required<SiteOptions>
  #db: Db | undefined
  #running: RunningCluster | undefined
  #dice = 0
  /** Rises with whatever is done. */
  #stir = 0

  private constructor(options: SiteOptions) {
    this.#options = { heads: 2, servers: 3, disks: 1, diskGib: 100, extentGib: 8, ...options }
  }

  static async start(options: SiteOptions = {}): Promise<Site> {
    const site = new Site(options)
    site.#db = await openSqlite(':memory:')
    await migrate(site.#db)
    await site.#begin()
    for (let each = 1; each <= site.#options.heads; each += 1) await site.#join(`hd${each}`, false, [`10.0.1.${each}`, `10.0.2.${each}`])
    for (let each = 1; each <= site.#options.servers; each += 1) await site.#join(`st${each}`, true, [`10.0.3.${each}`])
    await site.settle()
    return site
  }

  /** Another manager takes over, who knows what is in the database and no more. */
  async restart(): Promise<void> {
    const stopped = this.#running?.stop()
    this.clock.moveTo(this.clock.now + 60_000)
    await stopped
    await this.#begin()
    for (const name of this.hosts.keys()) await this.#register(name)
    await this.settle()
  }

  async #begin(): Promise<void> {
    const { clock } = this
    const random: Random = { hex: (count) => (this.#dice += 1).toString(16).padStart(count * 2, '0'), unit: () => 0.5 }
    const db = must(this.#db, 'there is a database')
    const stirred = <T>(begun: Promise<T>): Promise<T> => { this.#stir += 1; return begun }
    const counted: Db = { engine: db.engine, snapshot: (work) => stirred(db.snapshot(work)), all: (sql, params) => stirred(db.all(sql, params)), get: (sql, params) => stirred(db.get(sql, params)), tx: (work, how) => stirred(db.tx(work, how)), close: () => db.close() }
    const store = await takeOver(counted, 'mgr1', { clock, random })
    this.#running = await startCluster({
      name: 'mgr1', version: 'test', store, agents: this.#agents(), clock, random, log: createLog({ name: 'test', level: 'silent' }), extentBytes: BigInt(this.#options.extentGib) * GIB,
      gate: { standing: () => 'active', open: () => Promise.resolve() }, managers: onlyOne,
      onEpochLost: (lost) => { throw lost },
    })
    this.#running.takeUp()
  }

  get cluster(): Cluster {
    return must(this.#running, 'the site was started').cluster
  }

  async stop(): Promise<void> {
    for (const gate of this.#gates.values()) gate.release()
    const stopped = this.#running?.stop()
    this.clock.moveTo(this.clock.now + 60_000)
    await stopped
    await this.#db?.close()
  }

  host(name: string): StandIn {
    return must(this.hosts.get(name), `${name} is a host of the site`)
  }

  async #join(name: string, storage: boolean, addresses: readonly string[]): Promise<void> {
    this.hosts.set(name, { name, storage, addresses, boot: 1, start: 1, silent: false, disks: new Map(), extents: new Map(), volumes: new Map() })
    await this.#register(name)
  }

  async #register(name: string): Promise<void> {
    const { storage, addresses, boot, start } = this.host(name)
    await hostRegister(this.cluster, {
      name, roles: [storage ? 'storage' : 'head'], zone: '', address: `${addresses[0] ?? ''}:8882`, dataAddresses: addresses, initiator: `iqn.2026-11.io.vsky:${name}`, version: 'test', bootId: `boot-${boot}`,
      incarnation: `start-${start}`, disks: storage ? Array.from({ length: this.#options.disks }, (_, index) => `/dev/sd${String.fromCharCode(98 + index)}`) : [],
    })
  }

  /** Its agent is not heard, and answers nothing; time passes until that is known. */
  async silence(name: string): Promise<void> {
    this.host(name).silent = true
    await this.advance(6000)
  }

  async back(name: string, { rebooted = false } = {}): Promise<void> {
    const host = this.host(name)
    Object.assign(host, { silent: false, start: host.start + 1, boot: host.boot + (rebooted ? 1 : 0) })
    if (rebooted) host.volumes.clear()
    await this.#register(name)
    await this.settle()
  }

  /** Time passes; all that are not silent are heard. */
  async advance(ms: number): Promise<void> {
    for (const end = this.clock.now + ms; this.clock.now < end;) {
      for (const { name, silent } of this.hosts.values()) if (!silent) this.cluster.presence.heard(name, this.clock.now)
      this.clock.moveTo(Math.min(end, this.clock.now + 2000))
      await this.settle()
    }
  }

  /** Until what can go on without time passing has gone on. */
  async settle(): Promise<void> {
    const db = must(this.#db, 'the site was started')
    for (let calm = 0, before = this.#stir; calm < 5; calm = this.#stir === before ? calm + 1 : 0) {
      before = this.#stir
      await new Promise((resolve) => setImmediate(resolve))
      await db.get('select 1 as one') // behind every statement that has been begun
    }
  }

  /** Its agent does not answer this method until it is released. */
  hold(name: string, method: string): void {
    let release: () => void = () => undefined
    const open = new Promise<void>((resolve) => { release = resolve })
    this.#gates.set(`${name} ${method}`, { open, release })
  }

  release(name: string, method: string): void {
    this.#gates.get(`${name} ${method}`)?.release()
    this.#gates.delete(`${name} ${method}`)
  }

  #agents(): Agents {
    return {
      call: async (row, method, params) => {
        const key = `${row.name} ${method.name}`
        this.#stir += 1
        this.calls.set(key, (this.calls.get(key) ?? 0) + 1)
        await this.#gates.get(key)?.open
        if (this.host(row.name).silent) throw new AgentSilent(`${row.name} did not answer ${method.name}`)
        const refused = this.refusals.get(key)
        if (refused) throw new Fault(refused.fault, refused.text)
        const sent = method.params.parse(method.params.format({ epoch: 1, op: 'test', ...params } as never), '') // as over the wire
        return method.result.parse(method.result.format(this.#answer(row, method.name, sent as Given) as never), '')
      },
      close: () => undefined,
    }
  }

  #answer({ name }: HostRow, method: string, params: Given): unknown {
    const host = this.host(name)
    const bytes = BigInt(this.#options.diskGib) * GIB
    const diskSeen = (disk: string, device: string): Observation['disks'][number] => ({ disk, device, state: 'ready', problem: '', bytes, freeBytes: bytes, cleanBytes: bytes })
    switch (method) {
      case 'agent.observe': case 'agent.fence': return {
        host: name, bootId: `boot-${host.boot}`, incarnation: `start-${host.start}`, epoch: 1, disks: [...host.disks].map(([disk, device]) => diskSeen(disk, device)),
        extents: [...host.extents.values()], volumes: [...host.volumes.values()], foreign: [],
      } satisfies Observation
      case 'agent.start': return { bootId: `boot-${host.boot}` }
      case 'agent.disk.prepare': {
        host.disks.set(params.disk ?? '', params.device ?? '')
        return diskSeen(params.disk ?? '', params.device ?? '')
      }
      case 'agent.disk.release':
        host.disks.delete(params.disk ?? '')
        return {}
      case 'agent.extent.ensure':
        for (const extent of params.extents ?? []) host.extents.set(extent.extent, extent)
        return { target: targetName(name), addresses: host.addresses }
      case 'agent.extent.remove':
        for (const { extent } of params.extents ?? []) host.extents.delete(extent)
        return {}
      case 'agent.initiator.ban': return {}
      case 'agent.volume.attach': return this.#assemble(host, params.volume as VolumeWanted)
      case 'agent.volume.detach':
        host.volumes.delete(params.volume as string)
        return {}
      default: throw new Fault('agent failed', `a stand-in knows nothing of ${method}`)
    }
  }

  /** A copy that is asked for is half done until `endCopies`. */
  #assemble(host: StandIn, wanted: VolumeWanted): VolumeSeen {
    const seen: VolumeSeen = {
      volume: wanted.volume, name: wanted.name, attachEpoch: wanted.attachEpoch, layout: wanted.layout, scope: wanted.scope, state: 'up', device: `/dev/vsky/${wanted.name}`, opens: 0, waiting: false, unreachable: [],
      segments: wanted.segments.map(({ index, generation, legs, copy }) => ({
        index, generation, legs: legs.map((leg) => ({ extent: leg.extent, health: 'A' as const })), inSync: copy === 'none' ? 100 : 50, regions: 100,
      })),
    }
    host.volumes.set(wanted.volume, seen)
    return seen
  }

  /** All copies reach their end, and the manager sees it. */
  async endCopies(): Promise<void> {
    for (const { name, volumes } of this.hosts.values()) {
      if (volumes.size > 0) this.cluster.work.kick('head', name) // its next heartbeat says that something has changed
      for (const [id, seen] of volumes) volumes.set(id, { ...seen, segments: seen.segments.map((segment) => ({ ...segment, inSync: segment.regions })) })
    }
    await this.advance(5000)
  }
}

/** As much of the parameters of an agent's methods as the stand-ins look at. */
interface Given {
  readonly disk?: string
  readonly device?: string
  readonly extents?: readonly Observation['extents'][number][]
  readonly volume?: unknown
}
