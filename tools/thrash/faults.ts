/**
 * Which fault comes next: a pure function of the seed, the number of the step and what is known of the cluster. Unless the mix is a
 * cruel one, it never takes away more than what the volumes can bear: one server less than the least redundancy between two checks,
 * one head, and no server after a head (its volumes may be copying from their only good leg).
 */
import { createDice } from './dice.js'
import type { Dice } from './dice.js'

export const kinds = ['manager-kill', 'agent-kill', 'manager-cut', 'blip', 'cut', 'storage-power', 'head-power', 'disk-fail', 'disk-slow', 'disk-hang', 'disk-bad', 'move', 'forced-move'] as const
export type Kind = (typeof kinds)[number]

export const MANAGER = 'mgr1'
/** A move takes some 5 s in the lab. */
const MOVE_TAKES_MS = 5000
/** Between the beginnings of two faults, at most. */
const GAP_MS = 2500
/** A head may be harmed by one of the last so many faults of a round. */
const HEAD_LAST = 2

/** What a product that can't repair legs bears without losing one for good. */
const gentle: ReadonlySet<Kind> = new Set<Kind>(['manager-kill', 'agent-kill', 'manager-cut', 'blip', 'head-power', 'move'])
const harmsServer: ReadonlySet<Kind> = new Set<Kind>(['blip', 'cut', 'storage-power', 'disk-fail', 'disk-slow', 'disk-hang', 'disk-bad'])
const harmsHead: ReadonlySet<Kind> = new Set<Kind>(['head-power', 'forced-move'])

export type Fault =
  | { readonly kind: 'manager-kill' }
  | { readonly kind: 'agent-kill'; readonly host: string }
  /** The control plane between a host and all others. */
  | { readonly kind: 'manager-cut'; readonly host: string }
  /** A blip is a cut of less than a second: nobody should lose anything by it. Of one way: only what `from` sends is dropped. */
  | { readonly kind: 'blip' | 'cut'; readonly from: string; readonly to: string; readonly oneWay: boolean }
  | { readonly kind: 'storage-power' | 'head-power'; readonly host: string }
  | { readonly kind: 'disk-fail'; readonly host: string; readonly disk: number; readonly direction: 'read' | 'write' | 'both' }
  | { readonly kind: 'disk-slow'; readonly host: string; readonly disk: number; readonly ms: number }
  | { readonly kind: 'disk-hang'; readonly host: string; readonly disk: number }
  /** Sectors under what is written that can't be read until they are written; `dice`: for choosing them when their places are known. */
  | { readonly kind: 'disk-bad'; readonly host: string; readonly disk: number; readonly sectors: number; readonly dice: number }
  /**
   * Detached and attached elsewhere; `kill`: the host whose daemon is killed so long after the beginning, empty for none; `changes`: whether
   * what is written is remembered from then on, empty for as before.
   */
  | { readonly kind: 'move'; readonly volume: string; readonly to: string; readonly kill: string; readonly killAfterMs: number; readonly changes: '' | 'off' | 'on' }
  /** The head's plug is pulled, and all its volumes are taken to another one. */
  | { readonly kind: 'forced-move'; readonly host: string; readonly to: string; readonly by: 'attach' | 'host-fail' }

export interface Step {
  readonly fault: Fault
  /** How long it lasts at least; the next ones come meanwhile. */
  readonly lastsMs: number
  /** It is not healed before the others of its round are over. */
  readonly stays: boolean
  /** Until the next one. */
  readonly gapMs: number
}

export interface Model {
  readonly storage: readonly string[]
  readonly heads: readonly string[]
  /** Data disks of each storage server. */
  readonly disks: number
  readonly volumes: readonly { readonly name: string; readonly head: string; readonly redundancy: number }[]
  /** Hosts without power now. */
  readonly down: readonly string[]
  /** Servers and heads that had a fault since the last check: legs on them may be stale until the volumes are full again. */
  readonly harmed: readonly string[]
  readonly cruel: boolean
  /** Faults between two checks, at most. */
  readonly longest: number
  /** False: the product can't repair legs. */
  readonly repair: boolean
  /** Of these only. */
  readonly only: readonly Kind[]
  /** The ways of a forced move that the product knows. */
  readonly forced: readonly ('attach' | 'host-fail')[]
}

/** How many faults come before the next check. */
export function roundLength(seed: number, round: number, { cruel, longest }: Pick<Model, 'cruel' | 'longest'>): number {
  return createDice(seed, 1, round).between(3, longest + (cruel ? 1 : 0))
}

/**
 * `left`: how many are to come before the next check, this one included. A head's turn is at the end, because no server may follow it.
 * Undefined when nothing is allowed any more before the next check.
 */
