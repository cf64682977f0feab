import { expect } from 'chai'
import { createFindLegs, withLost } from '../../../../agent/head/leg-devices.js'
import { devicesWanted } from '../../../../agent/head/plan.js'
import type { DeviceThere } from '../../../../agent/head/plan.js'
import { Fault } from '../../../../lib/faults.js'
import type { Log } from '../../../../lib/ports.js'
import type { VolumeWanted } from '../../../../lib/wire/agent.js'

const silent = (): void => undefined
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log }
const [ONE, TWO] = ['b'.repeat(32), 'c'.repeat(32)]
/** A device that every kernel has, and one that none has. */
const [THERE, GONE] = ['/dev/null', '/dev/no-such-disk']

function volume(...extents: readonly string[]): VolumeWanted {
  return {
    layout: 2, scope: 'whole', volume: 'a'.repeat(32), name: 'v', attachEpoch: 1, bytes: 67108864n, waitSeconds: 0, chap: { initiator: 'i', user: 'u', password: 'p' },
    segments: [{ index: 0, generation: 1, bytes: 67108864n, copy: 'none', legs: extents.map((extent, at) => ({ extent, disk: 'd', host: `st${at}`, target: 't', addresses: [], lun: at, bytes: 67108864n, state: 'insync' as const })) }],
  }
}

describe('the device of a leg in use', () => {
  const asked: string[] = []
  const find = createFindLegs({
    sessions: { device: ({ extent }) => { asked.push(extent); return Promise.resolve('/dev/zero') }, renewed: () => Promise.resolve(undefined) },
    localDevice: () => Promise.resolve(undefined), log,
  })
  const reload = (wanted: VolumeWanted): Parameters<typeof find>[1] => devicesWanted(wanted).filter(({ part }) => part === 's0').map((each) => ({ do: 'reload', ...each }))
  beforeEach(() => { asked.length = 0 })

  it('stays, whether its server answers or not', async () => {
    const wanted = volume(ONE, TWO)
    const { devices, unreachable } = await find(wanted, reload(wanted), new Map([[ONE, THERE], [TWO, THERE]]))
    expect([[...devices].sort(), unreachable, asked]).to.deep.equal([[[ONE, THERE], [TWO, THERE]], [], []])
  })

  it('is another when the kernel no longer has it: its session was ended', async () => {
    const wanted = volume(ONE, TWO)
    const { devices } = await find(wanted, reload(wanted), new Map([[ONE, THERE], [TWO, GONE]]))
    expect([[...devices].sort(), asked]).to.deep.equal([[[ONE, THERE], [TWO, '/dev/zero']], [TWO]])
  })

  it('is what is left of it when no other can be had, and no other good leg is there: the volume\'s other segments get their tables', async () => {
    const unreachable = createFindLegs({ sessions: { device: () => Promise.reject(new Fault('agent failed', 'cannot log in')), renewed: () => Promise.resolve(undefined) }, localDevice: () => Promise.resolve(undefined), log })
    const found = await unreachable(volume(ONE), reload(volume(ONE)), new Map([[ONE, GONE]]))
    expect([[...found.devices], found.unreachable]).to.deep.equal([[[ONE, GONE]], []])
    const beside = await unreachable(volume(ONE, TWO), reload(volume(ONE, TWO)), new Map([[ONE, THERE], [TWO, GONE]]))
    expect(beside.unreachable).to.deep.equal([{ extent: TWO, why: 'st1: cannot log in' }])
  })

  it('tells that the table above must be loaded anew where the kernel tells nothing: of a single leg there is no status', async () => {
    const there = (...extents: readonly string[]): readonly DeviceThere[] => devicesWanted(volume(...extents)).map((each) => ({ ...each, suspended: false, failed: false }))
    const failed = async (devices: readonly DeviceThere[], inUse: ReadonlyMap<string, string>): Promise<readonly string[]> => (await withLost(devices, inUse)).filter((each) => each.failed).map((each) => each.part)
    expect(await failed(there(ONE), new Map([[ONE, GONE]]))).to.deep.equal(['s0'])
    expect(await failed(there(ONE), new Map([[ONE, THERE]]))).to.deep.equal([])
    expect(await failed(there(ONE, TWO), new Map([[ONE, GONE], [TWO, GONE]])), 'a mirror shows it').to.deep.equal([])
  })
})
