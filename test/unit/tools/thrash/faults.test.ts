import { expect } from 'chai'
import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { createDice } from '../../../../tools/thrash/dice.js'
import { afterCheck, afterStep, chooseStep, chooseVolumes, kinds, labelOf, needsOf, roundLength } from '../../../../tools/thrash/faults.js'
import type { Model, Step } from '../../../../tools/thrash/faults.js'

const modelOf = (more: Partial<Model> = {}): Model => ({
  storage: ['st1', 'st2', 'st3', 'st4'], heads: ['hd1', 'hd2'], disks: 2, down: [], harmed: [], cruel: false, longest: 6, repair: true, only: kinds, forced: ['attach', 'host-fail'],
  volumes: [{ name: 'v1', head: 'hd1', redundancy: 2 }, { name: 'v2', head: 'hd2', redundancy: 3 }], ...more,
})

interface Taken {
  readonly before: Model
  readonly step: Step
  readonly after: Model
}

/** A run as the thrasher makes it, without a cluster. */
function play(seed: number, faults: number, start: Model): readonly Taken[] {
  return playFrom(0, seed, faults, start)
}

/** `first`: the number of the first step; the thrasher counts from 1. */
function playFrom(first: number, seed: number, faults: number, start: Model): readonly Taken[] {
  const taken: Taken[] = []
  let model = start
  for (let round = 0; taken.length < faults; round += 1) {
    for (let left = roundLength(seed, round, model); left > 0 && taken.length < faults; left -= 1) {
      const step = chooseStep(seed, first + taken.length, model, left)
      if (!step) break
      const after = afterStep(model, step)
      taken.push({ before: model, step, after })
      model = after
    }
    model = afterCheck(model)
  }
  return taken
}

const seeds = fc.nat(1_000_000)
const hostsOf = (step: Step): readonly string[] => Object.entries(step.fault).filter(([key]) => ['host', 'from', 'to'].includes(key)).map(([, value]) => String(value))

describe('the thrasher\'s choice of faults', () => {
  it('is the same for the same seed and cluster, and another for another seed', () => {
    expect(play(7, 60, modelOf())).to.deep.equal(play(7, 60, modelOf()))
    expect(play(7, 60, modelOf())).to.not.deep.equal(play(8, 60, modelOf()))
  })

  it('comes to every kind of fault, and to both ways of those that have two', () => {
    const labels = new Set(play(1, 600, modelOf()).map(({ step }) => labelOf(step.fault)))
    expect([...kinds].filter((kind) => ![...labels].some((label) => label.startsWith(kind)))).to.deep.equal([])
    for (const label of ['cut one way', 'blip one way', 'disk-fail read', 'disk-fail write', 'disk-fail both', 'forced-move by attach', 'forced-move by host-fail', 'move, changes off', 'move, changes on']) expect([...labels]).to.include(label)
  })

  it('never harms more servers between two checks than the volumes can bear, nor more than one head, nor a server after a head', () => {
    fc.assert(fc.property(seeds, fc.integer({ min: 2, max: 4 }), (seed, redundancy) => {
      const volumes = [{ name: 'v1', head: 'hd1', redundancy }, { name: 'v2', head: 'hd2', redundancy: 4 }]
      for (const { before, after } of play(seed, 40, modelOf({ volumes }))) {
        expect(after.harmed.filter((host) => host.startsWith('st')).length).to.be.at.most(redundancy - 1)
        expect(after.harmed.filter((host) => host.startsWith('hd')).length).to.be.at.most(1)
        if (before.harmed.some((host) => host.startsWith('hd'))) expect(after.harmed).to.deep.equal(before.harmed)
      }
    }))
  })

  it('kills the agent of a server under a move only where that server may be harmed, and then it is: its leg is left behind', () => {
    const killed = play(3, 2000, modelOf()).flatMap(({ before, step: { fault }, after }) => (fault.kind === 'move' && fault.kill.startsWith('st') ? [{ before, after, kill: fault.kill }] : []))
    expect(killed.length).to.be.greaterThan(10)
    for (const { before, after, kill } of killed) expect([after.harmed.includes(kill), before.harmed.length === 0 || before.harmed.includes(kill)]).to.deep.equal([true, true])
  })

  it('takes a head near the end of a round, so that servers have their turn', () => {
    for (let left = 3; left < 6; left += 1) for (let step = 0; step < 200; step += 1) expect(['head-power', 'forced-move']).to.not.include(chooseStep(1, step, modelOf(), left)?.fault.kind)
    expect(chooseStep(1, 1, modelOf({ only: ['head-power'] }), 3)?.fault.kind).to.equal('head-power')
  })

  it('has every fault of the control plane end by itself: a move that comes after it would wait for ever', () => {
    expect(play(1, 600, modelOf()).filter(({ step }) => step.stays && ['manager-cut', 'blip'].includes(step.fault.kind))).to.deep.equal([])
  })

  it('needs the power of the hosts that it touches, of a volume\'s head when it moves, and of both ends of a cut', () => {
    const volumes = [{ name: 'v1', head: 'hd1', redundancy: 2 }]
    const move = { kind: 'move', volume: 'v1', to: 'hd2', killAfterMs: 0, changes: '' } as const
    expect(needsOf({ ...move, kill: '' }, { volumes })).to.have.members(['hd1', 'hd2'])
    expect(needsOf({ ...move, kill: 'st3' }, { volumes })).to.have.members(['hd1', 'hd2', 'st3'])
    expect(needsOf({ kind: 'disk-hang', host: 'st1', disk: 1 }, { volumes })).to.deep.equal(['st1'])
    expect(needsOf({ kind: 'cut', from: 'st1', to: 'hd2', oneWay: false }, { volumes })).to.deep.equal(['st1', 'hd2'])
  })

  it('names no host that has no power, and leaves none without power that it would need', () => {
    fc.assert(fc.property(seeds, fc.boolean(), (seed, cruel) => {
      for (const { before, step } of play(seed, 40, modelOf({ cruel }))) {
        for (const host of hostsOf(step)) expect(before.down, JSON.stringify(step)).to.not.include(host)
      }
    }))
  })

  it('moves a volume to a head that it is not on', () => {
    fc.assert(fc.property(seeds, (seed) => {
      for (const { before, step: { fault } } of play(seed, 40, modelOf())) {
        if (fault.kind === 'move') expect(before.volumes.find((volume) => volume.name === fault.volume)?.head).to.not.equal(fault.to)
        if (fault.kind === 'forced-move') expect(before.volumes.some((volume) => volume.head === fault.host)).to.equal(true)
      }
    }))
  })

  it('takes several servers at once when it is cruel', () => {
    expect(play(1, 200, modelOf({ cruel: true })).some(({ after }) => after.harmed.filter((host) => host.startsWith('st')).length > 1)).to.equal(true)
  })

  it('leaves out what the product can\'t do: repairs of legs, forced moves; and what was not asked for', () => {
    const gentle = new Set(play(1, 300, modelOf({ repair: false })).map(({ step }) => step.fault.kind))
    for (const kind of ['storage-power', 'cut', 'disk-fail', 'disk-hang', 'disk-slow', 'forced-move'] as const) expect([...gentle]).to.not.include(kind)
    expect(play(1, 300, modelOf({ forced: [] })).map(({ step }) => step.fault.kind)).to.not.include('forced-move')
    expect(new Set(play(1, 100, modelOf({ only: ['move', 'blip'] })).map(({ step }) => step.fault.kind))).to.deep.equal(new Set(['move', 'blip']))
    expect(chooseStep(1, 1, modelOf({ only: ['blip'], down: ['hd1', 'hd2'] }))).to.equal(undefined)
  })
})

