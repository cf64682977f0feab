import { expect } from 'chai'
import { withCutOff } from '../../../../agent/head/cut-off.js'
import type { LegHealth } from '../../../../agent/dm/status.js'
import type { VolumeSeen } from '../../../../lib/wire/agent.js'

const ID = 'a'.repeat(32)
const id = (name: string): string => name.repeat(32)
/** A segment for each list of legs: `bA` is leg b, whose letter is A. Legs b and c stand behind one session. */
const volumeOf = (...segments: readonly string[]): VolumeSeen => ({
  volume: ID, name: 'v', attachEpoch: 1, layout: 1, scope: 'whole', state: 'up', device: '/dev/vsky/v', opens: 1, waiting: false, unreachable: [],
  segments: segments.map((legs, index) => ({ index, generation: 1, inSync: 8, regions: 8, legs: legs.split(' ').map((leg) => ({ extent: id(leg.charAt(0)), health: leg.charAt(1) as LegHealth })) })),
})
const devices = new Map(['b', 'c', 'd', 'e'].map((name) => [id(name), `/dev/sd${name}`]))

describe('legs behind a session that was given up', () => {
  /** Names of those that are told as unreachable, when the devices of these are given up. */
  async function told(seen: VolumeSeen, ...gone: readonly string[]): Promise<string> {
    const [volume] = await withCutOff([seen], () => devices, (device) => Promise.resolve(gone.includes(device.slice(-1))))
    return volume?.unreachable.map(({ extent }) => extent.charAt(0)).join('') ?? ''
  }

  it('are told with the first that fails, in whatever segment of the volume they are', async () => {
    expect(await told(volumeOf('bD dA', 'cA eA'), 'b', 'c')).to.equal('c')
    expect(await told(volumeOf('bD dA', 'dA cA', 'eA dA'), 'b', 'c')).to.equal('c')
  })

  it('are not told as long as none has failed: the session may come back before anything is written', async () => {
    expect(await told(volumeOf('bA dA', 'cA eA'), 'b', 'c')).to.equal('')
  })

  it('are told with one that could not be read, when that one is among them: it is no bad sector then, and a write may be held', async () => {
    expect(await told(volumeOf('bR dA', 'cA eA'), 'b', 'c')).to.equal('bc')
    expect(await told(volumeOf('dR bA', 'cA eA'), 'b', 'c'), 'a read error alone drops no leg').to.equal('')
  })

  it('are not told where they are all that the segment has, and none has failed', async () => {
    expect(await told(volumeOf('bD dA', 'cA eA'), 'b', 'c', 'e')).to.equal('')
  })

  it('are told beside one that failed, also where no leg is left then: it is not given up for one that can\'t be reached', async () => {
    expect(await told(volumeOf('bD dA', 'cA eD'), 'b', 'c')).to.equal('c')
    expect(await told(volumeOf('bD cA'), 'b', 'c')).to.equal('c')
  })

  it('leave those alone that the kernel has not given up, and those that are told already', async () => {
    expect(await told(volumeOf('bD dA', 'cA eA'), 'b')).to.equal('')
    expect(await told({ ...volumeOf('bD dA', 'cA eA'), unreachable: [{ extent: id('c'), why: 'no login' }] }, 'b', 'c')).to.equal('c')
  })
})
