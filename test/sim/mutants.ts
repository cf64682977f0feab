/** Deliberate faults of the product, each a change of one compiled module's text (hooks.ts): the simulation must find every one. */
import type { Change } from './hooks.js'

export interface Mutant {
  readonly name: string
  readonly changes: readonly Change[]
  /** What to run it with, where it needs something of its own. */
  readonly args?: readonly string[]
}

const change = (file: string, from: string, to: string): readonly Change[] => [{ file, from, to }]

export const mutants: readonly Mutant[] = [
  { name: 'an agent takes orders of any epoch', changes: change('agent/core/epoch.js', 'if (epoch < highest)', 'if (epoch < -1)'), args: ['--faults', 'manager,people,power', '--ticks', '120'] },
  { name: 'a manager does not prove its epoch', changes: change('manager/store/store.js', "numberOf(row, 'epoch') !== epoch || textOf(row, 'incarnation') !== incarnation", 'false'), args: ['--faults', 'manager,people,power', '--ticks', '120'] },
  { name: 'a leg is left out before that is written down', changes: change('manager/run/facts.js', 'tableOrder(extents.filter((extent) => extent.segment === segment.index)', 'tableOrder(extents.filter((extent) => extent.segment === segment.index && (answers(extent.host) || extent.leg !== "insync"))'), args: ['--faults', 'power'] },
  { name: 'the last good leg is given up', changes: change('manager/plan/segment.js', 'if (good.length === 0) {', 'if (used.length === 0) {'), args: ['--faults', 'power'] },
  { name: 'a copy reads from the leg that is behind', changes: change('agent/head/plan.js', 'mirror([low, ...targets.map((leg) => leg.extent)], copy)', 'mirror([...targets.map((leg) => leg.extent), low], copy)'), args: ['--faults', 'power'] },
  { name: 'a tombstone is forgotten', changes: change('manager/store/volumes.js', "update extents set state = 'dropping' where volume = ?", 'delete from extents where volume = ?') },
  { name: 'two copies write to one disk', changes: change('manager/plan/schedule.js', 'WRITERS_PER_DISK = 1', 'WRITERS_PER_DISK = 9'), args: ['--faults', 'power', '--servers', '3', '--volumes', '8'] },
  { name: 'an extent is removed without being overwritten', changes: change('agent/storage/pools.js', 'await zero(lvPath(disk, extent));', ';') },
  { name: 'legs count as equal after their head was lost', changes: change('manager/plan/segment.js', 'others: good.filter((leg) => leg !== source).map((leg) => leg.extent)', 'others: []'), args: ['--faults', 'power', '--ticks', '120'] },
  { name: 'a leg counts again before its copy has ended', changes: change('manager/plan/attached.js', 'there.inSync === there.regions', 'there.inSync >= 0'), args: ['--faults', 'power'] },
  { name: 'nothing is copied to a leg that was away', changes: change('agent/head/build.js', `blocks);
            await copyLog.write(spans);
            await dm.load`, `[]);
            await copyLog.write(spans);
            await dm.load`), args: ['--faults', 'power'] },
  { name: 'a server that was started anew is not doubted', changes: change('manager/api/hosts.js', 'await doubtLegs(cluster, tx, host.name)', 'undefined'), args: ['--faults', 'cache', '--ticks', '120'] },
  { name: 'a leg in doubt is copied from after its head was lost', changes: change('manager/plan/segment.js', 'good.filter((leg) => !doubted(leg))', 'good'), args: ['--faults', 'power,cache', '--servers', '4', '--heads', '1', '--ticks', '20'] },
  { name: 'a leg that failed is given up for one that can\'t be reached', changes: change('agent/head/cut-off.js', 'gone.has(leg.extent) && works(leg)', 'gone.has(leg.extent) || !works(leg)'), args: ['--seed', '3150', '--ticks', '40'] },
  { name: 'a session that does not come back is waited for', changes: change('agent/iscsi/astray.js', 'now - sinceMs >= ASTRAY_MS', 'false'), args: ['--faults', 'power', '--ticks', '120'] },
  { name: 'a request that is repeated is a new one', changes: change('manager/api/requests.js', 'const known = await findRequest(tx, params.request)', 'const known = undefined'), args: ['--faults', 'network,people', '--ticks', '120'] },
]

/** What the mutant of this name changes; nothing without a name. Throws Error for a name that none has. */
export function changesOf(name: string | undefined): Mutant['changes'] {
  if (name === undefined) return []
  const mutant = mutants.find((each) => each.name === name)
  if (!mutant) throw new Error(`no mutant ${name}: there are ${mutants.map((each) => each.name).join(', ')}`)
  return mutant.changes
}
