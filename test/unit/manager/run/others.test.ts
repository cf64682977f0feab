import { expect } from 'chai'
import { must } from '../../../../lib/assert.js'
import { agentMethods } from '../../../../lib/wire/agent.js'
import type { Observation, VolumeSeen } from '../../../../lib/wire/agent.js'
import { ourProtocols } from '../../../../lib/wire/protocol.js'
import { hostRegister } from '../../../../manager/api/hosts.js'
import { AgentSilent } from '../../../../manager/run/agents.js'
import type { Cluster } from '../../../../manager/run/cluster.js'
import { noteSeen } from '../../../../manager/run/up.js'
import { volumeTurn } from '../../../../manager/run/volume-turn.js'
import { allHosts } from '../../../../manager/store/hosts.js'
import { extentsOf } from '../../../../manager/store/volumes.js'
import { startManager } from '../../../support/manager.js'
import type { ManagerRig } from '../../../support/manager.js'

describe('a leg that failed, and the servers of the others', function () {
  this.timeout(20_000)
  let rig: ManagerRig
  let [id, other] = ['', '']
  /** Which start of the other leg's server answers; undefined: it is silent. */
  let start: string | undefined
  /** What the head says of the other leg when it is asked anew. */
  let unreachable: VolumeSeen['unreachable'] = []
  let looks = 0
  let sleptMs = 0

  const states = async (): Promise<readonly string[]> => (await extentsOf(rig.db, id)).map((extent) => extent.leg)
  /** Time goes on only where somebody waits. */
  function waiting(onSleep: (nowMs: number) => Promise<void> = () => Promise.resolve()): Cluster {
    const { clock, agents } = rig.cluster
    const call = agents.call.bind(agents)
    return {
      ...rig.cluster,
      clock: { ...clock, monoMs: () => clock.monoMs() + sleptMs, sleep: async (ms, signal) => {
        if (signal) return clock.sleep(ms, signal)
        sleptMs += ms
        return onSleep(clock.monoMs() + sleptMs)
      } },
      agents: Object.assign({ ...agents }, {
        call: async (...args: Parameters<typeof call>) => {
          const [host, method] = args
          if (host.name === other && method.name === agentMethods.start.name) {
            if (start === undefined) throw new AgentSilent(`${other} did not answer`)
            return { bootId: start }
          }
          const answer = await call(...args)
          if (host.name !== 'hd1' || method.name !== agentMethods.observe.name) return answer
          looks += 1
          return { ...answer as Observation, volumes: must(rig.cluster.seen.get('hd1'), 'hd1 was looked at').volumes.map((volume) => ({ ...volume, unreachable })) }
        },
      }),
    }
  }

  async function startedAnew(): Promise<void> {
    const host = must((await allHosts(rig.db)).find(({ name }) => name === other), 'its server')
    await hostRegister(waiting(), { ...host, bootId: 'another', roles: [...host.roles], dataAddresses: [...host.dataAddresses], disks: [], protocols: ourProtocols })
  }

  beforeEach(async function () {
    this.timeout(20_000)
    rig = await startManager({ servers: 2, volumes: 1 });
    [unreachable, looks, sleptMs] = [[], 0, 0]
    id = (await rig.call('volumeShow', { volume: 'v1' })).id
    const [first, second] = await extentsOf(rig.db, id)
    other = must(first, 'a first leg').host
    start = must((await allHosts(rig.db)).find(({ name }) => name === other), 'its server').bootId
    const { cluster } = rig
    const seen = must(cluster.seen.get('hd1'), 'hd1 was looked at')
    noteSeen(cluster, 'hd1', seen.bootId, seen.volumes.map((volume) => ({
      ...volume, segments: volume.segments.map((segment) => ({ ...segment, legs: segment.legs.map((leg) => ({ ...leg, health: leg.extent === second?.id ? 'D' : leg.health })) })),
    })))
    sleptMs = 100 // since both servers were heard
  })
  afterEach(() => rig.stop())

  it('is given up as soon as one of them answers', async () => {
    await volumeTurn(waiting(), id, 0)
    expect([await states(), looks]).to.deep.equal([['insync', 'stale'], 0])
  })

  it('is not given up when that one was started anew, and tells so later: what it may have lost the failed one still has', async () => {
    start = 'another'
    let told: Promise<unknown> | undefined
    await volumeTurn(waiting(async () => { await (told ??= startedAnew()) }), id, 0)
    expect(await states()).to.deep.equal(['insync', 'insync'])
    await volumeTurn(rig.cluster, id, 0)
    expect(await states()).to.deep.equal(['stale', 'insync'])
  })

  it('is not given up when that one is silent and the head, asked again when it must know, has lost it as well', async () => {
    start = undefined
    unreachable = [{ extent: must((await extentsOf(rig.db, id))[0], 'a first leg').id, why: 'the session to its server was given up' }]
    await volumeTurn(waiting(), id, 0)
    expect([await states(), looks]).to.deep.equal([['insync', 'insync'], 1])
    expect(sleptMs).to.be.at.least(5000)
  })

  it('is not given up when that one was silent, and is back, started anew, before the head must know', async () => {
    start = undefined
    let told: Promise<unknown> | undefined
    await volumeTurn(waiting(async () => { if (sleptMs >= 5000) await (told ??= startedAnew()) }), id, 0)
    expect([await states(), looks, told !== undefined]).to.deep.equal([['insync', 'insync'], 1, true])
  })

  it('is given up when that one is silent and the head still has it: only its agent is away', async () => {
    start = undefined
    await volumeTurn(waiting(), id, 0)
    expect([await states(), looks]).to.deep.equal([['insync', 'stale'], 1])
  })
})
