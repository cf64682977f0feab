/** A small world to break: servers with disks whose blocks are version numbers, and heads (head.ts). */
import { must } from '../../lib/assert.js'
import { BLOCKS, Head, zeros } from './head.js'
import type { Memory } from './memory.js'

export interface Host { readonly name: string; up: boolean; /** The manager can reach its agent. */ control: boolean; boot: number; heardMs: number }
export interface Disk { readonly id: string; readonly host: string; working: boolean }
/** `safe`: what survives a power failure of the server. `memory`: what the volume's head remembers, on legs of segment 0. */
export interface Leg { readonly disk: string; readonly blocks: number[]; readonly safe: number[]; memory: Memory; safeMemory: Memory; admits: string }

export class World {
  now = 0
  readonly hosts = new Map<string, Host>()
  readonly disks = new Map<string, Disk>()
  readonly legs = new Map<string, Leg>()
  readonly heads = new Map<string, Head>()
  /** By segment and block: the newest version that the guest believes written, and the newest that it flushed. */
  readonly acked: number[][]
  readonly flushed: number[][]
  #versions = 0

  constructor({ storage, disks, heads, segments }: { readonly storage: number; readonly disks: number; readonly heads: number; readonly segments: number }) {
    this.acked = Array.from({ length: segments }, () => zeros())
    this.flushed = Array.from({ length: segments }, () => zeros())
    for (let at = 1; at <= storage; at += 1) {
      this.#addHost(`st${at}`)
      for (let disk = 0; disk < disks; disk += 1) this.disks.set(`st${at}/${disk}`, { id: `st${at}/${disk}`, host: `st${at}`, working: true })
    }
    for (let at = 1; at <= heads; at += 1) {
      this.#addHost(`hd${at}`)
      this.heads.set(`hd${at}`, new Head(this, `hd${at}`))
    }
  }

  #addHost(name: string): void {
    this.hosts.set(name, { name, up: true, control: true, boot: 1, heardMs: 0 })
  }

  host(name: string): Host { return must(this.hosts.get(name), `${name} exists`) }
  disk(id: string): Disk { return must(this.disks.get(id), `${id} exists`) }
  head(name: string): Head { return must(this.heads.get(name), `${name} exists`) }
  answers(name: string): boolean { return this.host(name).up && this.host(name).control }
  nextVersion(): number { return this.#versions += 1 }

  /** Power off. A head loses what it had up; of a server's legs what was not flushed is gone when its disks had a cache. */
  down(name: string, { cached = false } = {}): void {
    this.host(name).up = false
    this.heads.get(name)?.crash()
    for (const leg of this.legsOn(name)) {
      leg.admits = ''
      if (!cached) continue
      leg.blocks.splice(0, BLOCKS, ...leg.safe)
      leg.memory = leg.safeMemory
    }
  }

  up(name: string): void {
    const host = this.host(name)
    if (!host.up) host.boot += 1
    host.up = true
  }

  legsOn(host: string): readonly Leg[] { return [...this.legs.values()].filter((leg) => this.disk(leg.disk).host === host) }

  reachable(head: string, extent: string): boolean {
    const leg = this.legs.get(extent)
    return leg !== undefined && leg.admits === head && this.host(this.disk(leg.disk).host).up && this.disk(leg.disk).working
  }
}