export function chooseStep(seed: number, step: number, model: Model, left = 1): Step | undefined {
  const dice = createDice(seed, 2, step)
  const allowed = kinds.filter((kind) => isAllowed(kind, model))
  const possible = left <= HEAD_LAST || model.cruel || allowed.every((kind) => harmsHead.has(kind)) ? allowed : allowed.filter((kind) => !harmsHead.has(kind))
  if (possible.length === 0) return undefined
  const kind = dice.pick(possible)
  // Not the control plane: a move that comes later in the round would wait for it for ever.
  const lasting = (harmsServer.has(kind) && kind !== 'blip') || kind === 'head-power'
  return { fault: makeFault(kind, model, dice), lastsMs: lastsOf(kind, dice), stays: lasting && dice.chance(model.cruel ? 0.7 : 0.35), gapMs: dice.between(0, GAP_MS) }
}

/** The cluster as it is while and after a step, until the next check. */
export function afterStep(model: Model, { fault, stays }: Step): Model {
  const harmed = [...new Set([...model.harmed, ...harmedBy(fault, model)])]
  if (fault.kind === 'move') return { ...model, harmed, volumes: model.volumes.map((volume) => (volume.name === fault.volume ? { ...volume, head: fault.to } : volume)) }
  if (fault.kind === 'forced-move') {
    return { ...model, harmed, down: [...model.down, fault.host], volumes: model.volumes.map((volume) => (volume.head === fault.host ? { ...volume, head: fault.to } : volume)) }
  }
  const off = stays && (fault.kind === 'storage-power' || fault.kind === 'head-power') ? [fault.host] : []
  return { ...model, harmed, down: [...model.down, ...off] }
}

/** The hosts whose power a fault needs: one that is only off for a while has to be on again first. */
export function needsOf(fault: Fault, { volumes }: Pick<Model, 'volumes'>): readonly string[] {
  if (fault.kind === 'manager-kill') return [MANAGER]
  if (fault.kind === 'move') return [fault.to, fault.kill, ...volumes.filter((volume) => volume.name === fault.volume).map((volume) => volume.head)].filter((host) => host !== '')
  if (fault.kind === 'forced-move') return [fault.host, fault.to]
  return 'host' in fault ? [fault.host] : [fault.from, fault.to]
}

/** After everything was healed and checked. */
export function afterCheck(model: Model): Model {
  return { ...model, down: [], harmed: [] }
}

/** What a fault is counted as. */
export function labelOf(fault: Fault): string {
  if (fault.kind === 'blip' || fault.kind === 'cut') return fault.oneWay ? `${fault.kind} one way` : fault.kind
  if (fault.kind === 'disk-fail') return `disk-fail ${fault.direction}`
  if (fault.kind === 'move') return `move${fault.changes === '' ? '' : `, changes ${fault.changes}`}${fault.kill === '' ? '' : `, kill of ${fault.kill === MANAGER ? 'manager' : 'agent'}`}`
  if (fault.kind === 'forced-move') return `forced-move by ${fault.by}`
  return fault.kind
}

export function describe(step: Step): string {
  const { fault } = step
  const { kind, ...rest } = fault
  const lasts = kind === 'move' || kind === 'forced-move' || kind.endsWith('kill') ? '' : ` for ${step.lastsMs} ms${step.stays ? ' and on, to the end of the round' : ''}`
  return `${kind} ${Object.entries(rest).filter(([key, value]) => value !== '' && !(key === 'killAfterMs' && value === 0)).map(([key, value]) => `${key}=${value}`).join(' ')}${lasts}`.replace(/ {2,}/g, ' ').trim()
}

function harmedBy(fault: Fault, { storage }: Model): readonly string[] {
  if (fault.kind === 'blip' || fault.kind === 'cut') return [storage.includes(fault.to) ? fault.to : fault.from]
  // Who does not answer while a volume is attached has its leg left behind.
  if (fault.kind === 'move') return storage.includes(fault.kill) ? [fault.kill] : []
  return 'host' in fault && (harmsServer.has(fault.kind) || harmsHead.has(fault.kind)) ? [fault.host] : []
}

const up = (hosts: readonly string[], model: Model): readonly string[] => hosts.filter((host) => !model.down.includes(host))

/** Servers that may have (another) fault now. */
function frailServers(model: Model): readonly string[] {
  const servers = up(model.storage, model)
  if (model.cruel) return servers
  if (model.harmed.some((host) => model.heads.includes(host))) return []
  const harmed = model.harmed.filter((host) => model.storage.includes(host))
  const spare = Math.min(...model.volumes.map((volume) => volume.redundancy)) - 1
  return harmed.length < spare ? servers : servers.filter((host) => harmed.includes(host))
}

/** Heads that carry volumes, if any does: a fault of another one hurts nobody. */
function busyHeads(model: Model): readonly string[] {
  const heads = up(model.heads, model)
  const busy = heads.filter((head) => model.volumes.some((volume) => volume.head === head))
  return busy.length > 0 ? busy : heads
}