describe('the short run of faults at the end of npm test', () => {
  it('is of at least 25 faults, every kind of them among these', () => {
    const [, seed, faults] = /'--seed', '(\d+)', '--faults', '(\d+)'/.exec(readFileSync('tools/go.mjs', 'utf8'))?.map(Number) ?? []
    expect(faults).to.be.at.least(25)
    const volumes = chooseVolumes(seed ?? 0, ['hd1', 'hd2'], { extentMebibytes: 64, extentsMax: 28 })
    expect(new Set(playFrom(1, seed ?? 0, faults ?? 0, modelOf({ volumes })).map(({ step }) => step.fault.kind))).to.deep.equal(new Set(kinds))
  })
})

describe('the thrasher\'s volumes', () => {
  it('are 2 to 4 in most runs, of 40 to 160 MiB, and leave room for repairs', () => {
    fc.assert(fc.property(seeds, (seed) => {
      const volumes = chooseVolumes(seed, ['hd1', 'hd2'], { extentMebibytes: 64, extentsMax: 28 })
      expect(volumes.length).to.be.within(2, 4)
      expect(volumes.reduce((sum, { mebibytes, redundancy }) => sum + Math.ceil(mebibytes / 64) * redundancy, 0)).to.be.at.most(28)
      for (const { mebibytes, redundancy } of volumes) {
        expect(mebibytes).to.be.within(40, 160)
        expect(redundancy).to.be.within(2, 3)
      }
    }))
  })
})

describe('seeded dice', () => {
  it('fall evenly enough, and each stream in its own way', () => {
    const dice = createDice(3, 1)
    const counts = new Array<number>(6).fill(0)
    for (let thrown = 0; thrown < 6000; thrown += 1) {
      const at = dice.between(0, 5)
      counts[at] = (counts[at] ?? 0) + 1
    }
    for (const count of counts) expect(count).to.be.within(850, 1150)
    expect(createDice(3, 1).next()).to.not.equal(createDice(3, 2).next())
  })
})
