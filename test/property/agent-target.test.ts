import { expect } from 'chai'
import fc from 'fast-check'
import { targetSteps } from '../../agent/lio/target.js'
import type { TargetStep, TargetTree, WantedExport } from '../../agent/lio/target.js'

const initiators = ['h1', 'h2', 'h3'] as const
/** `mine-…` are what an order is about; `other-…` are not. */
const isMine = (extent: string): boolean => extent.startsWith('mine-')
const mineExtents = ['mine-a', 'mine-b', 'mine-c'] as const
const otherExtents = ['other-a', 'other-b'] as const

interface MutableTree {
  readonly backstores: Set<string>
  readonly luns: Map<number, string>
  readonly acls: Map<string, Set<number>>
}

function copyOf(tree: TargetTree): MutableTree {
  return { backstores: new Set(tree.backstores), luns: new Map(tree.luns), acls: new Map([...tree.acls].map(([initiator, mapped]) => [initiator, new Set(mapped)])) }
}

/** Carries a step out as the kernel would, which refuses what is not possible. */
function carryOut(tree: MutableTree, step: TargetStep): void {
  const possible = (is: boolean): void => { if (!is) throw new Error(`the kernel refuses ${JSON.stringify(step)}`) }
  switch (step.do) {
    case 'unmap': possible(tree.acls.get(step.initiator)?.delete(step.lun) ?? false); break
    case 'remove acl': possible(tree.acls.get(step.initiator)?.size === 0); tree.acls.delete(step.initiator); break
    case 'remove lun': possible(![...tree.acls.values()].some((mapped) => mapped.has(step.lun)) && tree.luns.delete(step.lun)); break
    case 'remove backstore': possible(![...tree.luns.values()].includes(step.extent) && tree.backstores.delete(step.extent)); break
    case 'add backstore': possible(!tree.backstores.has(step.extent)); tree.backstores.add(step.extent); break
    case 'add lun': possible(tree.backstores.has(step.extent) && !tree.luns.has(step.lun)); tree.luns.set(step.lun, step.extent); break
    case 'add acl': possible(!tree.acls.has(step.initiator)); tree.acls.set(step.initiator, new Set()); break
    case 'map': possible(tree.luns.has(step.lun) && tree.acls.has(step.initiator) && tree.acls.get(step.initiator)?.has(step.lun) === false); tree.acls.get(step.initiator)?.add(step.lun); break
  }
}

function applied(tree: TargetTree, steps: readonly TargetStep[]): MutableTree {
  const now = copyOf(tree)
  for (const step of steps) carryOut(now, step)
  return now
}

/** Who may use which extent. */
function rights(tree: TargetTree, of: (extent: string) => boolean): readonly string[] {
  return [...tree.acls].flatMap(([initiator, mapped]) => [...mapped].map((lun) => tree.luns.get(lun) ?? '').filter(of).map((extent) => `${initiator} ${extent}`)).sort()
}

/** A tree as a crash may leave it: backstores without a LUN, LUNs that nobody uses, ACLs without LUNs. */
const anyTree: fc.Arbitrary<TargetTree> = fc.record({
  backstores: fc.subarray([...mineExtents, ...otherExtents]),
  luns: fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 5, maxLength: 5 }),
  exported: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
  acls: fc.array(fc.option(fc.subarray([0, 1, 2, 3, 4, 5, 6])), { minLength: 3, maxLength: 3 }),
}).map(({ backstores, luns: numbers, exported, acls }) => {
  const luns = new Map(backstores.flatMap((extent, index): readonly (readonly [number, string])[] => (exported[index] === true ? [[numbers[index] ?? 0, extent]] : [])))
  return {
    backstores: new Set(backstores), luns,
    acls: new Map(initiators.flatMap((initiator, index): readonly (readonly [string, ReadonlySet<number>])[] => {
      const mapped = acls[index]
      return mapped ? [[initiator, new Set(mapped.filter((lun) => luns.has(lun)))]] : []
    })),
  }
})

