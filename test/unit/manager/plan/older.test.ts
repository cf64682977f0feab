import { expect } from 'chai'
import { laterThan } from '../../../../manager/plan/older.js'
import { Tags, VOLUME } from '../../../support/tags.js'

const now = (tags: Tags): Parameters<typeof laterThan>[0] => ({ epoch: 1, volumes: [{ ...tags.volume }], segments: [{ ...tags.segment }] })

describe('a state that was written down', () => {
  it('is as new as the cluster when nobody knows of anything later', () => {
    const tags = new Tags(3, () => undefined)
    tags.attach('h1')
    for (const name of tags.servers.keys()) tags.push(name)
    expect(laterThan(now(tags), tags.told(() => true))).to.deep.equal([])
  })

  it('is older when a leg was lost since, though under the same epoch', () => {
    const tags = new Tags(3, () => undefined)
    tags.attach('h1')
    const before = now(tags)
    tags.down('s1')
    tags.loss()
    for (const name of tags.servers.keys()) tags.push(name)
    expect(laterThan(before, tags.told(() => true)).join()).to.contain('volume v has changed since: s2 has generation 2')
  })

  it('is older when a volume was attached since, was made since, or a host has seen a later epoch', () => {
    const tags = new Tags(1, () => undefined)
    const before = now(tags)
    tags.attach('h1')
    expect(laterThan(before, tags.told(() => true)).join()).to.contain('h1 has volume v attached since')
    expect(laterThan({ ...before, volumes: [], segments: [] }, tags.told(() => true)).join()).to.contain('a leg of volume v, which it does not know')
    expect(laterThan({ ...before, epoch: 0 }, tags.told((host) => host === 's2'))).to.deep.equal(['s2 has seen epoch 1, it is of epoch 0'])
    expect(VOLUME).to.equal(before.volumes[0]?.id)
  })
})
