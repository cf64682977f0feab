/** Roles, and who may call a method: that follows from the method's own entry in the registry, by the tables here and nowhere else. */

/** What a method can ask for: a viewer reads; an operator changes volumes and disks; an admin everything; an agent speaks for its own host; a joiner has an invitation, and wants to become one. */
export const apiRoles = ['viewer', 'operator', 'admin', 'agent', 'joiner'] as const
export type ApiRole = (typeof apiRoles)[number]

/** Of people: by certificate, as a user, or by a token. */
export const userRoles = ['viewer', 'operator', 'admin'] as const
export type UserRole = (typeof userRoles)[number]

/** A hypervisor attaches volumes to its own host, and detaches them from it. Only a token has this role, and it names the host. */
export const tokenRoles = [...userRoles, 'hypervisor'] as const
export type TokenRole = (typeof tokenRoles)[number]

export type CallerRole = UserRole | 'agent' | 'hypervisor' | 'joiner'

/**
 * How far a method is open to a hypervisor. `all`: as it stands; `own host`: its parameter `host` must be that of the token; `own volume`: only for a
 * volume that is attached to that host, which the method itself proves inside its transaction.
 */
export type HypervisorReach = 'all' | 'own host' | 'own volume'

export interface Asks {
  readonly role: ApiRole
  /** Absent: closed to hypervisors. */
  readonly hypervisor?: HypervisorReach
}

const opens: Readonly<Record<CallerRole, readonly ApiRole[]>> = {
  admin: ['viewer', 'operator', 'admin'], operator: ['viewer', 'operator'], viewer: ['viewer'], agent: ['agent'], hypervisor: [], joiner: ['joiner'],
}

export function isCallerRole(role: string): role is CallerRole {
  return Object.hasOwn(opens, role)
}

/** Whether the method is open to the role at all; what a hypervisor may name in it is looked at besides. */
export function mayCall(role: CallerRole, { role: needed, hypervisor }: Asks): boolean {
  return role === 'hypervisor' ? hypervisor !== undefined : opens[role].includes(needed)
}

const reaches: Readonly<Record<HypervisorReach, string>> = {
  all: 'also for hypervisors', 'own host': 'also for hypervisors, naming their own host', 'own volume': 'also for hypervisors, of volumes attached to their own host',
}

/** Whom it is for, for people. */
export function audienceOf({ role, hypervisor }: Asks): string {
  return hypervisor === undefined ? role : `${role}; ${reaches[hypervisor]}`
}