/** An order about some of the extents that are its own, on LUN numbers that nothing else of this server has. */
const anyCase = anyTree.chain((tree) => {
  const taken = [...tree.luns].filter(([, extent]) => !isMine(extent)).map(([lun]) => lun)
  const free = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].filter((lun) => !taken.includes(lun))
  return fc.record({
    extents: fc.shuffledSubarray([...mineExtents]), luns: fc.shuffledSubarray(free, { minLength: 3, maxLength: 3 }), let: fc.array(fc.subarray([...initiators]), { minLength: 3, maxLength: 3 }),
  }).map((more) => ({ tree, wanted: more.extents.map((extent, index): WantedExport => ({ extent, lun: more.luns[index] ?? 0, device: `/dev/${extent}`, initiators: more.let[index] ?? [] })) }))
})

const shutsOut = (step: TargetStep): boolean => step.do === 'unmap' || step.do.startsWith('remove')

describe('the steps to an export tree, whatever is there', () => {
  it('are each possible, and end in the tree that is wanted', () => {
    fc.assert(fc.property(anyCase, ({ tree, wanted }) => {
      const now = applied(tree, targetSteps(tree, wanted, isMine))
      expect([...now.backstores].filter(isMine).sort()).to.deep.equal(wanted.map((each) => each.extent).sort())
      expect([...now.luns].filter(([, extent]) => isMine(extent)).map(([lun, extent]) => `${lun} ${extent}`).sort()).to.deep.equal(wanted.map((each) => `${each.lun} ${each.extent}`).sort())
      expect(rights(now, isMine)).to.deep.equal(wanted.flatMap((each) => each.initiators.map((initiator) => `${initiator} ${each.extent}`)).sort())
      expect(targetSteps(now, wanted, isMine), 'and then there is nothing more to do').to.deep.equal([])
    }), { numRuns: 500 })
  })

  it('never touch an extent that the order is not about', () => {
    const notMine = (extent: string): boolean => !isMine(extent)
    fc.assert(fc.property(anyCase, ({ tree, wanted }) => {
      const steps = targetSteps(tree, wanted, isMine)
      const now = copyOf(tree)
      for (const step of steps) {
        if ('extent' in step) expect(isMine(step.extent), JSON.stringify(step)).to.equal(true)
        carryOut(now, step)
        expect(rights(now, notMine), JSON.stringify(step)).to.deep.equal(rights(tree, notMine))
      }
      expect([...now.backstores].filter(notMine)).to.deep.equal([...tree.backstores].filter(notMine))
      expect([...now.luns].filter(([, extent]) => notMine(extent))).to.deep.equal([...tree.luns].filter(([, extent]) => notMine(extent)))
    }), { numRuns: 500 })
  })

  it('leave no initiator an ACL without LUNs', () => {
    fc.assert(fc.property(anyCase, ({ tree, wanted }) => {
      for (const [initiator, mapped] of applied(tree, targetSteps(tree, wanted, isMine)).acls) expect(mapped.size, initiator).to.be.greaterThan(0)
    }), { numRuns: 500 })
  })

  it('shut everybody out who has to go before they let anybody in', () => {
    fc.assert(fc.property(anyCase, ({ tree, wanted }) => {
      const steps = targetSteps(tree, wanted, isMine)
      const firstIn = steps.findIndex((step) => !shutsOut(step))
      if (firstIn >= 0) expect(steps.slice(firstIn).some(shutsOut)).to.equal(false)
      const now = copyOf(tree)
      const after = applied(tree, steps)
      for (const step of steps) {
        carryOut(now, step)
        if (step.do === 'map') for (const right of rights(now, isMine)) expect(rights(after, isMine)).to.include(right)
      }
    }), { numRuns: 500 })
  })

  it('leave alone what is right already: nobody who stays loses a LUN for a moment', () => {
    fc.assert(fc.property(anyCase, ({ tree, wanted }) => {
      const stays = wanted.filter((each) => tree.luns.get(each.lun) === each.extent).flatMap((each) => each.initiators.filter((initiator) => tree.acls.get(initiator)?.has(each.lun)).map((initiator) => `${initiator} ${each.extent}`))
      const now = copyOf(tree)
      for (const step of targetSteps(tree, wanted, isMine)) {
        carryOut(now, step)
        expect(rights(now, isMine)).to.include.members(stays)
      }
    }), { numRuns: 500 })
  })
})
