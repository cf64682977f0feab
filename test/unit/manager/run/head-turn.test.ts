import { expect } from 'chai'
import { agentMethods } from '../../../../lib/wire/agent.js'
import type { Observation, VolumeSeen } from '../../../../lib/wire/agent.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { headTurn } from '../../../../manager/run/host-turn.js'
import { volumeTurn } from '../../../../manager/run/volume-turn.js'
import { changeLayout } from '../../../../manager/store/volumes.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('a look at a head with a volume up', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  let cluster: Cluster
  let id = ''
  let kicked: string[] = []
  /** What the head tells instead. */
  let telling: (volume: VolumeSeen) => VolumeSeen
  beforeEach(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 1 })
    id = (await rig.call('volumeShow', { volume: 'v1' })).id
    telling = (volume) => volume
    kicked = []
    const { agents, work } = rig.cluster
    cluster = {
      ...rig.cluster, work: { ...work, kick: (kind, about) => { kicked.push(`${kind} ${about}`) } },
      agents: {
        ...agents,
        async call(host, method, params) {
          const answer = await agents.call(host, method, params)
          if (method.name !== agentMethods.observe.name) return answer
          const seen = answer as Observation
          return { ...seen, volumes: seen.volumes.map((volume) => telling(volume)) } as never
        },
      },
    }
  })
  afterEach(() => rig.stop())
  /** Whether it begins the volume's turn; which then runs. */
  async function look(): Promise<boolean> {
    kicked = []
    await headTurn(cluster, 'hd1')
    const begun = kicked.includes(`volume ${id}`)
    if (begun) await volumeTurn(cluster, id, 0)
    return begun
  }

  it('begins its turn once, and no more while the head tells the same', async () => {
    cluster.judged.clear() // a new manager knows of none
    expect([await look(), await look(), await look()]).to.deep.equal([true, false, false])
  })

  const changes: readonly (readonly [claim: string, told: (volume: VolumeSeen) => VolumeSeen])[] = [
    ['a leg has failed', (volume) => ({ ...volume, segments: volume.segments.map((segment) => ({ ...segment, legs: segment.legs.map((leg, at) => ({ ...leg, health: at === 1 ? 'D' : 'A' })) })) })],
    ['a copy runs', (volume) => ({ ...volume, segments: volume.segments.map((segment) => ({ ...segment, inSync: 3, regions: 8 })) })],
    ['its I/O waits', (volume) => ({ ...volume, waiting: true })],
    ['it is no longer as it was ordered', (volume) => ({ ...volume, layout: 0 })],
    ['it is gone', (volume) => ({ ...volume, state: 'partial', device: '', segments: [] })],
  ]
  for (const [claim, told] of changes) {
    it(`begins it each time while the head tells that ${claim}`, async () => {
      await look()
      expect(await look()).to.equal(false)
      telling = told
      kicked = []
      await headTurn(cluster, 'hd1')
      await headTurn(cluster, 'hd1')
      expect(kicked.filter((each) => each === `volume ${id}`)).to.have.length(2)
    })
  }

  it('begins it when the database wants another layout, and every ten minutes without a reason', async () => {
    await look()
    await rig.db.tx((tx) => changeLayout(tx, id))
    expect(await look()).to.equal(true)
    expect([await look(), await look()]).to.deep.equal([true, false]) // the new layout is told, and judged
    cluster.lookedOver.set('hd1', cluster.clock.monoMs() - 600_000)
    expect([await look(), await look()]).to.deep.equal([true, false])
  })
})
