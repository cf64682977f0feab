import { expect } from 'chai'
import { checkWish, devicesWanted, metaStart, planVolume, stagesOf, withoutCopies } from '../../../../agent/head/plan.js'
import type { DeviceTable, DeviceThere, HeadStep } from '../../../../agent/head/plan.js'
import { seenByStatus } from '../../../../agent/head/look.js'
import { nameOf } from '../../../../agent/dm/table.js'
import type { Part } from '../../../../agent/dm/table.js'
import { limits } from '../../../../lib/model.js'
import type { LegWanted, VolumeWanted } from '../../../../lib/wire/agent.js'

const MIB = 1048576n
const [a, b, c] = ['a', 'b', 'c'].map((digit) => digit.repeat(32)) as [string, string, string]
const leg = (extent: string, state: LegWanted['state'] = 'insync'): LegWanted => ({ extent, disk: 'd'.repeat(32), host: `st-${extent[0] ?? ''}`, target: 'iqn.x', addresses: ['10.0.0.1'], lun: 1, bytes: 4n * MIB + limits.changesBytes, state })
const volume = (more: Partial<VolumeWanted['segments'][number]> = {}, settled = 3): VolumeWanted => ({
  volume: 'f'.repeat(32), name: 'v', attachEpoch: 1, layout: 1, scope: 'whole', bytes: 2n * MIB, waitSeconds: 0, chap: { initiator: 'iqn.h', user: 'hd1', password: 'secretsecret' },
  changes: { settled },
  segments: [{ index: 0, generation: 1, bytes: MIB, copy: 'none', legs: [leg(a), leg(b)], ...more }, { index: 1, generation: 1, bytes: MIB, copy: 'none', legs: [leg(b)] }],
})
const catchingUp = volume({ copy: 'changed', since: 2, legs: [leg(a), leg(b), leg(c, 'syncing')] })
const there = (wanted: VolumeWanted, more: Partial<Record<Part, Partial<DeviceThere>>> = {}): readonly DeviceThere[] =>
  devicesWanted(wanted).map(({ part, table }) => ({ part, table, suspended: false, failed: false, ...more[part] }))
const told = (steps: readonly HeadStep[]): readonly string[] => steps.map((step) => `${step.do} ${step.part}${'table' in step && step.table.kind === 'mirror' && step.table.mirror.copy !== 'none' ? ` ${step.table.mirror.copy}` : ''}`)
const plan = (wanted: VolumeWanted, now: readonly DeviceThere[], fresh = true): readonly string[] => told(planVolume(wanted, now, fresh))
const tableAt = (wanted: VolumeWanted, part: Part): DeviceTable | undefined => devicesWanted(wanted).find((each) => each.part === part)?.table

