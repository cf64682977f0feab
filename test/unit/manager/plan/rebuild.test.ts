import { expect } from 'chai'
import { planRebuild } from '../../../../manager/plan/rebuild.js'
import type { HostTold } from '../../../../manager/plan/rebuild.js'

// Whose data is good: test/property/rebuild.test.ts.
describe('a rebuild', () => {
  const told = (name: string, secret?: string): HostTold => ({
    address: `${name}:1`, seen: { host: name, bootId: 'b', incarnation: 'i', epoch: 3, disks: [], extents: [], volumes: [], foreign: [] },
    recalled: { name, roles: ['head'], zone: '', dataAddresses: [], initiator: `iqn.x:${name}`, version: '', volumes: [], ...(secret === undefined ? {} : { secret }) },
  })

  it('keeps the CHAP secret that a head\'s sessions were made with, and leaves it open where there are none', () => {
    const { hosts } = planRebuild({ told: [told('hd1', 'a1b2c3d4e5f60718'), told('hd2')], silent: [], lost: new Set(), nowMs: 0 })
    expect(hosts.map((host) => [host.name, host.chapUser, host.chapPassword])).to.deep.equal([['hd1', 'hd1', 'a1b2c3d4e5f60718'], ['hd2', 'hd2', '']])
  })
})
