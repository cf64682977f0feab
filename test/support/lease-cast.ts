/** Who plays in the world of the lease (lease-world.ts), and with what faults. */
import type { LeaseRecord, Sight } from '../../manager/lease/timeline.js'

/** Something that took place: a change in the store, or a step on an agent. */
export interface Effect {
  readonly epoch: number
  readonly incarnation: string
}

export interface Swarm {
  readonly lost: number
  readonly late: number
  readonly doubled: number
  readonly pauses: boolean
  readonly hangs: boolean
  readonly kills: boolean
  readonly outages: boolean
  readonly handOvers: boolean
}

export interface Agent {
  highest: number
  readonly effects: Effect[]
  /** Epochs whose fence was acknowledged, the highest. */
  fenced: number
  readonly running: Set<{ readonly epoch: number; over: boolean }>
}

export interface Term {
  readonly record: LeaseRecord
  renewedMs: number
  sentMs: number
  fenced: Set<number>
  frozen: boolean
}

/** One process of a manager; a new one after each end. */
export interface Process {
  readonly name: string
  readonly rate: number
  readonly offset: number
  dead: boolean
  /** Nothing of it runs, its watchdog neither, before this moment. */
  pausedUntil: number
  /** Its event loop stands still before this moment; its watchdog does not. */
  hangsUntil: number
  sight: Sight | undefined
  term: Term | undefined
  gaveUp: number
}
