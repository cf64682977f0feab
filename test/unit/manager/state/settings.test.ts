import { expect } from 'chai'
import { isSettingName, settingNames, settingProblem, settings, settingsFrom } from '../../../../manager/state/settings.js'
import type { SettingName } from '../../../../manager/state/settings.js'

const from = (rows: Readonly<Record<string, number>>): ReturnType<typeof settingsFrom> => settingsFrom(new Map(Object.entries(rows)))

describe('a setting', () => {
  it('has a default that it takes itself, a help and sane limits', () => {
    for (const name of settingNames) {
      const { initial, min, max, help } = settings[name]
      expect(settingProblem(name, initial), name).to.equal(undefined)
      expect(min, name).to.be.at.most(max)
      expect(help, name).to.not.equal('')
    }
  })

  const values: readonly (readonly [name: SettingName, value: number, problem: string | undefined])[] = [
    ['repair.grace', 0, undefined],
    ['repair.grace', 604_800, undefined],
    ['repair.grace', 604_801, 'repair.grace takes a whole number from 0 to 604800 (s), not 604801'],
    ['repair.grace', -1, 'repair.grace takes a whole number from 0 to 604800 (s), not -1'],
    ['repair.grace', 1.5, 'repair.grace takes a whole number from 0 to 604800 (s), not 1.5'],
    ['repair.grace', Number.NaN, 'repair.grace takes a whole number from 0 to 604800 (s), not NaN'],
    ['volume.wait', 0, undefined],
    ['resync.rate', 0, 'resync.rate takes a whole number from 1 to 1000000 (MiB/s), not 0'],
    ['resync.paused', 2, 'resync.paused takes a whole number from 0 to 1, not 2'],
    ['resync.per_cluster', 0, 'resync.per_cluster takes a whole number from 1 to 100000 (copies), not 0'],
  ]
  for (const [name, value, problem] of values) {
    it(`${name} ${problem === undefined ? 'takes' : 'refuses'} ${value}`, () => { expect(settingProblem(name, value)).to.equal(problem) })
  }

  it('has a name that is known; what every object has is none', () => {
    expect(settingNames.every(isSettingName)).to.equal(true)
    for (const name of ['', 'repair', 'constructor', 'toString', '__proto__', 'repair.grace@v']) expect(isSettingName(name), name).to.equal(false)
  })

  it('is its default until somebody sets it', () => {
    expect(from({}).of('repair.grace')).to.equal(300)
    expect(from({ 'repair.grace': 7 }).of('repair.grace')).to.equal(7)
  })

  it('set to 0 is 0, not its default', () => {
    expect(from({ 'repair.grace': 0 }).of('repair.grace')).to.equal(0)
    expect(from({ 'repair.grace': 7, 'repair.grace@v': 0 }).of('repair.grace', 'v')).to.equal(0)
  })

  it('of a volume goes before that of the cluster, for that volume alone', () => {
    const rows = from({ 'volume.wait': 7, 'volume.wait@v': 9 })
    expect([rows.of('volume.wait', 'v'), rows.of('volume.wait', 'w'), rows.of('volume.wait')]).to.deep.equal([9, 7, 7])
  })

  it('can be set for one volume where it makes sense: what copies share is the cluster\'s', () => {
    expect(settingNames.filter((name) => settings[name].perVolume)).to.deep.equal(['repair.grace', 'volume.wait', 'volume.changes', 'resync.paused'])
  })

  it('of the limits on copies reaches the scheduler, each its own', () => {
    expect(from({ 'resync.per_source_disk': 1, 'resync.per_server': 2, 'resync.per_head': 3, 'resync.per_cluster': 4 }).limits())
      .to.deep.equal({ perSourceDisk: 1, perServer: 2, perHead: 3, perCluster: 4 })
    expect(from({}).limits()).to.deep.equal({ perSourceDisk: 2, perServer: 4, perHead: 4, perCluster: 64 })
  })
})
