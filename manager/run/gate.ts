/** What the lease lets this manager do at the moment. Always open where there is no lease. */

export interface LeaseGate {
  /** `soft-stopped`: nothing new is begun. `frozen`: no effect of any kind, until the lease can be renewed again. */
  standing(): 'active' | 'soft-stopped' | 'frozen'
  /** Resolves as soon as nothing stands in the way. Rejects with EpochLost when the lease is over. */
  open(what: 'begin' | 'effect', signal?: AbortSignal): Promise<void>
}

/** Who else is there, and how the role is handed on. */
export interface Managers {
  /** By name, this one among them. */
  list(): readonly ManagerSeen[]
  /** Since the last renewal of the lease, ms; and how long it is good for, ms. */
  lease(): { readonly ageMs: number; readonly ttlMs: number; readonly address: string }
  /** Ends what is under way and gives the lease up; resolves when others can take it. */
  handOver(to: string): Promise<void>
}

export interface ManagerSeen {
  readonly name: string
  readonly address: string
  readonly version: string
  readonly state: 'active' | 'standby' | 'gone'
}