describe('a volume whose changes are remembered', () => {
  it('has what remembers between the guest\'s queue and its segments, and a queue under what it keeps', () => {
    expect(plan(volume(), [])).to.deep.equal(['create s0', 'create s1', 'create meta', 'create body', 'create meta-top', 'create changes', 'create top'])
    expect(tableAt(volume(), 'top')).to.include({ part: 'changes' })
    expect(tableAt(volume(), 'changes')).to.include({ part: 'body', meta: 'meta-top', block: 8192n })
  })

  it('keeps it behind segment 0, on all its legs', () => {
    expect(tableAt(volume(), 'meta')).to.deep.equal({ kind: 'mirror', mirror: { length: limits.changesBytes / 512n, legs: [a, b], starts: [2048n, 2048n], copy: 'none' } })
    expect([metaStart({ bytes: MIB }), metaStart({ bytes: MIB + 512n })]).to.deep.equal([2048n, 2056n])
  })

  it('begins anew where nothing that is kept there counts, before anything reads it', () => {
    expect(plan(volume({}, 0), []).slice(-3)).to.deep.equal(['wipe meta-top', 'create changes', 'create top'])
    expect(plan(volume({}, 0), there(volume()))).to.deep.equal([])
  })

  it('never has a second one on the same metadata: it is left as it is, or goes on', () => {
    expect(plan(volume(), there(volume(), { changes: { table: undefined } }))).to.deep.equal([])
    expect(plan(volume(), there(volume(), { changes: { suspended: true } }))).to.deep.equal(['resume changes'])
  })

  it('copies what changed to a leg that is back, and all of the little that is remembered', () => {
    expect(plan(catchingUp, there(volume()))).to.deep.equal(['create s0-low', 'create meta-low', 'reload s0 changed', 'reload meta all'])
    expect(tableAt(catchingUp, 'meta')).to.deep.equal({ kind: 'mirror', mirror: { length: limits.changesBytes / 512n, legs: ['meta-low', c], starts: [0n, 2048n], copy: 'all' } })
  })

  it('is content where all is copied for want of a list, and not the reverse', () => {
    const all = volume({ copy: 'all', legs: catchingUp.segments[0]?.legs ?? [] })
    expect(plan(catchingUp, there(all))).to.deep.equal([])
    expect(plan(all, there(catchingUp))).to.deep.equal(['reload s0 all'])
  })

  it('can serve without its copies first: only then can it say what changed', () => {
    expect(plan(withoutCopies(catchingUp), [])).to.deep.equal(plan(volume(), []))
    expect(plan(catchingUp, there(withoutCopies(catchingUp)))).to.deep.equal(['create s0-low', 'create meta-low', 'reload s0 changed', 'reload meta all'])
  })

  it('serves first without its copies where it only copied before, and has at hand every leg that either stage puts into a table', () => {
    const copies: VolumeWanted = { ...catchingUp, scope: 'copies', changes: undefined, segments: catchingUp.segments.slice(0, 1).map((segment) => ({ ...segment, copy: 'all' })) }
    const stages = stagesOf(catchingUp, there(copies), true)
    expect(stages.map(({ steps }) => told(steps))).to.deep.equal([
      ['reload s0', 'create s1', 'create meta', 'create body', 'create meta-top', 'create changes', 'create top', 'remove s0-low'], ['create s0-low', 'create meta-low', 'reload s0 changed', 'reload meta all'],
    ])
    const named = stages.map(({ steps }) => steps.flatMap((step) => ('table' in step && step.part === 's0' && step.table.kind === 'mirror' ? step.table.mirror.legs : [])))
    expect(named).to.deep.equal([[a, b], ['s0-low', c]])
    expect(stagesOf(catchingUp, there(volume()), true)).to.have.length(1)
  })

  it('lets both queues try again', () => {
    expect(plan(volume(), there(volume(), { top: { failed: true }, 'meta-top': { failed: true } }))).to.deep.equal(['reinstate meta-top', 'reinstate top'])
  })

  it('copies what is remembered with segment 0 while it is detached, and with no other', () => {
    const detached = { ...volume({ copy: 'all', legs: [leg(a), leg(c, 'syncing')] }), scope: 'copies' as const }
    const [zero, one] = detached.segments
    if (!zero || !one) throw new Error('two segments')
    expect(plan({ ...detached, segments: [zero] }, [])).to.deep.equal(['create s0-low', 'create meta-low', 'create s0 all', 'create meta all'])
    expect(plan({ ...detached, segments: [{ ...one, copy: 'all', legs: [leg(b), leg(c, 'syncing')] }] }, [])).to.deep.equal(['create s1-low', 'create s1 all'])
  })

  it('refuses a leg without room for it, and a copy of changes that nobody remembers', () => {
    expect(() => { checkWish(volume({ legs: [{ ...leg(a), bytes: 4n * MIB }] })) }).to.throw('smaller than the segment')
    expect(() => { checkWish({ ...volume({ legs: [{ ...leg(a), bytes: 4n * MIB }] }), changes: undefined }) }).not.to.throw()
    expect(() => { checkWish(volume({ copy: 'changed', legs: [leg(a), leg(c, 'syncing')] })) }).to.throw('nothing tells since when')
    expect(() => { checkWish({ ...catchingUp, changes: undefined }) }).to.throw('nothing tells since when')
  })
})

describe('a leg of segment 0', () => {
  const status = (lines: Partial<Record<Part, string>>): ReadonlyMap<string, readonly string[]> => new Map(Object.entries(lines).map(([part, line]) => [nameOf('f'.repeat(32), part as Part), [String(line)]]))
  const well = { s0: '0 2048 mirror 2 8:0 8:16 2/2 1 AA 1 core', s1: '0 2048 linear', meta: '0 8192 mirror 2 8:0 8:16 8/8 1 AA 1 core' }
  const letters = (lines: Partial<Record<Part, string>>, wanted = volume()): string => seenByStatus(wanted, status(lines)).segments[0]?.legs.map((each) => each.health).join('') ?? ''

  it('is lost when what is remembered can\'t be written to it, as when data can\'t', () => {
    expect(letters(well)).to.equal('AA')
    expect(letters({ ...well, meta: '0 8192 mirror 2 8:0 8:16 8/8 1 AD 1 core' })).to.equal('AD')
    expect(letters({ ...well, s0: '0 2048 mirror 2 8:0 8:16 2/2 1 DA 1 core' })).to.equal('DA')
  })

  it('has caught up when both are copied', () => {
    const copying = { ...well, 's0-low': well.s0, 'meta-low': well.meta, s0: '0 2048 mirror 2 254:1 8:32 2/2 1 AA 3 disk 7:0 A', meta: '0 8192 mirror 2 254:2 8:32 5/8 1 AA 1 core' }
    const [seen] = seenByStatus(catchingUp, status(copying)).segments
    expect([seen?.inSync, seen?.regions]).to.deep.equal([7, 10])
  })

  it('that waits to be remembered is told as waiting', () => {
    expect(seenByStatus(volume(), status(well)).waiting).to.equal(false)
    expect(seenByStatus(volume(), status({ ...well, 'meta-top': '0 8192 multipath 2 1 0 0 1 1 E 0 1 0 254:1 F 1' })).waiting).to.equal(true)
  })
})