function frailHeads(model: Model): readonly string[] {
  const heads = busyHeads(model)
  return model.cruel || !model.harmed.some((host) => model.heads.includes(host)) ? heads : []
}

/** A volume and the head that it can be taken to. */
function moves(model: Model): readonly { readonly volume: string; readonly from: string; readonly to: string }[] {
  const heads = up(model.heads, model)
  return model.volumes.flatMap(({ name, head }) => (heads.includes(head) ? heads.filter((other) => other !== head).map((to) => ({ volume: name, from: head, to })) : []))
}

function isAllowed(kind: Kind, model: Model): boolean {
  if (!model.only.includes(kind) || (!model.repair && !gentle.has(kind))) return false
  if (kind === 'cut' || kind === 'blip') return frailServers(model).length > 0 && up(model.heads, model).length > 0
  if (harmsServer.has(kind)) return frailServers(model).length > 0
  if (kind === 'head-power') return frailHeads(model).length > 0
  if (kind === 'move') return moves(model).length > 0
  if (kind === 'forced-move') return model.forced.length > 0 && forcedMoves(model).length > 0
  return true
}

function forcedMoves(model: Model): readonly { readonly from: string; readonly to: string }[] {
  const frail = frailHeads(model)
  return moves(model).filter((move) => frail.includes(move.from))
}

function makeFault(kind: Kind, model: Model, dice: Dice): Fault {
  const disk = (): number => dice.between(1, model.disks)
  switch (kind) {
    case 'manager-kill': return { kind }
    case 'agent-kill': case 'manager-cut': return { kind, host: dice.pick(up([...model.storage, ...model.heads], model)) }
    case 'storage-power': return { kind, host: dice.pick(frailServers(model)) }
    case 'head-power': return { kind, host: dice.pick(frailHeads(model)) }
    case 'disk-fail': return { kind, host: dice.pick(frailServers(model)), disk: disk(), direction: dice.pick(['read', 'write', 'both']) }
    case 'disk-slow': return { kind, host: dice.pick(frailServers(model)), disk: disk(), ms: dice.pick([20, 100, 500, 3000]) }
    case 'disk-hang': return { kind, host: dice.pick(frailServers(model)), disk: disk() }
    case 'disk-bad': return { kind, host: dice.pick(frailServers(model)), disk: disk(), sectors: dice.between(24, 48), dice: dice.between(0, 1e6) }
    case 'blip': case 'cut': {
      const ends = [dice.pick(busyHeads(model)), dice.pick(frailServers(model))] as const
      const [from, to] = dice.chance(0.5) ? ends : [ends[1], ends[0]]
      return { kind, from, to, oneWay: dice.chance(0.5) }
    }
    case 'move': {
      const { volume, from, to } = dice.pick(moves(model))
      const kill = dice.chance(0.4) ? dice.pick([MANAGER, MANAGER, from, to, dice.pick([...frailServers(model), from])]) : ''
      return { kind, volume, to, kill, killAfterMs: kill === '' ? 0 : dice.between(1, MOVE_TAKES_MS), changes: dice.pick(['', '', 'off', 'on']) }
    }
    case 'forced-move': {
      const { from, to } = dice.pick(forcedMoves(model))
      return { kind, host: from, to, by: dice.pick(model.forced) }
    }
  }
}

/** Shorter and longer than what iSCSI (4 s) and the manager (some 6 s) wait for a host. */
function lastsOf(kind: Kind, dice: Dice): number {
  switch (kind) {
    case 'blip': return dice.between(100, 900)
    case 'manager-cut': return dice.between(200, 8000)
    case 'storage-power': case 'head-power': case 'cut': case 'disk-fail': case 'disk-slow': case 'disk-hang': case 'disk-bad': return dice.pick([500, 2500, 5500, 11_000]) + dice.between(0, 2000)
    case 'manager-kill': case 'agent-kill': case 'move': case 'forced-move': return 0
  }
}

export interface VolumePlan {
  readonly name: string
  readonly number: number
  readonly mebibytes: number
  readonly redundancy: number
  readonly head: string
}

/**
 * Two to four volumes that take at most `extentsMax` extents together, so that there is room to repair legs; small ones, for all of
 * them is read again and again, and most of more than one segment.
 */
export function chooseVolumes(seed: number, heads: readonly string[], { extentMebibytes, extentsMax }: { extentMebibytes: number; extentsMax: number }): readonly VolumePlan[] {
  const dice = createDice(seed, 3)
  const wanted = dice.between(2, 4)
  const plans: VolumePlan[] = []
  let left = extentsMax
  for (let number = 1; number <= wanted; number += 1) {
    const redundancy = dice.between(2, 3)
    const mebibytes = dice.between(40, 160)
    const head = dice.pick(heads)
    const extents = Math.ceil(mebibytes / extentMebibytes) * redundancy
    if (extents > left) continue
    left -= extents
    plans.push({ name: `v${number}`, number, mebibytes, redundancy, head })
  }
  return plans
}
