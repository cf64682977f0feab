import { expect } from 'chai'
import { createHeld } from '../../../../agent/head/held.js'
import type { Held } from '../../../../agent/head/held.js'
import type { DevicePresent } from '../../../../agent/dm/present.js'
import type { Clock, Log } from '../../../../lib/ports.js'
import type { VolumeSeen, VolumeWanted } from '../../../../lib/wire/agent.js'

const ID = 'a'.repeat(32)
const SEGMENT = `vsky-${ID}-s0`
const clock: Clock = { nowMs: () => 0, monoMs: () => 0, sleep: () => Promise.resolve() }
const silent = (): void => undefined
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log }
const present: readonly DevicePresent[] = [{ name: SEGMENT, uuid: `VSKY-${ID}-s0`, suspended: false, kernel: 'dm-1' }]
const well = '0 131072 mirror 2 8:112 8:144 128/128 1 AA 1 core'

const seen: VolumeSeen = {
  volume: ID, name: 'v', attachEpoch: 1, layout: 1, scope: 'whole', state: 'up', device: '/dev/vsky/v', opens: 1, waiting: false, unreachable: [],
  segments: [{ index: 0, generation: 1, inSync: 128, regions: 128, legs: [{ extent: 'b'.repeat(32), health: 'A' }, { extent: 'c'.repeat(32), health: 'A' }] }],
}

function volume(copy: 'none' | 'all'): VolumeWanted {
  const leg = (extent: string, state: 'insync' | 'syncing'): VolumeWanted['segments'][number]['legs'][number] =>
    ({ extent: extent.repeat(32), disk: extent, host: `st-${extent}`, target: 't', addresses: [], lun: 0, bytes: 67108864n, state })
  return {
    layout: 1, scope: 'whole', volume: ID, name: 'v', attachEpoch: 1, bytes: 67108864n, waitSeconds: 0, chap: { initiator: 'i', user: 'u', password: 'p' },
    segments: [{ index: 0, generation: 1, bytes: 67108864n, copy, legs: [leg('b', 'insync'), leg('c', copy === 'none' ? 'insync' : 'syncing')] }],
  }
}

describe('a mirror that something happened to, and whose legs look well', () => {
  /** Looks at it once; `writes`: how many are under way in it, look by look. */
  async function after(writes: readonly number[], { status = well, copy = 'none', failed = [], away = [], name = SEGMENT }: { readonly status?: string; readonly copy?: 'none' | 'all'; readonly failed?: readonly string[]; readonly away?: readonly string[]; readonly name?: string } = {}): Promise<{ readonly held: Held; readonly told: readonly string[] }> {
    const told: string[] = []
    let at = 0
    let counted = false
    const held = createHeld({
      clock, log, present: () => Promise.resolve(present.map((each) => ({ ...each, name }))), onFound: (names) => { told.push(...names); return Promise.resolve() },
      errors: (device) => Promise.resolve(device === 'none' ? undefined : counted && failed.includes(device) ? 6 : 5), givenUp: (device) => Promise.resolve(away.includes(device)),
      writes: () => { at += 1; return Promise.resolve(writes[Math.min(at, writes.length) - 1] ?? 0) },
    })
    await held.count(ID, new Map([['b'.repeat(32), '8:112'], ['c'.repeat(32), '8:144']]))
    counted = true
    held.search([volume(copy)], [name], new Map([[name, [status]]]))
    await held.stop()
    return { held, told }
  }

  it('holds something when it is never idle: that is told, and the volume waits', async () => {
    const { held, told } = await after([4])
    expect([told, held.has(SEGMENT), held.told([seen])]).to.deep.equal([[SEGMENT], true, [{ ...seen, waiting: true }]])
  })

  it('holds nothing when it is idle once', async () => {
    const { held, told } = await after([4, 2, 1, 0, 3])
    expect([told, held.has(SEGMENT), held.told([seen])]).to.deep.equal([[], false, [seen]])
  })

  it('is not searched while its status tells what happened', async () => {
    for (const status of [well.replace('AA', 'DA'), well.replace('128/128', '127/128')]) expect((await after([4], { status })).told, status).to.deep.equal([])
  })

  it('is not searched at the end of a copy: then it gets a new table by itself', async () => {
    expect((await after([4], { copy: 'all', status: '0 131072 mirror 2 254:3 8:144 128/128 1 AA 1 core' })).told).to.deep.equal([])
  })

  it('holds nothing any more when it has a new table', async () => {
    const { held } = await after([4])
    held.released('f'.repeat(32))
    expect(held.has(SEGMENT), 'another volume\'s').to.equal(true)
    held.released(ID)
    expect([held.has(SEGMENT), held.told([seen])]).to.deep.equal([false, [seen]])
  })

  const letters = ({ held }: { readonly held: Held }): string => held.told([seen])[0]?.segments[0]?.legs.map((leg) => leg.health).join('') ?? ''
  it('loses that leg, too, when it stands below a copy, or holds what is remembered', async () => {
    expect(letters(await after([4], { copy: 'all', name: `${SEGMENT}-low`, failed: ['8:112'] }))).to.equal('FA')
    expect(letters(await after([4], { copy: 'all', name: `vsky-${ID}-s1-low`, failed: ['8:112'] })), 'of another segment').to.equal('AA')
  })

  it('loses the leg whose disk alone had an error since: what it should have flushed may be gone', async () => {
    expect([letters(await after([4], { failed: ['8:144'] })), letters(await after([4], { failed: ['8:112'] }))]).to.deep.equal(['AF', 'FA'])
  })

  it('loses the leg whose disk is given up: what fails there nobody counts', async () => {
    expect([letters(await after([4], { away: ['8:144'] })), letters(await after([4], { away: ['8:112', '8:144'] }))]).to.deep.equal(['AF', 'AA'])
  })

  it('is searched though a leg could not be read, and loses that leg only when its disk is given up: a read error alone drops none', async () => {
    const status = well.replace('AA', 'AR')
    const unread: VolumeSeen = { ...seen, segments: seen.segments.map((segment) => ({ ...segment, legs: segment.legs.map((leg, at) => ({ ...leg, health: at === 1 ? 'R' : 'A' })) })) }
    const told = async (how: { readonly failed?: readonly string[]; readonly away?: readonly string[] }): Promise<string> => {
      const [volume] = (await after([4], { status, ...how })).held.told([unread])
      return `${volume?.waiting === true ? 'waits' : 'goes on'} ${volume?.segments[0]?.legs.map((leg) => leg.health).join('') ?? ''}`
    }
    expect([await told({ failed: ['8:144'] }), await told({ away: ['8:144'] })]).to.deep.equal(['waits AR', 'waits AF'])
  })

  it('loses it once: a leg that has left its volume meanwhile comes back without that', async () => {
    const { held } = await after([4], { failed: ['8:144'] })
    await held.count(ID, new Map([['b'.repeat(32), '8:112']]))
    held.released(ID)
    await held.count(ID, new Map([['b'.repeat(32), '8:112'], ['c'.repeat(32), '8:144']]))
    held.search([volume('none')], [SEGMENT], new Map([[SEGMENT, [well]]]))
    await held.stop()
    expect([held.has(SEGMENT), letters({ held })]).to.deep.equal([true, 'AA'])
  })

  it('loses none when all disks had errors, or none', async () => {
    expect([letters(await after([4], { failed: ['8:112', '8:144'] })), letters(await after([4]))]).to.deep.equal(['AA', 'AA'])
  })
})
