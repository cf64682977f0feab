/**
 * The export tree of one storage server as a value, and the steps from the tree that is there to the one that is wanted. Pure.
 * One target with one portal group; one LUN an extent; one ACL an initiator, with just the LUNs that it may use.
 */

export interface TargetTree {
  readonly backstores: ReadonlySet<string>
  /** LUN number → extent; empty for one that leads nowhere: whoever made it, or took it away, died half-way. */
  readonly luns: ReadonlyMap<number, string>
  /** Initiator → its mapped LUN numbers. */
  readonly acls: ReadonlyMap<string, ReadonlySet<number>>
}

export interface WantedExport {
  readonly extent: string
  readonly lun: number
  readonly device: string
  readonly initiators: readonly string[]
}

export type TargetStep =
  | { readonly do: 'unmap'; readonly initiator: string; readonly lun: number }
  | { readonly do: 'remove acl'; readonly initiator: string }
  | { readonly do: 'remove lun'; readonly lun: number }
  | { readonly do: 'remove backstore'; readonly extent: string }
  | { readonly do: 'add backstore'; readonly extent: string; readonly device: string }
  | { readonly do: 'add lun'; readonly lun: number; readonly extent: string }
  | { readonly do: 'add acl'; readonly initiator: string }
  | { readonly do: 'map'; readonly initiator: string; readonly lun: number }

/**
 * Steps in an order in which each is possible; what lets somebody in comes last, what shuts out comes first. `mine` names the
 * extents that this difference is about: others are left as they are. An ACL with no LUN left goes as a whole, and its session
 * with it. A LUN from which all who had it are shut out is made anew: its removal waits for every command under way (the kernel's
 * core_tpg_remove_lun), so when it is back nobody's late write can reach it. To take away a mapping alone would not wait.
 * A LUN that leads nowhere goes with whatever is done next.
 * `outdated`: initiators whose ACL has a secret that is no longer theirs; they are given the new one, and what they have open stays open.
 */
export function targetSteps(tree: TargetTree, wanted: readonly WantedExport[], mine: (extent: string) => boolean, outdated: ReadonlySet<string> = new Set()): readonly TargetStep[] {
  const byExtent = new Map(wanted.map((each) => [each.extent, each]))
  const steps: TargetStep[] = []
  const wrongLuns = [...tree.luns].filter(([lun, extent]) => (extent === ''
    ? !wanted.some((each) => each.lun === lun)
    : mine(extent) && (byExtent.get(extent)?.lun !== lun || losesAll(tree, lun, byExtent.get(extent))))).map(([lun]) => lun)
  const luns = new Map([...tree.luns].filter(([lun]) => !wrongLuns.includes(lun)))
  const allowed = (initiator: string, lun: number): boolean => {
    const extent = luns.get(lun)
    return extent !== undefined && (!mine(extent) || (byExtent.get(extent)?.initiators.includes(initiator) ?? false))
  }
  const acls = new Map<string, ReadonlySet<number>>()
  for (const [initiator, mapped] of tree.acls) {
    const out = [...mapped].filter((lun) => !allowed(initiator, lun))
    const kept = new Set([...mapped].filter((lun) => allowed(initiator, lun)))
    const needed = wanted.some((each) => each.initiators.includes(initiator))
    for (const lun of out) steps.push({ do: 'unmap', initiator, lun })
    if (kept.size === 0 && !needed) steps.push({ do: 'remove acl', initiator })
    else acls.set(initiator, kept)
  }
  for (const lun of wrongLuns) steps.push({ do: 'remove lun', lun })
  for (const extent of tree.backstores) if (mine(extent) && !byExtent.has(extent)) steps.push({ do: 'remove backstore', extent })
  for (const { extent, device, lun } of wanted) {
    if (!tree.backstores.has(extent)) steps.push({ do: 'add backstore', extent, device })
    if (luns.get(lun) !== extent) steps.push({ do: 'add lun', lun, extent })
  }
  for (const initiator of new Set(wanted.flatMap((each) => each.initiators))) if (!acls.has(initiator) || outdated.has(initiator)) steps.push({ do: 'add acl', initiator })
  for (const { lun, initiators } of wanted) for (const initiator of initiators) if (!acls.get(initiator)?.has(lun)) steps.push({ do: 'map', initiator, lun })
  return steps
}

/** Some had it, and none of them is to have it any more. */
function losesAll(tree: TargetTree, lun: number, wanted: WantedExport | undefined): boolean {
  const had = [...tree.acls].filter(([, mapped]) => mapped.has(lun)).map(([initiator]) => initiator)
  return had.length > 0 && !had.some((initiator) => wanted?.initiators.includes(initiator))
}
